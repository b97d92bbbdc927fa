//! One connection's work: take a lease, fetch it, put the bytes where they belong, again until
//! nothing is left.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{AbortHandle, Abortable};
use tokio::time::Instant;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{Instrument, debug_span, field};

use super::shared::{Transfer, TransferError};
use super::waiting::WaitingBody;
use super::window::{WindowBuffer, WriteTarget};
use super::writer::LeaseWriter;
use super::written_blocks::Doubt;
use crate::engine::context::RequestFailed;
use crate::engine::patience::Next;
use crate::engine::remote::{FetchError, Remote, RemoteBody};
use crate::engine::schedule::lease::{ActiveLease, Activity};
use crate::engine::schedule::tuner::Tuner;
use crate::http::{self, HttpError, HttpErrorKind, Verdict};
use crate::object::{ByteRange, Proof};
use crate::storage::StorageError;

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

/// A body that may continue past the end of a lease.
struct Carried<B> {
    body: B,
    /// The position of its next byte in the object, and in the output.
    position: u64,
    written: u64,
    /// The end of the range that was asked for.
    end: u64,
    rest: Bytes,
    /// Counts the body while no lease takes bytes out of it.
    waits: Option<WaitingBody>,
}

impl<B> Carried<B> {
    fn covers(&self, position: u64) -> bool {
        (self.position..self.end).contains(&position)
    }
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
    fn is_treasured(&self, carried: &Carried<R::Body>) -> bool {
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
    fn lacks_ranges(&self) -> bool {
        let is_unnamed = self.remote.is_whole() && self.pinned.proof() == Proof::None;
        is_unnamed && !(self.begins_with_whole() && self.earlier.is_empty())
    }

    /// Whether all bytes must come in one stream: no other one would be known to be of the same
    /// version. Ranges that don't ascend can't.
    fn is_one_stream(&self) -> bool {
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

    /// Fetches from the writer's position to the end of the lease. Short replies, which are
    /// legal, and gaps between selected ranges take a request each.
    async fn attempt(
        &self,
        lease: &Arc<ActiveLease>,
        writer: &mut LeaseWriter<'_, W>,
        carried: &mut Option<Carried<R::Body>>,
        number: u32,
    ) -> Result<(), AttemptError> {
        while let Some(range) = self.selection.locate(writer.wanted()) {
            let span = debug_span!(
                "attempt",
                attempt = number,
                %range,
                server = field::Empty,
                status = field::Empty,
            );
            self.bring_range(lease, writer, carried, range)
                .instrument(span)
                .await?;
        }
        Ok(())
    }

    /// Fetches `range` of the object, or a beginning of it, and writes what comes.
    async fn bring_range(
        &self,
        lease: &Arc<ActiveLease>,
        writer: &mut LeaseWriter<'_, W>,
        carried: &mut Option<Carried<R::Body>>,
        range: ByteRange,
    ) -> Result<(), AttemptError> {
        let _active = self.metrics.start_transfer();
        let position = writer.position();
        let mut stream = self.stream(lease, position, carried.take(), range).await?;
        stream.waits = None;
        lease.comes_from(stream.body.server());
        let end = self.pour(lease, writer, &mut stream, range.end()).await?;
        if end == PourEnd::MoreToCome {
            stream.written = writer.position();
            stream.waits = Some(self.waiting.one());
            *carried = Some(stream);
        }
        Ok(())
    }

    /// A body that brings `range` of the object, for this position of the output: one that was carried
    /// here, or that of a new reply.
    async fn stream(
        &self,
        lease: &Arc<ActiveLease>,
        position: u64,
        carried: Option<Carried<R::Body>>,
        range: ByteRange,
    ) -> Result<Carried<R::Body>, AttemptError> {
        let go_on = |carried: &Carried<R::Body>| {
            if !self.remote.is_whole() {
                let server = carried.body.server();
                self.replies.go_on(&self.plan, lease, server, position);
            }
        };
        match carried {
            Some(carried) if carried.position == range.start() => {
                go_on(&carried);
                Ok(carried)
            }
            Some(carried) if carried.position < range.start() && self.is_one_stream() => {
                self.skip_to(range.start(), carried).await
            }
            Some(carried) if self.is_treasured(&carried) && carried.covers(range.start()) => {
                go_on(&carried);
                self.skip_to(range.start(), carried).await
            }
            _ if self.replies.count() > 0 && self.is_one_stream() => Err(AttemptError::Unproven),
            useless => {
                // There is one body at a time of a remote without ranges.
                drop(useless);
                match self.request(lease, self.to_ask(lease, range)).await {
                    Ok(_) if self.lacks_ranges() => Err(AttemptError::Unproven),
                    Ok(stream) => {
                        let server = stream.body.server();
                        self.replies.begin(&self.plan, lease, server, position);
                        Ok(stream)
                    }
                    Err(error) => Err(error.into()),
                }
            }
        }
    }

    /// Winds a body forward to this position of the object: another body might be of
    /// another version.
    async fn skip_to(
        &self,
        position: u64,
        mut stream: Carried<R::Body>,
    ) -> Result<Carried<R::Body>, AttemptError> {
        while stream.position < position {
            if stream.rest.is_empty() {
                let Some(bytes) = stream.body.chunk().await? else {
                    let why = "the object ended before the range that was asked for";
                    return Err(HttpError::protocol(why).into());
                };
                self.metrics.fetched(bytes.len() as u64);
                stream.rest = bytes;
            }
            let left = usize::try_from(position - stream.position).unwrap_or(usize::MAX);
            let skipped = stream.rest.split_to(left.min(stream.rest.len()));
            stream.position += skipped.len() as u64;
        }
        Ok(stream)
    }

    /// The range to ask for, of which the lease needs `range`.
    ///
    /// The first request asks for all missing bytes that follow. A link that may be used once
    /// brings all of them then, if the server refuses the other requests. If it does not, other
    /// leases hold what follows, and the connection is given up where this one ends.
    fn to_ask(&self, lease: &ActiveLease, range: ByteRange) -> ByteRange {
        if self.has_asked.swap(true, Ordering::Relaxed) || self.remote.is_whole() {
            return range;
        }
        let longer = ByteRange::new(lease.position(), self.dispatcher.missing_until(lease));
        let located = longer.and_then(|longer| self.selection.locate(longer));
        located
            .filter(|longer| longer.start() == range.start())
            .unwrap_or(range)
    }

    async fn request(
        &self,
        lease: &ActiveLease,
        source: ByteRange,
    ) -> Result<Carried<R::Body>, FetchError> {
        self.metrics.attempted();
        let asked = Instant::now();
        lease.does(Activity::Waiting);
        let replied = self.remote.fetch(source).await;
        self.metrics.waited_for_reply(asked.elapsed());
        let body = replied?;
        self.patience.arrived();
        self.replied.notify_one();
        self.metrics.fetched(body.skipped());
        self.dispatcher.replied(body.first_byte());
        let end = body.end().map_or(source.end(), |end| end.min(source.end()));
        Ok(Carried {
            body,
            position: source.start(),
            written: lease.position(),
            end,
            rest: Bytes::new(),
            waits: None,
        })
    }

    /// Takes bytes out of the stream up to object position `end`, to its own end, or to the end of
    /// the lease where that comes nearer meanwhile.
    async fn pour(
        &self,
        lease: &ActiveLease,
        writer: &mut LeaseWriter<'_, W>,
        stream: &mut Carried<R::Body>,
        end: u64,
    ) -> Result<PourEnd, AttemptError> {
        while stream.position < end && writer.position() < lease.limit() {
            if stream.rest.is_empty() {
                lease.does(Activity::Waiting);
                let Some(bytes) = stream.body.chunk().await? else {
                    return Ok(PourEnd::Ended);
                };
                lease.does(Activity::Writing);
                self.metrics.fetched(bytes.len() as u64);
                self.patience.arrived();
                if let Some(limiter) = &self.limiter {
                    limiter.pass(bytes.len()).await;
                }
                stream.rest = bytes;
            }
            // What was taken over since is another's to write.
            let own = lease.limit().saturating_sub(writer.position());
            let left = own.min(end - stream.position);
            let left = usize::try_from(left).unwrap_or(usize::MAX);
            let now = stream.rest.split_to(left.min(stream.rest.len()));
            stream.position += now.len() as u64;
            writer.take(now).await?;
        }
        let at_promised_end = stream.position == stream.end && stream.rest.is_empty();
        if at_promised_end && !self.remote.is_whole() {
            // Sees the end of the body, which makes the connection fit for the next request.
            stream.body.chunk().await?;
            return Ok(PourEnd::Ended);
        }
        Ok(PourEnd::MoreToCome)
    }
}

/// Where a stream stands after bytes were taken out of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PourEnd {
    /// There is nothing more in it.
    Ended,
    /// As far as is known, more bytes follow.
    MoreToCome,
}

/// Why an attempt failed.
enum AttemptError {
    Fetch(FetchError),
    /// The remote has no ranges, and nothing tells whether two replies are of one version.
    Unproven,
    Storage(StorageError),
}

impl From<FetchError> for AttemptError {
    fn from(error: FetchError) -> Self {
        Self::Fetch(error)
    }
}

impl From<HttpError> for AttemptError {
    fn from(error: HttpError) -> Self {
        Self::Fetch(error.into())
    }
}

impl From<StorageError> for AttemptError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}
