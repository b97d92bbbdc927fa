//! Why a download failed, as a caller sees it.

mod remedy;

use std::error::Error as StdError;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::StatusCode;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::checkpoint::CheckpointError;
use crate::http::{HttpError, HttpErrorKind};
use crate::storage::{StorageError, StorageErrorKind};

pub use remedy::Remedy;

/// The cause of a failure, coarse enough to decide what to do next.
///
/// The command maps each kind to one exit code. A library caller usually matches on
/// [`Changed`](ErrorKind::Changed), [`Refused`](ErrorKind::Refused) and
/// [`Stopped`](ErrorKind::Stopped).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// An option is wrong or contradicts another one. No request was sent, unless the option
    /// depends on the object's length, as ranges do.
    Usage,
    /// The network or the server failed and the retries are used up, or the server's reply breaks
    /// the protocol. Starting the download again resumes it, if there is a checkpoint.
    Network,
    /// The server has another version of the object than the one that was asked for: the object
    /// changed during the download, or a condition (`If-Match`, `If-Unmodified-Since`) does not
    /// hold.
    Changed,
    /// The bytes do not match a checksum.
    Checksum,
    /// A local file can't be used: the disk is full, permission is missing, another run holds the
    /// lock, or another file has the final name.
    File,
    /// The reader of standard output closed the pipe before it had every byte.
    ReaderGone,
    /// The server refuses access (401, 403). Starting again with fresh credentials or a fresh URL
    /// resumes.
    Refused,
    /// The caller stopped the download. The checkpoint is committed, unless
    /// [`Error::is_checkpoint_behind`] tells that it could not be written.
    Stopped,
    /// The caller cancelled the download. The partial file and its checkpoint are removed.
    Cancelled,
    /// Anything else: a defect in partwise, a runtime that was shut down, a call that came too
    /// late.
    Unexpected,
}

/// A failed download: what failed, why, what to do about it, and where its checkpoint is.
///
/// # Text and sources
///
/// `Display` is self-contained: `what failed: why` in one line, without a trailing period. It
/// already holds what the sources say, so a program that prints the whole chain prints the same
/// words twice.
///
/// [`source`](std::error::Error::source) is for programs. Walk the chain to find, for example, the
/// [`std::io::Error`] with which a file operation failed:
///
/// ```
/// use std::error::Error as _;
/// use std::io;
///
/// fn is_disk_full(error: &partwise::Error) -> bool {
///     let mut next = error.source();
///     while let Some(cause) = next {
///         if let Some(cause) = cause.downcast_ref::<io::Error>() {
///             return cause.kind() == io::ErrorKind::StorageFull;
///         }
///         next = cause.source();
///     }
///     false
/// }
/// # let error = partwise::Download::builder("ftp://example.org/").build().unwrap_err();
/// # assert!(!is_disk_full(&error));
/// ```
///
/// The types in between are private and may change; they appear in the chain and can't be downcast
/// to.
///
/// # Secrets
///
/// Neither `Display` nor `Debug` of an error, or of any of its sources, shows a URL's query or user
/// information, a header that the caller gave, or a credential. The one exception is an error that
/// the caller's own [`refresh_with`](crate::DownloadBuilder::refresh_with) function returned: it is
/// passed on as the source, as it is.
///
/// # Equality
///
/// Two errors are equal where their kinds, texts, statuses, remedies and checkpoints are. Sources
/// are not compared.
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    what: String,
    why: String,
    status: Option<u16>,
    remedy: Option<Remedy>,
    /// Whether the same would happen again: then a kind's remedy would mislead.
    is_lasting: bool,
    checkpoint: Option<PathBuf>,
    is_checkpoint_behind: bool,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self {
            kind,
            what: what.into(),
            why: why.to_string(),
            status: None,
            remedy: None,
            is_lasting: false,
            checkpoint: None,
            is_checkpoint_behind: false,
            source: None,
        }
    }

    /// The same error every time: there is no use in starting again.
    pub(crate) fn lasting(self) -> Self {
        Self {
            is_lasting: true,
            ..self
        }
    }

    pub(crate) fn with_remedy(mut self, remedy: Remedy) -> Self {
        self.remedy = Some(remedy);
        self
    }

    /// Adds the remedy where there is no particular one yet.
    pub(crate) fn or_remedy(mut self, remedy: Remedy) -> Self {
        self.remedy.get_or_insert(remedy);
        self
    }

    pub(crate) fn with_checkpoint(mut self, checkpoint: Option<PathBuf>) -> Self {
        self.checkpoint = checkpoint;
        self
    }

    pub(crate) fn with_checkpoint_behind(mut self, is_behind: bool) -> Self {
        self.is_checkpoint_behind = is_behind;
        self
    }

    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// The error of a request that failed for good after `attempts` attempts.
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
        let remedy = match error.kind() {
            HttpErrorKind::PreconditionFailed => Some(Remedy::DropCondition),
            HttpErrorKind::Tls => Some(Remedy::TrustCertificate),
            HttpErrorKind::Page(_) => Some(Remedy::LeavePage),
            HttpErrorKind::Status(StatusCode::NOT_FOUND | StatusCode::GONE) => {
                Some(Remedy::CheckUrl)
            }
            HttpErrorKind::Status(StatusCode::PROXY_AUTHENTICATION_REQUIRED) => {
                Some(Remedy::ProxyCredentials)
            }
            _ => None,
        };
        Self {
            status: error.status().map(|status| status.as_u16()),
            remedy,
            is_lasting: matches!(error.kind(), HttpErrorKind::Coding(_)),
            ..failed.with_source(error.clone())
        }
    }

    /// Why it failed: the text without what failed.
    pub(crate) fn why(&self) -> &str {
        &self.why
    }

    /// The cause, coarse enough to decide what to do next.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The HTTP status of the reply that caused the failure, such as 404; `None` where no reply
    /// did.
    ///
    /// The reply may be a proxy's: then the status is 407.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// What the caller can do about the failure; `None` where there is no more to say than the text
    /// does.
    #[must_use]
    pub fn remedy(&self) -> Option<&Remedy> {
        self.remedy.as_ref().or(match self.kind {
            _ if self.is_lasting => None,
            ErrorKind::Network | ErrorKind::Stopped => Some(&Remedy::StartAgain),
            ErrorKind::Changed => Some(&Remedy::AcceptChange),
            ErrorKind::Refused => Some(&Remedy::RenewAccess),
            _ => None,
        })
    }

    /// The checkpoint from which [`resume_from`](crate::DownloadBuilder::resume_from), or another
    /// start with the same output, resumes; `None` where none was committed.
    #[must_use]
    pub fn checkpoint(&self) -> Option<&Path> {
        self.checkpoint.as_deref()
    }

    /// Whether parts came that the [`checkpoint`](Self::checkpoint) lacks, because a later one
    /// could not be written. A resumed download fetches them again.
    #[must_use]
    pub fn is_checkpoint_behind(&self) -> bool {
        self.is_checkpoint_behind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

impl PartialEq for Error {
    fn eq(&self, other: &Self) -> bool {
        let texts = self.what == other.what && self.why == other.why;
        texts
            && self.kind == other.kind
            && self.status == other.status
            && self.remedy == other.remedy
            && self.checkpoint == other.checkpoint
            && self.is_checkpoint_behind == other.is_checkpoint_behind
    }
}

/// Serialises to an object with the fields `kind`, `error`, `status`, `remedy`, `checkpoint` and
/// `is_checkpoint_behind`. `error` is the text of the error. In the path, replacement characters
/// stand for bytes that are not UTF-8.
impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let checkpoint = self.checkpoint().map(Path::to_string_lossy);
        let mut fields = serializer.serialize_struct("Error", 6)?;
        fields.serialize_field("kind", &self.kind)?;
        fields.serialize_field("error", &self.to_string())?;
        fields.serialize_field("status", &self.status)?;
        fields.serialize_field("remedy", &self.remedy())?;
        fields.serialize_field("checkpoint", &checkpoint)?;
        fields.serialize_field("is_checkpoint_behind", &self.is_checkpoint_behind)?;
        fields.end()
    }
}

impl From<StorageError> for Error {
    fn from(error: StorageError) -> Self {
        let remedy = match error.kind() {
            StorageErrorKind::Full => Some(Remedy::FreeSpace),
            StorageErrorKind::Locked => Some(Remedy::AwaitOtherRun),
            StorageErrorKind::Exists => Some(Remedy::Overwrite),
            StorageErrorKind::Unsupported => Some(Remedy::PositionalWrites),
            _ => None,
        };
        Self {
            remedy,
            ..Self::new(ErrorKind::File, error.what(), error.why()).with_source(error)
        }
    }
}

impl From<CheckpointError> for Error {
    fn from(error: CheckpointError) -> Self {
        if let CheckpointError::Storage(error) = error {
            return error.into();
        }
        let remedy = match error {
            CheckpointError::Newer { .. } => Some(Remedy::Upgrade),
            _ => None,
        };
        Self {
            remedy,
            ..Self::new(ErrorKind::File, "can't read the checkpoint", &error).with_source(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Operation;
    use std::io;

    fn chain(error: &Error) -> Vec<&(dyn StdError + 'static)> {
        let mut chain = Vec::new();
        let mut next = error.source();
        while let Some(cause) = next {
            chain.push(cause);
            next = cause.source();
        }
        chain
    }

    #[test]
    fn the_system_s_error_is_in_the_chain() {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::PermissionDenied] {
            let failed = StorageError::io(Operation::Write, "v.part", kind.into());
            let error = Error::from(CheckpointError::Storage(failed));
            assert_eq!(error.kind(), ErrorKind::File);
            let found = chain(&error)
                .into_iter()
                .find_map(|cause| cause.downcast_ref::<io::Error>());
            assert_eq!(found.map(io::Error::kind), Some(kind));
        }
    }

    #[test]
    fn a_reply_s_status_and_what_helps() {
        let scripted = |kind| Error::from_http("x", &HttpError::scripted(kind, None), 3);
        let status = |code| StatusCode::from_u16(code).unwrap();
        for (kind, code, remedy) in [
            (
                HttpErrorKind::Status(status(404)),
                Some(404),
                Remedy::CheckUrl,
            ),
            (
                HttpErrorKind::Status(status(503)),
                Some(503),
                Remedy::StartAgain,
            ),
            (
                HttpErrorKind::Status(status(407)),
                Some(407),
                Remedy::ProxyCredentials,
            ),
            (
                HttpErrorKind::Refused(status(403)),
                Some(403),
                Remedy::RenewAccess,
            ),
            (HttpErrorKind::Tls, None, Remedy::TrustCertificate),
            (HttpErrorKind::Timeout, None, Remedy::StartAgain),
            (
                HttpErrorKind::Changed("x".to_owned()),
                None,
                Remedy::AcceptChange,
            ),
        ] {
            let error = scripted(kind);
            assert_eq!(error.status(), code, "{error}");
            assert_eq!(error.remedy(), Some(&remedy), "{error}");
            assert!(error.to_string().ends_with(" (3 attempts)"));
            assert_eq!(chain(&error).len(), 1);
        }
    }

    #[test]
    fn a_coding_that_stays_has_no_remedy() {
        let kind = HttpErrorKind::Coding("x".to_owned());
        let error = Error::from_http("x", &HttpError::scripted(kind, None), 1);
        assert_eq!(error.kind(), ErrorKind::Network);
        assert_eq!(error.remedy(), None);
    }

    #[test]
    fn a_clone_is_equal_and_keeps_the_source() {
        let failed = StorageError::io(Operation::Open, "v", io::ErrorKind::NotFound.into());
        let error = Error::from(failed).with_checkpoint(Some("v.part.ckpt".into()));
        let clone = error.clone();
        assert_eq!(clone, error);
        assert_eq!(chain(&clone).len(), chain(&error).len());
        assert_ne!(clone.with_checkpoint(None), error);
    }
}
