//! Active leases, and the rate of each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::AbortHandle;
use tokio::time::Instant;

use super::scheduler::{LeaseId, Observed};
use crate::object::ByteRange;

/// The least time between the first byte and a known rate. The usual time to first byte applies
/// where it is longer.
const TOO_YOUNG: Duration = Duration::from_millis(150);
/// How much longer a lease without a byte has an unknown rate, as a multiple of the usual time to
/// first byte. A connection may have to be opened first, with TLS 1.2 in three round trips.
const PATIENCE_FIRST_BYTES: u32 = 4;
/// Time constant of the exponential moving average that is a lease's rate.
const MEMORY: Duration = Duration::from_millis(280);
/// The same time constant as a multiple of the usual time to first byte, where that is longer:
/// bytes arrive in bursts, one per round trip.
const MEMORY_FIRST_BYTES: u32 = 2;

/// An active lease, which its worker advances and the dispatcher observes.
///
/// The two positions are atomics: the worker uses them with every chunk, without a lock.
#[derive(Debug)]
pub(crate) struct ActiveLease {
    pub(crate) id: LeaseId,
    pub(crate) range: ByteRange,
    /// The position in the file of the next byte that the worker writes.
    position: AtomicU64,
    /// The position at which the lease ends. It only ever shrinks.
    limit: AtomicU64,
    /// The index of the server that sends the bytes; [`UNKNOWN_SERVER`] before its first reply.
    server: AtomicUsize,
    has_old_body: AtomicBool,
    waits_for_disk: AtomicBool,
    /// As [`Activity`].
    activity: AtomicU8,
    abort: AbortHandle,
}

/// What the worker of a lease does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    /// It pauses before an attempt.
    Paused,
    /// It waits for bytes.
    Waiting,
    /// It has bytes, and waits as the caller's rate limit demands.
    Limited,
    /// It has bytes, and puts them where they belong.
    Writing,
}

/// Stands for a server that has not replied yet.
const UNKNOWN_SERVER: usize = usize::MAX;

impl ActiveLease {
    /// Creates a lease of `range`, of which no byte has arrived.
    pub(crate) fn new(id: LeaseId, range: ByteRange, abort: AbortHandle) -> Self {
        Self {
            id,
            range,
            position: AtomicU64::new(range.start()),
            limit: AtomicU64::new(range.end()),
            server: AtomicUsize::new(UNKNOWN_SERVER),
            has_old_body: AtomicBool::new(false),
            waits_for_disk: AtomicBool::new(false),
            activity: AtomicU8::new(Activity::Paused as u8),
            abort,
        }
    }

    /// The position in the file of the next byte that the worker writes.
    pub(crate) fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// Sets the position in the file of the next byte that the worker writes.
    pub(crate) fn advance(&self, position: u64) {
        self.position.store(position, Ordering::Relaxed);
    }

    /// The position at which the lease ends.
    pub(crate) fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Ends the lease at `limit`: the tail after it was stolen.
    pub(super) fn shrink(&self, limit: u64) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Records which server sends the bytes.
    pub(crate) fn comes_from(&self, server: usize) {
        self.server.store(server, Ordering::Relaxed);
    }

    /// Records whether the body began under an earlier lease.
    pub(crate) fn takes_old_body(&self, is_old: bool) {
        self.has_old_body.store(is_old, Ordering::Relaxed);
    }

    /// Whether the body began under an earlier lease.
    pub(super) fn has_old_body(&self) -> bool {
        self.has_old_body.load(Ordering::Relaxed)
    }

    /// The index of the server that sends the bytes, once it has replied.
    pub(super) fn server(&self) -> Option<usize> {
        Some(self.server.load(Ordering::Relaxed)).filter(|server| *server != UNKNOWN_SERVER)
    }

    /// Records whether the worker waits for the disk.
    pub(crate) fn waits_for_disk(&self, waits: bool) {
        self.waits_for_disk.store(waits, Ordering::Relaxed);
    }

    /// Records what the worker does from now on.
    pub(crate) fn does(&self, activity: Activity) {
        self.activity.store(activity as u8, Ordering::Relaxed);
    }

    /// What the worker does.
    pub(super) fn activity(&self) -> Activity {
        let activity = self.activity.load(Ordering::Relaxed);
        [Activity::Waiting, Activity::Limited, Activity::Writing]
            .into_iter()
            .find(|known| *known as u8 == activity)
            .unwrap_or(Activity::Paused)
    }

    /// Ends the attempt of the worker.
    pub(crate) fn abort(&self) {
        self.abort.abort();
    }
}

/// Measures the rate of an active lease.
#[derive(Debug)]
pub(super) struct RateMeter {
    pub(super) lease: Arc<ActiveLease>,
    /// When the lease was granted.
    pub(super) since: Instant,
    /// The first tick after the first byte.
    begun: Option<Instant>,
    /// The tick of the last measurement.
    measured: Instant,
    /// The position at the last measurement.
    at: u64,
    /// The last tick at which bytes had arrived, or the worker did not wait for them.
    pub(super) moved: Instant,
    /// The last tick at which bytes had arrived.
    pub(super) heard: Option<Instant>,
    /// The position at the last tick.
    seen: u64,
    /// Since when it has been slower than the caller puts up with.
    pub(super) slow_since: Option<Instant>,
    /// The last tick at which the worker waited for the disk.
    waited: Option<Instant>,
    /// Bytes per second; `None` while it is not known.
    pub(super) rate: Option<f64>,
}

impl RateMeter {
    /// Starts to measure a lease that is granted now.
    pub(super) fn new(lease: Arc<ActiveLease>, now: Instant) -> Self {
        Self {
            at: lease.range.start(),
            moved: now,
            heard: None,
            slow_since: None,
            seen: lease.range.start(),
            waited: None,
            lease,
            since: now,
            begun: None,
            measured: now,
            rate: None,
        }
    }

    /// The position and the rates of the lease.
    pub(super) fn observed(&self, now: Instant) -> Observed {
        let position = self.lease.position();
        let bytes = position - self.lease.range.start();
        let span = (now - self.since).as_secs_f64();
        Observed {
            position,
            rate: self.rate,
            mean: if span > 0.0 { bytes as f64 / span } else { 0.0 },
            is_limited: self.lease.activity() == Activity::Limited,
        }
    }

    /// Whether the worker waited for the disk within the last `span`.
    pub(super) fn waited(&self, now: Instant, span: Duration) -> bool {
        self.waited.is_some_and(|waited| now - waited < span)
    }

    /// The seconds until the lease is complete at `rate` bytes per second.
    pub(super) fn seconds_left(&self, rate: f64) -> f64 {
        let left = self.lease.limit().saturating_sub(self.lease.position());
        left as f64 / rate.max(1.0)
    }

    /// Measures the rate since the last tick. `first_byte` is the usual time to first byte.
    ///
    /// The time before the first byte does not count towards the rate.
    pub(super) fn measure(&mut self, now: Instant, first_byte: Duration) {
        let position = self.lease.position();
        if position > self.seen {
            (self.seen, self.heard, self.moved) = (position, Some(now), now);
        } else if self.lease.activity() != Activity::Waiting {
            self.moved = now;
        }
        if self.lease.waits_for_disk.load(Ordering::Relaxed) {
            self.waited = Some(now);
        }
        let least_age = TOO_YOUNG.max(first_byte);
        let is_known = match self.begun {
            Some(begun) => now - begun >= least_age,
            None if position > self.lease.range.start() => {
                (self.begun, self.measured, self.at) = (Some(now), now, position);
                self.rate = None;
                false
            }
            None => now - self.since >= TOO_YOUNG + first_byte * PATIENCE_FIRST_BYTES,
        };
        let span = (now - self.measured).as_secs_f64();
        if !is_known || span <= 0.0 {
            return;
        }
        let newest = position.saturating_sub(self.at) as f64 / span;
        let memory = MEMORY.max(first_byte * MEMORY_FIRST_BYTES).as_secs_f64();
        self.rate = Some(match self.rate {
            Some(before) => newest + (before - newest) * (-span / memory).exp(),
            None => newest,
        });
        self.measured = now;
        self.at = position;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND_TRIP: Duration = Duration::from_millis(600);
    const TICK: Duration = Duration::from_millis(100);

    fn meter(now: Instant) -> RateMeter {
        let abort = AbortHandle::new_pair().0;
        let lease = ActiveLease::new(LeaseId(0), ByteRange::whole(1 << 20), abort);
        RateMeter::new(Arc::new(lease), now)
    }

    /// The rate after each of `ticks`, where `arrived` gives the bytes so far at each.
    fn rates(ticks: u32, arrived: impl Fn(Duration) -> u64) -> Vec<Option<f64>> {
        let begun = Instant::now();
        let mut meter = meter(begun);
        (1..=ticks)
            .map(|tick| {
                let at = TICK * tick;
                meter.lease.advance(arrived(at));
                meter.measure(begun + at, ROUND_TRIP);
                meter.rate
            })
            .collect()
    }

    #[test]
    fn a_transfer_that_opens_a_connection_is_not_stalled_yet() {
        let rates = rates(30, |_| 0);
        let known = rates.iter().position(Option::is_some).unwrap();
        assert!(TICK * u32::try_from(known + 1).unwrap() >= ROUND_TRIP * 4);
        assert_eq!(rates[known], Some(0.0));
    }

    #[test]
    fn a_long_time_to_first_byte_does_not_lower_the_rate() {
        const SPEED: u64 = 100_000;
        let silence = ROUND_TRIP * 6;
        let rates = rates(60, |at| {
            let moving = at.saturating_sub(silence);
            u64::try_from(moving.as_millis()).unwrap() * SPEED / 1000
        });
        assert!(rates.contains(&Some(0.0)), "{rates:?}");
        let moving = |rate: &&Option<f64>| **rate != Some(0.0);
        let known: Vec<f64> = rates.iter().filter(moving).flatten().copied().collect();
        let close = SPEED as f64 * 0.95..SPEED as f64 * 1.05;
        assert!(known.iter().all(|rate| close.contains(rate)), "{rates:?}");
    }

    #[test]
    fn the_rate_leaves_out_the_time_to_first_byte_and_evens_out_bursts() {
        const BURST: u64 = 60_000;
        let arrived = |at: Duration| {
            let bursts = (1..=10).filter(|burst| at >= ROUND_TRIP * *burst).count();
            BURST * bursts as u64
        };
        let rates = rates(60, arrived);
        assert!(rates[..11].iter().all(Option::is_none), "{rates:?}");
        let mean = BURST as f64 / ROUND_TRIP.as_secs_f64();
        for rate in rates.into_iter().skip(24) {
            let rate = rate.unwrap();
            assert!(
                (mean * 0.7..mean * 1.4).contains(&rate),
                "{rate} beside {mean}"
            );
        }
    }
}
