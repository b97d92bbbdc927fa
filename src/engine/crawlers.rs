//! Which transfer crawls beside the others, and how many may be ended for it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::scheduler::LeaseId;
use super::underway::Watched;

/// A transfer at less than this share of the mean rate of the others crawls,
const CRAWL: f64 = 0.5;
/// if it has been under way for this long, or this many times the wait for a reply, and has as long to go: a young one may
/// yet find its pace. An old one that falls behind is not waited for any more: what made it slow is a loss, most of the
/// time, and from that a new connection recovers sooner.
const CRAWLS_AFTER: Duration = Duration::from_secs(2);
const CRAWL_ROUND_TRIPS: u32 = 16;
/// Among fewer transfers from the same supply none crawls. That another supply is faster says nothing of a connection.
const FEWEST: usize = 3;
/// So many may be ended in a row,
const MOST: u32 = 64;
/// and one more as often as this: a server that makes connections crawl is not asked for new ones without end.
const ONE_MORE: Duration = Duration::from_secs(10);

/// Finds them, one at a time.
#[derive(Debug)]
pub(super) struct Crawlers {
    left: u32,
    /// When `left` last grew, or might have.
    refilled: Instant,
}

impl Crawlers {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            left: MOST,
            refilled: now,
        }
    }

    /// A transfer to be ended, where a reply's first byte usually takes `first_byte`.
    pub(super) fn next<'a>(
        &mut self,
        transfers: &'a BTreeMap<LeaseId, Watched>,
        first_byte: Duration,
        now: Instant,
    ) -> Option<&'a Watched> {
        self.refill(now);
        if self.left == 0 {
            return None;
        }
        let together = Together::of(transfers.values());
        let patience = CRAWLS_AFTER.max(first_byte * CRAWL_ROUND_TRIPS);
        let crawler = transfers.values().find(|watched| {
            watched.rate.is_some_and(|rate| {
                now - watched.since > patience
                    && watched.seconds_left(rate) > patience.as_secs_f64()
                    && together.outruns(rate, watched.transfer.supply())
                    && !watched.transfer.is_tried_again()
            })
        })?;
        self.left -= 1;
        Some(crawler)
    }

    fn refill(&mut self, now: Instant) {
        while now - self.refilled >= ONE_MORE {
            self.refilled += ONE_MORE;
            self.left = MOST.min(self.left + 1);
        }
    }
}

/// The transfers of each supply whose rate is known: how many, and their rates added up.
struct Together(BTreeMap<usize, (usize, f64)>);

impl Together {
    fn of<'a>(transfers: impl Iterator<Item = &'a Watched>) -> Self {
        let mut supplies = BTreeMap::new();
        for watched in transfers {
            if let Some(rate) = watched.rate {
                let (count, sum) = supplies.entry(watched.transfer.supply()).or_default();
                *count += 1;
                *sum += rate;
            }
        }
        Self(supplies)
    }

    /// Whether the others of this supply are far faster than the one that makes `rate`.
    fn outruns(&self, rate: f64, supply: usize) -> bool {
        self.0.get(&supply).is_some_and(|(count, sum)| {
            *count >= FEWEST && rate < (sum - rate) / (count - 1) as f64 * CRAWL
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::future::AbortHandle;

    use super::*;
    use crate::engine::underway::Transfer;
    use crate::object::ByteRange;

    const LENGTH: u64 = 1 << 40;
    const NEAR: Duration = Duration::from_millis(1);

    fn transfers(now: Instant, rates: &[f64]) -> BTreeMap<LeaseId, Watched> {
        let ids = (0..).map(LeaseId);
        ids.zip(rates)
            .map(|(id, rate)| {
                let abort = AbortHandle::new_pair().0;
                let transfer = Transfer::new(id, ByteRange::whole(LENGTH), abort);
                let mut watched = Watched::new(Arc::new(transfer), now);
                watched.rate = Some(*rate);
                (id, watched)
            })
            .collect()
    }

    fn found(rates: &[f64], first_byte: Duration, after: Duration) -> Option<LeaseId> {
        let begun = Instant::now();
        let transfers = transfers(begun, rates);
        let found = Crawlers::new(begun).next(&transfers, first_byte, begun + after);
        found.map(|watched| watched.transfer.id)
    }

    #[test]
    fn the_one_that_is_far_slower_than_the_others_crawls() {
        let long = Duration::from_secs(3);
        assert_eq!(found(&[9e6, 4e6, 9e6], NEAR, long), Some(LeaseId(1)));
        assert_eq!(found(&[9e6, 5e6, 9e6], NEAR, long), None);
        assert_eq!(found(&[9e6, 1e6], NEAR, long), None);
    }

    #[test]
    fn it_is_given_time_and_more_of_it_far_away() {
        let rates = [9e6, 1e6, 9e6];
        let (second, far) = (Duration::from_secs(1), Duration::from_millis(600));
        assert_eq!(found(&rates, NEAR, second * 2), None);
        assert_eq!(found(&rates, far, second * 9), None);
        assert_eq!(found(&rates, far, second * 10), Some(LeaseId(1)));
    }

    #[test]
    fn one_is_compared_with_those_of_its_own_supply() {
        let begun = Instant::now();
        let mut transfers = transfers(begun, &[9e6, 1e6, 9e6, 1e6, 9e6, 1e6, 0.1e6]);
        for id in [1, 3, 5, 6] {
            transfers[&LeaseId(id)].transfer.comes_from(1);
        }
        let mut crawlers = Crawlers::new(begun);
        let late = begun + Duration::from_secs(3);
        let found = crawlers.next(&transfers, NEAR, late);
        assert_eq!(found.map(|watched| watched.transfer.id), Some(LeaseId(6)));
        transfers.remove(&LeaseId(6));
        assert!(crawlers.next(&transfers, NEAR, late).is_none());
    }

    #[test]
    fn one_that_is_tried_again_is_left_to_its_worker() {
        let begun = Instant::now();
        let transfers = transfers(begun, &[9e6, 0.0, 9e6]);
        let failing = Arc::clone(&transfers[&LeaseId(1)].transfer);
        let mut crawlers = Crawlers::new(begun);
        let mut found = |after: u64| {
            let now = begun + Duration::from_secs(after);
            crawlers.next(&transfers, NEAR, now).is_some()
        };
        failing.failed();
        assert!(!found(3));
        failing.advance(1);
        assert!(found(4));
    }

    #[test]
    fn one_that_is_nearly_there_is_left_alone() {
        let begun = Instant::now();
        let transfers = transfers(begun, &[9e6, 1e6, 9e6]);
        transfers[&LeaseId(1)].transfer.advance(LENGTH - 1_000_000);
        let mut crawlers = Crawlers::new(begun);
        let late = begun + Duration::from_secs(3);
        assert!(crawlers.next(&transfers, NEAR, late).is_none());
    }

    #[test]
    fn a_server_that_makes_them_crawl_is_not_asked_without_end() {
        let begun = Instant::now();
        let transfers = transfers(begun, &[9e6, 1e6, 9e6]);
        let mut crawlers = Crawlers::new(begun);
        let mut ended = |after: Duration| {
            let now = begun + after;
            std::iter::from_fn(|| crawlers.next(&transfers, NEAR, now).map(|_| ())).count()
        };
        assert_eq!(ended(Duration::from_secs(3)), 64);
        assert_eq!(ended(Duration::from_secs(9)), 0);
        assert_eq!(ended(Duration::from_secs(21)), 2);
        assert_eq!(ended(Duration::from_secs(100_000)), 64);
    }
}
