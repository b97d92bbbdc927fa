//! Where ranges are stuck, and how often in a row they failed, whoever tried them.

use std::collections::BTreeMap;

use crate::object::BlockIndex;

/// Attempts of each block that ended since its last byte of progress. A range that is handed on keeps its count.
#[derive(Debug, Default)]
pub(super) struct AttemptCounts(BTreeMap<(BlockIndex, Role), Stuck>);

/// In which role a block is fetched. Each has a count of its own, so that a hedge takes nothing from the attempts of what it
/// stands behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Owner,
    Hedge,
}

/// How far an attempt came: a position in a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttemptAt {
    pub(super) block: BlockIndex,
    pub(super) role: Role,
    pub(super) position: u64,
}

#[derive(Clone, Copy, Debug)]
struct Stuck {
    /// Where the attempt ended that came furthest,
    furthest: u64,
    /// and the last one.
    last: u64,
    /// Those that failed.
    attempts: u32,
}

impl AttemptCounts {
    /// Counts an attempt from `begun` on that failed there. Returns how many did in a row, this one included.
    pub(super) fn count(&mut self, begun: u64, place: AttemptAt) -> u32 {
        let stuck = self.reach(place);
        // Who began the block anew and is on the way to where others failed brings bytes, and has not failed there yet.
        let is_on_the_way = place.position > begun && place.position < stuck.furthest;
        if !is_on_the_way || stuck.attempts == 0 {
            stuck.attempts += 1;
        }
        stuck.attempts
    }

    fn reach(&mut self, place: AttemptAt) -> &mut Stuck {
        let here = Stuck {
            furthest: place.position,
            last: place.position,
            attempts: 0,
        };
        let stuck = self.0.entry((place.block, place.role)).or_insert(here);
        if place.position > stuck.furthest {
            *stuck = here;
        }
        stuck.last = place.position;
        stuck
    }

    /// Takes note that an attempt was ended there for another to begin anew: no failure.
    pub(super) fn begin_anew(&mut self, place: AttemptAt) {
        self.reach(place);
    }

    /// Whether an attempt ended just there, and none came further since.
    pub(super) fn is_stuck(&self, place: AttemptAt) -> bool {
        let stuck = self.0.get(&(place.block, place.role));
        stuck.is_some_and(|stuck| [stuck.furthest, stuck.last].contains(&place.position))
    }

    /// The block came in whole.
    pub(super) fn forget(&mut self, block: BlockIndex) {
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

    #[test]
    fn attempts_count_from_the_last_byte_of_progress() {
        let mut attempts = AttemptCounts::default();
        assert!(!attempts.is_stuck(place(1, 110)));
        assert_eq!(attempts.count(100, place(1, 110)), 1);
        assert_eq!(attempts.count(110, place(1, 110)), 2);
        assert_eq!(attempts.count(200, place(2, 200)), 1);
        assert!(attempts.is_stuck(place(1, 110)) && !attempts.is_stuck(place(1, 111)));
        assert_eq!(attempts.count(110, place(1, 111)), 1);
        attempts.begin_anew(place(1, 115));
        assert!(attempts.is_stuck(place(1, 115)));
        assert_eq!(attempts.count(100, place(1, 115)), 1);
        attempts.begin_anew(place(1, 115));
        assert_eq!(attempts.count(100, place(1, 115)), 2);
    }

    #[test]
    fn who_begins_anew_and_comes_nearer_has_not_failed_again() {
        let mut attempts = AttemptCounts::default();
        assert_eq!(attempts.count(100, place(1, 150)), 1);
        assert_eq!(attempts.count(150, place(1, 150)), 2);
        assert_eq!(attempts.count(100, place(1, 120)), 2);
        assert!(attempts.is_stuck(place(1, 120)) && attempts.is_stuck(place(1, 150)));
        assert!(!attempts.is_stuck(place(1, 130)));
        assert_eq!(attempts.count(120, place(1, 140)), 2);
        assert_eq!(attempts.count(140, place(1, 140)), 3);
        assert_eq!(attempts.count(140, place(1, 150)), 4);
        assert_eq!(attempts.count(150, place(1, 160)), 1);
    }

    #[test]
    fn a_hedge_counts_for_itself_until_the_grain_is_there() {
        let mut attempts = AttemptCounts::default();
        assert_eq!(attempts.count(100, place(1, 110)), 1);
        assert_eq!(attempts.count(100, hedge(1, 105)), 1);
        assert_eq!(attempts.count(105, hedge(1, 110)), 1);
        assert_eq!(attempts.count(110, place(1, 110)), 2);
        assert_eq!(attempts.count(200, place(2, 200)), 1);
        attempts.forget(BlockIndex(1));
        assert!(!attempts.is_stuck(place(1, 110)) && !attempts.is_stuck(hedge(1, 110)));
        assert!(attempts.is_stuck(place(2, 200)));
    }
}
