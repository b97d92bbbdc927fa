//! Parts, put together out of what leases bring.
//!
//! Leases are cut at grains, which are even shares of a part: small, so that the connections run dry together at the end
//! even where each of them is slow. A checkpoint knows whole parts alone.

use std::collections::BTreeMap;

use super::dispatcher::CompletedParts;
use crate::integrity::Crc64Combiner;
use crate::object::{PartBitmap, PartIndex, Plan};

/// See the module.
#[derive(Debug)]
pub(crate) struct PartAssembler {
    plan: Plan,
    grains: Plan,
    completed: PartBitmap,
    /// By part; meaningful where the part is completed.
    crcs: Vec<u64>,
    /// By part that is begun and not completed: the CRCs of its grains that are there.
    begun: BTreeMap<u32, Vec<Option<u64>>>,
    combiner: Crc64Combiner,
}

impl PartAssembler {
    /// Begins with the parts that are there.
    pub(crate) fn new(plan: Plan, grains: Plan, snapshot: CompletedParts) -> Self {
        let mut crcs = vec![0; plan.parts() as usize];
        for (part, crc) in snapshot.completed.iter().zip(snapshot.crcs) {
            crcs[part.0 as usize] = crc;
        }
        Self {
            plan,
            grains,
            completed: snapshot.completed,
            crcs,
            begun: BTreeMap::new(),
            combiner: Crc64Combiner::new(),
        }
    }

    pub(crate) fn grains_per_part(&self) -> u32 {
        self.plan.grains_per_part(&self.grains)
    }

    /// The grains of the completed parts.
    pub(crate) fn grains_there(&self) -> PartBitmap {
        let mut there = PartBitmap::new(self.grains.parts());
        for grain in self
            .completed
            .iter()
            .flat_map(|part| self.grains_of(part.0))
        {
            there.insert(PartIndex(grain));
        }
        there
    }

    /// Adds a grain that came in whole, for the first time.
    pub(crate) fn add(&mut self, grain: PartIndex, crc: u64) {
        let part = grain.0 / self.grains_per_part();
        let grains = self.grains_of(part);
        let begun = self
            .begun
            .entry(part)
            .or_insert_with(|| vec![None; grains.len()]);
        begun[(grain.0 - grains.start) as usize] = Some(crc);
        if begun.contains(&None) {
            return;
        }
        let crcs = self.begun.remove(&part).into_iter().flatten().flatten();
        let lengths = grains.map(|grain| self.grains.range(PartIndex(grain)).len());
        self.crcs[part as usize] = self.combiner.combine(crcs.zip(lengths));
        self.completed.insert(PartIndex(part));
    }

    pub(crate) fn completed(&self) -> &PartBitmap {
        &self.completed
    }

    pub(crate) fn snapshot(&self) -> CompletedParts {
        let completed = self.completed.clone();
        let crcs = completed.iter().map(|part| self.crcs[part.0 as usize]);
        CompletedParts {
            crcs: crcs.collect(),
            completed,
        }
    }

    fn grains_of(&self, part: u32) -> std::ops::Range<u32> {
        let each = self.grains_per_part();
        let first = part.saturating_mul(each);
        first..first.saturating_add(each).min(self.grains.parts())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::integrity::Crc64;
    use proptest::prelude::*;

    fn shuffled(grains: u32, seed: u64) -> Vec<u32> {
        let mut order: Vec<u32> = (0..grains).collect();
        fastrand::Rng::with_seed(seed).shuffle(&mut order);
        order
    }

    proptest! {
        #[test]
        fn a_part_is_there_with_its_last_grain(
            bytes in prop::collection::vec(any::<u8>(), 1..2000),
            grain in 1..40u64,
            each in 1..6u64,
            seed in any::<u64>(),
        ) {
            let plan = Plan::new(bytes.len() as u64, grain * each).unwrap();
            let grains = plan.in_grains(grain);
            let of = |plan: &Plan, index| {
                let range = plan.range(PartIndex(index));
                let bound = |position| usize::try_from(position).unwrap();
                Crc64::of(&bytes[bound(range.start())..bound(range.end())])
            };
            let nothing = CompletedParts { completed: PartBitmap::new(plan.parts()), crcs: Vec::new() };
            let mut parts = PartAssembler::new(plan, grains, nothing);
            let mut came = PartBitmap::new(grains.parts());
            for index in shuffled(grains.parts(), seed) {
                parts.add(PartIndex(index), of(&grains, index));
                came.insert(PartIndex(index));
                for part in 0..plan.parts() {
                    let whole = parts.grains_of(part).all(|grain| came.contains(PartIndex(grain)));
                    prop_assert_eq!(parts.completed().contains(PartIndex(part)), whole);
                }
                let there = parts.grains_there();
                prop_assert!(there.iter().all(|grain| came.contains(grain)));
                let snapshot = parts.snapshot();
                for (part, crc) in snapshot.completed.iter().zip(&snapshot.crcs) {
                    prop_assert_eq!(*crc, of(&plan, part.0));
                }
            }
            prop_assert!(parts.completed().is_full() && parts.begun.is_empty());
            prop_assert!(parts.grains_there().is_full());
            let again = PartAssembler::new(plan, grains, parts.snapshot());
            prop_assert_eq!(again.snapshot().crcs, parts.snapshot().crcs);
        }
    }
}
