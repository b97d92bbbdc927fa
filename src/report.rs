//! The account of a finished download.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Serialize, Serializer};

/// What a download did and how it went. Serialises to the report of `--json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The URL, without user information, query and fragment.
    pub url: String,
    /// Where the file stands; `-` for standard output. Serialises with what is not UTF-8 replaced.
    #[serde(serialize_with = "lossy")]
    pub output: PathBuf,
    /// Length of the object, or of the selected ranges, in bytes.
    pub bytes: u64,
    /// Bytes that were on disk and trusted at the start.
    pub resumed_bytes: u64,
    /// Body bytes received in this run.
    pub fetched_bytes: u64,
    /// Those of them that were thrown away: an aborted attempt, a hedge that lost.
    pub wasted_bytes: u64,
    /// Bytes that one bit of the bitmap stands for.
    pub part_size: u64,
    /// Number of parts.
    pub parts: u32,
    /// Most transfers that were under way at once.
    pub connections: u32,
    /// Requests for body bytes.
    pub attempts: u64,
    /// Those of them that followed a failed one.
    pub retries: u64,
    /// Wall time.
    #[serde(rename = "elapsed_seconds", serialize_with = "seconds")]
    pub elapsed: Duration,
    /// Fetched bytes over wall time.
    pub bytes_per_second: u64,
    /// What told one version of the object from another.
    pub validator: ValidatorKind,
    /// The object's entity tag as the server sent it.
    pub etag: Option<String>,
    /// How bytes reached the file.
    pub writer: WriterKind,
    /// Whole-object digests that were compared.
    pub integrity: Vec<Integrity>,
    /// What held the download back.
    pub bottleneck: Bottleneck,
    /// Where the time went.
    pub account: Account,
    /// What single requests were like.
    #[doc(hidden)]
    #[serde(skip)]
    pub samples: Samples,
    /// Whether a condition said that nothing newer is there, so that nothing was fetched.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub not_modified: bool,
    /// Completed parts that were read back and did not match their CRC, and were fetched again.
    pub damaged_parts: u32,
}

/// Where the time of a download went, and what stood in its way.
///
/// Times of transfers are added up over all of them, so that several at once spend more than the wall time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Account {
    /// From the start to the first body byte; `None` where none came.
    #[serde(rename = "first_byte_seconds", serialize_with = "optional_seconds")]
    pub first_byte: Option<Duration>,
    /// The time at the end in which fewer transfers than were wanted were under way: the last stragglers, and `closing`.
    #[serde(rename = "tail_seconds", serialize_with = "seconds")]
    pub tail: Duration,
    /// The time at the end in which none was: digests, the last sync, the final name.
    #[serde(rename = "closing_seconds", serialize_with = "seconds")]
    pub closing: Duration,
    /// What all transfers took together: connecting, waiting for replies, receiving, writing.
    #[serde(rename = "transfer_seconds", serialize_with = "seconds")]
    pub transfers: Duration,
    /// What they waited for connections and the heads of replies.
    #[serde(rename = "reply_wait_seconds", serialize_with = "seconds")]
    pub reply_wait: Duration,
    /// What they waited for the file to take more: for windows of a map, and for positional writes of 10 ms and more.
    #[serde(rename = "disk_wait_seconds", serialize_with = "seconds")]
    pub disk_wait: Duration,
    /// Processor time of the whole process meanwhile.
    #[serde(rename = "cpu_seconds", serialize_with = "seconds")]
    pub cpu: Duration,
    /// Connections that were wanted at the end; the report's `connections` is how many there were at most.
    pub connections_kept: u32,
    /// Connections and requests that the server turned away: 429, 503, refused, closed before a reply.
    pub refusals: u64,
    /// Attempts that ended because no byte came for too long.
    pub stalls: u64,
    /// Connections that were given up because they crawled beside the others.
    pub replaced: u64,
}

/// What single requests were like; of many, the newest.
#[doc(hidden)]
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Samples {
    /// Bytes a second of each lease that brought something, its waits included.
    pub connection_rates: Vec<u64>,
    /// The wait of each request for its first byte.
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
    /// Nothing but the length.
    None,
}

/// How bytes reach the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WriterKind {
    /// A memory map over reserved blocks.
    Mmap,
    /// Positional writes.
    Pwrite,
}

/// One whole-object digest that was compared with the bytes on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Integrity {
    /// `sha-256`, `crc64`, ….
    pub algorithm: String,
    /// The header that carried it, or `--checksum`.
    pub source: String,
    /// Lower-case hexadecimal digits.
    pub value: String,
    /// Whether the bytes match.
    pub verified: bool,
}

/// What held a download back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bottleneck {
    /// The path between server and client.
    Network,
    /// The server: it refuses further connections or caps each.
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
