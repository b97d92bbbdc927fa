//! The body of an answer, generated while it is sent.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;

use super::object::Object;
use super::pacer::Pacer;
use super::state::OriginState;

/// The type of an answer's body.
pub(super) type AnswerBody = UnsyncBoxBody<Bytes, Infallible>;

/// The most bytes of one frame: large enough to amortise the work per frame, small enough for the
/// cache.
const FRAME: u64 = 128 << 10;

/// A slice of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BodySlice {
    /// The text around the object's bytes in a multipart body.
    Text(Bytes),
    /// Bytes of the object.
    Object(Range<u64>),
}

impl BodySlice {
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Object(range) => range.end - range.start,
        }
    }
}

/// Generates the bytes of a body, paced and counted.
pub(super) struct BodySource {
    pub(super) object: Object,
    pub(super) shared: Arc<OriginState>,
    pub(super) connection: Arc<Pacer>,
    /// Index of the request in the log.
    pub(super) entry: usize,
    pub(super) stretches: VecDeque<BodySlice>,
}

impl BodySource {
    pub(super) fn into_body(self) -> AnswerBody {
        let frames = stream::unfold(self, |mut source| async move {
            let bytes = source.next().await?;
            Some((Ok(Frame::data(bytes)), source))
        });
        StreamBody::new(frames).boxed_unsync()
    }

    async fn next(&mut self) -> Option<Bytes> {
        while self
            .stretches
            .front()
            .is_some_and(|stretch| stretch.length() == 0)
        {
            self.stretches.pop_front();
        }
        // The bytes that the gate counts must be the bytes sent.
        let wanted = match self.stretches.front()? {
            BodySlice::Text(text) => text.len() as u64,
            BodySlice::Object(range) => self
                .object
                .at_once(range.start)
                .min(range.end - range.start),
        };
        let wanted = wanted
            .min(FRAME)
            .min(self.connection.grain())
            .min(self.shared.pacer.grain());
        self.connection.pace(wanted).await;
        self.shared.pacer.pace(wanted).await;
        let granted = self.shared.gate.pass(wanted).await;
        let bytes = self.take(usize::try_from(granted).expect("at most one frame"));
        self.shared.log.sent(self.entry, bytes.len() as u64);
        Some(bytes)
    }

    /// Takes at most `limit` bytes from the first slice.
    fn take(&mut self, limit: usize) -> Bytes {
        match self.stretches.front_mut() {
            Some(BodySlice::Text(text)) => text.split_to(limit.min(text.len())),
            Some(BodySlice::Object(range)) => {
                let bytes = self.object.frame(range.start, limit);
                range.start += bytes.len() as u64;
                bytes
            }
            None => Bytes::new(),
        }
    }
}

/// A body of no bytes.
pub(super) fn empty() -> AnswerBody {
    http_body_util::Empty::new().boxed_unsync()
}
