//! What can go wrong, as a caller sees it.

use std::fmt;
use std::path::{Path, PathBuf};

use reqwest::StatusCode;

use crate::checkpoint::CheckpointError;
use crate::http::{HttpError, HttpErrorKind};
use crate::storage::StorageError;

/// The cause of a failure, coarse enough to decide what to do next.
///
/// The command maps each kind to one exit code; a library caller usually matches on
/// [`Changed`](ErrorKind::Changed), [`Refused`](ErrorKind::Refused) and [`Stopped`](ErrorKind::Stopped).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An option is wrong or contradicts another one. Nothing was sent.
    Usage,
    /// The network or the server failed and the retries are used up, or the server
    /// answered what no correct server may. Starting again resumes.
    Network,
    /// The object is not, or no longer, the one asked for: it changed on the server,
    /// or a condition (`If-Match`, `If-Unmodified-Since`) does not hold.
    Changed,
    /// The bytes do not match a checksum.
    Checksum,
    /// A local file: disk full, no permission, locked by another run, a file in the way.
    File,
    /// The server refuses access (401, 403). Fresh credentials or a fresh URL resume.
    Refused,
    /// The caller stopped the download; the checkpoint is committed.
    Stopped,
    /// The caller cancelled the download; what was written is removed.
    Cancelled,
    /// Anything else: a defect in partwise or in its surroundings.
    Unexpected,
}

/// A failed download: what failed, why, what to do, and where the checkpoint lies.
///
/// No URL query, user information, header or other secret is part of its text.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    what: String,
    why: String,
    hint: Option<String>,
    checkpoint: Option<PathBuf>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self {
            kind,
            what: what.into(),
            why: why.to_string(),
            hint: None,
            checkpoint: None,
        }
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn with_checkpoint(mut self, checkpoint: Option<PathBuf>) -> Self {
        self.checkpoint = checkpoint;
        self
    }

    /// The error of a request that failed for good after so many attempts.
    pub(crate) fn from_http(what: impl Into<String>, error: &HttpError, attempts: u32) -> Self {
        let kind = match error.kind() {
            HttpErrorKind::Configuration => ErrorKind::Usage,
            HttpErrorKind::Refused(_) => ErrorKind::Refused,
            HttpErrorKind::Changed(_) | HttpErrorKind::PreconditionFailed => ErrorKind::Changed,
            _ => ErrorKind::Network,
        };
        let failed = match attempts {
            0 | 1 => Self::new(kind, what, error),
            _ => Self::new(kind, what, format_args!("{error} ({attempts} attempts)")),
        };
        match error.kind() {
            HttpErrorKind::PreconditionFailed => failed.with_hint(
                "the server has another version than --if-match or --if-unmodified-since asks for; \
                 leave the condition out to get that one",
            ),
            HttpErrorKind::Tls => failed.with_hint(
                "--cacert FILE trusts a certificate of your own; -k checks none, and trusts anybody",
            ),
            HttpErrorKind::Status(StatusCode::NOT_FOUND | StatusCode::GONE) => {
                failed.with_hint("check the URL; what came so far is kept")
            }
            HttpErrorKind::Status(StatusCode::PROXY_AUTHENTICATION_REQUIRED) => {
                failed.with_hint("--proxy takes user and password: http://USER:PASS@HOST:PORT")
            }
            _ => failed,
        }
    }

    /// What went wrong, without what failed.
    pub(crate) fn why(&self) -> &str {
        &self.why
    }

    /// The cause, coarse.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What to do now, where there is something to do beyond reading the message.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The checkpoint that the next start goes on from, if one was committed.
    #[must_use]
    pub fn checkpoint(&self) -> Option<&Path> {
        self.checkpoint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

impl std::error::Error for Error {}

impl From<StorageError> for Error {
    fn from(error: StorageError) -> Self {
        let hint = error.hint();
        let failed = Self::new(ErrorKind::File, error.what(), error.why());
        match hint {
            Some(hint) => failed.with_hint(hint),
            None => failed,
        }
    }
}

impl From<CheckpointError> for Error {
    fn from(error: CheckpointError) -> Self {
        match error {
            CheckpointError::Storage(error) => error.into(),
            CheckpointError::Newer { .. } => {
                Self::new(ErrorKind::File, "can't read the checkpoint", error).with_hint(
                    "resume with the newer partwise, or throw its work away with --fresh",
                )
            }
            _ => Self::new(ErrorKind::File, "can't read the checkpoint", error),
        }
    }
}
