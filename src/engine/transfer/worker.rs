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
use super::written_blocks::Doubt;
use crate::engine::context::RequestFailed;
use crate::engine::patience::Next;
use crate::engine::remote::{FetchError, Remote};
use crate::engine::schedule::lease::{ActiveLease, Activity};
use crate::engine::schedule::tuner::Tuner;
use crate::http::{self, HttpError, HttpErrorKind, Verdict};
use crate::object::{ByteRange, Proof};

/// How many failed attempts at a server that has sent no byte are a reason to ask otherwise.
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
    /// the surplus leaves.
    fn leave_if_surplus(&self) -> bool {
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
            if let Ok(lease) =
                self.dispatcher
                    .lease_from(from, connections, own_rate, abort.clone())
            {
                *carried = Some(body);
                return lease;
            }
        }
        let lease = self.dispatcher.lease(connections, own_rate, abort);
        if lease.is_none() && !self.remote.is_whole() {
            // What follows is another's to bring.
            *carried = None;
        }
        lease
    }

    /// Whether a body may be all that the server gives, because the link may be used a few times and
    /// no fresh one is to be had: the server refused other requests, or has not answered as many as
    /// are wanted.
    pub(super) fn is_treasured(&self, carried: &Carried<R::Body>) -> bool {
        let wanted = usize::try_from(self.target_connections()).unwrap_or(usize::MAX);
        !self.can_refresh
            && !self.remote.is_whole()
            && (self.metrics.refusals() > 0 || self.replies.count() < wanted)
            && carried.position < carried.end
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
            let turn = self.patience.turn().await;
            let (begun, manner) = (writer.position(), self.remote.manner());
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
            if http::verdict(&error) != Verdict::Fatal && writer.wanted().is_empty() {
                return LeaseEnd::Done;
            }
            let failures = self.dispatcher.failed(lease, begun);
            let next = self.patience.judge(turn, &error, failures);
            if self.is_hopeless(next) && self.concedes(&error, writer.wanted(), manner).await {
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
                let attempts = failures.count;
                let failed = RequestFailed { error, attempts };
                return LeaseEnd::Failed(TransferError::StreamLost(failed));
            }
            let part = self.plan.part_at(writer.position());
            let part = part.map_or(0, |part| part.index.0);
            lease.does(Activity::Paused);
            self.patience.pause(part, &error, pause).await;
        }
    }

    /// Whether no further attempt is made, or so many failed at a server that has sent no byte, that
    /// it may be the way of asking.
    fn is_hopeless(&self, next: Next) -> bool {
        match next {
            Next::GiveUp { .. } => true,
            Next::Again(pause) => pause.attempts >= HOPELESS && self.replies.count() == 0,
        }
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

    /// The failure of a transfer that can't go on with a second stream.
    fn lost(&self) -> TransferError {
        let why = "without ranges and without a tag or a date, two replies may be of two versions";
        if !self.earlier.is_empty() {
            return TransferError::differs(HttpError::unproven(why), Doubt::Earlier);
        }
        let error = HttpError::protocol(why).passing();
        TransferError::StreamLost(RequestFailed { error, attempts: 0 })
    }

    /// Whether the remote turned out to have no ranges, and nothing tells whether what it sends is
    /// of one version, nor of that of an earlier run. Then all bytes must come in one stream, which
    /// begins anew, unless it is the first reply of one connection.
    pub(super) fn lacks_ranges(&self) -> bool {
        let is_unnamed = self.remote.is_whole() && self.pinned.proof() == Proof::None;
        is_unnamed && !(self.begins_with_whole() && self.earlier.is_empty())
    }

    /// Whether all bytes must come in one stream: no other one would be known to be of the same
    /// version. Ranges that don't ascend can't.
    pub(super) fn is_one_stream(&self) -> bool {
        self.begins_with_whole()
            && self.pinned.proof() == Proof::None
            && self.selection.is_ascending()
    }

    /// Whether the remote has no ranges, and no reply but whole ones came: that was known from the
    /// start, or one connection asked.
    pub(super) fn begins_with_whole(&self) -> bool {
        self.remote.is_whole() && (self.began_whole || self.is_alone)
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
        let may_be_crowded = matches!(http::verdict(error), Verdict::Throttled { .. })
            || http::is_refusal(error)
            || http::may_have_expired(error, true);
        if self.patience.is_tried() || !may_be_crowded {
            return false;
        }
        self.metrics.refused();
        let working = self.metrics.active() + self.waiting.count();
        self.tune(|tuner| tuner.refused(working))
    }
}
