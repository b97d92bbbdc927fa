//! A multipart, parallel, resumable HTTP range downloader.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod download;
mod error;
mod event;
mod handle;
#[cfg(feature = "cli")]
pub mod origin;
mod report;

pub use download::{
    Connections, Download, DownloadBuilder, HttpVersion, OnChange, Output, PartSize, Verify, Writer,
};
pub use error::{Error, ErrorKind};
pub use event::{Event, Progress};
pub use handle::{DownloadHandle, Events};
pub use report::{Bottleneck, Integrity, Report, ValidatorKind, WriterKind};
