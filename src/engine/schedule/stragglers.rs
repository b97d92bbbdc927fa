//! Finds leases that are far slower than the others, and limits how many of them are replaced.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::lease::RateMeter;

/// The rate below which a lease is a straggler, as a fraction of the mean rate of the others.
const STRAGGLER_RATE: f64 = 0.5;
/// The least age of a straggler, and the least time that it has left. A young lease may still speed
/// up.
const STRAGGLER_AGE: Duration = Duration::from_secs(2);
/// The least age of a straggler, as a multiple of the time to first byte.
const STRAGGLER_AGE_FIRST_BYTES: u32 = 16;
/// The fewest leases from one server that are compared. A lease is compared with those of the same
/// server only: that another server is faster says nothing about a connection.
const FEWEST_COMPARED: usize = 3;
/// The most leases that may be replaced in a row. A server that slows connections down would be
/// sent new ones without end otherwise.
const MOST_REPLACED: u32 = 64;
/// The interval at which one more lease may be replaced, up to [`MOST_REPLACED`].
const REFILL_INTERVAL: Duration = Duration::from_secs(10);

/// Finds stragglers, one at a time, within a budget.
///
/// A straggler is replaced because a packet loss is the usual reason for it, and a new connection
/// recovers from that sooner. A lease that waited for the disk recently is never one.
#[derive(Debug)]
pub(super) struct Stragglers {
    /// How many leases may be replaced now.
    left: u32,
    /// The start of the current refill interval.
    refilled: Instant,
}

impl Stragglers {
    /// Starts with the full budget.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            left: MOST_REPLACED,
            refilled: now,
        }
    }

    /// The lease to replace now, if any. `first_byte` is the usual time to first byte.
    pub(super) fn next<'a>(
        &mut self,
        leases: impl Iterator<Item = &'a RateMeter> + Clone,
        first_byte: Duration,
        now: Instant,
    ) -> Option<&'a RateMeter> {
        self.refill(now);
        if self.left == 0 {
            return None;
        }
        let rates = ServerRates::of(leases.clone());
        let age = STRAGGLER_AGE.max(first_byte * STRAGGLER_AGE_FIRST_BYTES);
        let mut leases = leases;
        let straggler = leases.find(|meter| {
            server_and_rate(meter).is_some_and(|(server, rate)| {
                now - meter.since > age
                    && !meter.waited(now, age)
                    && meter.seconds_left(rate) > age.as_secs_f64()
                    && rates.show_straggler(server, rate)
            })
        })?;
        self.left -= 1;
        Some(straggler)
    }

    fn refill(&mut self, now: Instant) {
        while now - self.refilled >= REFILL_INTERVAL {
            self.refilled += REFILL_INTERVAL;
            self.left = MOST_REPLACED.min(self.left + 1);
        }
    }
}

/// The server of a lease, and its rate in bytes per second, once both are known.
fn server_and_rate(meter: &RateMeter) -> Option<(usize, f64)> {
    meter.lease.server().zip(meter.rate)
}

/// Per server, the number of leases whose rate is known, and the sum of their rates.
struct ServerRates(BTreeMap<usize, (usize, f64)>);

impl ServerRates {
    fn of<'a>(leases: impl Iterator<Item = &'a RateMeter>) -> Self {
        let mut servers = BTreeMap::new();
        for (server, rate) in leases.filter_map(server_and_rate) {
            let (count, sum) = servers.entry(server).or_default();
            *count += 1;
            *sum += rate;
        }
        Self(servers)
    }

    /// Whether one of the server's leases that has this rate is far slower than the others.
    fn show_straggler(&self, server: usize, rate: f64) -> bool {
        self.0.get(&server).is_some_and(|(count, sum)| {
            *count >= FEWEST_COMPARED && rate < (sum - rate) / (count - 1) as f64 * STRAGGLER_RATE
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::future::AbortHandle;

    use super::*;
    use crate::engine::schedule::lease::ActiveLease;
    use crate::engine::schedule::scheduler::LeaseId;
    use crate::object::ByteRange;

    const LENGTH: u64 = 1 << 40;
    const NEAR: Duration = Duration::from_millis(1);
    const LONG: Duration = Duration::from_secs(3);

    /// Leases from one server, granted now.
    fn leases<const N: usize>(now: Instant) -> [RateMeter; N] {
        std::array::from_fn(|_| {
            let abort = AbortHandle::new_pair().0;
            let lease = ActiveLease::new(LeaseId(0), ByteRange::whole(LENGTH), abort);
            lease.comes_from(0);
            RateMeter::new(Arc::new(lease), now)
        })
    }

    /// Advances each lease and sets its rate.
    fn advance<const N: usize>(leases: &mut [RateMeter; N], rates: [f64; N], now: Instant) {
        for (meter, rate) in leases.iter_mut().zip(rates) {
            let lease = &meter.lease;
            lease.advance(lease.position() + 1);
            meter.measure(now, NEAR);
            meter.rate = Some(rate);
        }
    }

    /// The index of the lease that was found.
    fn nth(leases: &[RateMeter], found: Option<&RateMeter>) -> Option<usize> {
        leases
            .iter()
            .position(|meter| found.is_some_and(|found| std::ptr::eq(meter, found)))
    }

    /// The index of the straggler among leases of these rates, at an age of `after`.
    fn found<const N: usize>(
        rates: [f64; N],
        first_byte: Duration,
        after: Duration,
    ) -> Option<usize> {
        let begun = Instant::now();
        let mut leases = leases(begun);
        let now = begun + after;
        advance(&mut leases, rates, now);
        let found = Stragglers::new(begun).next(leases.iter(), first_byte, now);
        nth(&leases, found)
    }

    #[test]
    fn a_lease_far_slower_than_the_others_is_a_straggler() {
        assert_eq!(found([9e6, 4e6, 9e6], NEAR, LONG), Some(1));
        assert_eq!(found([9e6, 5e6, 9e6], NEAR, LONG), None);
        assert_eq!(found([9e6, 1e6], NEAR, LONG), None);
    }

    #[test]
    fn a_straggler_has_a_least_age_that_grows_with_the_round_trip() {
        let rates = [9e6, 1e6, 9e6];
        let (second, far) = (Duration::from_secs(1), Duration::from_millis(600));
        assert_eq!(found(rates, NEAR, second * 2), None);
        assert_eq!(found(rates, far, second * 9), None);
        assert_eq!(found(rates, far, second * 10), Some(1));
    }

    #[test]
    fn leases_are_compared_with_those_of_the_same_server() {
        let begun = Instant::now();
        let late = begun + LONG;
        let mut leases = leases(begun);
        let rates = [9e6, 1e6, 9e6, 1e6, 9e6, 1e6, 0.1e6];
        advance(&mut leases, rates, late);
        for nth in [1, 3, 5, 6] {
            leases[nth].lease.comes_from(1);
        }
        let mut stragglers = Stragglers::new(begun);
        let found = stragglers.next(leases.iter(), NEAR, late);
        assert_eq!(nth(&leases, found), Some(6));
        assert!(stragglers.next(leases[..6].iter(), NEAR, late).is_none());
    }

    #[test]
    fn leases_of_an_unknown_server_are_not_compared() {
        let begun = Instant::now();
        let late = begun + LONG;
        let mut leases = leases(begun);
        advance(&mut leases, [9e6, 5e6, 9e6], late);
        let abort = AbortHandle::new_pair().0;
        let waiting = ActiveLease::new(LeaseId(3), ByteRange::whole(LENGTH), abort);
        let mut waiting = RateMeter::new(Arc::new(waiting), begun);
        waiting.measure(late, NEAR);
        assert_eq!(waiting.rate, Some(0.0));
        let all = leases.iter().chain([&waiting]);
        let found = Stragglers::new(begun).next(all, NEAR, late);
        assert!(found.is_none());
    }

    #[test]
    fn a_lease_that_waited_for_the_disk_is_no_straggler_for_a_while() {
        let begun = Instant::now();
        let mut leases = leases(begun);
        let rates = [9e6, 1e6, 9e6];
        let slow = Arc::clone(&leases[1].lease);
        let mut stragglers = Stragglers::new(begun);
        let mut found = |after: u64| {
            let now = begun + Duration::from_secs(after);
            advance(&mut leases, rates, now);
            stragglers.next(leases.iter(), NEAR, now).is_some()
        };
        slow.waits_for_disk(true);
        assert!(!found(3));
        slow.waits_for_disk(false);
        assert!(!found(4));
        assert!(found(5));
    }

    #[test]
    fn a_lease_that_is_almost_complete_is_not_replaced() {
        let begun = Instant::now();
        let late = begun + LONG;
        let mut leases = leases(begun);
        leases[1].lease.advance(LENGTH - 1_000_000);
        advance(&mut leases, [9e6, 1e6, 9e6], late);
        let mut stragglers = Stragglers::new(begun);
        assert!(stragglers.next(leases.iter(), NEAR, late).is_none());
    }

    #[test]
    fn replacements_are_limited_and_refilled_over_time() {
        let begun = Instant::now();
        let mut leases = leases(begun);
        let mut stragglers = Stragglers::new(begun);
        let mut ended = |after: Duration| {
            let now = begun + after;
            advance(&mut leases, [9e6, 1e6, 9e6], now);
            let next = || stragglers.next(leases.iter(), NEAR, now).map(|_| ());
            std::iter::from_fn(next).count()
        };
        assert_eq!(ended(LONG), 64);
        assert_eq!(ended(Duration::from_secs(9)), 0);
        assert_eq!(ended(Duration::from_secs(21)), 2);
        assert_eq!(ended(Duration::from_secs(100_000)), 64);
    }
}
