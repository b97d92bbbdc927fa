//! The attempts of a lease: one request after another, and the bytes of their replies.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::{Instrument, debug_span, field};

use super::shared::Transfer;
use super::waiting::WaitingBody;
use super::window::WriteTarget;
use super::writer::LeaseWriter;
use crate::engine::remote::{FetchError, Remote, RemoteBody};
use crate::engine::schedule::lease::{ActiveLease, Activity};
use crate::http::HttpError;
use crate::object::ByteRange;
use crate::storage::StorageError;

/// A body that may continue past the end of a lease.
pub(super) struct Carried<B> {
    body: B,
    /// The position of its next byte in the object, and in the output.
    position: u64,
    pub(super) written: u64,
    /// The end of the range that was asked for.
    end: u64,
    rest: Bytes,
    /// Counts the body while no lease takes bytes out of it.
    waits: Option<WaitingBody>,
}

impl<B> Carried<B> {
    /// Whether it has bytes that follow those that were taken.
    pub(super) fn has_more(&self) -> bool {
        self.position < self.end
    }

    fn covers(&self, position: u64) -> bool {
        (self.position..self.end).contains(&position)
    }
}

impl<R: Remote, W: WriteTarget> Transfer<R, W> {
    /// Fetches from the writer's position to the end of the lease. Short replies, which are
    /// legal, and gaps between selected ranges take a request each.
    pub(super) async fn attempt(
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
        lease.takes_old_body(carried.is_some());
        if let Some(carried) = carried {
            lease.comes_from(carried.body.server());
        }
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

    /// A body that brings `range` of the object, for this position of the output: one that was
    /// carried here, or that of a new reply.
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
                self.skip_to(lease, range.start(), carried).await
            }
            Some(carried) if self.is_treasured(&carried) && carried.covers(range.start()) => {
                go_on(&carried);
                self.skip_to(lease, range.start(), carried).await
            }
            _ if self.replies.count() > 0 && self.is_one_stream() => Err(AttemptError::Unproven),
            useless => {
                // There is one body at a time of a remote without ranges.
                drop(useless);
                lease.takes_old_body(false);
                match self.request(lease, self.to_ask(lease, range)).await {
                    Ok(_) if self.lacks_ranges() => Err(AttemptError::Unproven),
                    Ok(stream) => {
                        let server = stream.body.server();
                        self.replies.begin(&self.plan, lease, server, position);
                        self.skip_to(lease, range.start(), stream).await
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
        lease: &ActiveLease,
        position: u64,
        mut stream: Carried<R::Body>,
    ) -> Result<Carried<R::Body>, AttemptError> {
        while stream.position < position {
            if stream.rest.is_empty() {
                let Some(bytes) = self.chunk(lease, &mut stream.body).await? else {
                    let why = "the object ended before the range that was asked for";
                    return Err(HttpError::protocol(why).into());
                };
                stream.rest = bytes;
            }
            let left = usize::try_from(position - stream.position).unwrap_or(usize::MAX);
            let skipped = stream.rest.split_to(left.min(stream.rest.len()));
            stream.position += skipped.len() as u64;
        }
        Ok(stream)
    }

    /// The next bytes of a body, as fast as the caller allows.
    async fn chunk(
        &self,
        lease: &ActiveLease,
        body: &mut R::Body,
    ) -> Result<Option<Bytes>, HttpError> {
        lease.does(Activity::Waiting);
        let Some(bytes) = body.chunk().await? else {
            return Ok(None);
        };
        self.patience.arrived();
        if let Some(limiter) = &self.limiter {
            lease.does(Activity::Limited);
            limiter.pass(bytes.len()).await;
        }
        // Not before, or the shown rate would be above the limit.
        self.metrics.fetched(bytes.len() as u64);
        lease.does(Activity::Writing);
        Ok(Some(bytes))
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
        let until = self.dispatcher.missing_until(lease);
        let longer = until.and_then(|until| ByteRange::new(lease.position(), until));
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
        let body = replied.inspect_err(|error| self.note_unanswered(error))?;
        self.patience.answered(body.first_byte());
        self.dispatcher.replied(body.first_byte());
        self.has_replied.get_or_init(Instant::now);
        self.replied.notify_one();
        let end = body.end().map_or(source.end(), |end| end.min(source.end()));
        Ok(Carried {
            position: body.start().unwrap_or(source.start()),
            body,
            written: lease.position(),
            end,
            rest: Bytes::new(),
            waits: None,
        })
    }

    /// Where no server answered, a link that may be used once is not spent.
    fn note_unanswered(&self, error: &FetchError) {
        if matches!(error, FetchError::Http(error) if error.is_unanswered()) {
            self.has_asked.store(false, Ordering::Relaxed);
        }
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
                let Some(bytes) = self.chunk(lease, &mut stream.body).await? else {
                    return Ok(PourEnd::Ended);
                };
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
pub(super) enum AttemptError {
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
