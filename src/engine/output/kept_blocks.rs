//! Blocks of an output that can't be read back, kept for a comparison with what a server has.

use std::cmp::Reverse;

use crate::engine::remote::BLOCK;
use crate::engine::transfer::written_blocks::WrittenBlock;

/// The most blocks that are kept of replies.
const MOST: usize = 64;

/// The most bytes of one of these.
const SIZE: usize = 16 << 10;

/// The first block of what was written, the last one, one by chance, and the first one of every
/// reply, or of as many of them as are kept.
#[derive(Debug, Default)]
pub(crate) struct KeptBlocks {
    first: Option<WrittenBlock>,
    last: Option<WrittenBlock>,
    by_chance: Option<WrittenBlock>,
    /// Parts that were written.
    parts: u32,
    of_replies: Vec<WrittenBlock>,
    /// Replies whose bytes were written.
    replies: usize,
}

impl KeptBlocks {
    /// Keeps what is worth keeping of a part, which follows the parts before it. Replies begin at
    /// `begins`, positions within the part.
    pub(crate) fn add(&mut self, position: u64, part: &[u8], begins: &[u64]) {
        let most = usize::try_from(BLOCK).unwrap_or(usize::MAX);
        let length = part.len().min(most);
        let block_of = |start: usize, size: usize| WrittenBlock {
            position: position + start as u64,
            bytes: part[start..part.len().min(start + size)].to_vec(),
        };
        let block = |start| block_of(start, length);
        self.parts += 1;
        // Of all parts so far, each is the one by chance with the same probability.
        if fastrand::u32(..self.parts) == 0 {
            self.by_chance = Some(block(fastrand::usize(..=part.len() - length)));
        }
        let begins = begins.iter().map(|begin| begin - position);
        let begins = begins.filter_map(|begin| usize::try_from(begin).ok());
        for begin in begins {
            self.keep(block_of(begin, SIZE));
        }
        self.first.get_or_insert_with(|| block(0));
        self.last = Some(block(part.len() - length));
    }

    /// Keeps each of them with the same probability.
    fn keep(&mut self, block: WrittenBlock) {
        self.replies += 1;
        if self.of_replies.len() < MOST {
            self.of_replies.push(block);
            return;
        }
        let chosen = fastrand::usize(..self.replies);
        if let Some(kept) = self.of_replies.get_mut(chosen) {
            *kept = block;
        }
    }

    pub(crate) fn blocks(&self) -> Vec<WrittenBlock> {
        let whole = [&self.first, &self.last, &self.by_chance];
        let blocks = whole.into_iter().flatten().chain(&self.of_replies);
        let mut blocks: Vec<WrittenBlock> = blocks.cloned().collect();
        // Of several at one position the longest.
        blocks.sort_by_key(|block| (block.position, Reverse(block.bytes.len())));
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
            kept.add(index * 100_000, &part, &[]);
        }
        let blocks = kept.blocks();
        assert_eq!(blocks.first().unwrap().position, 0);
        assert_eq!(blocks.last().unwrap().position, 1_000_000 - BLOCK);
        assert!(blocks.iter().all(|block| block.bytes.len() as u64 == BLOCK));
        let mut short = KeptBlocks::default();
        short.add(0, b"abc", &[]);
        assert_eq!(short.blocks().len(), 1);
    }

    #[test]
    fn one_is_kept_of_each_reply_up_to_a_bound() {
        fastrand::seed(1);
        let mut kept = KeptBlocks::default();
        kept.add(0, &[7; 1000], &[0, 400]);
        kept.add(1000, &[7; 1000], &[1999]);
        let starts: Vec<u64> = kept.blocks().iter().map(|block| block.position).collect();
        assert!(
            [0, 400, 1000, 1999].iter().all(|at| starts.contains(at)),
            "{starts:?}"
        );
        for index in 2..1000 {
            kept.add(index * 1000, &[7; 1000], &[index * 1000]);
        }
        assert_eq!(kept.of_replies.len(), MOST);
        assert_eq!(kept.blocks()[0].position, 0);
    }
}
