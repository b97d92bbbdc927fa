//! What a running download tells its caller.

use std::time::Duration;

use serde::Serialize;

use crate::report::{Report, ValidatorKind};

/// A step of a download, in the order in which the steps happen.
///
/// State changes are delivered once each and in order. [`Event::Progress`] is lossy: a reader that is
/// slow sees the newest state, not every state.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// The metadata is known.
    Probed {
        /// Bytes to be downloaded; `None` where the server does not say.
        length: Option<u64>,
        /// What tells one version of the object from another.
        validator: ValidatorKind,
        /// Bytes that one bit of the bitmap stands for; 0 where the length is unknown.
        part_size: u64,
        /// Number of parts.
        parts: u32,
        /// Whether byte ranges are available, and with them parallel transfer and resume.
        ranges: bool,
    },
    /// An earlier run's bytes are trusted; only the rest is requested.
    Resumed {
        /// Bytes on disk that need not be fetched again.
        bytes: u64,
        /// Parts on disk that need not be fetched again.
        parts: u32,
    },
    /// An earlier run's bytes can't be used; the download starts from nothing.
    Restarted {
        /// Why: what was expected and what was found.
        reason: String,
    },
    /// Completed parts are being read back and held against their CRCs.
    Verifying {
        /// Bytes read back so far.
        verified_bytes: u64,
        /// Bytes to read back.
        total_bytes: u64,
    },
    /// Bytes arrived.
    Progress(Progress),
    /// An attempt failed and will be repeated.
    Retrying {
        /// Index of the part that the attempt had come to.
        part: u32,
        /// Why the attempt failed.
        reason: String,
        /// Seconds until the next attempt.
        #[serde(rename = "delay_seconds", serialize_with = "seconds")]
        delay: Duration,
    },
    /// A checkpoint is on disk.
    Committed {
        /// Completed parts that it holds.
        parts: u32,
    },
    /// Something the user should know that does not end the download.
    Warning {
        /// The text, free of secrets.
        message: String,
    },
    /// No request is under way and the checkpoint is committed, after a pause.
    Paused,
    /// The file is whole at its final name.
    Finished(Box<Report>),
}

/// How far a download is: bytes now, so far and expected, and at which rate.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes that came since the last progress event that was sent.
    #[serde(skip)]
    pub new_bytes: u64,
    /// Bytes on disk so far, those of earlier runs included.
    pub completed_bytes: u64,
    /// Bytes expected in all; `None` where the server does not say.
    pub total_bytes: Option<u64>,
    /// Bytes a second, over the last seconds.
    pub bytes_per_second: u64,
    /// Transfers under way.
    pub connections: u32,
    /// Seconds until the end at this rate; `None` while there is no telling.
    pub eta_seconds: Option<u64>,
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}
