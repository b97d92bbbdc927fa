//! A multipart, parallel, resumable HTTP range downloader.
//!
//! partwise fetches an object over several connections at once and writes each range straight to
//! its place in a partial file. About once a second it records the completed parts in a checkpoint,
//! so a later start requests only the missing ones, even under another URL. Every reply has to
//! prove that it is the range and the version that was asked for. The file gets its final name only
//! when it is whole and verified. Linux only.
//!
//! ```no_run
//! use futures::StreamExt;
//! use partwise::{Download, Event};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), partwise::Error> {
//!     let download = Download::builder("https://example.org/v.mp4").output("v.mp4").build()?;
//!     let handle = download.start();
//!
//!     let mut events = handle.events();
//!     while let Some(event) = events.next().await {
//!         if let Event::Progress(progress) = event {
//!             println!("{} bytes", progress.completed_bytes);
//!         }
//!     }
//!
//!     let report = handle.finish().await?;
//!     println!("{} is whole: {} bytes", report.output.display(), report.bytes);
//!     Ok(())
//! }
//! ```
//!
//! # Where to begin
//!
//! * [`Download::builder`] describes what to download and how. [`DownloadBuilder::build`] checks
//!   every option.
//! * [`Download::start`] runs the download on the current Tokio runtime and returns a
//!   [`DownloadHandle`]: [`pause`], [`resume`], [`stop`], [`cancel`], and [`finish`] to await the
//!   end. Clones of it control the same download.
//! * [`DownloadHandle::events`] returns a stream of what happens. State changes come once each and
//!   in order; progress is lossy.
//! * [`Error::kind`] tells the cause of a failure, [`Error::status`] the HTTP status,
//!   [`Error::remedy`] what to do about it.
//! * [`Error::checkpoint`] names the checkpoint, and [`DownloadBuilder::resume_from`] resumes from
//!   one.
//! * [`inspect`](inspect()) returns what a checkpoint says, without the network.
//!
//! [`pause`]: DownloadHandle::pause
//! [`resume`]: DownloadHandle::resume
//! [`stop`]: DownloadHandle::stop
//! [`cancel`]: DownloadHandle::cancel
//! [`finish`]: DownloadHandle::finish
//!
//! # The words
//!
//! | word | what it means |
//! |---|---|
//! | part | what one bit of the checkpoint's bitmap stands for |
//! | block | 64 KiB, the unit in which leases are cut |
//! | range | the bytes that one request asks for |
//! | lease | a run of missing blocks that one connection holds and fetches |
//! | attempt | one request for a range |
//! | validator | what tells one version of the object from another: an entity tag, a date |
//! | probe | the first request: length, validator, whether there are ranges |
//! | checkpoint | the file that names the completed parts and the version they are of |
//! | commit | to make parts durable and then write the checkpoint that names them |
//! | restore | to take over what an earlier run left |
//! | publish | to give the whole file its final name |
//!
//! The [`manual`] describes how it works ([`manual::design`]), what it promises
//! ([`manual::promises`]) and what it writes ([`manual::checkpoint_format`]).
//!
//! # Features
//!
//! `cli`, on by default, is the command with its progress display, its benchmark and its embedded
//! server. A program that downloads needs none of them: `default-features = false`.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "cli")]
pub mod bench;
mod checkpoint;
mod download;
mod engine;
mod error;
mod event;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod handle;
mod http;
mod inspect;
mod integrity;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;
#[cfg(doc)]
pub mod manual;
mod object;
mod options;
#[cfg(feature = "cli")]
pub mod origin;
mod report;
mod storage;

pub use download::{Download, DownloadBuilder};
pub use error::{Error, ErrorKind, Remedy};
pub use event::{Event, Progress};
pub use handle::{DownloadHandle, Events};
pub use inspect::{Inspection, inspect};
pub use options::{
    Checksum, Connections, HttpDate, HttpVersion, OnChange, Output, ParseChecksumError,
    ParseHttpDateError, ParseRangesError, PartSize, Ranges, Verify, Writer, WriterKind,
};
#[doc(hidden)]
pub use report::Samples;
pub use report::{Account, Bottleneck, IdentityKind, Integrity, Report, ValidatorKind};
