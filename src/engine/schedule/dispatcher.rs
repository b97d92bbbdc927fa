//! What the workers share: the scheduler's bookkeeping, the CRCs of completed parts, and the leases under way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::AbortHandle;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::attempts::{AttemptAt, AttemptCounts, Role};
use super::lease::{ActiveLease, RateMeter};
use super::parts::{CompletedParts, PartAssembler};
use super::scheduler::{Completion, Grant, GrantOrigin, LeaseId, LinkEstimate, Scheduler};
use super::stragglers::Stragglers;
use crate::engine::metrics::Recorder;
use crate::object::{BlockIndex, BlockPlan, PartIndex, Plan};
use crate::report::Samples;

/// What is left of the usual rate at the next tick where every lease under way is slower.
const FADING: f64 = 0.98;
/// The weight of the newest wait in the running mean.
const NEWEST: f64 = 0.3;

/// See the module.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    // Taken once a part, a lease and a tick; held for bookkeeping alone, never across an await or a system call.
    inner: Mutex<Inner>,
    /// Rung when an idle worker may find work, or must end.
    pub(crate) changed: Notify,
}

#[derive(Debug)]
struct Inner {
    /// Gives out blocks; to it a block is a part.
    scheduler: Scheduler,
    parts: PartAssembler,
    // Ordered, so that a run depends on nothing but what it is given.
    leases: BTreeMap<LeaseId, RateMeter>,
    first_byte: Duration,
    rate: f64,
    /// No lease begins at or past this block.
    reach: u32,
    stragglers: Stragglers,
    attempts: AttemptCounts,
    samples: Recorder,
}

impl Dispatcher {
    /// Begins with the parts that are there; the rest is given out by `blocks`, which are `plan`'s.
    pub(crate) fn new(plan: Plan, blocks: BlockPlan, completed: CompletedParts) -> Self {
        let parts = PartAssembler::new(plan, blocks, completed);
        Self {
            inner: Mutex::new(Inner {
                scheduler: Scheduler::new(blocks, parts.blocks_completed()),
                parts,
                leases: BTreeMap::new(),
                first_byte: Duration::ZERO,
                rate: 0.0,
                reach: u32::MAX,
                stragglers: Stragglers::new(Instant::now()),
                attempts: AttemptCounts::default(),
                samples: Recorder::default(),
            }),
            changed: Notify::new(),
        }
    }

    /// Finds something to do for one of `connections` workers, which made `own` bytes a second with its last lease.
    pub(crate) fn lease(
        &self,
        connections: u32,
        own: Option<f64>,
        abort: AbortHandle,
    ) -> Option<Arc<ActiveLease>> {
        let mut inner = self.lock();
        let Inner {
            scheduler,
            leases,
            rate,
            first_byte,
            reach,
            ..
        } = &mut *inner;
        let link = LinkEstimate {
            connections,
            rate: *rate,
            own,
            first_byte: *first_byte,
        };
        let grant = scheduler.lease(&link, *reach, |id| {
            leases.get(&id).map(RateMeter::observed).unwrap_or_default()
        })?;
        if let GrantOrigin::Stolen(victim) = grant.origin
            && let (Some(limit), Some(meter)) = (scheduler.limit(victim), leases.get(&victim))
        {
            meter.lease.shrink(limit);
        }
        Some(inner.meter(&grant, abort))
    }

    /// Records a block that came in whole. Returns whether it is the first time; leases that have become needless
    /// are aborted.
    pub(crate) fn complete(&self, lease: &ActiveLease, block: BlockIndex, crc: u64) -> bool {
        let mut inner = self.lock();
        match inner.scheduler.complete(lease.id, block) {
            Completion::Duplicate => false,
            Completion::First { obsolete } => {
                inner.parts.add(block, crc);
                inner.attempts.forget(block);
                for id in obsolete {
                    if let Some(meter) = inner.leases.get(&id) {
                        meter.lease.abort();
                    }
                }
                if inner.scheduler.is_finished() {
                    self.changed.notify_waiters();
                }
                true
            }
        }
    }

    /// Counts an attempt that began at `begun` and failed where `lease` stands. Returns how many did in a row there, without a
    /// byte of progress, this one included.
    pub(crate) fn failed(&self, lease: &ActiveLease, begun: u64) -> u32 {
        let mut inner = self.lock();
        let place = place(&inner.scheduler, lease);
        place.map_or(1, |place| inner.attempts.count(begun, place))
    }

    /// Ends a lease; what it did not bring is there for others.
    pub(crate) fn release(&self, lease: &ActiveLease) {
        let mut inner = self.lock();
        inner.scheduler.release(lease.id, lease.position());
        if let Some(meter) = inner.leases.remove(&lease.id) {
            let (bytes, span) = (
                lease.position() - lease.range.start(),
                meter.since.elapsed(),
            );
            inner.samples.brought(bytes, span);
            if inner.rate <= 0.0 && !span.is_zero() {
                // Over before anything was measured; better than to know the last one alone.
                inner.rate = bytes as f64 / span.as_secs_f64();
            }
        }
        self.changed.notify_waiters();
    }

    /// Ends every lease, after the workers were sent home. Whoever goes on after a pause may try as often as ever.
    pub(crate) fn release_all(&self) {
        let mut inner = self.lock();
        inner.attempts = AttemptCounts::default();
        for (id, meter) in std::mem::take(&mut inner.leases) {
            inner.scheduler.release(id, meter.lease.position());
        }
    }

    /// Lets leases begin before part `reach` alone.
    pub(crate) fn set_reach(&self, reach: u32) {
        let mut inner = self.lock();
        let reach = reach.saturating_mul(inner.parts.blocks_per_part());
        let before = std::mem::replace(&mut inner.reach, reach);
        drop(inner);
        // Whoever sets it may listen as well: rung without need, it would wake itself for ever.
        if before != reach {
            self.changed.notify_waiters();
        }
    }

    /// Ends the slowest lease; its parts are there for others.
    pub(crate) fn abort_slowest(&self) {
        let inner = self.lock();
        let slowest = inner
            .leases
            .values()
            .filter_map(|meter| Some((meter.rate?, meter)))
            .min_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((_, meter)) = slowest {
            meter.lease.abort();
        }
    }

    /// Ends a lease that crawls while the others don't: its worker goes on over a new connection, which may be a
    /// better one. One at a time.
    pub(crate) fn replace_straggler(&self, now: Instant) -> bool {
        let mut inner = self.lock();
        let Inner {
            scheduler,
            stragglers,
            attempts,
            leases,
            first_byte,
            ..
        } = &mut *inner;
        // What is stuck is left to its worker, which knows how often it failed and how long to wait, and to the timers.
        let moves = |meter: &&RateMeter| {
            place(scheduler, &meter.lease).is_none_or(|place| !attempts.is_stuck(place))
        };
        let Some(straggler) = stragglers.next(leases.values().filter(moves), *first_byte, now)
        else {
            return false;
        };
        straggler.lease.abort();
        if let Some(place) = place(scheduler, &straggler.lease) {
            attempts.begin_anew(place);
        }
        true
    }

    /// Takes note of how long a reply let wait for its first byte.
    pub(crate) fn replied(&self, first_byte: Duration) {
        let mut inner = self.lock();
        inner.samples.waited(first_byte);
        inner.first_byte = if inner.first_byte.is_zero() {
            first_byte
        } else {
            inner.first_byte.mul_f64(1.0 - NEWEST) + first_byte.mul_f64(NEWEST)
        };
    }

    /// The usual wait for a reply's first byte.
    pub(crate) fn first_byte(&self) -> Duration {
        self.lock().first_byte
    }

    /// Measures the rate of every lease since the last tick. Idle workers look again: what is not worth taking over
    /// now may be in a moment.
    pub(crate) fn tick(&self, now: Instant) {
        let mut inner = self.lock();
        let first_byte = inner.first_byte;
        for meter in inner.leases.values_mut() {
            meter.measure(now, first_byte);
        }
        let known: Vec<f64> = inner.leases.values().filter_map(|w| w.rate).collect();
        if !known.is_empty() {
            let mean = known.iter().sum::<f64>() / known.len() as f64;
            // The last leases may be the slow ones, and what the others made is what a new one can hope for.
            inner.rate = mean.max(inner.rate * FADING);
        }
        drop(inner);
        self.changed.notify_waiters();
    }

    pub(crate) fn completed(&self) -> CompletedParts {
        self.lock().parts.completed_parts()
    }

    /// What single requests were like so far.
    pub(crate) fn samples(&self) -> Samples {
        self.lock().samples.samples()
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.lock().scheduler.is_finished()
    }

    pub(crate) fn completed_parts(&self) -> u32 {
        self.lock().parts.completed().count()
    }

    /// Bytes of blocks that are coming in.
    pub(crate) fn pending_bytes(&self) -> u64 {
        let inner = self.lock();
        let plan = inner.scheduler.plan();
        let pending = |meter: &RateMeter| {
            let position = meter.lease.position();
            let block = plan.block_at(position)?;
            Some(position - block.range.start())
        };
        inner.leases.values().filter_map(pending).sum()
    }

    /// Bytes of the completed blocks.
    pub(crate) fn completed_bytes(&self) -> u64 {
        let inner = self.lock();
        let plan = inner.scheduler.plan();
        let runs = inner.scheduler.done().runs();
        runs.map(|run| plan.run(BlockIndex(run.start), run.end).len())
            .sum()
    }

    /// The first part that is not completed; the number of parts where all are.
    pub(crate) fn front(&self) -> u32 {
        let inner = self.lock();
        let completed = inner.parts.completed();
        let mut missing = completed.missing_runs();
        missing.next().map_or(completed.parts(), |run| run.start)
    }

    /// How much of each of `cells` equal stretches is there, in percent.
    pub(crate) fn coverage(&self, cells: usize) -> Vec<u8> {
        let inner = self.lock();
        let done = inner.parts.completed();
        let parts = u64::from(done.parts());
        let mut filled = vec![0u64; cells];
        for run in done.runs() {
            let (start, end) = (u64::from(run.start), u64::from(run.end));
            for (cell, filled) in (0u64..).zip(&mut filled) {
                let from = cell * parts / cells as u64;
                let to = (cell + 1) * parts / cells as u64;
                *filled += end.min(to).saturating_sub(start.max(from));
            }
        }
        (0u64..)
            .zip(filled)
            .map(|(cell, filled)| {
                let width = (cell + 1) * parts / cells as u64 - cell * parts / cells as u64;
                match width {
                    // More cells than parts: this cell shows the part that it lies in.
                    0 => {
                        let part = u32::try_from(cell * parts / cells as u64).unwrap_or(u32::MAX);
                        if done.contains(PartIndex(part)) {
                            100
                        } else {
                            0
                        }
                    }
                    _ => u8::try_from(filled * 100 / width).unwrap_or(100),
                }
            })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // The bookkeeping is whole between any two calls, so a panic elsewhere leaves it usable.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn meter(&mut self, grant: &Grant, abort: AbortHandle) -> Arc<ActiveLease> {
        let plan = self.scheduler.plan();
        let range = plan.run(BlockIndex(grant.blocks.start), grant.blocks.end);
        let lease = Arc::new(ActiveLease::new(grant.id, range, abort));
        let meter = RateMeter::new(Arc::clone(&lease), Instant::now());
        self.leases.insert(grant.id, meter);
        lease
    }
}

/// Where a lease stands, if it is not at the end of everything.
fn place(scheduler: &Scheduler, lease: &ActiveLease) -> Option<AttemptAt> {
    let position = lease.position();
    let role = if scheduler.is_hedge(lease.id) {
        Role::Hedge
    } else {
        Role::Owner
    };
    Some(AttemptAt {
        block: scheduler.plan().block_at(position)?.index,
        role,
        position,
    })
}

#[cfg(test)]
mod tests;
