//! Which reply brought which bytes, so that those of a reply that proves nothing can be compared.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::engine::remote::BLOCK;
use crate::engine::schedule::scheduler::LeaseId;
use crate::object::ByteRange;

/// The most blocks that are compared of all replies.
const MOST_BLOCKS: usize = 256;

/// A block is this share of its reply, so that a comparison costs little where replies are short.
const SHARE: u64 = 16;
const LEAST: u64 = 4 << 10;

/// Every reply that brought bytes, by its first byte.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    // Taken once a reply, never across an await.
    begun: Mutex<Vec<Begun>>,
}

/// The begin of a reply, or the end of the last one of a lease.
#[derive(Clone, Copy, Debug)]
struct Begun {
    lease: LeaseId,
    /// The index of the server that sent it; `None` for an end.
    server: Option<usize>,
    /// In bytes from the start of the output.
    position: u64,
}

impl Replies {
    /// A reply of this server brings the bytes of `lease` from `position` of the output on.
    pub(super) fn begin(&self, lease: LeaseId, server: usize, position: u64) {
        self.begun().push(Begun {
            lease,
            server: Some(server),
            position,
        });
    }

    /// The last reply of `lease` brought the bytes before `position`.
    pub(super) fn end(&self, lease: LeaseId, position: u64) {
        self.begun().push(Begun {
            lease,
            server: None,
            position,
        });
    }

    /// The positions in `range` of the output at which replies begin.
    pub(crate) fn begins_in(&self, range: ByteRange) -> Vec<u64> {
        let is_in = |position: &u64| (range.start()..range.end()).contains(position);
        let begun = self.begun();
        let replies = begun.iter().filter(|begun| begun.server.is_some());
        let mut begins: Vec<u64> = replies.map(|begun| begun.position).filter(is_in).collect();
        begins.sort_unstable();
        begins.dedup();
        begins
    }

    /// Blocks of the replies of these servers, in an output of `length` bytes: the first one of each
    /// reply and, of a server that is compared with another one, the last one too. An object that
    /// was overwritten goes on with the bytes of the new one. By chance, where there are many.
    pub(super) fn blocks(&self, servers: &[usize], length: u64) -> Vec<ByteRange> {
        let mut ends = BTreeMap::new();
        let mut blocks = Vec::new();
        let mut begun = self.begun().clone();
        begun.sort_by_key(|begun| begun.position);
        for next in begun.into_iter().rev() {
            let after = ends.insert(next.lease, next.position);
            let Some(server) = next.server.filter(|server| servers.contains(server)) else {
                continue;
            };
            // Of a reply that was aborted the end is not known.
            let end = after.unwrap_or(next.position + LEAST).min(length);
            let size = ((end - next.position) / SHARE).clamp(LEAST, BLOCK);
            let first = (next.position + size).min(end);
            blocks.extend(ByteRange::new(next.position, first));
            if server > 0 && after.is_some() {
                blocks.extend(ByteRange::new(end.saturating_sub(size).max(first), end));
            }
        }
        blocks.retain(|block| !block.is_empty());
        blocks.sort_by_key(|block| block.start());
        blocks.dedup_by_key(|block| block.start());
        fastrand::choose_multiple(blocks, MOST_BLOCKS)
    }

    fn begun(&self) -> MutexGuard<'_, Vec<Begun>> {
        // The list is consistent between any two statements, so a panic elsewhere leaves it usable.
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(start: u64, end: u64) -> ByteRange {
        ByteRange::new(start, end).unwrap()
    }

    #[test]
    fn a_block_of_each_reply_of_the_servers_in_question() {
        let replies = Replies::default();
        let far = SHARE * BLOCK + 100;
        replies.begin(LeaseId(1), 0, 0);
        replies.begin(LeaseId(2), 1, far);
        // A second reply of the same lease, after a first one of 100 bytes.
        replies.begin(LeaseId(1), 0, 100);
        replies.end(LeaseId(1), far);
        replies.end(LeaseId(2), far + 3 * LEAST);
        // It was aborted.
        replies.begin(LeaseId(3), 0, far + 7);
        let sorted = |servers: &[usize]| {
            let mut blocks = replies.blocks(servers, far + 3 * LEAST);
            blocks.sort_by_key(|block| block.start());
            blocks
        };
        let of_source = [
            block(0, 100),
            block(100, 100 + BLOCK),
            block(far + 7, far + 7 + LEAST),
        ];
        assert_eq!(sorted(&[0]), of_source);
        let of_mirror = [
            block(far, far + LEAST),
            block(far + 2 * LEAST, far + 3 * LEAST),
        ];
        assert_eq!(sorted(&[1]), of_mirror);
        assert_eq!(sorted(&[]), []);
        assert_eq!(replies.begins_in(block(0, 101)), [0, 100]);
    }

    #[test]
    fn there_is_a_bound_to_the_blocks() {
        fastrand::seed(1);
        let replies = Replies::default();
        for index in 0..1000 {
            replies.begin(LeaseId(index), 0, index * BLOCK);
            replies.end(LeaseId(index), (index + 1) * BLOCK);
        }
        let blocks = replies.blocks(&[0], 1000 * BLOCK);
        assert_eq!(blocks.len(), MOST_BLOCKS);
    }
}
