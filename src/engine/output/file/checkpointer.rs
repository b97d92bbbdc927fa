//! The only writer of the checkpoint.
//!
//! A commit is: take the set of completed parts → make the data durable → write the checkpoint with that set. A bit that
//! is on disk therefore refers to bytes that were on disk before it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::checkpoint::{self, Checkpoint, CheckpointError};
use crate::engine::control::events::EventBus;
use crate::engine::schedule::dispatcher::{CompletedParts, Dispatcher};
use crate::engine::transfer::Committer;
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::storage::{self, Durability, Names, Sink, StorageError, Volume};

/// From the end of one commit to the beginning of the next.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct Checkpointer<V: Volume> {
    shared: Arc<Shared<V>>,
    events: Arc<EventBus>,
    generation: u64,
    /// What the last checkpoint holds.
    committed: Option<u32>,
    /// A sync failed: the kernel may have thrown data away, so that no later commit could be believed.
    poisoned: bool,
}

struct Shared<V: Volume> {
    volume: Arc<V>,
    names: Names,
    sink: Sink<V::File>,
    durability: Durability,
    /// What does not change from one checkpoint to the next.
    identity: Checkpoint,
}

/// Whether everything that the run did is in the checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommitKind {
    /// Transfers go on.
    Periodic,
    /// Nothing is under way.
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

impl<V: Volume> Checkpointer<V> {
    /// `identity` gives all that does not change; its generation is the last one on disk.
    pub(crate) fn new(
        volume: Arc<V>,
        names: Names,
        sink: Sink<V::File>,
        durability: Durability,
        identity: Checkpoint,
        events: Arc<EventBus>,
    ) -> Self {
        Self {
            generation: identity.generation,
            shared: Arc::new(Shared {
                volume,
                names,
                sink,
                durability,
                identity,
            }),
            events,
            committed: None,
            poisoned: false,
        }
    }
}

impl<V: Volume> Committer for Checkpointer<V> {
    /// Commits now and then, whenever there is something new, until `over`. Not to be dropped before it returns: a commit
    /// that nobody saw the end of can't be built upon.
    async fn run(
        &mut self,
        dispatcher: &Dispatcher,
        over: &mut watch::Receiver<bool>,
    ) -> Result<(), CommitError> {
        while !*over.borrow() {
            if self.committed != Some(dispatcher.completed_parts()) {
                self.commit(dispatcher.snapshot(), CommitKind::Periodic)
                    .await?;
            }
            // An error means that the other side is gone, and with it the run.
            let _ = timeout(INTERVAL, over.wait_for(|over| *over)).await;
        }
        Ok(())
    }

    /// Commits a snapshot. Dropped half-way, it may or may not be on disk, whole.
    async fn commit(
        &mut self,
        snapshot: CompletedParts,
        moment: CommitKind,
    ) -> Result<(), CommitError> {
        if self.poisoned {
            return Err(CommitError::Poisoned);
        }
        self.generation += 1;
        let parts = snapshot.completed.count();
        let checkpoint = Checkpoint {
            generation: self.generation,
            completed: snapshot.completed,
            crcs: snapshot.crcs,
            clean: moment == CommitKind::Clean,
            ..self.shared.identity.clone()
        };
        let shared = Arc::clone(&self.shared);
        // Stays so if this future is dropped in mid-sync: then nobody learns how it went.
        self.poisoned = true;
        let write = tokio::task::spawn_blocking(move || shared.write(checkpoint));
        write
            .await
            .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        self.poisoned = false;
        self.committed = Some(parts);
        self.events.emit(Event::Committed { parts });
        Ok(())
    }
}

impl<V: Volume> Shared<V> {
    fn write(&self, mut checkpoint: Checkpoint) -> Result<(), CommitError> {
        if self.durability == Durability::Synced {
            self.sink.sync()?;
        }
        // Where somebody put another file at the name, the next run must not take that one's bytes on trust.
        checkpoint.clean &= storage::is_untouched(
            &*self.volume,
            self.names.part(),
            self.sink.file(),
            checkpoint.file_length(),
        );
        checkpoint::save(&*self.volume, &self.names, &checkpoint, self.durability)?;
        Ok(())
    }
}
