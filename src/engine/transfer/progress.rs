//! Throughput, as the tuner and the caller want it told.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::metrics::Metrics;
use crate::engine::schedule::dispatcher::Dispatcher;
use crate::engine::schedule::tuner::ThroughputSample;
use crate::event::Progress;
use crate::object::Plan;

/// The shortest and the longest window that the tuner is shown; in between, this many times the wait for a reply.
const WINDOWS: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(2));
const WINDOW_ROUND_TRIPS: u32 = 4;
/// The rate that is shown is a mean whose older values fade with this time constant.
const MEMORY: Duration = Duration::from_secs(3);

/// Turns counters into rates.
#[derive(Debug)]
pub(crate) struct Meter {
    metrics: Arc<Metrics>,
    total_bytes: u64,
    /// On disk before this run.
    resumed_bytes: u64,
    /// When counting began, pauses left out.
    begun: Instant,
    window: Mark,
    shown: Mark,
    told_bytes: u64,
    rate: Option<f64>,
}

/// A moment and what had come by then.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Instant,
    fetched: u64,
    connections: u32,
}

impl Meter {
    pub(crate) fn new(metrics: &Arc<Metrics>, dispatcher: &Dispatcher, plan: &Plan) -> Self {
        let resumed_bytes = dispatcher.completed_bytes();
        let mark = Mark {
            at: Instant::now(),
            fetched: metrics.fetched_bytes(),
            connections: 0,
        };
        Self {
            metrics: Arc::clone(metrics),
            total_bytes: plan.length(),
            // What this run brought before counts in the metrics already.
            resumed_bytes: resumed_bytes.saturating_sub(metrics.useful_bytes()),
            begun: mark.at,
            window: mark,
            shown: mark,
            told_bytes: resumed_bytes,
            rate: None,
        }
    }

    /// Begins anew after a pause, whose time does not count.
    pub(crate) fn resume(&mut self) {
        self.window = self.mark(Instant::now());
        self.shown = self.window;
        self.begun = self.window.at;
        self.rate = None;
    }

    fn mark(&self, at: Instant) -> Mark {
        Mark {
            at,
            fetched: self.metrics.fetched_bytes(),
            connections: self.metrics.active(),
        }
    }

    /// The window that ends now, if it is long enough.
    pub(crate) fn window(
        &mut self,
        now: Instant,
        first_byte: Duration,
    ) -> Option<ThroughputSample> {
        let span = now - self.window.at;
        if span < (first_byte * WINDOW_ROUND_TRIPS).clamp(WINDOWS.0, WINDOWS.1) {
            return None;
        }
        let (before, mark) = (self.window, self.mark(now));
        self.window = mark;
        Some(ThroughputSample {
            bytes: mark.fetched - before.fetched,
            span,
            connections: mark.connections.min(before.connections),
        })
    }

    pub(crate) fn progress(&mut self, now: Instant, dispatcher: &Dispatcher) -> Progress {
        let (before, mark) = (self.shown, self.mark(now));
        let span = (now - before.at).as_secs_f64();
        if span > 0.0 {
            let newest = (mark.fetched - before.fetched) as f64 / span;
            // In the beginning, the mean of all there is.
            let weight = (span / (now - self.begun).as_secs_f64())
                .max(1.0 - (-span / MEMORY.as_secs_f64()).exp());
            self.rate = Some(
                self.rate
                    .map_or(newest, |rate| rate + (newest - rate) * weight),
            );
            self.shown = mark;
        }
        let rate = self.rate.unwrap_or(0.0);
        let there = self.resumed_bytes + self.metrics.useful_bytes();
        let completed = (there + dispatcher.pending_bytes()).min(self.total_bytes);
        // What an aborted attempt takes back is not shown as a step back.
        let completed_bytes = completed.max(self.told_bytes);
        let new_bytes = completed_bytes - self.told_bytes;
        self.told_bytes = completed_bytes;
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
            connections: mark.connections,
            eta_seconds: (rate > 0.0).then_some(eta),
        }
    }
}
