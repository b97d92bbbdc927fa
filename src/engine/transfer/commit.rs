//! Where completed parts go next.

use std::io;

use tokio::sync::watch;

use super::drawn_blocks::DrawnBlocks;
use super::written_blocks::WrittenBlock;
use crate::engine::schedule::dispatcher::Dispatcher;
use crate::engine::schedule::parts::CompletedParts;
use crate::error::{Error, ErrorKind};
use crate::object::ByteRange;
use crate::storage::StorageError;

/// Takes completed parts: into a checkpoint, or out in order.
pub(crate) trait Committer: Send {
    /// Keeps up with the dispatcher until `over`. Where something is kept for a later run, it is of
    /// the parts that `proven` gives. Must not be dropped before it returns.
    fn run(
        &mut self,
        dispatcher: &Dispatcher,
        proven: &(dyn Fn() -> CompletedParts + Sync),
        over: &mut watch::Receiver<bool>,
    ) -> impl Future<Output = Result<(), CommitError>> + Send;

    /// Writes out what waits for that. Every part is complete. Must not be dropped before it
    /// returns.
    fn drain(&mut self) -> impl Future<Output = Result<(), CommitError>> + Send {
        async { Ok(()) }
    }

    /// These blocks of the output, or as many of them as can be read, to be compared with the
    /// remote once more: some that are drawn of several parts, and those of replies.
    fn blocks(
        &mut self,
        drawn: Vec<DrawnBlocks>,
        of_replies: Vec<ByteRange>,
    ) -> impl Future<Output = Result<Vec<WrittenBlock>, CommitError>> + Send;

    /// Commits these parts. A checkpoint that can't be written is no error: it is tried again at
    /// the next commit.
    fn commit(
        &mut self,
        parts: CompletedParts,
        kind: CommitKind,
    ) -> impl Future<Output = Result<(), CommitError>> + Send;
}

/// Whether a checkpoint holds all that a run did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommitKind {
    /// Transfers are running, or may have left bytes that the checkpoint does not name.
    Periodic,
    /// No transfer is under way, and the checkpoint names every completed part.
    Clean,
    /// Every part is complete, and the bytes do not match a digest.
    Refused,
}

/// Why a commit failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommitError {
    #[error(transparent)]
    Sync(#[from] StorageError),
    #[error("an earlier sync failed")]
    Poisoned,
    #[error("can't write to standard output: {0}")]
    Output(io::Error),
}

impl From<CommitError> for Error {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Sync(error) => error.into(),
            CommitError::Output(error) => {
                let kind = match error.kind() {
                    io::ErrorKind::BrokenPipe => ErrorKind::ReaderGone,
                    _ => ErrorKind::File,
                };
                Self::new(kind, "can't write to standard output", &error).with_source(error)
            }
            CommitError::Poisoned => Self::new(ErrorKind::File, "can't commit", error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn a_reader_that_went_away_has_a_kind_of_its_own() {
        for (cause, kind) in [
            (rustix::io::Errno::PIPE, ErrorKind::ReaderGone),
            (rustix::io::Errno::BADF, ErrorKind::File),
            (rustix::io::Errno::NOSPC, ErrorKind::File),
        ] {
            let error = Error::from(CommitError::Output(cause.into()));
            assert_eq!(error.kind(), kind, "{error}");
            assert_eq!(error.remedy(), None, "{error}");
            assert!(error.source().unwrap().is::<io::Error>(), "{error}");
        }
    }
}
