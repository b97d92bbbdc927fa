//! What an option may be.

use std::num::NonZeroU32;
use std::path::PathBuf;

/// How many connections one download may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Connections {
    /// The number is found by measuring, up to [`DownloadBuilder::max_connections`](crate::DownloadBuilder::max_connections).
    #[default]
    Auto,
    /// At most this many transfers at once.
    Fixed(NonZeroU32),
}

/// How many bytes one bit of the bitmap stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PartSize {
    /// A power of two from 256 KiB that grows with the object.
    #[default]
    Auto,
    /// This many bytes, at least 1.
    Bytes(u64),
}

/// How bytes reach the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Writer {
    /// A memory map wherever the file system can really reserve the blocks, else positional writes.
    ///
    /// The first map installs a handler of SIGBUS for the whole process, which turns a page that goes away under a copy
    /// into an error and passes everything else on to the handler that was there before.
    #[default]
    Auto,
    /// A memory map; an error where it can't be made safe. With a handler of SIGBUS as for [`Auto`](Self::Auto).
    Mmap,
    /// Positional writes. No handler of signals.
    Pwrite,
}

/// What to do when the object changes while it is being downloaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnChange {
    /// End with [`ErrorKind::Changed`](crate::ErrorKind::Changed).
    #[default]
    Fail,
    /// Throw away what came and download the new version.
    Restart,
}

/// When completed parts of an earlier run are read back against their CRCs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// After an unclean end, a reboot, or a run that had mirrors, whose bytes may differ from what they were taken for.
    #[default]
    Auto,
    /// At every resume.
    Always,
    /// Never.
    Never,
}

/// The version of HTTP that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1: a TCP connection for each transfer.
    #[default]
    Http11,
    /// HTTP/2 where the server offers it: all transfers share one TCP connection.
    Http2,
}

/// Where the bytes go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A file named after the last segment of the URL's path, in [`DownloadBuilder::dir`](crate::DownloadBuilder::dir).
    FromUrl,
    /// This file, relative to [`DownloadBuilder::dir`](crate::DownloadBuilder::dir).
    File(PathBuf),
    /// The process's standard output, in order; nothing is kept for a resume.
    Stdout,
    /// Nowhere: every byte is fetched and checked, and none is kept.
    Discard,
    /// Memory of this process, given back at the end: what a file costs without a disk, for the benchmark.
    #[doc(hidden)]
    Memory,
}
