//! One connection's work: take a lease, fetch it, put the bytes where they belong, again until
//! nothing is left.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::{AbortHandle, Abortable};
use tokio::time::Instant;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{Instrument, debug_span};

use super::attempt::{AttemptError, Carried};
use super::shared::{Transfer, TransferError};
use super::window::{WindowBuffer, WriteTarget};
use super::writer::LeaseWriter;
use crate::engine::context::RequestFailed;
use crate::engine::patience::Next;
use crate::engine::remote::{FetchError, Remote};
use crate::engine::schedule::lease::{ActiveLease, Activity};
use crate::engine::schedule::tuner::Tuner;
use crate::http::{self, HttpError, HttpErrorKind, Verdict};
use crate::object::ByteRange;

/// After how many refusals of a range by a server that has sent no byte to ask otherwise.
const HOPELESS: u32 = 4;

/// Why a worker ended.
#[derive(Debug)]
pub(super) enum WorkerEnd {
    /// Every part is complete.
    Finished,
    /// There are more workers than connections wanted.
    Surplus,
    /// The transfer can't go on.
    Failed(TransferError),
}

/// Why a lease was given back.
enum LeaseEnd {
    /// Another lease brought, or is to bring, the rest.
    Done,
    /// One connection fewer is to be used.
    Yield,
    Failed(TransferError),
}

/// Bytes a second that a lease brought; `None` where that were too few to tell.
fn rate(lease: &ActiveLease, span: Duration) -> Option<f64> {
    let bytes = lease.position() - lease.range.start();
    (bytes > 0 && !span.is_zero()).then(|| bytes as f64 / span.as_secs_f64())
}

impl<R: Remote, W: WriteTarget> Transfer<R, W> {
    /// Takes this worker out if there are more than are wanted. Of several that ask at once, only
    /// the surplus leaves. In an outage it may be the one that is to go ahead.
    fn leave_if_surplus(&self) -> bool {
        if self.patience.is_in_outage() {
            return false;
        }
        let target = self.target_connections();
        self.workers
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |workers| {
                (workers > target).then(|| workers - 1)
            })
            .is_ok()
    }

    /// Works until nothing is left, this worker is one too many, or the transfer can't go on. Holds
    /// `token` for as long as it may touch the target.
    ///
    /// Not cancel safe: the dispatcher still counts the lease of a dropped call as held.
    pub(super) async fn work(self: Arc<Self>, token: TaskTrackerToken) -> WorkerEnd {
        let mut carried = None;
        let mut own_rate = None;
        loop {
            // Others than the one that reads the body of a remote without ranges leave, and others
            // than one with a body that may be the last.
            let stays = |body: &Carried<R::Body>| self.remote.is_whole() || self.is_treasured(body);
            if !carried.as_ref().is_some_and(stays) && self.leave_if_surplus() {
                return WorkerEnd::Surplus;
            }
            match self.check_next().await {
                Some(Ok(())) => continue,
                Some(Err(error)) => return WorkerEnd::Failed(error),
                None => {}
            }
            // Listens before it looks, so it misses no change in between.
            let changed = self.dispatcher.changed.notified();
            let (abort, registration) = AbortHandle::new_pair();
            // Not the number of workers that exist: the first one would take what the others are to
            // share.
            let connections = self.target_connections();
            let Some(lease) = self.lease(connections, own_rate, abort, &mut carried) else {
                if self.dispatcher.is_finished() {
                    return WorkerEnd::Finished;
                }
                changed.await;
                continue;
            };
            let begun = Instant::now();
            let span = debug_span!("lease", id = lease.id.0, range = %lease.range);
            let work = self.bring(&lease, &mut carried, &token);
            let end = Abortable::new(work, registration).instrument(span).await;
            self.dispatcher.release(&lease);
            own_rate = rate(&lease, begun.elapsed());
            match end {
                Ok(LeaseEnd::Done | LeaseEnd::Yield) => {}
                Ok(LeaseEnd::Failed(error)) => return WorkerEnd::Failed(error),
                // Nothing is left of the lease, or another connection is to be tried. The body was
                // cut off midway, so its connection is gone.
                Err(futures::future::Aborted) => (carried, own_rate) = (None, None),
            }
        }
    }

    /// The next lease of a worker with this body, if there is one.
    fn lease(
        &self,
        connections: u32,
        own_rate: Option<f64>,
        abort: AbortHandle,
        carried: &mut Option<Carried<R::Body>>,
    ) -> Option<Arc<ActiveLease>> {
        if let Some(body) = carried.take_if(|carried| self.is_treasured(carried)) {
            let from = body.written;
            let lease = self
                .dispatcher
                .lease_from(from, connections, own_rate, abort.clone());
            match lease {
                // Another lease brings what follows, and may fail.
                Ok(lease) if lease.is_some() || self.dispatcher.is_at_work() => {
                    *carried = Some(body);
                    return lease;
                }
                _ => {}
            }
        }
        let lease = self.dispatcher.lease(connections, own_rate, abort);
        if lease.is_none() && !self.remote.is_whole() {
            // What follows is another's to bring.
            *carried = None;
        }
        lease
    }

    /// Brings the bytes of one lease, with as many attempts as it may take.
    async fn bring(
        &self,
        lease: &Arc<ActiveLease>,
        carried: &mut Option<Carried<R::Body>>,
        token: &TaskTrackerToken,
    ) -> LeaseEnd {
        let Some(mut writer) = self.writer(lease, token) else {
            return LeaseEnd::Done;
        };
        let mut number = 0;
        loop {
            number += 1;
            lease.does(Activity::Paused);
            let mut turn = self.patience.turn().await;
            let (begun, manner) = (writer.position(), self.remote.manner());
            let access = self.remote.access();
            let error = match self.attempt(lease, &mut writer, carried, number).await {
                Ok(()) => return LeaseEnd::Done,
                Err(AttemptError::Storage(error)) => return LeaseEnd::Failed(error.into()),
                Err(AttemptError::Fetch(FetchError::RangesIgnored)) if !self.lacks_ranges() => {
                    self.tune(Tuner::single);
                    return LeaseEnd::Yield;
                }
                Err(AttemptError::Fetch(FetchError::RangesIgnored) | AttemptError::Unproven) => {
                    return LeaseEnd::Failed(self.lost());
                }
                Err(AttemptError::Fetch(FetchError::Http(error))) => error,
            };
            if self.yields_to(&error) {
                self.metrics.retried();
                return LeaseEnd::Yield;
            }
            if self.may_be_expired(&error) {
                drop(turn);
                lease.does(Activity::Paused);
                if self.remote.regained(access).await {
                    self.metrics.retried();
                    return LeaseEnd::Yield;
                }
                turn = self.patience.turn().await;
            }
            if http::verdict(&error) != Verdict::Fatal && writer.wanted().is_empty() {
                return LeaseEnd::Done;
            }
            let wanted = writer.wanted();
            let count = || self.dispatcher.failed(lease, begun);
            let next = self.patience.judge(turn, &error, count);
            if self.is_hopeless(next, &error, wanted) && self.concedes(&error, wanted, manner).await
            {
                self.patience.again_at_once();
                if self.remote.is_whole() {
                    self.tune(Tuner::single);
                    return LeaseEnd::Yield;
                }
                continue;
            }
            let pause = match next {
                Next::Again(pause) => pause,
                Next::GiveUp { attempts } => {
                    let failed = RequestFailed { error, attempts };
                    return LeaseEnd::Failed(TransferError::Request(failed));
                }
            };
            if self.is_one_stream() && self.replies.count() > 0 {
                let attempts = pause.attempts;
                let failed = RequestFailed { error, attempts };
                return LeaseEnd::Failed(TransferError::StreamLost(failed));
            }
            let part = self.plan.part_at(writer.position());
            let part = part.map_or(0, |part| part.index.0);
            lease.does(Activity::Paused);
            self.patience.pause(part, &error, pause).await;
        }
    }

    /// Whether this refusal may say that the access has run out.
    fn may_be_expired(&self, error: &HttpError) -> bool {
        self.can_refresh && http::may_have_expired(error, self.metrics.fetched_bytes() > 0)
    }

    /// Whether no further attempt is made in the same way, or the server said that it has not what
    /// was asked for, and it may be the way of asking: of one byte, or of any after several
    /// attempts.
    fn is_hopeless(&self, next: Next, error: &HttpError, wanted: ByteRange) -> bool {
        let Next::Again(pause) = next else {
            return true;
        };
        *error.kind() == HttpErrorKind::Unsatisfied
            && (wanted.len() == 1 || (pause.attempts >= HOPELESS && self.replies.count() == 0))
    }

    /// Whether there is another way to ask for what is wanted of the output, after this failure. A
    /// fresh URL is the better one where access may have run out.
    async fn concedes(&self, error: &HttpError, wanted: ByteRange, manner: u32) -> bool {
        let is_for_refresh = self.can_refresh && http::may_have_expired(error, false);
        match self.selection.locate(wanted) {
            Some(wanted) if !is_for_refresh => self.remote.concede(error, wanted, manner).await,
            _ => false,
        }
    }

    fn writer<'a>(
        &'a self,
        lease: &'a ActiveLease,
        token: &TaskTrackerToken,
    ) -> Option<LeaseWriter<'a, W>> {
        let windows = WindowBuffer::new(
            self.target.clone(),
            self.durability,
            token.clone(),
            lease,
            &self.metrics,
            &self.backpressure,
        );
        LeaseWriter::new(
            &self.dispatcher,
            &self.metrics,
            &self.blocks,
            lease,
            windows,
        )
    }

    /// Counts what an error says of the server. Returns whether one connection fewer is to be used
    /// instead of another attempt over this one.
    fn yields_to(&self, error: &HttpError) -> bool {
        if matches!(error.kind(), HttpErrorKind::Stalled) {
            self.metrics.stalled();
        }
        // Where nothing arrives, no other transfer is what the server prefers to this one.
        if self.patience.is_in_outage() || !http::may_be_crowded(error) {
            return false;
        }
        self.metrics.refused();
        let working = self.metrics.active() + self.waiting.count();
        let is_one_too_many = self.tune(|tuner| tuner.refused(working));
        if is_one_too_many && self.refusals.note(error) {
            self.events.warn(format!(
                "the server refuses further requests, and those under way go on: {error}"
            ));
        }
        is_one_too_many
    }
}
