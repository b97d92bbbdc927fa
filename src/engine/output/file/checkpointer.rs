//! The only writer of the checkpoint.
//!
//! A commit takes the set of completed parts, makes their data durable, and then writes the
//! checkpoint with that set. A bit on disk therefore refers to bytes that were on disk before it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{Instrument, debug_span};

use super::samples;
use crate::checkpoint::{self, Checkpoint, CheckpointError, Standing};
use crate::engine::blocking;
use crate::engine::control::events::EventBus;
use crate::engine::schedule::dispatcher::Dispatcher;
use crate::engine::schedule::parts::CompletedParts;
use crate::engine::transfer::commit::{CommitError, CommitKind, Committer};
use crate::engine::transfer::drawn_blocks::DrawnBlocks;
use crate::engine::transfer::written_blocks::WrittenBlock;
use crate::event::Event;
use crate::http::Pinned;
use crate::object::ByteRange;
use crate::storage::{self, Durability, Names, PartFile, Sink, StorageError, Volume};

/// From the end of one commit to the beginning of the next.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);

/// Writes the checkpoint about once a second, and at the end of a transfer.
///
/// It insures against an interruption and is no condition of the download: one that can't be
/// written is a warning, and is tried again at the next commit.
pub(crate) struct Checkpointer<V: Volume> {
    file: Arc<CheckpointFile<V>>,
    events: Arc<EventBus>,
    generation: u64,
    /// The number of parts in the last checkpoint.
    committed: Option<u32>,
    /// The number of parts in the checkpoint that could not be written, if that was the last one.
    unwritten: Option<u32>,
    /// A sync failed. The kernel may have thrown data away, so no later commit could be believed.
    poisoned: bool,
}

/// The partial file with its checkpoint.
pub(crate) struct CheckpointFile<V: Volume> {
    pub(crate) volume: Arc<V>,
    pub(crate) names: Names,
    pub(crate) sink: Sink<V::File>,
    pub(crate) durability: Durability,
    /// All that stays the same from one checkpoint to the next. Its generation is the last one on
    /// disk, or 0 for a new file, of which there is nothing to commit yet.
    pub(crate) identity: Checkpoint,
    /// The version, of which replies may tell more than the probe did.
    pub(crate) pinned: Pinned,
}

/// A checkpoint that could not be written.
struct Unwritten {
    error: CheckpointError,
    /// Whether an earlier one is on disk.
    has_earlier: bool,
}

impl<V: Volume> Checkpointer<V> {
    pub(crate) fn new(file: CheckpointFile<V>, events: Arc<EventBus>) -> Self {
        let generation = file.identity.generation;
        Self {
            generation,
            file: Arc::new(file),
            events,
            committed: (generation == 0).then_some(0),
            unwritten: None,
            poisoned: false,
        }
    }

    /// Whether the checkpoint on disk lacks parts that came, because a later one could not be
    /// written.
    pub(crate) fn is_behind(&self) -> bool {
        self.unwritten.is_some() && self.unwritten != self.committed
    }

    fn warn(&self, unwritten: &Unwritten) {
        let earlier = match unwritten.has_earlier {
            true => "",
            false => ", and there is none",
        };
        self.events.warn(format!(
            "the checkpoint can't be written: {}; a run that is interrupted now starts again from \
             the last one{earlier}",
            unwritten.error
        ));
    }
}

impl<V: Volume> Committer for Checkpointer<V> {
    /// Commits about once a second, if a part completed since, until `over`. Must not be dropped
    /// before it returns: no later commit can build on one whose result is unknown.
    async fn run(
        &mut self,
        dispatcher: &Dispatcher,
        proven: &(dyn Fn() -> CompletedParts + Sync),
        over: &mut watch::Receiver<bool>,
    ) -> Result<(), CommitError> {
        let mut seen = self.committed;
        while !*over.borrow() {
            let completed = Some(dispatcher.completed_parts());
            if seen != completed {
                self.commit(proven(), CommitKind::Periodic).await?;
                seen = completed;
            }
            // An error means that the sender is gone, and the transfer with it.
            let _ = timeout(INTERVAL, over.wait_for(|over| *over)).await;
        }
        Ok(())
    }

    async fn blocks(
        &mut self,
        drawn: Vec<DrawnBlocks>,
        of_replies: Vec<ByteRange>,
    ) -> Result<Vec<WrittenBlock>, CommitError> {
        let sink = &self.file.sink;
        let mut blocks = samples::at(sink, of_replies).await?;
        for drawn in drawn {
            blocks.extend(samples::drawn(sink, drawn).await?);
        }
        Ok(blocks)
    }

    /// Commits these parts. If dropped midway, the whole checkpoint may be on disk or not.
    ///
    /// # Errors
    ///
    /// Those of making the parts durable.
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
            standing: match kind {
                CommitKind::Refused => Standing::Refused,
                _ => Standing::Partial,
            },
            ..self.file.identity.clone()
        };
        let file = Arc::clone(&self.file);
        // Stays so if this future is dropped during the sync, whose result is then unknown.
        self.poisoned = true;
        let span = debug_span!("commit", parts = count, ?kind);
        let written = blocking::run(move || file.write(checkpoint))
            .instrument(span)
            .await?;
        self.poisoned = false;
        match written {
            Ok(()) => {
                self.committed = Some(count);
                self.unwritten = None;
                self.events.emit(Event::Committed { parts: count });
            }
            Err(unwritten) => {
                if self.unwritten.replace(count).is_none() {
                    self.warn(&unwritten);
                }
            }
        }
        Ok(())
    }
}

impl<V: Volume> CheckpointFile<V> {
    /// Makes the parts durable, and then tries to write the checkpoint. An earlier one stays
    /// otherwise; the next run reads back what that names, because the file was changed since.
    ///
    /// # Errors
    ///
    /// The sync of the data fails.
    fn write(&self, mut checkpoint: Checkpoint) -> Result<Result<(), Unwritten>, StorageError> {
        if self.durability == Durability::Synced {
            self.sink.sync()?;
        }
        checkpoint.identity = self.pinned.identity();
        // If another program replaced the file, the next run must not take its bytes on trust.
        let is_untouched = storage::is_untouched(
            &*self.volume,
            self.names.part(),
            self.sink.file(),
            checkpoint.file_length(),
        );
        checkpoint.clean &= is_untouched;
        checkpoint.file = self.sink.file().stamp().ok();
        let saved = checkpoint::save(&*self.volume, &self.names, &checkpoint, self.durability);
        Ok(saved.map_err(|error| {
            let earlier = self.volume.identity(self.names.checkpoint());
            Unwritten {
                error,
                has_earlier: !matches!(earlier, Ok(None)),
            }
        }))
    }
}

#[cfg(test)]
pub(super) mod tests;
