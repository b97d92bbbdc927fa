//! Assembles parts from completed blocks.
//!
//! Leases are cut at blocks, which are small, equal shares of a part. Small blocks let all
//! connections finish together, even where each of them is slow. A checkpoint records only whole
//! parts.

use std::collections::BTreeMap;

use crate::integrity::Crc64Combiner;
use crate::object::{BlockBitmap, BlockIndex, BlockPlan, PartBitmap, PartIndex, Plan};

/// A snapshot of the completed parts.
#[derive(Clone, Debug)]
pub(crate) struct CompletedParts {
    pub(crate) completed: PartBitmap,
    /// CRC-64/XZ of every completed part, in order.
    pub(crate) crcs: Vec<u64>,
}

impl CompletedParts {
    /// Creates a snapshot of `plan` in which no part is completed.
    pub(crate) fn none(plan: &Plan) -> Self {
        Self {
            completed: PartBitmap::new(plan.parts()),
            crcs: Vec::new(),
        }
    }

    /// These parts without those of `left_out`.
    pub(crate) fn without(self, plan: &Plan, left_out: &[PartBitmap]) -> Self {
        let mut left = Self::none(plan);
        for (part, crc) in self.completed.iter().zip(self.crcs) {
            if !left_out.iter().any(|parts| parts.contains(part)) {
                left.completed.insert(part);
                left.crcs.push(crc);
            }
        }
        left
    }

    /// The number of bytes in these parts of `plan`.
    pub(crate) fn bytes(&self, plan: &Plan) -> u64 {
        let runs = self.completed.runs();
        runs.map(|run| plan.run(PartIndex(run.start), run.end).len())
            .sum()
    }
}

/// Assembles parts, and their CRCs, from completed blocks.
#[derive(Debug)]
pub(crate) struct PartAssembler {
    plan: Plan,
    blocks: BlockPlan,
    completed: PartBitmap,
    /// CRC-64/XZ by part; meaningful where the part is completed.
    crcs: Vec<u64>,
    /// By part that is incomplete, the CRCs of its completed blocks.
    begun: BTreeMap<u32, Vec<Option<u64>>>,
    combiner: Crc64Combiner,
}

impl PartAssembler {
    /// Creates an assembler that starts with the parts in `completed`.
    pub(crate) fn new(plan: Plan, blocks: BlockPlan, completed: CompletedParts) -> Self {
        let mut crcs = vec![0; plan.parts() as usize];
        for (part, crc) in completed.completed.iter().zip(completed.crcs) {
            crcs[part.0 as usize] = crc;
        }
        Self {
            plan,
            blocks,
            completed: completed.completed,
            crcs,
            begun: BTreeMap::new(),
            combiner: Crc64Combiner::new(),
        }
    }

    /// The number of blocks in every part but perhaps the last.
    pub(crate) fn blocks_per_part(&self) -> u32 {
        self.plan.blocks_per_part(&self.blocks)
    }

    /// The blocks of the completed parts.
    pub(crate) fn blocks_completed(&self) -> BlockBitmap {
        let mut found = BlockBitmap::new(self.blocks.blocks());
        for block in self
            .completed
            .iter()
            .flat_map(|part| self.blocks_of(part.0))
        {
            found.insert(BlockIndex(block));
        }
        found
    }

    /// Adds a block that completed for the first time.
    pub(crate) fn add(&mut self, block: BlockIndex, crc: u64) {
        let part = block.0 / self.blocks_per_part();
        let blocks = self.blocks_of(part);
        let begun = self
            .begun
            .entry(part)
            .or_insert_with(|| vec![None; blocks.len()]);
        begun[(block.0 - blocks.start) as usize] = Some(crc);
        if begun.contains(&None) {
            return;
        }
        let crcs = self.begun.remove(&part).into_iter().flatten().flatten();
        let lengths = blocks.map(|block| self.blocks.range(BlockIndex(block)).len());
        self.crcs[part as usize] = self.combiner.combine(crcs.zip(lengths));
        self.completed.insert(PartIndex(part));
    }

    /// The completed parts.
    pub(crate) fn completed(&self) -> &PartBitmap {
        &self.completed
    }

    /// A snapshot of the completed parts.
    pub(crate) fn completed_parts(&self) -> CompletedParts {
        let completed = self.completed.clone();
        let crcs = completed.iter().map(|part| self.crcs[part.0 as usize]);
        CompletedParts {
            crcs: crcs.collect(),
            completed,
        }
    }

    /// The indices of the blocks of a part.
    fn blocks_of(&self, part: u32) -> std::ops::Range<u32> {
        let each = self.blocks_per_part();
        let first = part.saturating_mul(each);
        first..first.saturating_add(each).min(self.blocks.blocks())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::integrity::Crc64;
    use crate::object::ByteRange;
    use proptest::prelude::*;

    fn shuffled(blocks: u32, seed: u64) -> Vec<u32> {
        let mut order: Vec<u32> = (0..blocks).collect();
        fastrand::Rng::with_seed(seed).shuffle(&mut order);
        order
    }

    #[test]
    fn parts_are_left_out_with_their_crcs() {
        let plan = Plan::new(40, 10).unwrap();
        let all = CompletedParts {
            completed: PartBitmap::first(4, 4),
            crcs: vec![10, 11, 12, 13],
        };
        let mut left_out = PartBitmap::new(4);
        left_out.insert(PartIndex(1));
        let left = all.without(&plan, &[left_out, PartBitmap::new(4)]);
        let parts: Vec<u32> = left.completed.iter().map(|part| part.0).collect();
        assert_eq!((parts, left.crcs), (vec![0, 2, 3], vec![10, 12, 13]));
    }

    proptest! {
        #[test]
        fn a_part_is_completed_by_its_last_block(
            bytes in prop::collection::vec(any::<u8>(), 1..2000),
            block in 1..40u64,
            each in 1..6u64,
            seed in any::<u64>(),
        ) {
            let plan = Plan::new(bytes.len() as u64, block * each).unwrap();
            let blocks = plan.in_blocks(block);
            let of = |range: ByteRange| {
                let bound = |position| usize::try_from(position).unwrap();
                Crc64::of(&bytes[bound(range.start())..bound(range.end())])
            };
            let nothing = CompletedParts { completed: PartBitmap::new(plan.parts()), crcs: Vec::new() };
            let mut parts = PartAssembler::new(plan, blocks, nothing);
            let mut added = BlockBitmap::new(blocks.blocks());
            for index in shuffled(blocks.blocks(), seed) {
                let block = BlockIndex(index);
                parts.add(block, of(blocks.range(block)));
                added.insert(block);
                for part in 0..plan.parts() {
                    let whole = parts.blocks_of(part).all(|block| added.contains(BlockIndex(block)));
                    prop_assert_eq!(parts.completed().contains(PartIndex(part)), whole);
                }
                let found = parts.blocks_completed();
                prop_assert!(found.iter().all(|block| added.contains(block)));
                let completed = parts.completed_parts();
                for (part, crc) in completed.completed.iter().zip(&completed.crcs) {
                    prop_assert_eq!(*crc, of(plan.range(part)));
                }
            }
            prop_assert!(parts.completed().is_full() && parts.begun.is_empty());
            prop_assert!(parts.blocks_completed().is_full());
            let again = PartAssembler::new(plan, blocks, parts.completed_parts());
            prop_assert_eq!(again.completed_parts().crcs, parts.completed_parts().crcs);
        }
    }
}
