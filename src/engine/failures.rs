//! Failed attempts in a row.

use tokio::time::Instant;

/// Failed attempts in a row without a byte of progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failures {
    /// How many there were.
    pub(crate) count: u32,
    /// When the first of them failed.
    pub(crate) since: Instant,
}

impl Failures {
    /// None so far.
    pub(crate) fn none(now: Instant) -> Self {
        Self {
            count: 0,
            since: now,
        }
    }

    /// Counts one more, which failed now. Returns all of them.
    pub(crate) fn add(&mut self, now: Instant) -> Self {
        if self.count == 0 {
            self.since = now;
        }
        self.count = self.count.saturating_add(1);
        *self
    }
}
