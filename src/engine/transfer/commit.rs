//! Where completed parts go next.

use tokio::sync::watch;

use crate::checkpoint::CheckpointError;
use crate::engine::schedule::dispatcher::Dispatcher;
use crate::engine::schedule::parts::CompletedParts;
use crate::error::{Error, ErrorKind};
use crate::storage::StorageError;

/// Takes completed parts: into a checkpoint, or out in order.
pub(crate) trait Committer: Send {
    /// Keeps up with the dispatcher until `over`. Must not be dropped before it returns.
    fn run(
        &mut self,
        dispatcher: &Dispatcher,
        over: &mut watch::Receiver<bool>,
    ) -> impl Future<Output = Result<(), CommitError>> + Send;

    /// Commits these parts.
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
}

/// Why a commit failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommitError {
    #[error(transparent)]
    Sync(#[from] StorageError),
    #[error(transparent)]
    Write(#[from] CheckpointError),
    #[error("an earlier sync failed")]
    Poisoned,
    #[error("can't write to standard output: {0}")]
    Output(std::io::Error),
}

impl From<CommitError> for Error {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Sync(error) => error.into(),
            CommitError::Write(error) => error.into(),
            CommitError::Output(error) => {
                Self::new(ErrorKind::File, "can't write to standard output", error)
            }
            CommitError::Poisoned => Self::new(ErrorKind::File, "can't commit", error),
        }
    }
}
