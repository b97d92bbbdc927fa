//! Counters and times of a run, for its report and its progress.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use crate::report::Samples;

/// How often rates are measured and progress is announced.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// The most samples of each kind that are kept. The newest replace the oldest.
const KEPT_SAMPLES: usize = 1024;

/// Counters that the workers increase and the run reads.
///
/// Each counter is independent of the others, so relaxed order suffices.
#[derive(Debug)]
pub(crate) struct Metrics {
    begun: Instant,
    /// Processor time of this process when the run began.
    processor_begun: Duration,
    fetched_bytes: AtomicU64,
    useful_bytes: AtomicU64,
    brought_bytes: AtomicU64,
    resumed_bytes: AtomicU64,
    has_begun: AtomicBool,
    attempts: AtomicU64,
    retries: AtomicU64,
    refusals: AtomicU64,
    stalls: AtomicU64,
    replaced: AtomicU64,
    spot_checks: AtomicU64,
    transfer_nanos: AtomicU64,
    reply_wait_nanos: AtomicU64,
    disk_wait_nanos: AtomicU64,
    damaged_parts: AtomicU32,
    active: AtomicU32,
    most_active: AtomicU32,
    wanted: AtomicU32,
    first_byte: OnceLock<Instant>,
    // Taken once per request.
    ends: Mutex<Ends>,
}

/// The last moments at which all transfers, and at least one, were active. They bound the tail of a
/// run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ends {
    /// The last moment at which as many transfers were active as were wanted, or as many as at any
    /// time before.
    pub(crate) full: Option<Instant>,
    /// The last moment at which a transfer was active.
    pub(crate) busy: Option<Instant>,
}

/// Counts a transfer as active until it is dropped.
#[derive(Debug)]
pub(crate) struct ActiveTransfer<'a> {
    metrics: &'a Metrics,
    since: Instant,
}

impl Metrics {
    /// Creates the counters of a run that starts now.
    pub(crate) fn start() -> Self {
        Self {
            begun: Instant::now(),
            processor_begun: processor_time(),
            fetched_bytes: AtomicU64::new(0),
            useful_bytes: AtomicU64::new(0),
            brought_bytes: AtomicU64::new(0),
            resumed_bytes: AtomicU64::new(0),
            has_begun: AtomicBool::new(false),
            attempts: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            refusals: AtomicU64::new(0),
            stalls: AtomicU64::new(0),
            replaced: AtomicU64::new(0),
            spot_checks: AtomicU64::new(0),
            transfer_nanos: AtomicU64::new(0),
            reply_wait_nanos: AtomicU64::new(0),
            disk_wait_nanos: AtomicU64::new(0),
            damaged_parts: AtomicU32::new(0),
            active: AtomicU32::new(0),
            most_active: AtomicU32::new(0),
            wanted: AtomicU32::new(0),
            first_byte: OnceLock::new(),
            ends: Mutex::default(),
        }
    }

    /// Wall time since the run began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Processor time that the process has used since the run began.
    pub(crate) fn processor_time(&self) -> Duration {
        processor_time().saturating_sub(self.processor_begun)
    }

    /// Counts bytes of bodies that arrived.
    pub(crate) fn fetched(&self, bytes: u64) {
        if self.fetched_bytes.fetch_add(bytes, Ordering::Relaxed) == 0 {
            self.first_byte.get_or_init(Instant::now);
        }
    }

    /// Counts fetched bytes that the output uses.
    pub(crate) fn useful(&self, bytes: u64) {
        self.useful_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.brought_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that the output used when they came, whatever became of them. Never less than before.
    pub(crate) fn brought_bytes(&self) -> u64 {
        self.brought_bytes.load(Ordering::Relaxed)
    }

    /// Counts a failed attempt that is to be retried.
    pub(crate) fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that a server throttled.
    pub(crate) fn refused(&self) {
        self.refusals.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a transfer that stalled.
    pub(crate) fn stalled(&self) {
        self.stalls.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a straggler that was replaced.
    pub(crate) fn replaced(&self) {
        self.replaced.fetch_add(1, Ordering::Relaxed);
    }

    /// What an earlier run left and what was fetched so far is of no use to the output.
    pub(crate) fn none_is_useful(&self) {
        self.has_begun.store(true, Ordering::Relaxed);
        self.resumed_bytes.store(0, Ordering::Relaxed);
        self.useful_bytes.store(0, Ordering::Relaxed);
    }

    /// Records that the output has `bytes` bytes that count as a transfer begins. At the first one
    /// they are of an earlier run. Later what is more than that came in this run, and nothing else
    /// that came is of use.
    pub(crate) fn begin_with(&self, bytes: u64) {
        if !self.has_begun.swap(true, Ordering::Relaxed) {
            self.resumed_bytes.store(bytes, Ordering::Relaxed);
        }
        let resumed = self.resumed_bytes().min(bytes);
        self.resumed_bytes.store(resumed, Ordering::Relaxed);
        self.useful_bytes.store(bytes - resumed, Ordering::Relaxed);
    }

    /// The number of bytes of an earlier run that the output uses.
    pub(crate) fn resumed_bytes(&self) -> u64 {
        self.resumed_bytes.load(Ordering::Relaxed)
    }

    /// Counts a block that was fetched once more and is the same.
    pub(crate) fn spot_checked(&self) {
        self.spot_checks.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of blocks that were fetched once more and are the same.
    pub(crate) fn spot_checks(&self) -> u64 {
        self.spot_checks.load(Ordering::Relaxed)
    }

    /// Sets how many connections are wanted from now on.
    pub(crate) fn wants(&self, connections: u32) {
        self.wanted.store(connections, Ordering::Relaxed);
    }

    /// Adds a time to first byte.
    pub(crate) fn waited_for_reply(&self, wait: Duration) {
        add(&self.reply_wait_nanos, wait);
    }

    /// Adds a time that a worker waited for the disk.
    pub(crate) fn waited_for_disk(&self, wait: Duration) {
        add(&self.disk_wait_nanos, wait);
    }

    /// Counts completed parts that were read back and did not match their CRC.
    pub(crate) fn damaged(&self, parts: u32) {
        self.damaged_parts.fetch_add(parts, Ordering::Relaxed);
    }

    /// Counts a request that was sent.
    pub(crate) fn attempted(&self) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a transfer as active until the result is dropped.
    pub(crate) fn start_transfer(&self) -> ActiveTransfer<'_> {
        let now = self.active.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_active.fetch_max(now, Ordering::Relaxed);
        ActiveTransfer {
            metrics: self,
            since: Instant::now(),
        }
    }

    /// The number of body bytes that arrived.
    pub(crate) fn fetched_bytes(&self) -> u64 {
        self.fetched_bytes.load(Ordering::Relaxed)
    }

    /// The number of fetched bytes that the output uses.
    pub(crate) fn useful_bytes(&self) -> u64 {
        self.useful_bytes.load(Ordering::Relaxed)
    }

    /// The number of requests that were sent.
    pub(crate) fn attempts(&self) -> u64 {
        self.attempts.load(Ordering::Relaxed)
    }

    /// The number of failed attempts that were to be retried.
    pub(crate) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// The number of requests that servers throttled.
    pub(crate) fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }

    /// The number of transfers that stalled.
    pub(crate) fn stalls(&self) -> u64 {
        self.stalls.load(Ordering::Relaxed)
    }

    /// The number of stragglers that were replaced.
    pub(crate) fn replacements(&self) -> u64 {
        self.replaced.load(Ordering::Relaxed)
    }

    /// How many connections are wanted now.
    pub(crate) fn wanted(&self) -> u32 {
        self.wanted.load(Ordering::Relaxed)
    }

    /// The sum of the durations of all ended transfers.
    pub(crate) fn transfer_time(&self) -> Duration {
        Duration::from_nanos(self.transfer_nanos.load(Ordering::Relaxed))
    }

    /// The sum of all times to first byte.
    pub(crate) fn reply_wait(&self) -> Duration {
        Duration::from_nanos(self.reply_wait_nanos.load(Ordering::Relaxed))
    }

    /// The sum of the times that workers waited for the disk.
    pub(crate) fn disk_wait(&self) -> Duration {
        Duration::from_nanos(self.disk_wait_nanos.load(Ordering::Relaxed))
    }

    /// How many transfers are active.
    pub(crate) fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    /// The most transfers that were active at once.
    pub(crate) fn most_active(&self) -> u32 {
        self.most_active.load(Ordering::Relaxed)
    }

    /// The number of parts that were read back and did not match their CRC.
    pub(crate) fn damaged_parts(&self) -> u32 {
        self.damaged_parts.load(Ordering::Relaxed)
    }

    /// The time from the start of the run to the first byte of a body.
    pub(crate) fn first_byte(&self) -> Option<Duration> {
        self.first_byte.get().map(|at| *at - self.begun)
    }

    /// The last moments at which all transfers, and at least one, were active.
    pub(crate) fn ends(&self) -> Ends {
        *self.locked_ends()
    }

    fn locked_ends(&self) -> MutexGuard<'_, Ends> {
        // Only assignments happen under the lock, so a panic elsewhere leaves the value consistent.
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(nanos: &AtomicU64, span: Duration) {
    let more = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    nanos.fetch_add(more, Ordering::Relaxed);
}

impl Drop for ActiveTransfer<'_> {
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

/// Samples the rates of leases and the times to first byte, for the benchmark.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    rates: Ring<u64>,
    first_bytes: Ring<Duration>,
}

impl Recorder {
    /// Records a lease that fetched `bytes` in `span`.
    pub(crate) fn fetched(&mut self, bytes: u64, span: Duration) {
        let nanos = span.as_nanos();
        if bytes > 0 && nanos > 0 {
            let rate = u128::from(bytes) * 1_000_000_000 / nanos;
            self.rates.push(u64::try_from(rate).unwrap_or(u64::MAX));
        }
    }

    /// Records the time to first byte of a reply.
    pub(crate) fn waited(&mut self, wait: Duration) {
        self.first_bytes.push(wait);
    }

    /// The samples so far.
    pub(crate) fn samples(&self) -> Samples {
        Samples {
            connection_rates: self.rates.values.clone(),
            first_bytes: self.first_bytes.values.clone(),
        }
    }
}

/// The newest [`KEPT_SAMPLES`] values, in no particular order.
#[derive(Debug)]
struct Ring<T> {
    // INVARIANT: at most `KEPT_SAMPLES` values.
    values: Vec<T>,
    /// Where the next value goes.
    next: usize,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            next: 0,
        }
    }
}

impl<T> Ring<T> {
    fn push(&mut self, value: T) {
        match self.values.get_mut(self.next) {
            Some(oldest) => *oldest = value,
            None => self.values.push(value),
        }
        self.next = (self.next + 1) % KEPT_SAMPLES;
    }
}

/// Processor time of all threads of this process so far, user and system.
fn processor_time() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(spent.tv_sec).unwrap_or(0),
        u32::try_from(spent.tv_nsec).unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_tail_starts_when_fewer_transfers_are_active_than_are_wanted() {
        let metrics = Metrics::start();
        let step = Duration::from_secs(1);
        let begun = Instant::now();
        metrics.wants(3);
        let all = [
            metrics.start_transfer(),
            metrics.start_transfer(),
            metrics.start_transfer(),
        ];
        tokio::time::advance(step).await;
        let [first, second, third] = all;
        drop(first);
        assert_eq!(metrics.ends().full, Some(begun + step));
        tokio::time::advance(step).await;
        // The server refused the third connection, so two are wanted from now on.
        metrics.wants(2);
        drop(second);
        assert_eq!(metrics.ends().full, Some(begun + step * 2));
        tokio::time::advance(step).await;
        drop(third);
        assert_eq!(metrics.ends().full, Some(begun + step * 2));
        assert_eq!(metrics.ends().busy, Some(begun + step * 3));
    }

    #[test]
    fn what_was_resumed_fetched_and_wasted_adds_up() {
        let metrics = Metrics::start();
        let counted = || (metrics.resumed_bytes(), metrics.useful_bytes());
        metrics.begin_with(40);
        metrics.useful(30);
        // The next pass finds whole parts alone.
        metrics.begin_with(60);
        assert_eq!(counted(), (40, 20));
        metrics.begin_with(10);
        assert_eq!(counted(), (10, 0));
        metrics.none_is_useful();
        metrics.useful(5);
        metrics.begin_with(5);
        assert_eq!(counted(), (0, 5));
    }

    #[test]
    fn the_newest_samples_are_kept() {
        let mut recorder = Recorder::default();
        for bytes in 0..=KEPT_SAMPLES as u64 + 1 {
            recorder.fetched(bytes, Duration::from_secs(1));
        }
        let mut rates = recorder.samples().connection_rates;
        rates.sort_unstable();
        assert_eq!(rates.len(), KEPT_SAMPLES);
        assert_eq!(
            (rates[0], rates[KEPT_SAMPLES - 1]),
            (2, KEPT_SAMPLES as u64 + 1)
        );
        recorder.fetched(7, Duration::ZERO);
        assert_eq!(recorder.samples().connection_rates.len(), KEPT_SAMPLES);
    }
}
