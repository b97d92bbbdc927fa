//! Blocks of the output that are to be compared with the remote.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Bytes of the output.
#[derive(Clone, Debug)]
pub(crate) struct WrittenBlock {
    /// Where they are in the output, in bytes from its start.
    pub(crate) position: u64,
    pub(crate) bytes: Vec<u8>,
}

/// Why blocks are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// An earlier run, or this one under another URL, brought them.
    Earlier,
    /// Any byte may be of another version: replies of this transfer named none, or the object
    /// changed while the last of them came.
    Everything,
}

/// The blocks that are yet to be compared with the remote.
#[derive(Debug)]
pub(super) struct SpotChecks {
    // Taken for a push or a pop, never across an await.
    left: Mutex<Vec<WrittenBlock>>,
    /// Blocks that were not compared to the end.
    unproved: watch::Sender<usize>,
}

/// A block that is being compared. One that was not compared to the end is left over.
pub(super) struct Taken<'a> {
    checks: &'a SpotChecks,
    pub(super) block: Option<WrittenBlock>,
}

impl SpotChecks {
    pub(super) fn new(blocks: Vec<WrittenBlock>) -> Self {
        Self {
            unproved: watch::Sender::new(blocks.len()),
            left: Mutex::new(blocks),
        }
    }

    pub(super) fn take(&self) -> Option<Taken<'_>> {
        let block = self.left().pop()?;
        Some(Taken {
            checks: self,
            block: Some(block),
        })
    }

    /// Whether every block is the same.
    pub(super) fn are_done(&self) -> bool {
        *self.unproved.borrow() == 0
    }

    /// Waits until every block is the same.
    pub(super) async fn done(&self) {
        // The sender lives as long as `self`.
        let _ = self.unproved.subscribe().wait_for(|left| *left == 0).await;
    }

    fn left(&self) -> MutexGuard<'_, Vec<WrittenBlock>> {
        // The list is consistent between any two statements, so a panic elsewhere leaves it usable.
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken<'_> {
    /// The block is the same, and is not compared again.
    pub(super) fn settle(mut self) {
        self.block = None;
        self.checks.unproved.send_modify(|left| *left -= 1);
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.checks.left().extend(self.block.take());
    }
}
