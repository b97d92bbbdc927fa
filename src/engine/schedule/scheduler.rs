//! Leases over runs of missing blocks. Pure: no clock, no I/O, no randomness.
//!
//! Every missing block is either *free* or held by exactly one *owner* lease. A *hedge* fetches a
//! second time what an owner already holds, and holds nothing itself. A block leaves this
//! bookkeeping when it completes for the first time, through either of them.

use std::collections::BTreeMap;
use std::ops::Range;

pub(crate) use self::sizing::{LinkEstimate, Observed};
use self::sizing::{gains_from_hedge, request_length, seconds_left, tail_to_steal};
use crate::object::{BlockBitmap, BlockIndex, BlockPlan};

/// How much hedges may fetch a second time, as a fraction of the object.
const HEDGE_BUDGET: f64 = 0.02;
/// How much hedges may fetch a second time of any object, however small, in bytes.
const HEDGE_LEAST_BUDGET: u64 = 64 << 10;

/// Identifies a lease. No two leases of a run have the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct LeaseId(pub(crate) u64);

/// A lease that the scheduler gives to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) id: LeaseId,
    /// The blocks to fetch, at least one and none of them completed.
    pub(crate) blocks: Range<u32>,
    pub(crate) origin: GrantOrigin,
}

/// Which lease, if any, held the blocks of a new lease before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GrantOrigin {
    /// No lease held them.
    Free,
    /// The tail of another lease, which now ends where this one begins.
    Stolen(LeaseId),
    /// The rest of another lease, which continues.
    Hedge(LeaseId),
}

/// The effect of a completed block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Completion {
    /// The block completed for the first time. The `obsolete` leases have nothing left to fetch;
    /// the caller ends them.
    First { obsolete: Vec<LeaseId> },
    /// Another lease completed the block before.
    Duplicate,
}

/// The blocks that a lease has yet to fetch.
#[derive(Clone, Debug)]
struct Lease {
    /// Blocks of the lease before this one are completed.
    next: u32,
    end: u32,
    /// The owner that this lease is a hedge of.
    hedges: Option<LeaseId>,
}

/// No block is missing where a lease was to begin.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoneMissing;

/// Keeps track of which blocks of an object are completed, leased and free.
#[derive(Debug)]
pub(crate) struct Scheduler {
    plan: BlockPlan,
    done: BlockBitmap,
    // INVARIANT: start → end of disjoint, non-adjacent, non-empty runs of blocks that are missing
    // and held by no owner.
    free: BTreeMap<u32, u32>,
    // INVARIANT: the number of blocks in `free`.
    free_blocks: u32,
    // INVARIANT: the runs `next..end` of the owners (leases without `hedges`) are disjoint from
    // each other and from `free`; owners' runs, free runs and `done` cover the plan.
    leases: BTreeMap<LeaseId, Lease>,
    next_id: u64,
    /// How much hedges may still fetch a second time, in bytes.
    hedge_bytes_left: u64,
}

impl Scheduler {
    /// Creates a scheduler for the blocks of `plan` that are not in `done`.
    pub(crate) fn new(plan: BlockPlan, done: BlockBitmap) -> Self {
        let free = done
            .missing_runs()
            .map(|run| (run.start, run.end))
            .collect();
        let free_blocks = done.blocks() - done.count();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a fraction of a u64 is a u64"
        )]
        let hedge_bytes_left = (plan.length() as f64 * HEDGE_BUDGET) as u64;
        Self {
            hedge_bytes_left: hedge_bytes_left.max(HEDGE_LEAST_BUDGET),
            plan,
            done,
            free,
            free_blocks,
            leases: BTreeMap::new(),
            next_id: 0,
        }
    }

    /// How the object is cut into blocks.
    pub(crate) fn plan(&self) -> &BlockPlan {
        &self.plan
    }

    /// The completed blocks.
    pub(crate) fn done(&self) -> &BlockBitmap {
        &self.done
    }

    /// Whether every block is completed.
    pub(crate) fn is_finished(&self) -> bool {
        self.done.is_full()
    }

    /// Whether a block before this one is missing.
    pub(crate) fn is_missing_before(&self, block: u32) -> bool {
        let first = self.done.missing_runs().next();
        first.is_some_and(|run| run.start < block)
    }

    /// Where the run of missing blocks ends that has this one; the block itself where that is
    /// complete.
    pub(crate) fn missing_until(&self, block: u32) -> u32 {
        let mut runs = self.done.missing_runs();
        let run = runs.find(|run| run.contains(&block));
        run.map_or(block, |run| run.end)
    }

    /// Gives an idle connection a lease; `None` where one more connection saves no time now.
    ///
    /// The lease is the start of the first free run. Where none is free, it is the tail of the
    /// lease that would finish last, cut for both to finish together. Where no theft saves time,
    /// it is a second fetch of the rest of a far slower lease.
    ///
    /// No free run is leased at or past the block `reach`.
    pub(crate) fn lease(
        &mut self,
        link: &LinkEstimate,
        reach: u32,
        observe: impl Fn(LeaseId) -> Observed,
    ) -> Option<Grant> {
        self.take_free(link, reach)
            .or_else(|| self.steal(link, &observe))
            .or_else(|| self.hedge(link, &observe))
    }

    /// Gives a lease that begins at the first missing block from `block` on; `None` where another
    /// lease holds that, or where it lies at or past the block `reach`.
    ///
    /// # Errors
    ///
    /// [`NoneMissing`] where there is no such block.
    pub(crate) fn lease_from(
        &mut self,
        block: u32,
        link: &LinkEstimate,
        reach: u32,
    ) -> Result<Option<Grant>, NoneMissing> {
        let run = self.done.missing_runs().find(|run| run.end > block);
        let first = run.ok_or(NoneMissing)?.start.max(block);
        let before = self.free.range(..=first).next_back();
        let Some((&start, &end)) = before.filter(|(_, end)| **end > first) else {
            return Ok(None);
        };
        if start < first {
            // What lies before stays free.
            self.free.insert(start, first);
            self.free.insert(first, end);
        }
        let grant = self.take_run(first, link, reach);
        if grant.is_none() && start < first {
            self.free.remove(&first);
            self.free.insert(start, end);
        }
        Ok(grant)
    }

    fn take_free(&mut self, link: &LinkEstimate, reach: u32) -> Option<Grant> {
        let (&start, _) = self.free.first_key_value()?;
        self.take_run(start, link, reach)
    }

    /// Takes the beginning of the free run that begins at `start`.
    fn take_run(&mut self, start: u32, link: &LinkEstimate, reach: u32) -> Option<Grant> {
        if start >= reach {
            return None;
        }
        let run_end = *self.free.get(&start)?;
        let free_bytes = u64::from(self.free_blocks) * self.plan.block_size();
        let bytes = request_length(link, free_bytes);
        let blocks = u32::try_from(bytes.div_ceil(self.plan.block_size())).unwrap_or(u32::MAX);
        // An even share of very small blocks over a very slow link may be less than a byte.
        let blocks = blocks.max(1);
        let end = run_end.min(start.saturating_add(blocks)).min(reach);
        self.free.remove(&start);
        if end < run_end {
            self.free.insert(end, run_end);
        }
        self.free_blocks -= end - start;
        Some(self.grant(start..end, GrantOrigin::Free))
    }

    fn steal(
        &mut self,
        link: &LinkEstimate,
        observe: &impl Fn(LeaseId) -> Observed,
    ) -> Option<Grant> {
        let hedged = self.hedged();
        let (victim, cut) = self
            .owners()
            .filter(|(id, _)| !hedged.contains(id))
            .filter_map(|(id, lease)| {
                let seen = Some(observe(id)).filter(|seen| !seen.is_limited)?;
                let cut = self.cut(lease, seen, link)?;
                Some((seconds_left(self.end_of(lease), seen, link), id, cut))
            })
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, id, cut)| (id, cut))?;
        let lease = self.leases.get_mut(&victim)?;
        let taken = cut..lease.end;
        lease.end = cut;
        Some(self.grant(taken, GrantOrigin::Stolen(victim)))
    }

    /// The block at which to cut `lease` for its holder and the thief to finish together; `None`
    /// where that saves no time.
    fn cut(&self, lease: &Lease, seen: Observed, link: &LinkEstimate) -> Option<u32> {
        let end = self.end_of(lease);
        let position = seen
            .position
            .max(self.plan.range(BlockIndex(lease.next)).start());
        let tail = tail_to_steal(end.checked_sub(position)?, seen, link)?;
        let blocks = (tail / self.plan.block_size() as f64).round();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates, and is clamped to the lease's own bounds"
        )]
        let cut = lease.end.saturating_sub((blocks as u32).max(1));
        // The block that is arriving stays with its holder.
        let first_untouched = match self.plan.block_at(position) {
            Some(block) if block.range.start() == position => block.index.0,
            Some(block) => block.index.0 + 1,
            None => return None,
        };
        let cut = cut.max(first_untouched).max(lease.next + 1);
        (cut < lease.end).then_some(cut)
    }

    fn hedge(
        &mut self,
        link: &LinkEstimate,
        observe: &impl Fn(LeaseId) -> Observed,
    ) -> Option<Grant> {
        let hedged = self.hedged();
        let affordable = self.hedge_bytes_left.saturating_sub(self.hedging_bytes());
        let victim = self
            .owners()
            .filter(|(id, lease)| lease.next < lease.end && !hedged.contains(id))
            .filter_map(|(id, lease)| {
                let seen = Some(observe(id)).filter(|seen| !seen.is_limited)?;
                let again = self.plan.run(BlockIndex(lease.next), lease.end).len();
                let left = seconds_left(self.end_of(lease), seen, link);
                let worth = gains_from_hedge(left, again, link) && again <= affordable;
                worth.then_some((left, id))
            })
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, id)| id)?;
        let lease = self.leases.get(&victim)?;
        let blocks = lease.next..lease.end;
        Some(self.grant(blocks, GrantOrigin::Hedge(victim)))
    }

    fn grant(&mut self, blocks: Range<u32>, origin: GrantOrigin) -> Grant {
        let id = LeaseId(self.next_id);
        self.next_id += 1;
        let hedges = match origin {
            GrantOrigin::Hedge(victim) => Some(victim),
            GrantOrigin::Free | GrantOrigin::Stolen(_) => None,
        };
        self.leases.insert(
            id,
            Lease {
                next: blocks.start,
                end: blocks.end,
                hedges,
            },
        );
        Grant { id, blocks, origin }
    }

    /// The position at which the lease ends. It shrinks when the tail is stolen. `None` once the
    /// lease is released.
    pub(crate) fn limit(&self, id: LeaseId) -> Option<u64> {
        self.leases.get(&id).map(|lease| self.end_of(lease))
    }

    /// Whether the lease is a hedge, and the owner of its blocks still holds them.
    pub(crate) fn is_hedge(&self, id: LeaseId) -> bool {
        self.leases
            .get(&id)
            .is_some_and(|lease| lease.hedges.is_some())
    }

    /// Records that lease `id` fetched all of `block`.
    pub(crate) fn complete(&mut self, id: LeaseId, block: BlockIndex) -> Completion {
        if let Some(lease) = self.leases.get_mut(&id)
            && lease.next == block.0
        {
            lease.next += 1;
        }
        if !self.done.insert(block) {
            self.spend(self.plan.range(block).len());
            return Completion::Duplicate;
        }
        self.withdraw(block.0);
        let mut obsolete = Vec::new();
        for (other, lease) in &mut self.leases {
            while lease.next < lease.end && self.done.contains(BlockIndex(lease.next)) {
                lease.next += 1;
            }
            if *other != id && lease.next == lease.end {
                obsolete.push(*other);
            }
        }
        Completion::First { obsolete }
    }

    /// Removes a completed block from the free runs. It is in one where its lease was released
    /// between its last byte and this record, or where its tail was stolen and released.
    fn withdraw(&mut self, block: u32) {
        let Some((&start, &end)) = self.free.range(..=block).next_back() else {
            return;
        };
        if block >= end {
            return;
        }
        self.free.remove(&start);
        self.free_blocks -= 1;
        if start < block {
            self.free.insert(start, block);
        }
        if block + 1 < end {
            self.free.insert(block + 1, end);
        }
    }

    /// Ends a lease, which got as far as `position`. Its missing blocks are free again, unless the
    /// lease is a hedge or is hedged: then the other lease holds them.
    pub(crate) fn release(&mut self, id: LeaseId, position: u64) {
        let Some(lease) = self.leases.remove(&id) else {
            return;
        };
        // The start of a block that another lease fetches, too, is wasted. Bytes that a theft made
        // needless are not the hedge's.
        if let Some(block) = self.plan.block_at(position)
            && block.index.0 < lease.end
            && (lease.hedges.is_some() || self.done.contains(block.index))
        {
            self.spend(position - block.range.start());
        }
        if lease.hedges.is_some() {
            return;
        }
        if let Some(hedge) = self
            .leases
            .values_mut()
            .find(|other| other.hedges == Some(id))
        {
            // A hedged lease loses no tail, so the hedge covers all that is left.
            hedge.hedges = None;
            return;
        }
        self.free_missing(lease.next..lease.end);
    }

    fn free_missing(&mut self, blocks: Range<u32>) {
        for block in blocks {
            if !self.done.contains(BlockIndex(block)) {
                self.add_free(block);
            }
        }
    }

    fn add_free(&mut self, block: u32) {
        self.free_blocks += 1;
        let end = self.free.remove(&(block + 1)).unwrap_or(block + 1);
        match self.free.range_mut(..block).next_back() {
            Some((_, before)) if *before == block => *before = end,
            _ => {
                self.free.insert(block, end);
            }
        }
    }

    /// Bytes that the active hedges may yet fetch a second time.
    fn hedging_bytes(&self) -> u64 {
        let hedges = self.leases.values().filter(|l| l.hedges.is_some());
        hedges
            .map(|l| self.plan.run(BlockIndex(l.next), l.end).len())
            .sum()
    }

    fn spend(&mut self, bytes: u64) {
        self.hedge_bytes_left = self.hedge_bytes_left.saturating_sub(bytes);
    }

    /// The leases that have a hedge.
    fn hedged(&self) -> Vec<LeaseId> {
        self.leases.values().filter_map(|l| l.hedges).collect()
    }

    fn owners(&self) -> impl Iterator<Item = (LeaseId, &Lease)> {
        self.leases
            .iter()
            .filter(|(_, lease)| lease.hedges.is_none())
            .map(|(id, lease)| (*id, lease))
    }

    fn end_of(&self, lease: &Lease) -> u64 {
        self.plan.run(BlockIndex(0), lease.end).end()
    }
}

mod sizing;
#[cfg(test)]
mod tests;
