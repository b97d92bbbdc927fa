//! Gives leases to workers, records what they complete, and measures them.

mod aborts;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::AbortHandle;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::attempts::{AttemptAt, AttemptCounts, Role};
use super::first_byte::FirstByte;
use super::lease::{ActiveLease, RateMeter};
use super::parts::{CompletedParts, PartAssembler};
use super::scheduler::{
    Completion, Grant, GrantOrigin, LeaseId, LinkEstimate, NoneMissing, Scheduler,
};
use super::silence::Silence;
use super::stragglers::Stragglers;
use crate::engine::failures::Failures;
use crate::engine::metrics::Recorder;
use crate::object::{BlockIndex, BlockPlan, Plan};
use crate::report::Samples;

/// Factor on the usual rate at each tick at which every active lease is slower.
const RATE_DECAY: f64 = 0.98;

/// Gives leases to the workers of a transfer, and records the blocks that they complete.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    // Taken once per block, lease and tick; held for bookkeeping only, never across an await or a
    // system call.
    inner: Mutex<Inner>,
    /// Notified when an idle worker may find work, or must end.
    pub(crate) changed: Notify,
}

/// The state that the lock guards.
#[derive(Debug)]
struct Inner {
    scheduler: Scheduler,
    parts: PartAssembler,
    // Ordered, because a simulated run must depend on its seed only.
    leases: BTreeMap<LeaseId, RateMeter>,
    first_byte: FirstByte,
    /// The usual rate of a lease, in bytes per second; 0 where unknown.
    rate: f64,
    /// No free block at or past this one is leased.
    reach: u32,
    stragglers: Stragglers,
    silence: Silence,
    attempts: AttemptCounts,
    samples: Recorder,
}

impl Dispatcher {
    /// Creates a dispatcher for the blocks of `plan` that are not in `completed`.
    pub(crate) fn new(plan: Plan, blocks: BlockPlan, completed: CompletedParts) -> Self {
        let parts = PartAssembler::new(plan, blocks, completed);
        Self {
            inner: Mutex::new(Inner {
                scheduler: Scheduler::new(blocks, parts.blocks_completed()),
                parts,
                leases: BTreeMap::new(),
                first_byte: FirstByte::default(),
                rate: 0.0,
                reach: u32::MAX,
                stragglers: Stragglers::new(Instant::now()),
                silence: Silence::default(),
                attempts: AttemptCounts::default(),
                samples: Recorder::default(),
            }),
            changed: Notify::new(),
        }
    }

    /// Gives a lease to one of `connections` workers; `None` where one more transfer saves no time
    /// now. `own` is the worker's rate over its last lease, in bytes per second.
    ///
    /// `abort` ends the worker's attempt where the lease becomes needless.
    pub(crate) fn lease(
        &self,
        connections: u32,
        own: Option<f64>,
        abort: AbortHandle,
    ) -> Option<Arc<ActiveLease>> {
        let mut inner = self.lock();
        let link = inner.link(connections, own);
        let Inner {
            scheduler,
            leases,
            reach,
            ..
        } = &mut *inner;
        let now = Instant::now();
        let grant = scheduler.lease(&link, *reach, |id| {
            let meter = leases.get(&id);
            meter.map(|meter| meter.observed(now)).unwrap_or_default()
        })?;
        if let GrantOrigin::Stolen(victim) = grant.origin
            && let (Some(limit), Some(meter)) = (scheduler.limit(victim), leases.get(&victim))
        {
            meter.lease.shrink(limit);
        }
        Some(inner.meter(&grant, abort))
    }

    /// Gives a lease like [`lease`](Self::lease), but one that begins at the first missing block
    /// from this position of the file on; `None` where another lease holds that.
    ///
    /// # Errors
    ///
    /// [`NoneMissing`] where there is no such block.
    pub(crate) fn lease_from(
        &self,
        position: u64,
        connections: u32,
        own: Option<f64>,
        abort: AbortHandle,
    ) -> Result<Option<Arc<ActiveLease>>, NoneMissing> {
        let mut inner = self.lock();
        let link = inner.link(connections, own);
        let reach = inner.reach;
        let block = inner.scheduler.plan().block_at(position);
        let block = block.ok_or(NoneMissing)?.index.0;
        let grant = inner.scheduler.lease_from(block, &link, reach)?;
        Ok(grant.map(|grant| inner.meter(&grant, abort)))
    }

    /// Where the run of missing bytes ends that `lease` begins, a position in the file, where no
    /// byte before it is missing.
    pub(crate) fn missing_until(&self, lease: &ActiveLease) -> Option<u64> {
        let inner = self.lock();
        let plan = inner.scheduler.plan();
        let block = plan.block_at(lease.position())?;
        if inner.scheduler.is_missing_before(block.index.0) {
            return None;
        }
        let end = inner.scheduler.missing_until(block.index.0);
        Some(plan.run(block.index, end.max(block.index.0 + 1)).end())
    }

    /// Whether a lease has got no reply yet.
    pub(crate) fn awaits_replies(&self) -> bool {
        let inner = self.lock();
        let mut leases = inner.leases.values();
        leases.any(|meter| meter.lease.server().is_none())
    }

    /// Whether a worker holds a lease.
    pub(crate) fn is_at_work(&self) -> bool {
        !self.lock().leases.is_empty()
    }

    /// Records a completed block. Returns whether it completed for the first time, and aborts the
    /// leases that have become needless.
    pub(crate) fn complete(&self, lease: &ActiveLease, block: BlockIndex, crc: u64) -> bool {
        let mut inner = self.lock();
        match inner.scheduler.complete(lease.id, block) {
            Completion::Duplicate => false,
            Completion::First { obsolete } => {
                inner.parts.add(block, crc);
                inner.attempts.completed(block);
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

    /// Counts an attempt that started at the position `begun` and failed at the lease's current
    /// one. Returns those that have failed in a row without a byte of progress, this one included.
    pub(crate) fn failed(&self, lease: &ActiveLease, begun: u64) -> Failures {
        let mut inner = self.lock();
        let now = Instant::now();
        match place(&inner.scheduler, lease) {
            Some(place) => inner.attempts.count(begun, place, now),
            None => Failures::none(now).add(now),
        }
    }

    /// Ends a lease, and frees the blocks that it did not complete.
    pub(crate) fn release(&self, lease: &ActiveLease) {
        let mut inner = self.lock();
        inner.scheduler.release(lease.id, lease.position());
        if let Some(meter) = inner.leases.remove(&lease.id) {
            let (bytes, span) = (
                lease.position() - lease.range.start(),
                meter.since.elapsed(),
            );
            inner.samples.fetched(bytes, span);
            if inner.rate <= 0.0 && !span.is_zero() {
                // The lease ended before the first measurement. Its mean rate is a first estimate.
                inner.rate = bytes as f64 / span.as_secs_f64();
            }
        }
        self.changed.notify_waiters();
    }

    /// Ends every lease, once all workers have ended. The attempts start from zero after a pause.
    pub(crate) fn release_all(&self) {
        let mut inner = self.lock();
        inner.attempts = AttemptCounts::default();
        inner.silence.begin_anew();
        for (id, meter) in std::mem::take(&mut inner.leases) {
            inner.scheduler.release(id, meter.lease.position());
        }
    }

    /// Lets free blocks be leased before part `reach` only.
    pub(crate) fn set_reach(&self, reach: u32) {
        let mut inner = self.lock();
        let reach = reach.saturating_mul(inner.parts.blocks_per_part());
        let before = std::mem::replace(&mut inner.reach, reach);
        drop(inner);
        // The caller may wait for `changed` in a loop, and a needless notification would wake it
        // without end.
        if before != reach {
            self.changed.notify_waiters();
        }
    }

    /// Records the time to first byte of a reply.
    pub(crate) fn replied(&self, first_byte: Duration) {
        let mut inner = self.lock();
        inner.samples.waited(first_byte);
        inner.first_byte.add(first_byte);
    }

    /// The usual time to first byte; zero where unknown.
    pub(crate) fn first_byte(&self) -> Duration {
        self.lock().first_byte.usual()
    }

    /// Measures the rate of every lease since the last tick, and wakes the idle workers: a theft or
    /// a hedge may save time by now.
    pub(crate) fn tick(&self, now: Instant) {
        let mut inner = self.lock();
        let first_byte = inner.first_byte.usual();
        for meter in inner.leases.values_mut() {
            meter.measure(now, first_byte);
        }
        let known: Vec<f64> = inner.leases.values().filter_map(|w| w.rate).collect();
        if !known.is_empty() {
            let mean = known.iter().sum::<f64>() / known.len() as f64;
            // The last active leases may be the slow ones, and a new lease may be as fast as those
            // that have ended.
            inner.rate = mean.max(inner.rate * RATE_DECAY);
        }
        drop(inner);
        self.changed.notify_waiters();
    }

    /// A snapshot of the completed parts.
    pub(crate) fn completed(&self) -> CompletedParts {
        self.lock().parts.completed_parts()
    }

    /// Samples of the rates of leases and of the times to first byte.
    pub(crate) fn samples(&self) -> Samples {
        self.lock().samples.samples()
    }

    /// Whether every block is completed.
    pub(crate) fn is_finished(&self) -> bool {
        self.lock().scheduler.is_finished()
    }

    /// The number of completed parts.
    pub(crate) fn completed_parts(&self) -> u32 {
        self.lock().parts.completed().count()
    }

    /// The number of bytes that arrived of incomplete blocks.
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

    /// The number of bytes in completed blocks.
    pub(crate) fn completed_bytes(&self) -> u64 {
        let inner = self.lock();
        let plan = inner.scheduler.plan();
        let runs = inner.scheduler.done().runs();
        runs.map(|run| plan.run(BlockIndex(run.start), run.end).len())
            .sum()
    }

    /// The index of the first incomplete part; the number of parts where all are completed.
    pub(crate) fn front(&self) -> u32 {
        let inner = self.lock();
        let completed = inner.parts.completed();
        let mut missing = completed.missing_runs();
        missing.next().map_or(completed.parts(), |run| run.start)
    }

    /// How much of each of `cells` equal stretches is complete, in percent.
    pub(crate) fn coverage(&self, cells: usize) -> Vec<u8> {
        self.lock().parts.completed().coverage(cells)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // The bookkeeping is consistent between any two calls, so a panic elsewhere leaves it
        // usable.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// What is known of the link, for one of `connections` workers.
    fn link(&self, connections: u32, own: Option<f64>) -> LinkEstimate {
        LinkEstimate {
            connections,
            rate: self.rate,
            own,
            first_byte: self.first_byte.usual(),
        }
    }

    /// Starts to measure a lease.
    fn meter(&mut self, grant: &Grant, abort: AbortHandle) -> Arc<ActiveLease> {
        let plan = self.scheduler.plan();
        let range = plan.run(BlockIndex(grant.blocks.start), grant.blocks.end);
        let lease = Arc::new(ActiveLease::new(grant.id, range, abort));
        let meter = RateMeter::new(Arc::clone(&lease), Instant::now());
        self.leases.insert(grant.id, meter);
        lease
    }
}

/// Where the current attempt of a lease is; `None` at the end of the file.
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
