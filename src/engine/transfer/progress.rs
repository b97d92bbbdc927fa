//! Turns counters into throughput samples for the tuner and progress for the caller.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::expiry_notice::ExpiryNotice;
use crate::engine::job::LowestSpeed;
use crate::engine::metrics::Metrics;
use crate::engine::schedule::dispatcher::Dispatcher;
use crate::engine::schedule::slowness::Slowness;
use crate::engine::schedule::tuner::ThroughputSample;
use crate::event::Progress;
use crate::object::Plan;

/// The least and the greatest span of a throughput sample.
const SAMPLE_SPANS: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(2));
/// The span of a throughput sample within these bounds, as a multiple of the time to first byte.
const SAMPLE_FIRST_BYTES: u32 = 4;
/// Time constant of the exponential moving average that is the shown rate.
const MEMORY: Duration = Duration::from_secs(3);

/// After how long without a byte the shown rate is zero.
const SILENCE: Duration = Duration::from_secs(3);

/// Turns the counters of a transfer into rates.
#[derive(Debug)]
pub(crate) struct Meter {
    metrics: Arc<Metrics>,
    total_bytes: u64,
    /// Bytes that were on disk before this run.
    resumed_bytes: u64,
    /// When the transfer started, or resumed after a pause.
    begun: Instant,
    slowness: Option<Slowness>,
    expiry: ExpiryNotice,
    /// The start of the current throughput sample.
    sampled: Snapshot,
    /// The last progress.
    shown: Snapshot,
    /// The bytes that the last progress reported as completed.
    shown_bytes: u64,
    /// The shown rate, in bytes per second; `None` before the first.
    rate: Option<f64>,
    /// When the last bytes came, as far as progress tells.
    heard: Instant,
}

/// The counters at a moment.
#[derive(Clone, Copy, Debug)]
struct Snapshot {
    at: Instant,
    fetched: u64,
    connections: u32,
}

impl Meter {
    /// Starts to measure a transfer of `plan`.
    pub(crate) fn new(
        metrics: &Arc<Metrics>,
        dispatcher: &Dispatcher,
        plan: &Plan,
        lowest: Option<LowestSpeed>,
        expiry: Option<SystemTime>,
    ) -> Self {
        let resumed_bytes = dispatcher.completed_bytes();
        let start = Snapshot {
            at: Instant::now(),
            fetched: metrics.fetched_bytes(),
            connections: 0,
        };
        Self {
            metrics: Arc::clone(metrics),
            total_bytes: plan.length(),
            // The metrics already count what this run fetched before.
            resumed_bytes: resumed_bytes.saturating_sub(metrics.useful_bytes()),
            begun: start.at,
            slowness: lowest.map(|lowest| Slowness::new(lowest, start.fetched, start.at)),
            expiry: ExpiryNotice::new(expiry, SystemTime::now()),
            sampled: start,
            shown: start,
            shown_bytes: resumed_bytes,
            rate: None,
            heard: start.at,
        }
    }

    /// Restarts the measurements after a pause, whose time does not count.
    pub(crate) fn resume(&mut self) {
        self.skip(Instant::now());
        self.excuse(self.sampled.at);
        self.shown = self.sampled;
        self.begun = self.sampled.at;
        self.rate = None;
    }

    fn snapshot(&self, at: Instant) -> Snapshot {
        Snapshot {
            at,
            fetched: self.metrics.fetched_bytes(),
            connections: self.metrics.active(),
        }
    }

    /// The throughput sample that ends now; `None` where its span is still too short.
    pub(crate) fn sample(
        &mut self,
        now: Instant,
        first_byte: Duration,
    ) -> Option<ThroughputSample> {
        let span = now - self.sampled.at;
        if span < (first_byte * SAMPLE_FIRST_BYTES).clamp(SAMPLE_SPANS.0, SAMPLE_SPANS.1) {
            return None;
        }
        let (before, after) = (self.sampled, self.snapshot(now));
        self.sampled = after;
        Some(ThroughputSample {
            bytes: after.fetched - before.fetched,
            span,
            connections: after.connections.min(before.connections),
        })
    }

    /// Leaves the time until now out of the throughput samples.
    pub(crate) fn skip(&mut self, now: Instant) {
        self.sampled = self.snapshot(now);
    }

    /// Does not count the time until now as slow: the server is not to blame.
    pub(crate) fn excuse(&mut self, now: Instant) {
        if let Some(slowness) = &mut self.slowness {
            slowness.restart(self.metrics.fetched_bytes(), now);
        }
    }

    /// Whether the transfer has been slower than the caller puts up with for too long.
    pub(crate) fn is_too_slow(&mut self, now: Instant) -> bool {
        let fetched = self.metrics.fetched_bytes();
        let slowness = self.slowness.as_mut();
        slowness.is_some_and(|slowness| slowness.is_too_slow(fetched, now))
    }

    /// What to tell the caller where the URL expires before this progress is at its end.
    pub(crate) fn expiry_notice(&mut self, now: Instant, progress: &Progress) -> Option<String> {
        let eta = Duration::from_secs(progress.eta_seconds?);
        self.expiry.take(now - self.begun, eta, SystemTime::now())
    }

    /// The progress since the last call.
    pub(crate) fn progress(&mut self, now: Instant, dispatcher: &Dispatcher) -> Progress {
        let (before, after) = (self.shown, self.snapshot(now));
        let span = (now - before.at).as_secs_f64();
        if span > 0.0 {
            let newest = (after.fetched - before.fetched) as f64 / span;
            // At first, the rate is the mean since the start.
            let weight = (span / (now - self.begun).as_secs_f64())
                .max(1.0 - (-span / MEMORY.as_secs_f64()).exp());
            self.rate = Some(
                self.rate
                    .map_or(newest, |rate| rate + (newest - rate) * weight),
            );
            self.shown = after;
            if newest > 0.0 {
                self.heard = now;
            }
        }
        // Where nothing comes, a mean would go on to promise an end.
        let is_heard = now - self.heard < SILENCE;
        let rate = self.rate.filter(|_| is_heard).unwrap_or(0.0);
        let useful = self.resumed_bytes + self.metrics.useful_bytes();
        let completed = (useful + dispatcher.pending_bytes()).min(self.total_bytes);
        // An aborted attempt loses bytes, but the shown progress never goes back.
        let completed_bytes = completed.max(self.shown_bytes);
        let new_bytes = completed_bytes - self.shown_bytes;
        self.shown_bytes = completed_bytes;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "rates are positive and saturate"
        )]
        let (bytes_per_second, eta) = (
            rate as u64,
            ((self.total_bytes - completed_bytes) as f64 / rate).ceil() as u64,
        );
        Progress {
            new_bytes,
            completed_bytes,
            total_bytes: Some(self.total_bytes),
            bytes_per_second,
            connections: after.connections,
            eta_seconds: (rate > 0.0).then_some(eta),
        }
    }
}
