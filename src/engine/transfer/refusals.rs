//! What the server refused while others of its replies came.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::http::{self, HttpError};

/// For how long a refusal tells that the server has as many connections as it takes.
const LATELY: Duration = Duration::from_secs(60);

/// The refusals of one transfer.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    // Held to copy or to set, never across an await.
    last: Mutex<Option<Instant>>,
    /// Whether one may mean that the link may be used no more.
    of_access: AtomicBool,
}

impl Refusals {
    /// Notes one that came now. Returns whether it is the first that may mean that the link may be
    /// used no more.
    pub(super) fn note(&self, error: &HttpError) -> bool {
        *self.last() = Some(Instant::now());
        http::may_have_expired(error, true) && !self.of_access.swap(true, Ordering::Relaxed)
    }

    /// Forgets all of them.
    pub(super) fn forget(&self) {
        *self.last() = None;
        self.of_access.store(false, Ordering::Relaxed);
    }

    /// Whether there was one in the last minute.
    pub(super) fn were_lately(&self) -> bool {
        self.last().is_some_and(|last| last.elapsed() < LATELY)
    }

    /// Whether one may mean that the link may be used no more.
    pub(super) fn are_of_access(&self) -> bool {
        self.of_access.load(Ordering::Relaxed)
    }

    fn last(&self) -> MutexGuard<'_, Option<Instant>> {
        // Only assignments happen under the lock, so a panic elsewhere leaves the value consistent.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
