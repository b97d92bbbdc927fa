//! Counts the failed attempts at each block since its last byte of progress, over all connections.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::engine::failures::Failures;
use crate::object::BlockIndex;

/// Counts the failed attempts at each block since its last byte of progress. A block keeps its
/// count when it passes to another lease.
#[derive(Debug, Default)]
pub(super) struct AttemptCounts(BTreeMap<(BlockIndex, Role), NoProgress>);

/// In which role a lease fetches a block. The roles are counted apart, because a failed hedge must
/// not use up the attempts of the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// The lease holds the block.
    Owner,
    /// The lease fetches a second time what an owner holds.
    Hedge,
}

/// How far an attempt got.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttemptAt {
    pub(super) block: BlockIndex,
    pub(super) role: Role,
    /// The position in the file of the next byte to arrive.
    pub(super) position: u64,
}

/// The attempts at a block that ended without a byte of progress over those before them.
#[derive(Clone, Copy, Debug)]
struct NoProgress {
    /// The furthest position at which an attempt ended.
    furthest: u64,
    /// The position at which the last attempt ended.
    last: u64,
    failures: Failures,
}

impl AttemptCounts {
    /// Counts an attempt that started at the position `begun` and failed at `place` now. Returns
    /// those that have failed in a row, this one included.
    pub(super) fn count(&mut self, begun: u64, place: AttemptAt, now: Instant) -> Failures {
        let stuck = self.reach(place, now);
        // An attempt that starts the block over makes progress until it reaches the position where
        // others failed.
        let is_on_the_way = place.position > begun && place.position < stuck.furthest;
        if !is_on_the_way || stuck.failures.count == 0 {
            stuck.failures.add(now);
        }
        stuck.failures
    }

    /// Records that an attempt ended at `place`. Progress resets the count.
    fn reach(&mut self, place: AttemptAt, now: Instant) -> &mut NoProgress {
        let here = NoProgress {
            furthest: place.position,
            last: place.position,
            failures: Failures::none(now),
        };
        let stuck = self.0.entry((place.block, place.role)).or_insert(here);
        if place.position > stuck.furthest {
            *stuck = here;
        }
        stuck.last = place.position;
        stuck
    }

    /// Records that the attempt at `place` was ended for another to replace it. This is no failure.
    pub(super) fn replaced(&mut self, place: AttemptAt, now: Instant) {
        self.reach(place, now);
    }

    /// Whether an attempt ended at exactly this position, and none has got further since.
    pub(super) fn is_stuck(&self, place: AttemptAt) -> bool {
        let stuck = self.0.get(&(place.block, place.role));
        stuck.is_some_and(|stuck| [stuck.furthest, stuck.last].contains(&place.position))
    }

    /// Drops the counts of a block that is complete.
    pub(super) fn completed(&mut self, block: BlockIndex) {
        for role in [Role::Owner, Role::Hedge] {
            self.0.remove(&(block, role));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(block: u32, position: u64) -> AttemptAt {
        AttemptAt {
            block: BlockIndex(block),
            role: Role::Owner,
            position,
        }
    }

    fn hedge(block: u32, position: u64) -> AttemptAt {
        AttemptAt {
            role: Role::Hedge,
            ..place(block, position)
        }
    }

    fn count(attempts: &mut AttemptCounts, begun: u64, place: AttemptAt) -> u32 {
        attempts.count(begun, place, Instant::now()).count
    }

    #[test]
    fn attempts_count_from_the_last_byte_of_progress() {
        let mut attempts = AttemptCounts::default();
        assert!(!attempts.is_stuck(place(1, 110)));
        assert_eq!(count(&mut attempts, 100, place(1, 110)), 1);
        assert_eq!(count(&mut attempts, 110, place(1, 110)), 2);
        assert_eq!(count(&mut attempts, 200, place(2, 200)), 1);
        assert!(attempts.is_stuck(place(1, 110)) && !attempts.is_stuck(place(1, 111)));
        assert_eq!(count(&mut attempts, 110, place(1, 111)), 1);
        attempts.replaced(place(1, 115), Instant::now());
        assert!(attempts.is_stuck(place(1, 115)));
        assert_eq!(count(&mut attempts, 100, place(1, 115)), 1);
        attempts.replaced(place(1, 115), Instant::now());
        assert_eq!(count(&mut attempts, 100, place(1, 115)), 2);
    }

    #[test]
    fn failures_in_a_row_last_since_the_first_of_them() {
        let mut attempts = AttemptCounts::default();
        let begun = Instant::now();
        let later = |seconds| begun + std::time::Duration::from_secs(seconds);
        attempts.count(100, place(1, 100), later(1));
        let again = attempts.count(100, place(1, 100), later(5));
        assert_eq!((again.count, again.since), (2, later(1)));
        let anew = attempts.count(100, place(1, 101), later(9));
        assert_eq!((anew.count, anew.since), (1, later(9)));
    }

    #[test]
    fn a_restarted_attempt_that_fails_before_the_furthest_position_is_not_counted() {
        let mut attempts = AttemptCounts::default();
        assert_eq!(count(&mut attempts, 100, place(1, 150)), 1);
        assert_eq!(count(&mut attempts, 150, place(1, 150)), 2);
        assert_eq!(count(&mut attempts, 100, place(1, 120)), 2);
        assert!(attempts.is_stuck(place(1, 120)) && attempts.is_stuck(place(1, 150)));
        assert!(!attempts.is_stuck(place(1, 130)));
        assert_eq!(count(&mut attempts, 120, place(1, 140)), 2);
        assert_eq!(count(&mut attempts, 140, place(1, 140)), 3);
        assert_eq!(count(&mut attempts, 140, place(1, 150)), 4);
        assert_eq!(count(&mut attempts, 150, place(1, 160)), 1);
    }

    #[test]
    fn a_hedge_is_counted_apart_until_the_block_is_complete() {
        let mut attempts = AttemptCounts::default();
        assert_eq!(count(&mut attempts, 100, place(1, 110)), 1);
        assert_eq!(count(&mut attempts, 100, hedge(1, 105)), 1);
        assert_eq!(count(&mut attempts, 105, hedge(1, 110)), 1);
        assert_eq!(count(&mut attempts, 110, place(1, 110)), 2);
        assert_eq!(count(&mut attempts, 200, place(2, 200)), 1);
        attempts.completed(BlockIndex(1));
        assert!(!attempts.is_stuck(place(1, 110)) && !attempts.is_stuck(hedge(1, 110)));
        assert!(attempts.is_stuck(place(2, 200)));
    }
}
