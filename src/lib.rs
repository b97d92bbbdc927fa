//! A multipart, parallel, resumable HTTP range downloader.
//!
//! An object is fetched over several connections at once, in ranges, straight to its place in a partial file. Which parts of
//! it are there is written to a checkpoint about once a second, so that a later start asks for the missing ones alone, under
//! another URL too. Every reply has to prove that it is the range and the version that was asked for. A file stands at its
//! final name only when it is whole and verified. Linux only.
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
//! * [`Download::builder`] takes what to download and how; every wrong option surfaces in [`DownloadBuilder::build`].
//! * [`Download::start`] runs it on the caller's Tokio runtime and gives a [`DownloadHandle`]: [`pause`], [`resume`], [`stop`],
//!   [`cancel`], and [`finish`] to await the end.
//! * [`DownloadHandle::events`] is the stream of what happens. State changes come once each and in order; progress is lossy.
//! * [`Error::kind`] tells what to do about a failure, [`Error::checkpoint`] where the next start goes on.
//! * [`inspect`](inspect()) shows what a checkpoint holds, without the network.
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
//! | range | the bytes that one request asks for |
//! | lease | a run of missing parts that one connection holds and brings |
//! | attempt | one request for a range |
//! | validator | what tells one version of the object from another: an entity tag, a date |
//! | probe | the first request: length, validator, whether there are ranges |
//! | checkpoint | the file that says which parts are there, and of which version |
//! | commit | making parts durable and then writing the checkpoint that names them |
//! | restore | taking over what an earlier run left |
//! | publish | giving the whole file its final name |
//!
//! The [`manual`] tells how it works ([`manual::design`]), what it promises ([`manual::promises`]) and what it writes
//! ([`manual::checkpoint_format`]).
//!
//! # Features
//!
//! `cli`, on by default, is the command with its progress display, and the embedded server of its demonstration. A program that
//! downloads needs none of it: `default-features = false`.

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
pub use error::{Error, ErrorKind};
pub use event::{Event, Progress};
pub use handle::{DownloadHandle, Events};
pub use inspect::{Inspection, inspect};
pub use options::{Connections, HttpVersion, OnChange, Output, PartSize, Verify, Writer};
#[doc(hidden)]
pub use report::Samples;
pub use report::{Account, Bottleneck, Integrity, Report, ValidatorKind, WriterKind};
