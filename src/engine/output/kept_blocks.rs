//! Blocks of an output that can't be read back, kept for a comparison with what a server has.

use crate::engine::remote::BLOCK;
use crate::engine::transfer::written_blocks::WrittenBlock;

/// The first block of what was written, the last one, and one by chance.
#[derive(Debug, Default)]
pub(crate) struct KeptBlocks {
    first: Option<WrittenBlock>,
    last: Option<WrittenBlock>,
    by_chance: Option<WrittenBlock>,
    /// Parts that were written.
    parts: u32,
}

impl KeptBlocks {
    /// Keeps what is worth keeping of a part, which follows the parts before it.
    pub(crate) fn add(&mut self, position: u64, part: &[u8]) {
        let most = usize::try_from(BLOCK).unwrap_or(usize::MAX);
        let length = part.len().min(most);
        let block = |start: usize| WrittenBlock {
            position: position + start as u64,
            bytes: part[start..start + length].to_vec(),
        };
        self.parts += 1;
        // Of all parts so far, each is the one by chance with the same probability.
        if fastrand::u32(..self.parts) == 0 {
            self.by_chance = Some(block(fastrand::usize(..=part.len() - length)));
        }
        self.first.get_or_insert_with(|| block(0));
        self.last = Some(block(part.len() - length));
    }

    pub(crate) fn blocks(&self) -> Vec<WrittenBlock> {
        let mut blocks: Vec<WrittenBlock> = [&self.first, &self.last, &self.by_chance]
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        blocks.sort_by_key(|block| block.position);
        blocks.dedup_by_key(|block| block.position);
        blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_block_are_kept_and_one_by_chance() {
        fastrand::seed(1);
        let mut kept = KeptBlocks::default();
        let part = vec![7; 100_000];
        for index in 0..10 {
            kept.add(index * 100_000, &part);
        }
        let blocks = kept.blocks();
        assert_eq!(blocks.first().unwrap().position, 0);
        assert_eq!(blocks.last().unwrap().position, 1_000_000 - BLOCK);
        assert!(blocks.iter().all(|block| block.bytes.len() as u64 == BLOCK));
        let mut short = KeptBlocks::default();
        short.add(0, b"abc");
        assert_eq!(short.blocks().len(), 1);
    }
}
