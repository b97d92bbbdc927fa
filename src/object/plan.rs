//! The plan: cuts the bytes to download into parts of one size, and the parts into blocks.

use std::marker::PhantomData;

use super::ByteRange;

/// The most parts that a plan may have. Bounds the bitmap, the CRCs and the checkpoint (36 MiB).
pub(crate) const MAX_PARTS: u32 = 1 << 22;

/// The most blocks that a plan is cut into, unless it has as many parts.
const MAX_BLOCKS: u32 = 1 << 20;

const SMALLEST_AUTO: u64 = 256 << 10;
/// The most parts that `auto` makes up to [`AUTO_KNEE`].
const AUTO_PARTS: u64 = 16 << 10;
const AUTO_KNEE: u64 = 64 << 30;

/// The index of a cell of a [`Partition`].
pub(crate) trait Index: Copy + Ord + std::fmt::Debug {
    fn new(number: u32) -> Self;

    /// Counted from 0.
    fn number(self) -> u32;
}

/// The number of a part, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PartIndex(pub(crate) u32);

/// The number of a block, counted from 0 over the whole file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct BlockIndex(pub(crate) u32);

impl Index for PartIndex {
    fn new(number: u32) -> Self {
        Self(number)
    }

    fn number(self) -> u32 {
        self.0
    }
}

impl Index for BlockIndex {
    fn new(number: u32) -> Self {
        Self(number)
    }

    fn number(self) -> u32 {
        self.0
    }
}

/// One cell of a partition, with the range of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartitionCell<I> {
    pub(crate) index: I,
    pub(crate) range: ByteRange,
}

/// The unit that a lease is cut at.
pub(crate) type Block = PartitionCell<BlockIndex>;

/// Cuts bytes into cells of one size. The last cell may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Partition<I> {
    length: u64,
    // INVARIANT: at least 1.
    size: u64,
    // INVARIANT: ceil(length / size), at most MAX_PARTS.
    cells: u32,
    index: PhantomData<I>,
}

/// Cuts the bytes into parts. Each part is one bit of the checkpoint's bitmap.
pub(crate) type Plan = Partition<PartIndex>;

/// Cuts the bytes into blocks, which never cross a part's end.
pub(crate) type BlockPlan = Partition<BlockIndex>;

/// Why bytes can't be cut into parts of the given size.
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
    /// Cuts `length` bytes into parts of automatic size. The size is a power of two, at least 256
    /// KiB, with at most 16 Ki parts up to 64 GiB (4 MiB each). Beyond, part size and number of
    /// parts each double when the length quadruples.
    pub(crate) fn auto(length: u64) -> Self {
        Self::new(length, auto_part_size(length)).expect("auto keeps to MAX_PARTS for every length")
    }

    /// Cuts each part into equal blocks of `block` bytes. The blocks are larger if there would be
    /// too many, and whole parts if `block` does not divide the part size. Part `i` starts at block
    /// `i * n`, where `n` is [`blocks_per_part`](Self::blocks_per_part).
    pub(crate) fn in_blocks(&self, block: u64) -> BlockPlan {
        let divides = block > 0 && self.size.is_multiple_of(block);
        let mut shares = if divides { self.size / block } else { 1 };
        while shares > 1 && shares.saturating_mul(self.cells.into()) > MAX_BLOCKS.into() {
            shares = if shares.is_multiple_of(2) {
                shares / 2
            } else {
                1
            };
        }
        BlockPlan::new(self.length, self.size / shares).unwrap_or(self.one_block_a_part())
    }

    /// Makes each part one block.
    pub(crate) fn one_block_a_part(&self) -> BlockPlan {
        BlockPlan {
            length: self.length,
            size: self.size,
            cells: self.cells,
            index: PhantomData,
        }
    }

    /// The number of blocks in a part; the last part may have fewer.
    pub(crate) fn blocks_per_part(&self, blocks: &BlockPlan) -> u32 {
        u32::try_from(self.size / blocks.size).unwrap_or(u32::MAX)
    }

    pub(crate) fn part_size(&self) -> u64 {
        self.size
    }

    /// The number of parts.
    pub(crate) fn parts(&self) -> u32 {
        self.cells
    }

    /// The part that contains byte `position`; `None` past the end.
    pub(crate) fn part_at(&self, position: u64) -> Option<PartitionCell<PartIndex>> {
        self.at(position)
    }
}

impl BlockPlan {
    pub(crate) fn block_size(&self) -> u64 {
        self.size
    }

    /// The number of blocks.
    pub(crate) fn blocks(&self) -> u32 {
        self.cells
    }

    /// The block that contains byte `position`; `None` past the end.
    pub(crate) fn block_at(&self, position: u64) -> Option<Block> {
        self.at(position)
    }
}

impl<I: Index> Partition<I> {
    /// Cuts `length` bytes into cells of `size` bytes.
    pub(crate) fn new(length: u64, size: u64) -> Result<Self, PlanError> {
        if size == 0 {
            return Err(PlanError::EmptyParts);
        }
        let cells = u32::try_from(length.div_ceil(size))
            .ok()
            .filter(|cells| *cells <= MAX_PARTS)
            .ok_or(PlanError::TooManyParts {
                length,
                part_size: size,
                least: length.div_ceil(u64::from(MAX_PARTS)),
            })?;
        Ok(Self {
            length,
            size,
            cells,
            index: PhantomData,
        })
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The bytes of cell `index`; empty if there is no such cell.
    pub(crate) fn range(&self, index: I) -> ByteRange {
        self.run(index, index.number().saturating_add(1))
    }

    /// The bytes of the cells from `first` up to, but not including, `end`.
    pub(crate) fn run(&self, first: I, end: u32) -> ByteRange {
        let start = self.offset(first.number());
        ByteRange::new(start, self.offset(end).max(start)).unwrap_or(ByteRange::whole(0))
    }

    fn at(&self, position: u64) -> Option<PartitionCell<I>> {
        if position >= self.length {
            return None;
        }
        let index = I::new(u32::try_from(position / self.size).ok()?);
        Some(PartitionCell {
            index,
            range: self.range(index),
        })
    }

    fn offset(&self, cell: u32) -> u64 {
        u64::from(cell).saturating_mul(self.size).min(self.length)
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
    fn blocks() {
        let blocks = |length, part_size, block| {
            let plan = Plan::new(length, part_size).unwrap();
            let blocks = plan.in_blocks(block);
            assert_eq!(blocks.length(), length);
            (blocks.block_size(), plan.blocks_per_part(&blocks))
        };
        assert_eq!(blocks(1000, 256, 64), (64, 4));
        assert_eq!(blocks(1000, 192, 64), (64, 3));
        assert_eq!(blocks(1000, 100, 64), (100, 1));
        assert_eq!(blocks(1000, 32, 64), (32, 1));
        assert_eq!(blocks(0, 256, 64), (64, 4));
        // 64 Ki parts of 16 MiB: 16 blocks each, and no more.
        assert_eq!(blocks(1 << 40, 16 << 20, 64 << 10), (1 << 20, 16));
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
