//! One connection's work: take a lease, fetch it, put the bytes where they belong, again until nothing is left.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{AbortHandle, Abortable};
use tokio::time::Instant;

use super::rate_limit::Limiter;
use super::writer::{Busy, LeaseWriter};
use crate::engine::control::events::EventBus;
use crate::engine::metrics::Metrics;
use crate::engine::remote::{FetchError, Remote, RemoteBody};
use crate::engine::schedule::dispatcher::Dispatcher;
use crate::engine::schedule::lease::ActiveLease;
use crate::engine::schedule::tuner::Tuner;
use crate::event::Event;
use crate::http::{self, HttpError, HttpErrorKind, Verdict};
use crate::object::{BlockPlan, ByteRange, Plan, Selection};
use crate::storage::{Durability, PartFile, Sink, StorageError};

/// What the workers of one run share.
pub(crate) struct Transfer<R, F> {
    pub(crate) plan: Plan,
    /// What leases are cut at.
    pub(crate) blocks: BlockPlan,
    pub(crate) selection: Selection,
    pub(crate) remote: R,
    pub(crate) sink: Sink<F>,
    pub(crate) durability: Durability,
    pub(crate) dispatcher: Arc<Dispatcher>,
    pub(crate) limiter: Option<Limiter>,
    pub(crate) events: Arc<EventBus>,
    pub(crate) metrics: Arc<Metrics>,
    /// Attempts of one range after the first, counted from the last progress.
    pub(crate) retries: u32,
    /// Taken at a refusal and at a tick, never across an await.
    pub(crate) tuner: Mutex<Tuner>,
    /// Workers that run.
    pub(crate) workers: AtomicU32,
}

/// Why a worker stopped working.
#[derive(Debug)]
pub(crate) enum WorkerEnd {
    /// Every part is there.
    Finished,
    /// There are more workers than connections wanted.
    Surplus,
    /// The run can't go on.
    Failed(TransferError),
}

/// Why bytes can't be brought.
#[derive(Debug)]
pub(crate) enum TransferError {
    Http {
        error: HttpError,
        /// RequestFailed attempts in a row without a byte of progress, this one included.
        attempts: u32,
    },
    Storage(StorageError),
}

impl From<StorageError> for TransferError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

/// Why a lease was given back.
enum LeaseEnd {
    /// Somebody else brought, or is to bring, the rest.
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

/// A body that goes on past the end of a lease, and the object position of its next byte.
struct Carried<B> {
    body: B,
    position: u64,
    rest: Bytes,
}

impl<R: Remote, F: PartFile> Transfer<R, F> {
    /// Connections that are wanted now.
    pub(crate) fn target(&self) -> u32 {
        self.tune(|tuner| tuner.target())
    }

    pub(crate) fn tune<T>(&self, with: impl FnOnce(&mut Tuner) -> T) -> T {
        // The tuner is whole between any two calls, so a panic elsewhere leaves it usable.
        with(&mut self.tuner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes this worker out if there are more than are wanted. Of several that ask at once, only the surplus leaves.
    fn leave_if_surplus(&self) -> bool {
        let target = self.target();
        self.workers
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |workers| {
                (workers > target).then(|| workers - 1)
            })
            .is_ok()
    }

    /// Works until nothing is left, this worker is one too many, or the run can't go on.
    ///
    /// Dropping the future gives up what it was fetching; the dispatcher then still counts its lease as held.
    pub(crate) async fn work(self: Arc<Self>, busy: Busy) -> WorkerEnd {
        let mut carried = None;
        let mut own = None;
        loop {
            if self.leave_if_surplus() {
                return WorkerEnd::Surplus;
            }
            // Listens before it looks, so that no change is missed in between.
            let changed = self.dispatcher.changed.notified();
            let (abort, registration) = AbortHandle::new_pair();
            // Not the number of those that are there: the first one would take what the others are to share.
            let Some(lease) = self.dispatcher.lease(self.target(), own, abort) else {
                if self.dispatcher.is_finished() {
                    return WorkerEnd::Finished;
                }
                changed.await;
                continue;
            };
            let begun = Instant::now();
            let work = self.bring(&lease, &mut carried, &busy);
            let end = Abortable::new(work, registration).await;
            self.dispatcher.release(&lease);
            own = rate(&lease, begun.elapsed());
            match end {
                Ok(LeaseEnd::Done | LeaseEnd::Yield) => {}
                Ok(LeaseEnd::Failed(error)) => return WorkerEnd::Failed(error),
                // Nothing is left of it, or another connection is to be tried. The body was cut off half-way, so that
                // its connection is gone.
                Err(futures::future::Aborted) => (carried, own) = (None, None),
            }
        }
    }

    /// Brings the bytes of one lease, with as many attempts as it may take.
    async fn bring(
        &self,
        lease: &ActiveLease,
        carried: &mut Option<Carried<R::Body>>,
        busy: &Busy,
    ) -> LeaseEnd {
        let Some(mut writer) = LeaseWriter::new(
            &self.dispatcher,
            &self.metrics,
            lease,
            &self.blocks,
            &self.sink,
            self.durability,
            busy,
        ) else {
            return LeaseEnd::Done;
        };
        loop {
            let begun = writer.position();
            let error = match self.attempt(lease, &mut writer, carried).await {
                Ok(()) => return LeaseEnd::Done,
                Err(AttemptError::Storage(error)) => return LeaseEnd::Failed(error.into()),
                Err(AttemptError::Fetch(FetchError::RangesIgnored)) => {
                    self.tune(Tuner::single);
                    return LeaseEnd::Yield;
                }
                Err(AttemptError::Fetch(FetchError::Http(error))) => error,
            };
            let judgement = self.judge(&error);
            match judgement {
                Judgement::Yield => return LeaseEnd::Yield,
                Judgement::Retry { .. } if writer.wanted().is_empty() => return LeaseEnd::Done,
                Judgement::Retry { .. } | Judgement::Fatal => {}
            }
            let attempts = self.dispatcher.failed(lease, begun);
            let after = match judgement {
                Judgement::Retry { after } if attempts <= self.retries => after,
                _ => return LeaseEnd::Failed(TransferError::Http { error, attempts }),
            };
            let delay = after.unwrap_or_else(|| http::backoff(attempts, fastrand::f64()));
            self.announce_retry(&writer, &error, delay);
            tokio::time::sleep(delay).await;
        }
    }

    fn judge(&self, error: &HttpError) -> Judgement {
        if matches!(error.kind(), HttpErrorKind::Stalled) {
            self.metrics.stalled();
        }
        match http::verdict(error) {
            Verdict::Fatal => Judgement::Fatal,
            Verdict::Retry { after } => Judgement::Retry { after },
            Verdict::Throttled { after } => {
                self.metrics.refused();
                let working = self.metrics.active();
                if self.tune(|tuner| tuner.refused(working)) {
                    Judgement::Yield
                } else {
                    Judgement::Retry { after }
                }
            }
        }
    }

    fn announce_retry(&self, writer: &LeaseWriter<'_, F>, error: &HttpError, delay: Duration) {
        self.metrics.retried();
        let part = self.plan.part_at(writer.position());
        self.events.emit(Event::Retrying {
            part: part.map_or(0, |part| part.index.0),
            reason: error.to_string(),
            delay,
        });
    }

    /// Fetches from where the writer stands to the end of the lease, in as many requests as legal short replies and
    /// gaps between selected ranges ask for.
    async fn attempt(
        &self,
        lease: &ActiveLease,
        writer: &mut LeaseWriter<'_, F>,
        carried: &mut Option<Carried<R::Body>>,
    ) -> Result<(), AttemptError> {
        while let Some(source) = self.selection.locate(writer.wanted()) {
            let _underway = self.metrics.underway();
            let mut stream = match carried.take() {
                Some(carried) if carried.position == source.start() => carried,
                _ => self.request(source).await?,
            };
            lease.comes_from(stream.body.server());
            let end = self.pour(lease, writer, &mut stream, source.end()).await?;
            if end == PourEnd::GoesOn && self.remote.is_whole() {
                *carried = Some(stream);
            }
        }
        Ok(())
    }

    async fn request(&self, source: ByteRange) -> Result<Carried<R::Body>, FetchError> {
        self.metrics.attempted();
        let asked = Instant::now();
        let replied = self.remote.fetch(source).await;
        self.metrics.waited_for_reply(asked.elapsed());
        let body = replied?;
        self.dispatcher.replied(body.first_byte());
        Ok(Carried {
            body,
            position: source.start(),
            rest: Bytes::new(),
        })
    }

    /// Takes bytes out of the stream up to object position `end`, to its own end, or to the end of the lease where
    /// that comes nearer meanwhile.
    async fn pour(
        &self,
        lease: &ActiveLease,
        writer: &mut LeaseWriter<'_, F>,
        stream: &mut Carried<R::Body>,
        end: u64,
    ) -> Result<PourEnd, AttemptError> {
        while stream.position < end && writer.position() < lease.limit() {
            if stream.rest.is_empty() {
                let Some(bytes) = stream.body.chunk().await? else {
                    return Ok(PourEnd::Ended);
                };
                self.metrics.fetched(bytes.len() as u64);
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
        let at_promised_end = stream.position == end && stream.rest.is_empty();
        if at_promised_end && !self.remote.is_whole() {
            // Sees the end of the body, which makes the connection fit for the next request.
            stream.body.chunk().await?;
            return Ok(PourEnd::Ended);
        }
        Ok(PourEnd::GoesOn)
    }
}

/// Where a stream stands after bytes were taken out of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PourEnd {
    /// There is nothing more in it.
    Ended,
    /// As far as is known, more bytes follow.
    GoesOn,
}

/// What is to be done about a failed attempt.
enum Judgement {
    Retry { after: Option<Duration> },
    Yield,
    Fatal,
}

/// Why an attempt failed.
enum AttemptError {
    Fetch(FetchError),
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
