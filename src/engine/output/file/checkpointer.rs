//! The only writer of the checkpoint.
//!
//! A commit takes the set of completed parts, makes their data durable, and then writes the
//! checkpoint with that set. A bit on disk therefore refers to bytes that were on disk before it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{Instrument, debug_span};

use crate::checkpoint::{self, Checkpoint};
use crate::engine::blocking;
use crate::engine::control::events::EventBus;
use crate::engine::schedule::dispatcher::Dispatcher;
use crate::engine::schedule::parts::CompletedParts;
use crate::engine::transfer::commit::{CommitError, CommitKind, Committer};
use crate::event::Event;
use crate::storage::{self, Durability, Names, Sink, Volume};

/// From the end of one commit to the beginning of the next.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);

/// Writes the checkpoint about once a second, and at the end of a transfer.
pub(crate) struct Checkpointer<V: Volume> {
    file: Arc<CheckpointFile<V>>,
    events: Arc<EventBus>,
    generation: u64,
    /// The number of parts in the last checkpoint.
    committed: Option<u32>,
    /// A sync failed. The kernel may have thrown data away, so no later commit could be believed.
    poisoned: bool,
}

struct CheckpointFile<V: Volume> {
    volume: Arc<V>,
    names: Names,
    sink: Sink<V::File>,
    durability: Durability,
    /// All that stays the same from one checkpoint to the next.
    identity: Checkpoint,
}

impl<V: Volume> Checkpointer<V> {
    /// `identity` holds all that stays the same; its generation is the last one on disk.
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
            file: Arc::new(CheckpointFile {
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
    /// Commits about once a second, if a part completed since, until `over`. Must not be dropped
    /// before it returns: no later commit can build on one whose result is unknown.
    async fn run(
        &mut self,
        dispatcher: &Dispatcher,
        over: &mut watch::Receiver<bool>,
    ) -> Result<(), CommitError> {
        while !*over.borrow() {
            if self.committed != Some(dispatcher.completed_parts()) {
                self.commit(dispatcher.completed(), CommitKind::Periodic)
                    .await?;
            }
            // An error means that the sender is gone, and the transfer with it.
            let _ = timeout(INTERVAL, over.wait_for(|over| *over)).await;
        }
        Ok(())
    }

    /// Commits these parts. If dropped midway, the whole checkpoint may be on disk or not.
    async fn commit(&mut self, parts: CompletedParts, kind: CommitKind) -> Result<(), CommitError> {
        if self.poisoned {
            return Err(CommitError::Poisoned);
        }
        self.generation += 1;
        let count = parts.completed.count();
        let checkpoint = Checkpoint {
            generation: self.generation,
            completed: parts.completed,
            crcs: parts.crcs,
            clean: kind == CommitKind::Clean,
            ..self.file.identity.clone()
        };
        let file = Arc::clone(&self.file);
        // Stays so if this future is dropped during the sync, whose result is then unknown.
        self.poisoned = true;
        let span = debug_span!("commit", parts = count, ?kind);
        blocking::run(move || file.write(checkpoint))
            .instrument(span)
            .await?;
        self.poisoned = false;
        self.committed = Some(count);
        self.events.emit(Event::Committed { parts: count });
        Ok(())
    }
}

impl<V: Volume> CheckpointFile<V> {
    fn write(&self, mut checkpoint: Checkpoint) -> Result<(), CommitError> {
        if self.durability == Durability::Synced {
            self.sink.sync()?;
        }
        // If another program replaced the file, the next run must not take its bytes on trust.
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
