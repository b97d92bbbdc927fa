//! What a running download tells its caller.

use std::time::Duration;

use serde::Serialize;

use crate::error::Error;
use crate::report::{Report, ValidatorKind};

/// A step of a download, in the order in which the steps happen.
///
/// Events come in order. Progress is lossy: a reader that is slow gets the newest state, in the
/// place of the oldest one that it has not read, with the new bytes of all of them. Every other
/// event is delivered once to each stream that is read.
///
/// A stream holds 512 unread events. If more come, the oldest of [`Verifying`](Self::Verifying),
/// [`Retrying`](Self::Retrying), [`Committed`](Self::Committed) and [`Warning`](Self::Warning) are
/// dropped, and others only where none of these is left. [`Missed`](Self::Missed) tells of it. The
/// newest events are never dropped, so the end of the download is heard.
///
/// The last event is [`Event::Finished`] or [`Event::Failed`]. A download that the caller stopped
/// or cancelled ends without either of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// The server described the object. Comes again where the download starts over.
    Probed {
        /// Bytes to be downloaded: of the object, or of the selected ranges. `None` where the
        /// server does not say.
        length: Option<u64>,
        /// What tells one version of the object from another.
        validator: ValidatorKind,
        /// Bytes that one bit of the bitmap stands for. 0 where the length is unknown.
        part_size: u64,
        /// Number of parts. 0 where the length is unknown.
        parts: u32,
        /// Whether the server gives byte ranges. Without them there is one connection, and no
        /// resume.
        ranges: bool,
    },
    /// Bytes of an earlier run are trusted. Only the other parts are requested.
    Resumed {
        /// Bytes of the completed parts.
        bytes: u64,
        /// Number of completed parts.
        parts: u32,
    },
    /// What came before, in an earlier run or in this one, can't be used. The download starts over.
    Restarted {
        /// Why: what was expected and what was found. Free of secrets.
        reason: String,
    },
    /// The download reads completed parts of an earlier run back and compares them with their CRCs.
    Verifying {
        /// Bytes read back so far.
        verified_bytes: u64,
        /// Bytes to read back in all.
        total_bytes: u64,
    },
    /// Bytes arrived.
    Progress(Progress),
    /// An attempt failed and will be repeated.
    Retrying {
        /// Index of the part that the attempt had reached, from 0.
        part: u32,
        /// Why the attempt failed. Free of secrets.
        reason: String,
        /// Time until the next attempt. Serialises as `delay_seconds`.
        #[serde(rename = "delay_seconds", serialize_with = "seconds")]
        delay: Duration,
    },
    /// The network is gone, and nothing arrives. The download waits for it, up to
    /// [`DownloadBuilder::wait_online`](crate::DownloadBuilder::wait_online), which tells what
    /// counts as gone.
    Offline,
    /// The network is back.
    Online {
        /// How long it was gone. Serialises as `seconds`.
        #[serde(rename = "seconds", serialize_with = "seconds")]
        gone: Duration,
    },
    /// Access had run out or was about to, and the caller gave a fresh URL. The download goes on
    /// under it.
    Refreshed,
    /// A checkpoint is on disk.
    Committed {
        /// Number of completed parts that it names.
        parts: u32,
    },
    /// The caller should know something that does not end the download.
    Warning {
        /// The text, free of secrets.
        message: String,
    },
    /// The reader was too slow: so many of the events before the next ones were dropped. It comes
    /// before all that are left.
    Missed {
        /// Number of events.
        events: u64,
    },
    /// The download is paused: no request is under way, and the checkpoint is committed, unless a
    /// warning said that it can't be written.
    Paused,
    /// The file is whole at its final name.
    Finished(Box<Report>),
    /// The download failed, and not because the caller stopped or cancelled it. The error is the
    /// one that [`DownloadHandle::finish`](crate::DownloadHandle::finish) returns.
    Failed(Error),
}

/// How far a download is.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes that arrived since the previous progress event of this stream. Not serialised.
    #[serde(skip)]
    pub new_bytes: u64,
    /// Bytes that are downloaded, those of earlier runs included.
    pub completed_bytes: u64,
    /// Bytes to be downloaded in all. `None` where the server does not say.
    pub total_bytes: Option<u64>,
    /// Rate over the last seconds, in bytes a second.
    pub bytes_per_second: u64,
    /// Number of transfers under way.
    pub connections: u32,
    /// Seconds until the end at this rate. `None` while that is unknown.
    pub eta_seconds: Option<u64>,
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}
