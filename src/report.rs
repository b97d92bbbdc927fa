//! What a finished download did.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::options::WriterKind;
use serde::{Serialize, Serializer};

/// What a finished download did. Serialises to one JSON object, whose fields may become more.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The URL, without user information, query and fragment.
    pub url: String,
    /// Path of the file; `-` for standard output. Serialises with what is not UTF-8 replaced.
    #[serde(serialize_with = "lossy")]
    pub output: PathBuf,
    /// Length of the object, or of the selected ranges, in bytes.
    pub bytes: u64,
    /// Bytes of an earlier run that were on disk and trusted at the start.
    pub resumed_bytes: u64,
    /// Body bytes that were received in this run.
    pub fetched_bytes: u64,
    /// Fetched bytes that were thrown away: of an aborted attempt, of a range that another
    /// connection brought first, or of a block that was only compared.
    pub wasted_bytes: u64,
    /// Bytes that one bit of the bitmap stands for. 0 where the server did not tell the length.
    pub part_size: u64,
    /// Number of parts. 0 where the server did not tell the length.
    pub parts: u32,
    /// The most transfers that were under way at once.
    pub connections: u32,
    /// Number of requests for body bytes.
    pub attempts: u64,
    /// Number of requests that repeated a failed one.
    pub retries: u64,
    /// Wall time from the start to the final name. Serialises as `elapsed_seconds`.
    #[serde(rename = "elapsed_seconds", serialize_with = "seconds")]
    pub elapsed: Duration,
    /// Fetched bytes divided by wall time.
    pub bytes_per_second: u64,
    /// What told one version of the object from another.
    pub validator: ValidatorKind,
    /// The object's entity tag as the server sent it. `None` where it sent none.
    pub etag: Option<String>,
    /// What every reply had in common with the version that was downloaded.
    pub identity: IdentityKind,
    /// Number of blocks that were fetched once more and compared with the bytes of the output or of
    /// the first server.
    pub spot_checks: u64,
    /// How bytes reached the file.
    pub writer: WriterKind,
    /// Digests of the whole file that were compared: those that the caller gave, then those that
    /// the server sent.
    pub integrity: Vec<Integrity>,
    /// What held the download back.
    pub bottleneck: Bottleneck,
    /// Where the time went.
    pub account: Account,
    /// What single requests were like.
    #[doc(hidden)]
    #[serde(skip)]
    pub samples: Samples,
    /// Whether nothing was fetched because the server has no newer version than a condition asks
    /// for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub not_modified: bool,
    /// Whether only the end of the connection told the end of the object, and no digest was
    /// compared. One that was cut off looks the same.
    #[serde(rename = "end_unproven", skip_serializing_if = "std::ops::Not::not")]
    pub is_end_unproven: bool,
    /// Number of completed parts of an earlier run that did not match their CRCs and were fetched
    /// again.
    pub damaged_parts: u32,
}

/// Where the time of a download went, and what hindered it.
///
/// Durations serialise as seconds. The times of transfers are sums over all of them, so with
/// several at once they exceed the wall time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Account {
    /// Time from the start to the first body byte. `None` where no byte was fetched.
    #[serde(rename = "first_byte_seconds", serialize_with = "optional_seconds")]
    pub first_byte: Option<Duration>,
    /// Time at the end in which fewer transfers were under way than were wanted, `closing`
    /// included.
    #[serde(rename = "tail_seconds", serialize_with = "seconds")]
    pub tail: Duration,
    /// Time at the end in which no transfer was under way: digests, the last sync, the final name.
    #[serde(rename = "closing_seconds", serialize_with = "seconds")]
    pub closing: Duration,
    /// Time of all transfers together: connecting, waiting for replies, receiving, writing.
    #[serde(rename = "transfer_seconds", serialize_with = "seconds")]
    pub transfers: Duration,
    /// Time that transfers waited for connections and for the heads of replies.
    #[serde(rename = "reply_wait_seconds", serialize_with = "seconds")]
    pub reply_wait: Duration,
    /// Time that transfers waited for the disk: for windows of a map, and for positional writes of
    /// 10 ms and more.
    #[serde(rename = "disk_wait_seconds", serialize_with = "seconds")]
    pub disk_wait: Duration,
    /// Processor time of the whole process during the download.
    #[serde(rename = "cpu_seconds", serialize_with = "seconds")]
    pub cpu: Duration,
    /// Number of connections that were wanted at the end.
    pub connections_kept: u32,
    /// Number of connections and requests that the server turned away: 429, 503, refused, closed
    /// before a reply.
    pub refusals: u64,
    /// Number of attempts that ended because no byte came for the stall timeout.
    pub stalls: u64,
    /// Number of connections that were given up because they were far slower than the others.
    pub replaced: u64,
}

/// Figures of single requests; of many, the newest.
#[doc(hidden)]
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Samples {
    /// Bytes a second of each lease that brought something, its waits included.
    pub connection_rates: Vec<u64>,
    /// Time to first byte of each request.
    pub first_bytes: Vec<Duration>,
}

/// What tells one version of an object from another (RFC 9110, section 8.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValidatorKind {
    /// A strong entity tag: sent as `If-Match` with every range.
    StrongEtag,
    /// A weak entity tag: compared as text, never sent in `If-Match`.
    WeakEtag,
    /// A modification date: sent as `If-Unmodified-Since`.
    LastModified,
    /// Neither, or none that can be sent: only what is compared tells a change that keeps the
    /// length.
    None,
}

/// By what a version was proved, from the weakest up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum IdentityKind {
    /// The length alone.
    Length,
    /// The modification date.
    LastModified,
    /// A weak entity tag, or one that is not well formed.
    WeakEtag,
    /// A strong entity tag.
    StrongEtag,
    /// A digest of the whole object that the server sends.
    Digest,
    /// The version identifier of an object store.
    VersionId,
}

/// A digest of the whole file that was compared with its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Integrity {
    /// The algorithm's name: `sha-256`, `crc64`, ….
    pub algorithm: String,
    /// The header field that carried the digest, or [`CALLER`](Self::CALLER) for one that
    /// [`DownloadBuilder::checksum`](crate::DownloadBuilder::checksum) gave.
    pub source: String,
    /// Lower-case hexadecimal digits.
    pub value: String,
    /// Whether the bytes match.
    pub verified: bool,
}

impl Integrity {
    /// The [`source`](Self::source) of a digest that the caller gave.
    pub const CALLER: &'static str = "caller";
}

/// What held a download back most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bottleneck {
    /// The network between server and client.
    Network,
    /// The server, which refused connections or requests.
    Server,
    /// Writing the file.
    Disk,
    /// This machine's processors.
    Cpu,
    /// The rate limit that was asked for.
    LimitRate,
}

fn lossy<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

fn optional_seconds<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    duration.map(|d| d.as_secs_f64()).serialize(serializer)
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}
