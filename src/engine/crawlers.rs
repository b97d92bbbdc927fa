//! Which transfer crawls beside the others, and how many may be ended for it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::scheduler::LeaseId;
use super::underway::Watched;

/// A transfer at less than this share of the others' mean rate crawls,
const CRAWL: f64 = 0.5;
/// if it has been under way for this long, or this many times the wait for a reply, and has as long to go. A connection
/// that lost its packets far away needs several round trips before it is heard of again.
const CRAWLS_AFTER: Duration = Duration::from_secs(2);
const CRAWL_ROUND_TRIPS: u32 = 16;
/// Among fewer transfers none crawls.
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
        let rates: Vec<f64> = transfers.values().filter_map(|w| w.rate).collect();
        if rates.len() < FEWEST || self.left == 0 {
            return None;
        }
        let patience = CRAWLS_AFTER.max(first_byte * CRAWL_ROUND_TRIPS);
        let sum: f64 = rates.iter().sum();
        let others = (rates.len() - 1) as f64;
        let crawler = transfers.values().find(|watched| {
            watched.rate.is_some_and(|rate| {
                rate < (sum - rate) / others * CRAWL
                    && now - watched.since > patience
                    && watched.seconds_left(rate) > patience.as_secs_f64()
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
