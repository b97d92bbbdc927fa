//! The plan: an exact cover of the bytes to be downloaded by parts of one size.

use super::ByteRange;

/// The most parts that a plan may have. Bounds the bitmap, the CRCs and the checkpoint (36 MiB).
pub(crate) const MAX_PARTS: u32 = 1 << 22;

/// The most grains that a plan is cut into, unless it has as many parts.
const MAX_GRAINS: u32 = 1 << 20;

const SMALLEST_AUTO: u64 = 256 << 10;
/// `auto` keeps a checkpoint at this many parts up to [`AUTO_KNEE`].
const AUTO_PARTS: u64 = 16 << 10;
const AUTO_KNEE: u64 = 64 << 30;

/// The number of a part, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PartIndex(pub(crate) u32);

/// One part: the bytes that one bit stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) index: PartIndex,
    pub(crate) range: ByteRange,
}

/// How the bytes are cut into parts. All parts are of one size but the last, which may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    length: u64,
    // INVARIANT: at least 1.
    part_size: u64,
    // INVARIANT: ceil(length / part_size), at most MAX_PARTS.
    parts: u32,
}

/// Why there is no such plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlanError {
    #[error("a part of 0 bytes")]
    EmptyParts,
    #[error(
        "{length} bytes in parts of {part_size} bytes are more than {MAX_PARTS} parts; at least {least} bytes a part are needed"
    )]
    TooManyParts {
        length: u64,
        part_size: u64,
        least: u64,
    },
}

impl Plan {
    /// Cuts `length` bytes into parts of `part_size` bytes.
    pub(crate) fn new(length: u64, part_size: u64) -> Result<Self, PlanError> {
        if part_size == 0 {
            return Err(PlanError::EmptyParts);
        }
        let parts = u32::try_from(length.div_ceil(part_size))
            .ok()
            .filter(|parts| *parts <= MAX_PARTS)
            .ok_or(PlanError::TooManyParts {
                length,
                part_size,
                least: length.div_ceil(u64::from(MAX_PARTS)),
            })?;
        Ok(Self {
            length,
            part_size,
            parts,
        })
    }

    /// Cuts `length` bytes into parts of a size that suits them: a power of two from 256 KiB, at most 16 Ki parts up
    /// to 64 GiB (then 4 MiB each); beyond, part size and number of parts each double when the length quadruples.
    pub(crate) fn auto(length: u64) -> Self {
        Self::new(length, auto_part_size(length)).expect("auto keeps to MAX_PARTS for every length")
    }

    /// The same bytes in grains: each part in even shares of `grain` bytes, or in fewer where that would be too many, or
    /// in one where `grain` bytes don't divide it. Part `i` is the grains from `i * n` on, where `n` is what
    /// [`grains_per_part`](Self::grains_per_part) says.
    pub(crate) fn in_grains(&self, grain: u64) -> Self {
        let divides = grain > 0 && self.part_size.is_multiple_of(grain);
        let mut shares = if divides { self.part_size / grain } else { 1 };
        while shares > 1 && shares.saturating_mul(self.parts.into()) > MAX_GRAINS.into() {
            shares = if shares.is_multiple_of(2) {
                shares / 2
            } else {
                1
            };
        }
        Self::new(self.length, self.part_size / shares).unwrap_or(*self)
    }

    /// How many grains a part has; the last part may have fewer.
    pub(crate) fn grains_per_part(&self, grains: &Self) -> u32 {
        u32::try_from(self.part_size / grains.part_size).unwrap_or(u32::MAX)
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn part_size(&self) -> u64 {
        self.part_size
    }

    /// The number of parts.
    pub(crate) fn parts(&self) -> u32 {
        self.parts
    }

    /// The bytes of part `index`; empty where the plan has no such part.
    pub(crate) fn range(&self, index: PartIndex) -> ByteRange {
        self.run(index, index.0.saturating_add(1))
    }

    /// The bytes of the parts from `first` up to, not including, `end`.
    pub(crate) fn run(&self, first: PartIndex, end: u32) -> ByteRange {
        let start = self.offset(first.0);
        ByteRange::new(start, self.offset(end).max(start)).unwrap_or(ByteRange::whole(0))
    }

    /// The part that holds byte `position`, if the object is that long.
    pub(crate) fn part_at(&self, position: u64) -> Option<Part> {
        if position >= self.length {
            return None;
        }
        let index = PartIndex(u32::try_from(position / self.part_size).ok()?);
        Some(Part {
            index,
            range: self.range(index),
        })
    }

    fn offset(&self, index: u32) -> u64 {
        u64::from(index)
            .saturating_mul(self.part_size)
            .min(self.length)
    }
}

fn auto_part_size(length: u64) -> u64 {
    let up_to_knee = length
        .min(AUTO_KNEE)
        .div_ceil(AUTO_PARTS)
        .next_power_of_two()
        .max(SMALLEST_AUTO);
    let mut part_size = up_to_knee;
    let mut reach = AUTO_KNEE;
    while reach < length {
        part_size *= 2;
        reach = reach.saturating_mul(4);
    }
    let least = length.div_ceil(u64::from(MAX_PARTS)).next_power_of_two();
    part_size.max(least)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn auto_part_sizes() {
        let table = [
            (0, 256 << 10, 0),
            (1, 256 << 10, 1),
            (GIB, 256 << 10, 4 << 10),
            (4 * GIB, 256 << 10, 16 << 10),
            (4 * GIB + 1, 512 << 10, (8 << 10) + 1),
            (64 * GIB, 4 << 20, 16 << 10),
            (64 * GIB + 1, 8 << 20, (8 << 10) + 1),
            (256 * GIB, 8 << 20, 32 << 10),
            (1024 * GIB, 16 << 20, 64 << 10),
        ];
        for (length, part_size, parts) in table {
            let plan = Plan::auto(length);
            assert_eq!(
                (plan.part_size(), plan.parts()),
                (part_size, parts),
                "{length}"
            );
        }
        assert!(Plan::auto(u64::MAX).parts() <= MAX_PARTS);
    }

    #[test]
    fn refuses_what_it_cannot_hold() {
        assert_eq!(Plan::new(10, 0), Err(PlanError::EmptyParts));
        let too_many = Plan::new(u64::MAX, 1);
        assert!(matches!(too_many, Err(PlanError::TooManyParts { .. })));
    }

    #[test]
    fn grains() {
        let grains = |length, part_size, grain| {
            let plan = Plan::new(length, part_size).unwrap();
            let grains = plan.in_grains(grain);
            assert_eq!(grains.length(), length);
            (grains.part_size(), plan.grains_per_part(&grains))
        };
        assert_eq!(grains(1000, 256, 64), (64, 4));
        assert_eq!(grains(1000, 192, 64), (64, 3));
        assert_eq!(grains(1000, 100, 64), (100, 1));
        assert_eq!(grains(1000, 32, 64), (32, 1));
        assert_eq!(grains(0, 256, 64), (64, 4));
        // 64 Ki parts of 16 MiB: 16 grains each, and no more.
        assert_eq!(grains(1 << 40, 16 << 20, 64 << 10), (1 << 20, 16));
    }

    proptest! {
        #[test]
        fn parts_cover_exactly(length in 0..1_000_000u64, part_size in 1..5_000u64) {
            let plan = Plan::new(length, part_size).unwrap();
            let mut position = 0;
            for index in 0..plan.parts() {
                let range = plan.range(PartIndex(index));
                prop_assert_eq!(range.start(), position);
                prop_assert!(!range.is_empty() && range.len() <= part_size);
                prop_assert_eq!(plan.part_at(range.start()).unwrap().range, range);
                prop_assert_eq!(plan.part_at(range.end() - 1).unwrap().index, PartIndex(index));
                position = range.end();
            }
            prop_assert_eq!(position, length);
            prop_assert!(plan.range(PartIndex(plan.parts())).is_empty());
        }

        #[test]
        fn auto_covers_any_length(length in any::<u64>()) {
            let plan = Plan::auto(length);
            let last = plan.run(PartIndex(0), plan.parts());
            prop_assert!(plan.part_size().is_power_of_two());
            prop_assert_eq!(last.len(), length);
            prop_assert!(length > AUTO_KNEE || u64::from(plan.parts()) <= AUTO_PARTS);
        }
    }
}
