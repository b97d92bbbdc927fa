//! Where ranges are stuck, and how often in a row they failed, whoever tried them.

use std::collections::BTreeMap;

use crate::object::PartIndex;

/// Attempts of each grain that ended since its last byte of progress. A range that is handed on keeps its count.
#[derive(Debug, Default)]
pub(super) struct Failures(BTreeMap<(PartIndex, Role), Stuck>);

/// In which role a grain is fetched. Each has a count of its own, so that a hedge takes nothing from the attempts of what it
/// stands behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Owner,
    Hedge,
}

/// How far an attempt came: a position in a grain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) grain: PartIndex,
    pub(super) role: Role,
    pub(super) position: u64,
}

#[derive(Clone, Copy, Debug)]
struct Stuck {
    /// The furthest that an attempt came.
    position: u64,
    /// Those that failed.
    attempts: u32,
}

impl Failures {
    /// Counts an attempt that failed there. Returns how many did in a row, this one included.
    pub(super) fn count(&mut self, place: Place) -> u32 {
        let stuck = self.reach(place);
        stuck.attempts += 1;
        stuck.attempts
    }

    fn reach(&mut self, place: Place) -> &mut Stuck {
        let here = Stuck {
            position: place.position,
            attempts: 0,
        };
        let stuck = self.0.entry((place.grain, place.role)).or_insert(here);
        if place.position > stuck.position {
            *stuck = here;
        }
        stuck
    }

    /// Takes note that an attempt was ended there for another to begin anew: no failure.
    pub(super) fn begin_anew(&mut self, place: Place) {
        self.reach(place);
    }

    /// Whether attempts ended there or further on.
    pub(super) fn is_stuck(&self, place: Place) -> bool {
        let stuck = self.0.get(&(place.grain, place.role));
        stuck.is_some_and(|stuck| place.position <= stuck.position)
    }

    /// The grain came in whole.
    pub(super) fn forget(&mut self, grain: PartIndex) {
        for role in [Role::Owner, Role::Hedge] {
            self.0.remove(&(grain, role));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(grain: u32, position: u64) -> Place {
        Place {
            grain: PartIndex(grain),
            role: Role::Owner,
            position,
        }
    }

    fn hedge(grain: u32, position: u64) -> Place {
        Place {
            role: Role::Hedge,
            ..place(grain, position)
        }
    }

    #[test]
    fn attempts_count_from_the_last_byte_of_progress() {
        let mut failures = Failures::default();
        assert!(!failures.is_stuck(place(1, 110)));
        assert_eq!(failures.count(place(1, 110)), 1);
        assert_eq!(failures.count(place(1, 110)), 2);
        assert_eq!(failures.count(place(2, 200)), 1);
        assert!(failures.is_stuck(place(1, 110)) && !failures.is_stuck(place(1, 111)));
        // Somebody else began anew and came less far, and then one came further.
        assert_eq!(failures.count(place(1, 100)), 3);
        assert_eq!(failures.count(place(1, 111)), 1);
        failures.begin_anew(place(1, 115));
        assert!(failures.is_stuck(place(1, 115)));
        assert_eq!(failures.count(place(1, 115)), 1);
        failures.begin_anew(place(1, 115));
        assert_eq!(failures.count(place(1, 112)), 2);
    }

    #[test]
    fn a_hedge_counts_for_itself_until_the_grain_is_there() {
        let mut failures = Failures::default();
        assert_eq!(failures.count(place(1, 110)), 1);
        assert_eq!(failures.count(hedge(1, 105)), 1);
        assert_eq!(failures.count(hedge(1, 110)), 1);
        assert_eq!(failures.count(place(1, 110)), 2);
        assert_eq!(failures.count(place(2, 200)), 1);
        failures.forget(PartIndex(1));
        assert!(!failures.is_stuck(place(1, 110)) && !failures.is_stuck(hedge(1, 105)));
        assert!(failures.is_stuck(place(2, 200)));
    }
}
