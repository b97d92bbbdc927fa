//! What the options of a download may be.

mod checksum;
mod date;
mod ranges;
mod refresh;

use std::num::NonZeroU32;
use std::path::PathBuf;

use serde::Serialize;

pub use checksum::{Checksum, ParseChecksumError};
pub use date::{HttpDate, ParseHttpDateError};
pub use ranges::{ParseRangesError, Ranges};
pub(crate) use refresh::Refresh;

/// How many connections one download uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Connections {
    /// As many as measurements during the download justify, up to
    /// [`DownloadBuilder::max_connections`](crate::DownloadBuilder::max_connections).
    #[default]
    Auto,
    /// At most this many transfers at once. With 1, there is one request at a time.
    Fixed(NonZeroU32),
}

/// How many bytes one bit of the checkpoint's bitmap stands for.
///
/// A part is recorded as completed as a whole: after a crash, a resume fetches incomplete parts
/// again. A resumed download keeps the part size with which it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PartSize {
    /// A power of two from 256 KiB that grows with the object.
    #[default]
    Auto,
    /// This many bytes, at least 1. The object must not have more than 2^22 parts of that size.
    Bytes(u64),
}

/// How bytes reach the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Writer {
    /// A memory map where the file system can reserve the file's blocks, otherwise positional
    /// writes.
    ///
    /// The first map installs a handler of SIGBUS for the whole process. The handler turns a page
    /// that goes away under a copy into an error, and passes every other signal on to the handler
    /// that was installed before.
    #[default]
    Auto,
    /// A memory map. The download fails with [`ErrorKind::File`](crate::ErrorKind::File) where a
    /// map is not safe. The first map installs a handler of SIGBUS, as for [`Auto`](Self::Auto).
    Mmap,
    /// Positional writes. Installs no signal handler.
    Pwrite,
}

/// How bytes reached the file: the writer that [`Writer::Auto`] chose, or the one that was asked
/// for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WriterKind {
    /// A memory map over reserved blocks.
    Mmap,
    /// Positional writes.
    Pwrite,
}

/// What a download does when the object changes on the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnChange {
    /// Fails with [`ErrorKind::Changed`](crate::ErrorKind::Changed). What came so far is kept if a
    /// reply told of the change, and does not count if compared bytes or the last look did.
    #[default]
    Fail,
    /// Discards what came so far and downloads the new version. After five changes in one download
    /// it fails as [`Fail`](Self::Fail) does.
    Restart,
}

/// When a resume reads the completed parts of an earlier run back and compares them with their
/// CRCs.
///
/// A part that does not match is fetched again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// After a run that did not end in an orderly way, after a reboot, and after a run that had
    /// mirrors.
    #[default]
    Auto,
    /// At every resume.
    Always,
    /// Never.
    Never,
}

/// The version of HTTP that a download speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1: a TCP connection for each transfer.
    #[default]
    Http11,
    /// HTTP/2 where the server offers it: all transfers share one TCP connection.
    Http2,
}

/// Where the bytes of a download go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A file named after the last segment of the URL's path, in
    /// [`DownloadBuilder::dir`](crate::DownloadBuilder::dir).
    FromUrl,
    /// This file, relative to [`DownloadBuilder::dir`](crate::DownloadBuilder::dir).
    File(PathBuf),
    /// The process's standard output, in order. Nothing is kept for a resume.
    Stdout,
    /// Nowhere: every byte is fetched and checked, and none is kept.
    Discard,
    /// Memory of this process, freed at the end: the cost of a file without its disk, for the
    /// benchmark.
    #[doc(hidden)]
    Memory,
}
