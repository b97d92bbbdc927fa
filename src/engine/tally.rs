//! What a run counts, for its report and its progress.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Counters that workers add to and that the run reads; each stands for itself, so relaxed order is enough.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    fetched_bytes: AtomicU64,
    useful_bytes: AtomicU64,
    attempts: AtomicU64,
    retries: AtomicU64,
    refusals: AtomicU64,
    disk_wait_nanos: AtomicU64,
    active: AtomicU32,
    most_active: AtomicU32,
    first_byte: OnceLock<Instant>,
    // Taken once a request.
    last_full: Mutex<Option<Instant>>,
}

/// A transfer that counts as under way for as long as this lives.
#[derive(Debug)]
pub(crate) struct Underway<'a>(&'a Tally);

impl Tally {
    pub(crate) fn fetched(&self, bytes: u64) {
        if self.fetched_bytes.fetch_add(bytes, Ordering::Relaxed) == 0 {
            self.first_byte.get_or_init(Instant::now);
        }
    }

    /// Counts bytes of a part that was completed for the first time.
    pub(crate) fn useful(&self, bytes: u64) {
        self.useful_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.refusals.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn waited_for_disk(&self, wait: Duration) {
        let nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        self.disk_wait_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(crate) fn attempted(&self) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a transfer as under way until the result is dropped.
    pub(crate) fn underway(&self) -> Underway<'_> {
        let now = self.active.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_active.fetch_max(now, Ordering::Relaxed);
        Underway(self)
    }

    pub(crate) fn fetched_bytes(&self) -> u64 {
        self.fetched_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn useful_bytes(&self) -> u64 {
        self.useful_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn attempts(&self) -> u64 {
        self.attempts.load(Ordering::Relaxed)
    }

    pub(crate) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    pub(crate) fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }

    pub(crate) fn disk_wait(&self) -> Duration {
        Duration::from_nanos(self.disk_wait_nanos.load(Ordering::Relaxed))
    }

    pub(crate) fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    pub(crate) fn most_active(&self) -> u32 {
        self.most_active.load(Ordering::Relaxed)
    }

    /// When the first body byte came.
    pub(crate) fn first_byte(&self) -> Option<Instant> {
        self.first_byte.get().copied()
    }

    /// The last moment at which as many transfers as ever were under way.
    pub(crate) fn last_full(&self) -> Option<Instant> {
        *self.full()
    }

    fn full(&self) -> MutexGuard<'_, Option<Instant>> {
        // One assignment is all that happens under the lock, so a panic elsewhere leaves it whole.
        self.last_full
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        let before = self.0.active.fetch_sub(1, Ordering::Relaxed);
        if before == self.0.most_active() {
            *self.0.full() = Some(Instant::now());
        }
    }
}
