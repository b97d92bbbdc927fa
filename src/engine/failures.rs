//! Where ranges are stuck, and how often in a row they failed, whoever tried them.

use std::collections::BTreeMap;

use crate::object::PartIndex;

/// Attempts of each grain that ended since its last byte of progress. A range that is handed on keeps its count.
#[derive(Debug, Default)]
pub(super) struct Failures(BTreeMap<PartIndex, Stuck>);

#[derive(Debug)]
struct Stuck {
    /// The furthest that an attempt came.
    position: u64,
    /// Those that failed.
    attempts: u32,
}

impl Failures {
    /// Counts an attempt that failed at `position` of `grain`. Returns how many did in a row, this one included.
    pub(super) fn count(&mut self, grain: PartIndex, position: u64) -> u32 {
        let stuck = self.reach(grain, position);
        stuck.attempts += 1;
        stuck.attempts
    }

    fn reach(&mut self, grain: PartIndex, position: u64) -> &mut Stuck {
        let nothing = Stuck {
            position,
            attempts: 0,
        };
        let stuck = self.0.entry(grain).or_insert(nothing);
        if position > stuck.position {
            (stuck.position, stuck.attempts) = (position, 0);
        }
        stuck
    }

    /// Takes note that an attempt was ended at `position` of `grain`, for another to begin anew: no failure.
    pub(super) fn begin_anew(&mut self, grain: PartIndex, position: u64) {
        self.reach(grain, position);
    }

    /// Whether attempts ended there and none came past `position`.
    pub(super) fn stuck_at(&self, grain: PartIndex, position: u64) -> bool {
        let stuck = self.0.get(&grain);
        stuck.is_some_and(|stuck| position <= stuck.position)
    }

    /// The grain came in whole.
    pub(super) fn forget(&mut self, grain: PartIndex) {
        self.0.remove(&grain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_count_from_the_last_byte_of_progress() {
        let (one, other) = (PartIndex(1), PartIndex(2));
        let mut failures = Failures::default();
        assert!(!failures.stuck_at(one, 110));
        assert_eq!(failures.count(one, 110), 1);
        assert_eq!(failures.count(one, 110), 2);
        assert_eq!(failures.count(other, 200), 1);
        assert!(failures.stuck_at(one, 110) && !failures.stuck_at(one, 111));
        // Somebody else began anew and came less far, and then one came further.
        assert_eq!(failures.count(one, 100), 3);
        assert_eq!(failures.count(one, 111), 1);
        failures.begin_anew(one, 115);
        assert!(failures.stuck_at(one, 115));
        assert_eq!(failures.count(one, 115), 1);
        failures.begin_anew(one, 115);
        assert_eq!(failures.count(one, 112), 2);
        failures.forget(one);
        assert!(!failures.stuck_at(one, 111) && failures.stuck_at(other, 200));
        assert_eq!(failures.count(one, 111), 1);
    }
}
