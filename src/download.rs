//! What to download, where to, and how.

mod build;
mod checks;
mod network;
mod resume;
mod transfer;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::DownloadHandle;
use crate::engine::{self, Job};
use crate::http::ClientConfig;
use crate::options::{
    Checksum, Connections, HttpDate, OnChange, Output, PartSize, Ranges, Refresh, Verify, Writer,
};

/// A download whose options are checked, ready to be started.
///
/// [`Download::builder`] describes one, and [`DownloadBuilder::build`] makes it.
pub struct Download {
    job: Job,
}

/// Shows the URL without user information, query and fragment.
impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download")
            .field("url", &self.job.source.shown())
            .finish_non_exhaustive()
    }
}

impl Download {
    /// Returns a builder with default options for the download of `url`, an `http` or `https` URL.
    ///
    /// User information in the URL (`https://user:password@host/`) is sent as Basic authentication
    /// (RFC 7617).
    pub fn builder(url: impl Into<String>) -> DownloadBuilder {
        DownloadBuilder::new(url.into())
    }

    /// Path of the file that the download makes; `-` for standard output.
    #[must_use]
    pub fn output(&self) -> PathBuf {
        engine::output_of(&self.job)
    }

    /// Starts the download on the current Tokio runtime, as a separate task, and returns the
    /// handle that controls it.
    ///
    /// The runtime must have its I/O and time drivers enabled. What an earlier run left of the same
    /// object is resumed. The download runs whether or not the handle is used; dropping the
    /// handle's last clone stops it.
    ///
    /// # Panics
    ///
    /// Panics outside of a Tokio runtime.
    #[must_use = "dropping the handle stops the download"]
    pub fn start(self) -> DownloadHandle {
        let (shared, task) = engine::start(self.job);
        DownloadHandle::new(shared, task)
    }
}

/// The description of a download: what to fetch, where to, and how.
///
/// No method fails. [`build`](Self::build) checks every option. An option that is set twice has the
/// value that was set last; [`mirror`](Self::mirror), [`checksum`](Self::checksum) and
/// [`header`](Self::header) add up.
///
/// The `Debug` form leaves out what may hold a secret: URLs, headers, credentials, the refresh
/// command.
#[derive(Clone, PartialEq, Eq)]
pub struct DownloadBuilder {
    url: String,
    output: Output,
    dir: PathBuf,
    /// In place of `output` and `dir`.
    checkpoint: Option<PathBuf>,
    head_url: Option<String>,
    mirrors: Vec<String>,
    trust_mirrors: bool,
    ranges: Option<Ranges>,
    checksums: Vec<Checksum>,
    connections: Connections,
    max_connections: u32,
    part_size: PartSize,
    limit_rate: Option<u64>,
    /// Bytes a second, and how long a transfer may be slower.
    lowest_speed: Option<(u64, Duration)>,
    retries: u32,
    wait_online: Duration,
    fresh: bool,
    overwrite: bool,
    sync: bool,
    writer: Writer,
    verify: Verify,
    on_change: OnChange,
    if_match: Option<String>,
    if_none_match: Option<String>,
    if_modified_since: Option<HttpDate>,
    if_unmodified_since: Option<HttpDate>,
    refresh: Option<Refresh>,
    network: ClientConfig,
}

impl fmt::Debug for DownloadBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let network = &self.network;
        f.debug_struct("DownloadBuilder")
            .field("output", &self.output)
            .field("dir", &self.dir)
            .field("checkpoint", &self.checkpoint)
            .field("ranges", &self.ranges)
            .field("checksums", &self.checksums)
            .field("connections", &self.connections)
            .field("max_connections", &self.max_connections)
            .field("part_size", &self.part_size)
            .field("limit_rate", &self.limit_rate)
            .field("lowest_speed", &self.lowest_speed)
            .field("retries", &self.retries)
            .field("wait_online", &self.wait_online)
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
            checkpoint: None,
            head_url: None,
            mirrors: Vec::new(),
            trust_mirrors: false,
            ranges: None,
            checksums: Vec::new(),
            connections: Connections::Auto,
            max_connections: 32,
            part_size: PartSize::Auto,
            limit_rate: None,
            lowest_speed: None,
            retries: 8,
            wait_online: Duration::from_secs(600),
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
            refresh: None,
            network: ClientConfig::default(),
        }
    }
}
