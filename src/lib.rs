//! A multipart, parallel, resumable HTTP range downloader.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "cli")]
pub mod bench;
mod checkpoint;
mod download;
mod engine;
mod error;
mod event;
mod handle;
mod http;
mod inspect;
mod integrity;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;
mod object;
#[cfg(feature = "cli")]
pub mod origin;
mod report;
mod storage;

pub use download::{
    Connections, Download, DownloadBuilder, HttpVersion, OnChange, Output, PartSize, Verify, Writer,
};
pub use error::{Error, ErrorKind};
pub use event::{Event, Progress};
pub use handle::{DownloadHandle, Events};
pub use inspect::{Inspection, inspect};
#[doc(hidden)]
pub use report::Samples;
pub use report::{Bottleneck, Integrity, Report, ValidatorKind, WriterKind};
