//! Which reply brought which bytes, so that those of a reply that proves nothing can be compared.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::engine::remote::BLOCK;
use crate::engine::schedule::lease::ActiveLease;
use crate::object::{ByteRange, PartBitmap, Plan};

/// The most replies of which is known what they brought.
const MOST_REPLIES: usize = 4096;

/// The most blocks that are compared of all replies.
const MOST_BLOCKS: usize = 256;

/// A block is this share of its reply, so that a comparison costs little where replies are short.
const SHARE: u64 = 16;
const LEAST: u64 = 4 << 10;

/// The replies that brought bytes. Of more than [`MOST_REPLIES`], as many by chance.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    // Held to copy or to add one, never across an await.
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    replies: Vec<Reply>,
    /// How many there were.
    count: usize,
    /// By mirror, the parts of which it may have brought a byte.
    touched: BTreeMap<usize, PartBitmap>,
}

#[derive(Clone, Debug)]
struct Reply {
    /// The lease that it brought bytes of.
    lease: Arc<ActiveLease>,
    /// The index of the server that sent it.
    server: usize,
    /// Its first byte, in bytes from the start of the output.
    position: u64,
}

/// The bytes of the output that a server sent in one reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Brought {
    server: usize,
    range: ByteRange,
}

impl Replies {
    /// A reply of this server brings the bytes of `lease` from `position` of the output on.
    pub(super) fn begin(
        &self,
        plan: &Plan,
        lease: &Arc<ActiveLease>,
        server: usize,
        position: u64,
    ) {
        self.list().count += 1;
        self.go_on(plan, lease, server, position);
    }

    /// A reply that brought bytes before goes on with those of `lease`.
    pub(super) fn go_on(
        &self,
        plan: &Plan,
        lease: &Arc<ActiveLease>,
        server: usize,
        position: u64,
    ) {
        let reply = Reply {
            lease: Arc::clone(lease),
            server,
            position,
        };
        let mut list = self.list();
        if server > 0 {
            let none = || PartBitmap::new(plan.parts());
            let touched = list.touched.entry(server).or_insert_with(none);
            let end = reply.lease.limit();
            let mut at = position;
            while let Some(part) = plan.part_at(at).filter(|_| at < end) {
                touched.insert(part.index);
                at = part.range.end();
            }
        }
        if list.replies.len() < MOST_REPLIES {
            list.replies.push(reply);
            return;
        }
        let chosen = fastrand::usize(..list.count.max(1));
        if let Some(known) = list.replies.get_mut(chosen) {
            *known = reply;
        }
    }

    /// How many there were.
    pub(super) fn count(&self) -> usize {
        self.list().count
    }

    /// The positions in `range` of the output at which replies begin.
    pub(crate) fn begins_in(&self, range: ByteRange) -> Vec<u64> {
        let is_in = |position: &u64| (range.start()..range.end()).contains(position);
        let list = self.list();
        let positions = list.replies.iter().map(|reply| reply.position);
        let mut begins: Vec<u64> = positions.filter(is_in).collect();
        begins.sort_unstable();
        begins.dedup();
        begins
    }

    /// The parts of which these mirrors may have brought a byte.
    pub(super) fn touched(&self, mirrors: &[usize]) -> Vec<PartBitmap> {
        let list = self.list();
        let touched = mirrors.iter().filter_map(|mirror| list.touched.get(mirror));
        touched.cloned().collect()
    }

    /// Blocks of the replies of these servers: the first one of each reply and, of a server that is
    /// compared with another one, the last one too. An object that was overwritten goes on with the
    /// bytes of the new one. By chance, where there are many.
    pub(super) fn blocks(&self, servers: &[usize]) -> Vec<ByteRange> {
        let mut blocks = Vec::new();
        for Brought { server, range } in self.brought() {
            if !servers.contains(&server) {
                continue;
            }
            let size = (range.len() / SHARE).clamp(LEAST, BLOCK).min(range.len());
            blocks.extend(ByteRange::at(range.start(), size));
            if server > 0 {
                blocks.extend(ByteRange::at(range.end() - size, size));
            }
        }
        blocks.sort_by_key(|block| block.start());
        blocks.dedup_by_key(|block| block.start());
        fastrand::choose_multiple(blocks, MOST_BLOCKS)
    }

    /// What each reply brought: the bytes up to the next one of the same lease, or up to the
    /// position of that.
    fn brought(&self) -> Vec<Brought> {
        let mut replies = self.list().replies.clone();
        replies.sort_by_key(|reply| (reply.lease.id, reply.position));
        let nexts = replies.iter().skip(1).map(Some).chain([None]);
        let brought = replies.iter().zip(nexts).filter_map(|(reply, next)| {
            let next = next.filter(|next| next.lease.id == reply.lease.id);
            let end = next.map_or_else(|| reply.lease.position(), |next| next.position);
            let range = ByteRange::new(reply.position, end)?;
            let server = reply.server;
            (!range.is_empty()).then_some(Brought { server, range })
        });
        brought.collect()
    }

    fn list(&self) -> MutexGuard<'_, List> {
        // The list is consistent between any two statements, so a panic elsewhere leaves it usable.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::schedule::scheduler::LeaseId;
    use futures::future::AbortHandle;

    fn range(start: u64, end: u64) -> ByteRange {
        ByteRange::new(start, end).unwrap()
    }

    /// A lease of these bytes, all of which arrived.
    fn lease(id: u64, bytes: ByteRange) -> Arc<ActiveLease> {
        let (abort, _) = AbortHandle::new_pair();
        let lease = ActiveLease::new(LeaseId(id), bytes, abort);
        lease.advance(bytes.end());
        Arc::new(lease)
    }

    #[test]
    fn a_block_of_each_reply_of_the_servers_in_question() {
        let replies = Replies::default();
        let far = SHARE * BLOCK + 100;
        let end = far + 3 * LEAST;
        let plan = Plan::new(end, LEAST).unwrap();
        let (first, second) = (lease(1, range(0, far)), lease(2, range(far, end)));
        replies.begin(&plan, &first, 0, 0);
        replies.begin(&plan, &second, 1, far);
        // A second reply of the same lease, after a first one of 100 bytes.
        replies.begin(&plan, &first, 0, 100);
        // Nothing came in this one.
        replies.begin(&plan, &lease(3, range(far, far)), 0, far);
        let sorted = |servers: &[usize]| {
            let mut blocks = replies.blocks(servers);
            blocks.sort_by_key(|block| block.start());
            blocks
        };
        assert_eq!(sorted(&[0]), [range(0, 100), range(100, 100 + BLOCK)]);
        let of_mirror = [range(far, far + LEAST), range(end - LEAST, end)];
        assert_eq!(sorted(&[1]), of_mirror);
        assert_eq!(sorted(&[]), []);
        let [touched] = &replies.touched(&[0, 1])[..] else {
            panic!("of the mirror alone");
        };
        let touched: Vec<u32> = touched.iter().map(|part| part.0).collect();
        let first = u32::try_from(far / LEAST).unwrap();
        assert_eq!(touched, (first..plan.parts()).collect::<Vec<_>>());
        assert_eq!(replies.begins_in(range(0, 101)), [0, 100]);
    }

    #[test]
    fn there_is_a_bound_to_replies_and_to_blocks() {
        fastrand::seed(1);
        let replies = Replies::default();
        let plan = Plan::new(5000 * BLOCK, BLOCK).unwrap();
        for index in 0..5000 {
            let bytes = range(index * BLOCK, (index + 1) * BLOCK);
            replies.begin(&plan, &lease(index, bytes), 0, bytes.start());
        }
        assert_eq!(replies.count(), 5000);
        assert_eq!(replies.brought().len(), MOST_REPLIES);
        assert_eq!(replies.blocks(&[0]).len(), MOST_BLOCKS);
    }
}
