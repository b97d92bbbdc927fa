//! From options to a job: every option is checked here.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{Download, DownloadBuilder, resume};
use crate::engine::{Destination, Job, LowestSpeed};
use crate::error::{Error, ErrorKind, Remedy};
use crate::http::{Client, ClientConfig, Conditions, Source};
use crate::integrity::Digest;
use crate::object::EntityTag;
use crate::options::{Checksum, Output, PartSize, Ranges};
use crate::storage::{Durability, Names};

/// What leases are cut at, in bytes. Small, so that the last request of a slow connection is a
/// short one.
const BLOCK: u64 = 64 << 10;

impl DownloadBuilder {
    /// Checks every option and returns the download, ready to be started.
    ///
    /// Sends no request. Reads the files that the options name: certificates, `.netrc`, a
    /// checkpoint.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] names the option, what was expected and what was found.
    /// [`ErrorKind::File`] where [`resume_from`](Self::resume_from) finds no usable checkpoint.
    pub fn build(self) -> Result<Download, Error> {
        Ok(Download {
            job: job(resume::output(self)?)?,
        })
    }
}

/// Checks the options.
///
/// # Errors
///
/// `Usage`, naming the option, what was expected and what was found.
fn job(options: DownloadBuilder) -> Result<Job, Error> {
    let source = Source::new(&options.url, options.head_url.as_deref())
        .map_err(|error| usage("the URL", error))?;
    check_timeouts(&options.network)?;
    let client = Client::new(&options.network)
        .map_err(|error| usage("the connection's options", &error).with_source(error))?;
    let destination = destination(&options, &source)?;
    let part_size = match options.part_size {
        PartSize::Auto => None,
        PartSize::Bytes(0) => {
            return Err(usage("the part size", "expected at least 1 byte, found 0"));
        }
        PartSize::Bytes(size) => Some(size),
    };
    if options.limit_rate == Some(0) {
        return Err(usage(
            "the rate limit",
            "expected at least 1 byte a second, found 0",
        ));
    }
    if options.max_connections == 0 {
        return Err(usage(
            "the most connections",
            "expected at least 1, found 0",
        ));
    }
    let checksums = options.checksums.iter().cloned();
    let checksums: Vec<Digest> = checksums.map(Checksum::into_digest).collect();
    let keeps_nothing = matches!(destination, Destination::Discard | Destination::Memory);
    if keeps_nothing && !checksums.is_empty() {
        return Err(usage(
            "the checksum",
            "expected none, as no byte is kept to compare with it",
        ));
    }
    let lowest_speed = lowest_speed(&options)?;
    Ok(Job {
        client,
        mirrors: mirrors(&source, &options.mirrors)?,
        trust_mirrors: options.trust_mirrors,
        source,
        conditions: conditions(&options)?,
        destination,
        selection: options
            .ranges
            .map(Ranges::into_selection)
            .unwrap_or_default(),
        checksums,
        connections: options.connections,
        max_connections: options.max_connections,
        part_size,
        block_size: BLOCK,
        limit_rate: options.limit_rate,
        lowest_speed,
        retries: options.retries,
        wait_online: options.wait_online,
        fresh: options.fresh,
        overwrite: options.overwrite,
        durability: if options.sync && !keeps_nothing {
            Durability::Synced
        } else {
            Durability::Unsynced
        },
        writer: options.writer,
        verify: options.verify,
        on_change: options.on_change,
        refresh: options.refresh,
    })
}

fn usage(what: &str, why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Usage, format!("{what} can't be used"), why)
}

fn check_timeouts(network: &ClientConfig) -> Result<(), Error> {
    for (what, timeout) in [
        ("the connect timeout", network.connect_timeout),
        ("the stall timeout", network.stall_timeout),
    ] {
        if timeout.is_zero() {
            return Err(usage(what, "expected more than 0 s, found 0 s"));
        }
    }
    Ok(())
}

fn lowest_speed(options: &DownloadBuilder) -> Result<Option<LowestSpeed>, Error> {
    let Some((bytes_per_second, span)) = options.lowest_speed else {
        return Ok(None);
    };
    let wrong = |why: String| Err(usage("the lowest speed", why));
    if bytes_per_second == 0 || span.is_zero() {
        return wrong("expected at least 1 byte a second for more than 0 s".to_owned());
    }
    match options.limit_rate {
        Some(limit) if limit <= bytes_per_second => wrong(format!(
            "expected less than the rate limit of {limit} bytes a second, found {bytes_per_second}"
        )),
        _ => Ok(Some(LowestSpeed {
            bytes_per_second,
            span,
        })),
    }
}

fn destination(options: &DownloadBuilder, source: &Source) -> Result<Destination, Error> {
    let file = match &options.output {
        Output::Stdout => return Ok(Destination::Stdout),
        Output::Discard => return Ok(Destination::Discard),
        Output::Memory => return Ok(Destination::Memory),
        Output::File(file) => options.dir.join(file),
        Output::FromUrl => {
            let name = source.file_name().ok_or_else(|| {
                usage(
                    "the URL's last path segment",
                    "expected a file name, found none",
                )
                .with_remedy(Remedy::NameOutput)
            })?;
            options.dir.join(name)
        }
    };
    let name: OsString = match file.file_name() {
        // `a/` and `a/.` name a folder, though `file_name` answers `a`.
        Some(name)
            if file
                .as_os_str()
                .as_encoded_bytes()
                .ends_with(name.as_encoded_bytes()) =>
        {
            name.to_owned()
        }
        _ => {
            return Err(usage(
                "the output's name",
                format_args!("expected a file, found `{}`", file.display()),
            ));
        }
    };
    let folder = match file.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let names = Names::new(&name).map_err(|error| usage("the output's name", error))?;
    Ok(Destination::File { folder, names })
}

fn conditions(options: &DownloadBuilder) -> Result<Conditions, Error> {
    let tag = |name: &str, value: &Option<String>| match value.as_deref() {
        None | Some("*") => Ok(value.clone()),
        Some(text) => EntityTag::parse(text)
            .map(|tag| Some(tag.to_string()))
            .map_err(|error| {
                usage(name, format_args!("`{}`: {error}", text.escape_debug()))
                    .with_remedy(Remedy::QuoteEntityTag)
            }),
    };
    Ok(Conditions {
        if_match: tag("the If-Match condition", &options.if_match)?,
        if_none_match: tag("the If-None-Match condition", &options.if_none_match)?,
        if_modified_since: options.if_modified_since.map(|date| date.to_string()),
        if_unmodified_since: options.if_unmodified_since.map(|date| date.to_string()),
    })
}

fn mirrors(primary: &Source, urls: &[String]) -> Result<Vec<Source>, Error> {
    let parse = |url: &String| {
        primary
            .mirror(url)
            .map_err(|error| usage("the mirror's URL", error))
    };
    urls.iter().map(parse).collect()
}
