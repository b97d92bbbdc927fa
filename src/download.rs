//! What to download, where to, and how.

mod build;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::DownloadHandle;
use crate::engine::{self, Job};
use crate::options::{Connections, HttpVersion, OnChange, Output, PartSize, Verify, Writer};

/// A download that is ready to start. Made by [`Download::builder`].
pub struct Download {
    job: Job,
}

/// Shows what is downloaded, without user information and query.
impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download")
            .field("url", &self.job.source.shown())
            .finish_non_exhaustive()
    }
}

impl Download {
    /// Begins to describe the download of `url`.
    pub fn builder(url: impl Into<String>) -> DownloadBuilder {
        DownloadBuilder::new(url.into())
    }

    /// Starts the download on the caller's Tokio runtime.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime.
    #[must_use]
    pub fn start(self) -> DownloadHandle {
        let (link, task) = engine::start(self.job);
        DownloadHandle::new(link, task)
    }
}

/// The description of a download; every option error surfaces in [`build`](Self::build).
///
/// Its `Debug` form leaves out whatever may hold a secret: URLs, headers, credentials, commands.
#[derive(Clone, PartialEq, Eq)]
pub struct DownloadBuilder {
    pub(crate) url: String,
    pub(crate) output: Output,
    pub(crate) dir: PathBuf,
    pub(crate) head_url: Option<String>,
    pub(crate) mirrors: Vec<String>,
    pub(crate) ranges: Option<String>,
    pub(crate) checksums: Vec<String>,
    pub(crate) connections: Connections,
    pub(crate) max_connections: u32,
    pub(crate) part_size: PartSize,
    pub(crate) limit_rate: Option<u64>,
    pub(crate) retries: u32,
    pub(crate) fresh: bool,
    pub(crate) overwrite: bool,
    pub(crate) sync: bool,
    pub(crate) writer: Writer,
    pub(crate) verify: Verify,
    pub(crate) on_change: OnChange,
    pub(crate) if_match: Option<String>,
    pub(crate) if_none_match: Option<String>,
    pub(crate) if_modified_since: Option<String>,
    pub(crate) if_unmodified_since: Option<String>,
    pub(crate) refresh_command: Option<String>,
    pub(crate) network: NetworkOptions,
}

/// The options that concern the way to the server.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct NetworkOptions {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) user: Option<(String, Option<String>)>,
    pub(crate) bearer: Option<String>,
    pub(crate) netrc: bool,
    pub(crate) user_agent: Option<String>,
    pub(crate) proxy: Option<String>,
    pub(crate) no_proxy: bool,
    pub(crate) ca_certificate: Option<PathBuf>,
    pub(crate) client_certificate: Option<PathBuf>,
    pub(crate) client_key: Option<PathBuf>,
    pub(crate) insecure: bool,
    pub(crate) http_version: HttpVersion,
    pub(crate) connect_timeout: Duration,
    pub(crate) stall_timeout: Duration,
}

impl fmt::Debug for DownloadBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let network = &self.network;
        f.debug_struct("DownloadBuilder")
            .field("output", &self.output)
            .field("dir", &self.dir)
            .field("ranges", &self.ranges)
            .field("checksums", &self.checksums)
            .field("connections", &self.connections)
            .field("max_connections", &self.max_connections)
            .field("part_size", &self.part_size)
            .field("limit_rate", &self.limit_rate)
            .field("retries", &self.retries)
            .field("fresh", &self.fresh)
            .field("overwrite", &self.overwrite)
            .field("sync", &self.sync)
            .field("writer", &self.writer)
            .field("verify", &self.verify)
            .field("on_change", &self.on_change)
            .field("if_match", &self.if_match)
            .field("if_none_match", &self.if_none_match)
            .field("if_modified_since", &self.if_modified_since)
            .field("if_unmodified_since", &self.if_unmodified_since)
            .field("netrc", &network.netrc)
            .field("user_agent", &network.user_agent)
            .field("no_proxy", &network.no_proxy)
            .field("ca_certificate", &network.ca_certificate)
            .field("client_certificate", &network.client_certificate)
            .field("client_key", &network.client_key)
            .field("insecure", &network.insecure)
            .field("http_version", &network.http_version)
            .field("connect_timeout", &network.connect_timeout)
            .field("stall_timeout", &network.stall_timeout)
            .finish_non_exhaustive()
    }
}

impl DownloadBuilder {
    fn new(url: String) -> Self {
        Self {
            url,
            output: Output::FromUrl,
            dir: PathBuf::from("."),
            head_url: None,
            mirrors: Vec::new(),
            ranges: None,
            checksums: Vec::new(),
            connections: Connections::Auto,
            max_connections: 32,
            part_size: PartSize::Auto,
            limit_rate: None,
            retries: 8,
            fresh: false,
            overwrite: false,
            sync: true,
            writer: Writer::Auto,
            verify: Verify::Auto,
            on_change: OnChange::Fail,
            if_match: None,
            if_none_match: None,
            if_modified_since: None,
            if_unmodified_since: None,
            refresh_command: None,
            network: NetworkOptions {
                headers: Vec::new(),
                user: None,
                bearer: None,
                netrc: false,
                user_agent: None,
                proxy: None,
                no_proxy: false,
                ca_certificate: None,
                client_certificate: None,
                client_key: None,
                insecure: false,
                http_version: HttpVersion::Http11,
                connect_timeout: Duration::from_secs(10),
                stall_timeout: Duration::from_secs(15),
            },
        }
    }

    /// Writes to this file, relative to [`dir`](Self::dir). Default: the last segment of the URL's path.
    #[must_use]
    pub fn output(mut self, file: impl Into<PathBuf>) -> Self {
        self.output = Output::File(file.into());
        self
    }

    /// Writes the bytes in order to the process's standard output; nothing is kept for a resume.
    #[must_use]
    pub fn to_stdout(mut self) -> Self {
        self.output = Output::Stdout;
        self
    }

    /// Keeps no byte: everything is fetched and checked as ever, then dropped. [`build`](Self::build) refuses
    /// checksums, as nothing is left to compare with them.
    #[must_use]
    pub fn discard(mut self) -> Self {
        self.output = Output::Discard;
        self
    }

    /// Writes to memory, which is given back at the end.
    #[doc(hidden)]
    #[must_use]
    pub fn to_memory(mut self) -> Self {
        self.output = Output::Memory;
        self
    }

    /// The folder that the output goes into, made where it is missing. Default: the current one.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = dir.into();
        self
    }

    /// Asks this URL for the metadata (a signature binds its method). Default: the URL itself.
    #[must_use]
    pub fn head_url(mut self, url: impl Into<String>) -> Self {
        self.head_url = Some(url.into());
        self
    }

    /// Adds another source of the same object. Repeatable.
    #[must_use]
    pub fn mirror(mut self, url: impl Into<String>) -> Self {
        self.mirrors.push(url.into());
        self
    }

    /// Downloads these bytes only, in the order given, end to end in the file:
    /// `100-200`, `100-`, `-100`, `0-100,200-300` (RFC 9110, section 14.1.2). Default: the whole object.
    #[must_use]
    pub fn ranges(mut self, ranges: impl Into<String>) -> Self {
        self.ranges = Some(ranges.into());
        self
    }

    /// Compares the finished file with `ALGO=HEX` before it is published: `sha-256`, `sha-512`, `sha-1`, `md5`,
    /// `blake3`, `crc32c`, `crc64` (CRC-64/XZ) or `crc64nvme`. Repeatable.
    #[must_use]
    pub fn checksum(mut self, checksum: impl Into<String>) -> Self {
        self.checksums.push(checksum.into());
        self
    }

    /// How many transfers at once. Default: [`Connections::Auto`].
    #[must_use]
    pub fn connections(mut self, connections: Connections) -> Self {
        self.connections = connections;
        self
    }

    /// The ceiling that [`Connections::Auto`] may reach. Default: 32; at least 1.
    #[must_use]
    pub fn max_connections(mut self, max: u32) -> Self {
        self.max_connections = max;
        self
    }

    /// What one bit of the bitmap stands for. Default: [`PartSize::Auto`].
    #[must_use]
    pub fn part_size(mut self, size: PartSize) -> Self {
        self.part_size = size;
        self
    }

    /// Bytes a second over all connections. Default: no limit; at least 1.
    #[must_use]
    pub fn limit_rate(mut self, bytes_per_second: u64) -> Self {
        self.limit_rate = Some(bytes_per_second);
        self
    }

    /// Attempts of one range after the first, counted from the last progress. Default: 8.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Throws an earlier run's partial file away. Default: go on from it.
    #[must_use]
    pub fn fresh(mut self, fresh: bool) -> Self {
        self.fresh = fresh;
        self
    }

    /// Replaces a file that stands at the final name. Default: refuse.
    #[must_use]
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// Flushes so that a power cut loses at most the last moments. Default: true.
    #[must_use]
    pub fn sync(mut self, sync: bool) -> Self {
        self.sync = sync;
        self
    }

    /// How bytes reach the file. Default: [`Writer::Auto`].
    #[must_use]
    pub fn writer(mut self, writer: Writer) -> Self {
        self.writer = writer;
        self
    }

    /// When an earlier run's parts are read back. Default: [`Verify::Auto`].
    #[must_use]
    pub fn verify(mut self, verify: Verify) -> Self {
        self.verify = verify;
        self
    }

    /// What to do when the object changes under the download. Default: [`OnChange::Fail`].
    #[must_use]
    pub fn on_change(mut self, on_change: OnChange) -> Self {
        self.on_change = on_change;
        self
    }

    /// Downloads only the version with this entity tag (RFC 9110, section 13.1.1).
    #[must_use]
    pub fn if_match(mut self, etag: impl Into<String>) -> Self {
        self.if_match = Some(etag.into());
        self
    }

    /// Downloads only a version with another entity tag (RFC 9110, section 13.1.2).
    #[must_use]
    pub fn if_none_match(mut self, etag: impl Into<String>) -> Self {
        self.if_none_match = Some(etag.into());
        self
    }

    /// Downloads only a version newer than this HTTP date (RFC 9110, section 13.1.3).
    #[must_use]
    pub fn if_modified_since(mut self, date: impl Into<String>) -> Self {
        self.if_modified_since = Some(date.into());
        self
    }

    /// Downloads only a version that is not newer than this HTTP date (RFC 9110, section 13.1.4).
    #[must_use]
    pub fn if_unmodified_since(mut self, date: impl Into<String>) -> Self {
        self.if_unmodified_since = Some(date.into());
        self
    }

    /// Runs this through the shell when access is refused (401, 403): the first line of its output is the new URL.
    /// The environment variable `PARTWISE_URL` holds the old one.
    #[must_use]
    pub fn refresh_command(mut self, command: impl Into<String>) -> Self {
        self.refresh_command = Some(command.into());
        self
    }

    /// Sends this header, to the origin of the URL it was given for and to no other. Repeatable.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.network.headers.push((name.into(), value.into()));
        self
    }

    /// Basic authentication (RFC 7617), sent to the URL's own origin alone.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>, password: Option<String>) -> Self {
        self.network.user = Some((name.into(), password));
        self
    }

    /// Bearer authentication (RFC 6750), sent to the URL's own origin alone.
    #[must_use]
    pub fn bearer(mut self, token: impl Into<String>) -> Self {
        self.network.bearer = Some(token.into());
        self
    }

    /// Takes user and password from `$NETRC` or `~/.netrc`. Default: false.
    #[must_use]
    pub fn netrc(mut self, netrc: bool) -> Self {
        self.network.netrc = netrc;
        self
    }

    /// The `User-Agent`. Default: `partwise/` and the version.
    #[must_use]
    pub fn user_agent(mut self, agent: impl Into<String>) -> Self {
        self.network.user_agent = Some(agent.into());
        self
    }

    /// An `http`, `https` or `socks5` proxy. Default: the environment's.
    #[must_use]
    pub fn proxy(mut self, url: impl Into<String>) -> Self {
        self.network.proxy = Some(url.into());
        self
    }

    /// Uses no proxy, whatever the environment says. Default: false.
    #[must_use]
    pub fn no_proxy(mut self, no_proxy: bool) -> Self {
        self.network.no_proxy = no_proxy;
        self
    }

    /// Trusts the certificates in this PEM file as well.
    #[must_use]
    pub fn ca_certificate(mut self, file: impl Into<PathBuf>) -> Self {
        self.network.ca_certificate = Some(file.into());
        self
    }

    /// Shows the certificate in this PEM file to the server.
    #[must_use]
    pub fn client_certificate(mut self, file: impl Into<PathBuf>) -> Self {
        self.network.client_certificate = Some(file.into());
        self
    }

    /// The private key of the client certificate, where it lies in a PEM file of its own.
    #[must_use]
    pub fn client_key(mut self, file: impl Into<PathBuf>) -> Self {
        self.network.client_key = Some(file.into());
        self
    }

    /// Does not check the server's certificate. Default: false.
    #[must_use]
    pub fn insecure(mut self, insecure: bool) -> Self {
        self.network.insecure = insecure;
        self
    }

    /// The version of HTTP. Default: [`HttpVersion::Http11`].
    #[must_use]
    pub fn http_version(mut self, version: HttpVersion) -> Self {
        self.network.http_version = version;
        self
    }

    /// The longest wait for a connection. Default: 10 s; more than 0.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.network.connect_timeout = timeout;
        self
    }

    /// The longest wait for a byte. Default: 15 s; more than 0.
    #[must_use]
    pub fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.network.stall_timeout = timeout;
        self
    }
}
