//! Where the blocks of a spot check are.

use crate::engine::remote::BLOCK;
use crate::object::{ByteRange, PartBitmap, PartIndex, Plan};

/// How many blocks are drawn by chance. Of these, one is taken whose bytes are not all the same, if
/// there is one: a block of zeros is the same in many objects.
const DRAWS: usize = 8;

/// Blocks of some parts of the output.
#[derive(Debug, Default)]
pub(crate) struct DrawnBlocks {
    /// The first block and the last one.
    pub(crate) fixed: Vec<ByteRange>,
    /// Those of which one is to be taken.
    pub(crate) by_chance: Vec<ByteRange>,
}

impl DrawnBlocks {
    /// Blocks of these parts.
    pub(crate) fn of(plan: &Plan, parts: &PartBitmap) -> Self {
        let parts: Vec<PartIndex> = parts.iter().collect();
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else {
            return Self::default();
        };
        let (front, back) = (plan.range(*first), plan.range(*last));
        let mut fixed = vec![
            block_at(front, front.start()),
            block_at(back, back.end() - length_in(back)),
        ];
        fixed.dedup();
        let by_chance = (0..DRAWS).map(|_| {
            let part = plan.range(parts[fastrand::usize(..parts.len())]);
            let last = part.end() - length_in(part);
            block_at(part, fastrand::u64(part.start()..=last))
        });
        let by_chance = by_chance.filter(|block| !fixed.contains(block)).collect();
        Self { fixed, by_chance }
    }
}

/// The length of a block of this part.
fn length_in(part: ByteRange) -> u64 {
    part.len().min(BLOCK)
}

fn block_at(part: ByteRange, start: u64) -> ByteRange {
    ByteRange::at(start, length_in(part)).unwrap_or(part)
}
