//! Which lease crawls beside the others, and how many may be ended for it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::lease::RateMeter;

/// A lease at less than this share of the mean rate of the others crawls,
const CRAWL: f64 = 0.5;
/// if it has been under way for this long, or this many times the wait for a reply, and has as long to go: a young one may
/// yet find its pace. An old one that falls behind is not waited for any more: what made it slow is a loss, most of the
/// time, and from that a new connection recovers sooner. Where the disk let it wait, the
/// connection is not to blame.
const CRAWLS_AFTER: Duration = Duration::from_secs(2);
const CRAWL_ROUND_TRIPS: u32 = 16;
/// Among fewer leases from the same server none crawls. That another server is faster says nothing of a connection.
const FEWEST: usize = 3;
/// So many may be ended in a row,
const MOST: u32 = 64;
/// and one more as often as this: a server that makes connections crawl is not asked for new ones without end.
const ONE_MORE: Duration = Duration::from_secs(10);

/// Finds them, one at a time.
#[derive(Debug)]
pub(super) struct Stragglers {
    left: u32,
    /// When `left` last grew, or might have.
    refilled: Instant,
}

impl Stragglers {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            left: MOST,
            refilled: now,
        }
    }

    /// Which of `leases` is to be ended, where a reply's first byte usually takes `first_byte`.
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
        let together = Together::of(leases.clone());
        let patience = CRAWLS_AFTER.max(first_byte * CRAWL_ROUND_TRIPS);
        let mut leases = leases;
        let straggler = leases.find(|meter| {
            pace(meter).is_some_and(|(server, rate)| {
                now - meter.since > patience
                    && !meter.waited(now, patience)
                    && meter.seconds_left(rate) > patience.as_secs_f64()
                    && together.outruns(rate, server)
            })
        })?;
        self.left -= 1;
        Some(straggler)
    }

    fn refill(&mut self, now: Instant) {
        while now - self.refilled >= ONE_MORE {
            self.refilled += ONE_MORE;
            self.left = MOST.min(self.left + 1);
        }
    }
}

/// Where its bytes come from and how fast, once both are known.
fn pace(meter: &RateMeter) -> Option<(usize, f64)> {
    meter.lease.server().zip(meter.rate)
}

/// The leases of each server whose rate is known: how many, and their rates added up.
struct Together(BTreeMap<usize, (usize, f64)>);

impl Together {
    fn of<'a>(leases: impl Iterator<Item = &'a RateMeter>) -> Self {
        let mut servers = BTreeMap::new();
        for (server, rate) in leases.filter_map(pace) {
            let (count, sum) = servers.entry(server).or_default();
            *count += 1;
            *sum += rate;
        }
        Self(servers)
    }

    /// Whether the others of this server are far faster than the one that makes `rate`.
    fn outruns(&self, rate: f64, server: usize) -> bool {
        self.0.get(&server).is_some_and(|(count, sum)| {
            *count >= FEWEST && rate < (sum - rate) / (count - 1) as f64 * CRAWL
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

    /// Transfers from one server that begin now.
    fn leases<const N: usize>(now: Instant) -> [RateMeter; N] {
        std::array::from_fn(|_| {
            let abort = AbortHandle::new_pair().0;
            let lease = ActiveLease::new(LeaseId(0), ByteRange::whole(LENGTH), abort);
            lease.comes_from(0);
            RateMeter::new(Arc::new(lease), now)
        })
    }

    /// Each is seen further on, at its rate.
    fn go_on<const N: usize>(leases: &mut [RateMeter; N], rates: [f64; N], now: Instant) {
        for (meter, rate) in leases.iter_mut().zip(rates) {
            let lease = &meter.lease;
            lease.advance(lease.position() + 1);
            meter.measure(now, NEAR);
            meter.rate = Some(rate);
        }
    }

    fn nth(leases: &[RateMeter], found: Option<&RateMeter>) -> Option<usize> {
        leases
            .iter()
            .position(|meter| found.is_some_and(|found| std::ptr::eq(meter, found)))
    }

    fn found<const N: usize>(
        rates: [f64; N],
        first_byte: Duration,
        after: Duration,
    ) -> Option<usize> {
        let begun = Instant::now();
        let mut leases = leases(begun);
        let now = begun + after;
        go_on(&mut leases, rates, now);
        let found = Stragglers::new(begun).next(leases.iter(), first_byte, now);
        nth(&leases, found)
    }

    #[test]
    fn the_one_that_is_far_slower_than_the_others_crawls() {
        assert_eq!(found([9e6, 4e6, 9e6], NEAR, LONG), Some(1));
        assert_eq!(found([9e6, 5e6, 9e6], NEAR, LONG), None);
        assert_eq!(found([9e6, 1e6], NEAR, LONG), None);
    }

    #[test]
    fn it_is_given_time_and_more_of_it_far_away() {
        let rates = [9e6, 1e6, 9e6];
        let (second, far) = (Duration::from_secs(1), Duration::from_millis(600));
        assert_eq!(found(rates, NEAR, second * 2), None);
        assert_eq!(found(rates, far, second * 9), None);
        assert_eq!(found(rates, far, second * 10), Some(1));
    }

    #[test]
    fn one_is_compared_with_those_of_its_own_supply() {
        let begun = Instant::now();
        let late = begun + LONG;
        let mut leases = leases(begun);
        let rates = [9e6, 1e6, 9e6, 1e6, 9e6, 1e6, 0.1e6];
        go_on(&mut leases, rates, late);
        for nth in [1, 3, 5, 6] {
            leases[nth].lease.comes_from(1);
        }
        let mut stragglers = Stragglers::new(begun);
        let found = stragglers.next(leases.iter(), NEAR, late);
        assert_eq!(nth(&leases, found), Some(6));
        assert!(stragglers.next(leases[..6].iter(), NEAR, late).is_none());
    }

    #[test]
    fn whose_supply_is_not_known_yet_is_nobodys_measure() {
        let begun = Instant::now();
        let late = begun + LONG;
        let mut leases = leases(begun);
        go_on(&mut leases, [9e6, 5e6, 9e6], late);
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
    fn one_that_waited_for_the_disk_is_given_time_again() {
        let begun = Instant::now();
        let mut leases = leases(begun);
        let rates = [9e6, 1e6, 9e6];
        let slow = Arc::clone(&leases[1].lease);
        let mut stragglers = Stragglers::new(begun);
        let mut found = |after: u64| {
            let now = begun + Duration::from_secs(after);
            go_on(&mut leases, rates, now);
            stragglers.next(leases.iter(), NEAR, now).is_some()
        };
        slow.waits_for_disk(true);
        assert!(!found(3));
        slow.waits_for_disk(false);
        assert!(!found(4));
        assert!(found(5));
    }

    #[test]
    fn one_that_is_nearly_there_is_left_alone() {
        let begun = Instant::now();
        let late = begun + LONG;
        let mut leases = leases(begun);
        leases[1].lease.advance(LENGTH - 1_000_000);
        go_on(&mut leases, [9e6, 1e6, 9e6], late);
        let mut stragglers = Stragglers::new(begun);
        assert!(stragglers.next(leases.iter(), NEAR, late).is_none());
    }

    #[test]
    fn a_server_that_makes_them_crawl_is_not_asked_without_end() {
        let begun = Instant::now();
        let mut leases = leases(begun);
        let mut stragglers = Stragglers::new(begun);
        let mut ended = |after: Duration| {
            let now = begun + after;
            go_on(&mut leases, [9e6, 1e6, 9e6], now);
            let next = || stragglers.next(leases.iter(), NEAR, now).map(|_| ());
            std::iter::from_fn(next).count()
        };
        assert_eq!(ended(LONG), 64);
        assert_eq!(ended(Duration::from_secs(9)), 0);
        assert_eq!(ended(Duration::from_secs(21)), 2);
        assert_eq!(ended(Duration::from_secs(100_000)), 64);
    }
}
