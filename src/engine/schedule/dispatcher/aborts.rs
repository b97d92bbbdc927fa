//! Leases that are ended for another connection to go on.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Dispatcher, Inner, place};
use crate::engine::job::LowestSpeed;
use crate::engine::schedule::attempts::AttemptCounts;
use crate::engine::schedule::lease::{ActiveLease, Activity, RateMeter};
use crate::engine::schedule::scheduler::Scheduler;
use crate::engine::schedule::silence::{Evidence, Signs};
use crate::engine::schedule::slowness;

/// Whether all transfers are silent.
#[derive(Debug)]
pub(crate) struct Silenced {
    /// Whether they are, as far as is known.
    pub(crate) is_suspected: bool,
    /// Since when, and the one that is to be aborted now, for its worker to find out.
    pub(crate) canary: Option<(Instant, Arc<ActiveLease>)>,
}

impl Dispatcher {
    /// Aborts the slowest lease, for its blocks to be leased again.
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

    /// Aborts a straggler, if there is one, for its worker to continue over a new connection.
    /// Returns whether it did.
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
        let progresses = |meter: &&RateMeter| !is_stuck(scheduler, attempts, meter);
        let Some(straggler) =
            stragglers.next(leases.values().filter(progresses), first_byte.usual(), now)
        else {
            return false;
        };
        replace(scheduler, attempts, straggler, now);
        true
    }

    /// Aborts the leases that have been slower than `lowest` for too long, after a tick, for their
    /// workers to continue over new connections. Returns how many they were.
    pub(crate) fn replace_slow(&self, lowest: LowestSpeed, now: Instant) -> u32 {
        let mut inner = self.lock();
        let Inner {
            scheduler,
            attempts,
            leases,
            ..
        } = &mut *inner;
        let mut replaced = 0;
        for meter in leases.values_mut() {
            if is_stuck(scheduler, attempts, meter)
                || !slowness::is_lease_too_slow(meter, lowest, now)
            {
                continue;
            }
            meter.slow_since = None;
            replace(scheduler, attempts, meter, now);
            replaced += 1;
        }
        replaced
    }

    /// Whether a worker waits for bytes of the network.
    pub(crate) fn awaits_network(&self) -> bool {
        let inner = self.lock();
        let mut leases = inner.leases.values();
        leases.any(|meter| meter.lease.activity() == Activity::Waiting)
    }

    /// Looks for transfers that have all fallen silent, after a tick. One of them is to go ahead
    /// over a new connection; the others are aborted once bytes come there.
    pub(crate) fn break_silence(&self, evidence: Evidence, now: Instant) -> Silenced {
        let mut inner = self.lock();
        let Inner {
            silence,
            leases,
            first_byte,
            ..
        } = &mut *inner;
        let signs = silence.check(leases.values(), first_byte.usual(), evidence, now);
        let canary = match signs {
            Signs::Calm => None,
            Signs::Silent { since, canary } => Some((since, Arc::clone(&canary.lease))),
            Signs::Dead(dead) => {
                for meter in dead {
                    meter.lease.abort();
                }
                None
            }
        };
        Silenced {
            is_suspected: silence.is_suspected(),
            canary,
        }
    }
}

/// Whether a lease is left to its worker's timers and its count of failures, because attempts there
/// bring nothing.
fn is_stuck(scheduler: &Scheduler, attempts: &AttemptCounts, meter: &RateMeter) -> bool {
    place(scheduler, &meter.lease).is_some_and(|place| attempts.is_stuck(place))
}

/// Aborts a lease for its worker to continue over a new connection, which is no failure.
fn replace(scheduler: &Scheduler, attempts: &mut AttemptCounts, meter: &RateMeter, now: Instant) {
    meter.lease.abort();
    if let Some(place) = place(scheduler, &meter.lease) {
        attempts.replaced(place, now);
    }
}
