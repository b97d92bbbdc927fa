//! What a run counts, for its report and its progress.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A write that takes this long had to wait for the disk.
const SLOW_WRITE: Duration = Duration::from_millis(10);
/// So many quick ones in a row show that the disk keeps up again.
const QUICK_WRITES: u32 = 64;

/// Counters that workers add to and that the run reads; each stands for itself, so relaxed order is enough.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    fetched_bytes: AtomicU64,
    useful_bytes: AtomicU64,
    attempts: AtomicU64,
    retries: AtomicU64,
    refusals: AtomicU64,
    stalls: AtomicU64,
    replaced: AtomicU64,
    transfer_nanos: AtomicU64,
    reply_wait_nanos: AtomicU64,
    disk_wait_nanos: AtomicU64,
    /// Quick writes that the disk still owes before it counts as one that keeps up.
    owed_writes: AtomicU32,
    active: AtomicU32,
    most_active: AtomicU32,
    wanted: AtomicU32,
    first_byte: OnceLock<Instant>,
    // Taken once a request.
    ends: Mutex<Ends>,
}

/// Moments after which less was going on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ends {
    /// The last one at which as many transfers as were wanted, or as many as ever, were under way.
    pub(crate) full: Option<Instant>,
    /// The last one at which any was.
    pub(crate) busy: Option<Instant>,
}

/// A transfer that counts as under way for as long as this lives.
#[derive(Debug)]
pub(crate) struct Underway<'a> {
    metrics: &'a Metrics,
    since: Instant,
}

impl Metrics {
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

    pub(crate) fn stalled(&self) {
        self.stalls.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection that crawled was given up.
    pub(crate) fn replaced(&self) {
        self.replaced.fetch_add(1, Ordering::Relaxed);
    }

    /// So many connections are wanted from now on.
    pub(crate) fn wants(&self, connections: u32) {
        self.wanted.store(connections, Ordering::Relaxed);
    }

    pub(crate) fn waited_for_reply(&self, wait: Duration) {
        add(&self.reply_wait_nanos, wait);
    }

    pub(crate) fn waited_for_disk(&self, wait: Duration) {
        add(&self.disk_wait_nanos, wait);
    }

    /// Takes note of how long a positional write took.
    pub(crate) fn wrote(&self, span: Duration) {
        if span >= SLOW_WRITE {
            self.waited_for_disk(span);
            self.owed_writes.store(QUICK_WRITES, Ordering::Relaxed);
        } else if self.disk_is_slow() {
            // One step: a slow write that is noted meanwhile stays noted. At 0 there is nothing to pay.
            let less = |owed: u32| owed.checked_sub(1);
            let _ = self
                .owed_writes
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    }

    /// Whether positional writes had to wait for the disk lately.
    pub(crate) fn disk_is_slow(&self) -> bool {
        self.owed_writes.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn attempted(&self) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a transfer as under way until the result is dropped.
    pub(crate) fn underway(&self) -> Underway<'_> {
        let now = self.active.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_active.fetch_max(now, Ordering::Relaxed);
        Underway {
            metrics: self,
            since: Instant::now(),
        }
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

    pub(crate) fn stalls(&self) -> u64 {
        self.stalls.load(Ordering::Relaxed)
    }

    pub(crate) fn replacements(&self) -> u64 {
        self.replaced.load(Ordering::Relaxed)
    }

    pub(crate) fn wanted(&self) -> u32 {
        self.wanted.load(Ordering::Relaxed)
    }

    /// How long all transfers that have ended took, added up.
    pub(crate) fn transfer_time(&self) -> Duration {
        Duration::from_nanos(self.transfer_nanos.load(Ordering::Relaxed))
    }

    pub(crate) fn reply_wait(&self) -> Duration {
        Duration::from_nanos(self.reply_wait_nanos.load(Ordering::Relaxed))
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

    pub(crate) fn ends(&self) -> Ends {
        *self.locked_ends()
    }

    fn locked_ends(&self) -> MutexGuard<'_, Ends> {
        // Assignments are all that happens under the lock, so a panic elsewhere leaves it whole.
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(nanos: &AtomicU64, span: Duration) {
    let more = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    nanos.fetch_add(more, Ordering::Relaxed);
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        let Self { metrics, since } = *self;
        let now = Instant::now();
        add(&metrics.transfer_nanos, now - since);
        let before = metrics.active.fetch_sub(1, Ordering::Relaxed);
        let mut ends = metrics.locked_ends();
        ends.busy = Some(now);
        if before >= metrics.wanted().min(metrics.most_active()) {
            ends.full = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_slow_until_enough_writes_were_quick() {
        let metrics = Metrics::default();
        let quick = Duration::from_millis(1);
        metrics.wrote(quick);
        assert!(!metrics.disk_is_slow());
        for _ in 0..2 {
            metrics.wrote(SLOW_WRITE);
            for _ in 0..QUICK_WRITES {
                assert!(metrics.disk_is_slow());
                metrics.wrote(quick);
            }
            assert!(!metrics.disk_is_slow());
        }
        assert_eq!(metrics.disk_wait(), SLOW_WRITE * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_tail_begins_when_fewer_transfers_are_under_way_than_are_wanted() {
        let metrics = Metrics::default();
        let step = Duration::from_secs(1);
        let begun = Instant::now();
        metrics.wants(3);
        let all = [metrics.underway(), metrics.underway(), metrics.underway()];
        tokio::time::advance(step).await;
        let [first, second, third] = all;
        drop(first);
        assert_eq!(metrics.ends().full, Some(begun + step));
        tokio::time::advance(step).await;
        // The server refused the third: from now on two are all that is wanted.
        metrics.wants(2);
        drop(second);
        assert_eq!(metrics.ends().full, Some(begun + step * 2));
        tokio::time::advance(step).await;
        drop(third);
        assert_eq!(metrics.ends().full, Some(begun + step * 2));
        assert_eq!(metrics.ends().busy, Some(begun + step * 3));
    }
}
