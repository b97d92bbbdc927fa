//! Transfers under way, and how fast each of them is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::AbortHandle;
use tokio::time::Instant;

use super::scheduler::{LeaseId, Observed};
use crate::object::ByteRange;

/// A lease is too young to tell its rate before bytes came for this long, or for one usual wait for a reply.
const TOO_YOUNG: Duration = Duration::from_millis(150);
/// Without a byte it is too young for this many times that wait longer: a connection may have to be opened first, with
/// TLS 1.2 in three round trips.
const PATIENCE_ROUND_TRIPS: u32 = 4;
/// A lease's rate is a mean whose older values fade with this time constant,
const MEMORY: Duration = Duration::from_millis(280);
/// or with this many times the wait for a reply: bytes come in bursts, one a round trip.
const MEMORY_ROUND_TRIPS: u32 = 2;

/// A lease on its way, as its worker and everybody else see it.
///
/// The two positions are atomics because the worker touches them with every chunk: no lock on that path.
#[derive(Debug)]
pub(crate) struct ActiveLease {
    pub(crate) id: LeaseId,
    pub(crate) range: ByteRange,
    /// The next position that the worker will write.
    position: AtomicU64,
    /// The first position that is not the worker's any more. Only ever shrinks.
    limit: AtomicU64,
    /// Which server gives the bytes; [`NOT_KNOWN`] before its first reply.
    server: AtomicUsize,
    waits_for_disk: AtomicBool,
    abort: AbortHandle,
}

const NOT_KNOWN: usize = usize::MAX;

impl ActiveLease {
    pub(super) fn new(id: LeaseId, range: ByteRange, abort: AbortHandle) -> Self {
        Self {
            id,
            range,
            position: AtomicU64::new(range.start()),
            limit: AtomicU64::new(range.end()),
            server: AtomicUsize::new(NOT_KNOWN),
            waits_for_disk: AtomicBool::new(false),
            abort,
        }
    }

    pub(crate) fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    pub(crate) fn advance(&self, position: u64) {
        self.position.store(position, Ordering::Relaxed);
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Takes the tail from `limit` on away.
    pub(super) fn shrink(&self, limit: u64) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Takes note that bytes come from this server.
    pub(crate) fn comes_from(&self, server: usize) {
        self.server.store(server, Ordering::Relaxed);
    }

    /// Which server gives the bytes, once one replied.
    pub(super) fn server(&self) -> Option<usize> {
        Some(self.server.load(Ordering::Relaxed)).filter(|server| *server != NOT_KNOWN)
    }

    /// Takes note that it begins, or ends, to wait for the disk.
    pub(crate) fn waits_for_disk(&self, waits: bool) {
        self.waits_for_disk.store(waits, Ordering::Relaxed);
    }

    pub(super) fn abort(&self) {
        self.abort.abort();
    }
}

/// A lease as the dispatcher measures it.
#[derive(Debug)]
pub(super) struct RateMeter {
    pub(super) lease: Arc<ActiveLease>,
    pub(super) since: Instant,
    /// The first tick that saw a byte.
    begun: Option<Instant>,
    measured: Instant,
    at: u64,
    /// The last tick that saw it wait for the disk.
    waited: Option<Instant>,
    /// Bytes a second; `None` where it is too young to tell.
    pub(super) rate: Option<f64>,
}

impl RateMeter {
    pub(super) fn new(lease: Arc<ActiveLease>, now: Instant) -> Self {
        Self {
            at: lease.range.start(),
            waited: None,
            lease,
            since: now,
            begun: None,
            measured: now,
            rate: None,
        }
    }

    pub(super) fn observed(&self) -> Observed {
        Observed {
            position: self.lease.position(),
            rate: self.rate,
        }
    }

    /// Whether it waited for the disk within `lately`.
    pub(super) fn waited(&self, now: Instant, lately: Duration) -> bool {
        self.waited.is_some_and(|waited| now - waited < lately)
    }

    pub(super) fn seconds_left(&self, rate: f64) -> f64 {
        let left = self.lease.limit().saturating_sub(self.lease.position());
        left as f64 / rate.max(1.0)
    }

    /// Measures the rate since the last tick, where a reply's first byte usually takes `first_byte`. That it stood still
    /// before its first byte says nothing of how fast it is.
    pub(super) fn measure(&mut self, now: Instant, first_byte: Duration) {
        let position = self.lease.position();
        if self.lease.waits_for_disk.load(Ordering::Relaxed) {
            self.waited = Some(now);
        }
        let youth = TOO_YOUNG.max(first_byte);
        let told = match self.begun {
            Some(begun) => now - begun >= youth,
            None if position > self.lease.range.start() => {
                (self.begun, self.measured, self.at) = (Some(now), now, position);
                self.rate = None;
                false
            }
            None => now - self.since >= TOO_YOUNG + first_byte * PATIENCE_ROUND_TRIPS,
        };
        let span = (now - self.measured).as_secs_f64();
        if !told || span <= 0.0 {
            return;
        }
        let newest = position.saturating_sub(self.at) as f64 / span;
        let memory = MEMORY.max(first_byte * MEMORY_ROUND_TRIPS).as_secs_f64();
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

    /// The rate after each of `ticks`, where `arrived` bytes are there at each.
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
    fn a_transfer_that_waits_for_a_new_connection_does_not_stand_still_yet() {
        let rates = rates(30, |_| 0);
        let told = rates.iter().position(Option::is_some).unwrap();
        assert!(TICK * u32::try_from(told + 1).unwrap() >= ROUND_TRIP * 4);
        assert_eq!(rates[told], Some(0.0));
    }

    #[test]
    fn a_transfer_that_came_late_is_as_fast_as_it_is() {
        const SPEED: u64 = 100_000;
        let silence = ROUND_TRIP * 6;
        let rates = rates(60, |at| {
            let moving = at.saturating_sub(silence);
            u64::try_from(moving.as_millis()).unwrap() * SPEED / 1000
        });
        assert!(rates.contains(&Some(0.0)), "{rates:?}");
        let moving = |rate: &&Option<f64>| **rate != Some(0.0);
        let told: Vec<f64> = rates.iter().filter(moving).flatten().copied().collect();
        let close = SPEED as f64 * 0.95..SPEED as f64 * 1.05;
        assert!(told.iter().all(|rate| close.contains(rate)), "{rates:?}");
    }

    #[test]
    fn the_wait_for_the_first_byte_does_not_count_and_bursts_even_out() {
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
