//! The body of a reply, with its length checked.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use reqwest::{Response, Version};
use tokio::time::{Instant, Sleep};

use super::client::Client;
use super::connections::Generation;
use super::error::{HttpError, HttpErrorKind};
use super::head::Head;
use super::redirect::FinalReply;
use crate::object::ByteRange;

/// How long to wait for the end of a body after all its bytes have arrived.
const END_GRACE: Duration = Duration::from_secs(1);

/// The body of a reply whose head was checked.
pub(crate) struct Body {
    response: Response,
    /// The promised bytes' positions in the object; `None` if its length is unknown.
    range: Option<ByteRange>,
    first_byte: Duration,
    // INVARIANT: never beyond the length of `range`.
    received: u64,
    state: State,
    client: Client,
    /// The pool of the connection.
    generation: Generation,
    /// Whether the end came without TLS's goodbye, so that anybody on the way may have made it.
    lacks_goodbye: bool,
    /// Bytes that were read ahead.
    ahead: VecDeque<Bytes>,
    stall: Duration,
    /// One timer for all chunks, reset only when a chunk has to be awaited.
    timer: Pin<Box<Sleep>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Over,
    Failed,
}

impl Body {
    pub(super) fn new(reply: FinalReply, range: Option<ByteRange>, client: &Client) -> Self {
        let stall = client.stall_timeout();
        Self {
            response: reply.response,
            range,
            first_byte: reply.first_byte,
            received: 0,
            state: State::Open,
            client: client.clone(),
            generation: reply.generation,
            lacks_goodbye: false,
            ahead: VecDeque::new(),
            stall,
            timer: Box::pin(tokio::time::sleep(stall)),
        }
    }

    /// The promised bytes' positions in the object; `None` if its length is unknown.
    pub(crate) fn range(&self) -> Option<ByteRange> {
        self.range
    }

    /// The time from the open connection to the head of this reply.
    pub(crate) fn first_byte(&self) -> Duration {
        self.first_byte
    }

    /// Whether the body ended by an end of the connection that TLS does not vouch for.
    pub(crate) fn lacks_goodbye(&self) -> bool {
        self.lacks_goodbye
    }

    /// Whether nothing but the end of the connection tells the end of the body (RFC 9112, section
    /// 6.3): one that was cut off looks like one that came whole.
    pub(crate) fn ends_with_connection(&self) -> bool {
        let headers = self.response.headers();
        let has_end = [CONTENT_LENGTH, TRANSFER_ENCODING]
            .iter()
            .any(|name| headers.contains_key(name));
        let is_framed = has_end || self.response.version() >= Version::HTTP_2;
        self.range.is_none() && !is_framed
    }

    /// Whether more than `least` bytes come. Reads ahead until that is certain; the bytes are handed
    /// out later.
    ///
    /// # Errors
    ///
    /// As [`chunk`](Self::chunk).
    pub(super) async fn is_longer_than(&mut self, least: u64) -> Result<bool, HttpError> {
        while self.received <= least {
            match self.next().await? {
                Some(bytes) => self.ahead.push_back(bytes),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The next bytes, never empty; `None` after exactly the promised ones, or at the end if no
    /// length was promised.
    ///
    /// The stall timeout starts when this call first waits: a slow caller does not count as a
    /// stall. Cancel safe: a call that is dropped loses no bytes.
    ///
    /// # Errors
    ///
    /// `Stalled`, `Short`, `Transport`; `Protocol` if the body is too long. No excess byte is
    /// handed out.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        match self.ahead.pop_front() {
            Some(bytes) => Ok(Some(bytes)),
            None => self.next().await,
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, HttpError> {
        match self.state {
            State::Open => {}
            State::Over => return Ok(None),
            State::Failed => {
                return Err(HttpError::new(
                    HttpErrorKind::Transport,
                    "the body has failed before",
                ));
            }
        }
        let outcome = self.next_bytes().await;
        match &outcome {
            Ok(Some(_)) => {}
            Ok(None) => self.state = State::Over,
            Err(error) => {
                self.state = State::Failed;
                if error.is_silence() {
                    self.client.leave_pool(self.generation);
                }
            }
        }
        outcome
    }

    async fn next_bytes(&mut self) -> Result<Option<Bytes>, HttpError> {
        loop {
            let is_complete = self.remaining() == Some(0);
            match self.next_frame(is_complete).await {
                Some(Ok(Some(bytes))) if bytes.is_empty() => {}
                Some(Ok(Some(bytes))) => return self.count(bytes).map(Some),
                Some(Ok(None)) => {
                    self.let_connection_return();
                    return self.end().map(|()| None);
                }
                // All bytes have arrived: how the connection ends does not matter.
                Some(Err(_)) | None if is_complete => return Ok(None),
                Some(Err(error))
                    if self.ends_with_connection() && HttpError::is_end_without_goodbye(&error) =>
                {
                    self.lacks_goodbye = true;
                    return Ok(None);
                }
                Some(Err(error)) => {
                    let promised = self.range.map(|range| (range.len(), self.received));
                    return Err(HttpError::from_body(error, promised));
                }
                None => return Err(HttpError::stalled(self.stall)),
            }
        }
    }

    /// The next frame, or `None` if it did not arrive in time.
    async fn next_frame(&mut self, is_complete: bool) -> Option<reqwest::Result<Option<Bytes>>> {
        let limit = if is_complete {
            END_GRACE.min(self.stall)
        } else {
            self.stall
        };
        let timer = &mut self.timer;
        let mut frame = pin!(self.response.chunk());
        let mut is_waiting = false;
        std::future::poll_fn(|cx| {
            if let Poll::Ready(frame) = frame.as_mut().poll(cx) {
                return Poll::Ready(Some(frame));
            }
            if !is_waiting {
                is_waiting = true;
                timer.as_mut().reset(Instant::now() + limit);
            }
            timer.as_mut().poll(cx).map(|()| None)
        })
        .await
    }

    fn count(&mut self, bytes: Bytes) -> Result<Bytes, HttpError> {
        let length = u64::try_from(bytes.len()).expect("a buffer's length fits into 64 bits");
        if self.remaining().is_some_and(|remaining| length > remaining) {
            let promised = self.range.map_or(0, ByteRange::len);
            return Err(HttpError::protocol(format!(
                "the body is longer than promised: expected {promised} bytes, found more"
            )));
        }
        self.received += length;
        Ok(bytes)
    }

    fn end(&self) -> Result<(), HttpError> {
        match self.range.map(ByteRange::len) {
            Some(expected) if self.received < expected => {
                Err(HttpError::short(expected, self.received))
            }
            _ => Ok(()),
        }
    }

    /// Records that the connection returns to the pool. An HTTP/2 connection never leaves it.
    fn let_connection_return(&self) {
        let head = Head {
            status: self.response.status(),
            headers: self.response.headers(),
        };
        if self.response.version() == Version::HTTP_11 && head.keeps_connection() {
            self.client.returns().note(self.response.url());
        }
    }

    fn remaining(&self) -> Option<u64> {
        Some(self.range?.len() - self.received)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("range", &self.range)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::config::ClientConfig;
    use crate::http::testing::{Script, ScriptedServer, Seen, Then, script};

    const STALL: Duration = Duration::from_secs(60);

    /// The reply as a body of `promised` bytes.
    async fn body(answer: Script, promised: Option<u64>) -> Body {
        let answer = std::sync::Mutex::new(Some(answer));
        let server =
            ScriptedServer::start(move |_: &Seen| answer.lock().unwrap().take().unwrap()).await;
        let http = super::super::testing::plain_client();
        let response = http.get(server.url("/")).send().await.unwrap();
        let patient = ClientConfig {
            stall_timeout: STALL,
            ..ClientConfig::for_tests()
        };
        let reply = FinalReply {
            response,
            first_byte: Duration::ZERO,
            round_trip: Duration::ZERO,
            explanation: None,
            generation: Generation::default(),
            origin: None,
        };
        let client = Client::new(&patient).unwrap();
        Body::new(reply, promised.map(ByteRange::whole), &client)
    }

    /// All bytes up to the end or the error.
    async fn read(body: &mut Body) -> (Vec<u8>, Result<(), HttpErrorKind>) {
        let mut bytes: Vec<u8> = Vec::new();
        loop {
            match body.chunk().await {
                Ok(Some(chunk)) => bytes.extend(&chunk),
                Ok(None) => return (bytes, Ok(())),
                Err(error) => return (bytes, Err(error.kind().clone())),
            }
        }
    }

    #[tokio::test]
    async fn exactly_the_promised_bytes_are_handed_out() {
        use HttpErrorKind::Short;
        let length = &["Content-Length: 10"][..];
        let chunked = &["Transfer-Encoding: chunked"][..];
        let whole = "0123456789";
        let short = |found| {
            Err(Short {
                expected: 10,
                found,
            })
        };
        let cases = [
            (length, whole, Then::KeepOpen, Some(10), 10, Ok(())),
            (length, "0123", Then::Close, Some(10), 4, short(4)),
            (&[][..], whole, Then::Close, Some(10), 10, Ok(())),
            (&[], "0123", Then::Close, Some(10), 4, short(4)),
            (&[], whole, Then::Close, None, 10, Ok(())),
            (&[], "", Then::Close, Some(0), 0, Ok(())),
            (
                chunked,
                "a\r\n0123456789\r\n0\r\n\r\n",
                Then::KeepOpen,
                Some(10),
                10,
                Ok(()),
            ),
            (
                chunked,
                "4\r\n0123\r\n0\r\n\r\n",
                Then::KeepOpen,
                Some(10),
                4,
                short(4),
            ),
            (chunked, "4\r\n0123\r\n", Then::Close, Some(10), 4, short(4)),
            (
                chunked,
                "a\r\n0123456789\r\n",
                Then::Close,
                Some(10),
                10,
                Ok(()),
            ),
        ];
        for (position, (fields, text, then, promised, found, end)) in cases.into_iter().enumerate()
        {
            let mut body = body(script("200 OK", fields, text, then), promised).await;
            let (bytes, outcome) = read(&mut body).await;
            assert_eq!(bytes, whole.as_bytes()[..found], "case {position}");
            assert_eq!(outcome, end, "case {position}");
        }
    }

    #[tokio::test]
    async fn a_byte_too_many_is_never_handed_out() {
        let cases = [
            (&["Content-Length: 12"][..], "0123456789ab"),
            (&[], "0123456789ab"),
            (
                &["Transfer-Encoding: chunked"],
                "a\r\n0123456789\r\n2\r\nab\r\n0\r\n\r\n",
            ),
        ];
        for (fields, text) in cases {
            let mut body = body(script("200 OK", fields, text, Then::Close), Some(10)).await;
            let (bytes, outcome) = read(&mut body).await;
            assert!(bytes.len() <= 10);
            assert!(
                matches!(outcome, Err(HttpErrorKind::Protocol(_))),
                "{outcome:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_broken_chunk_and_an_unpromised_end_have_their_kinds() {
        let chunked = &["Transfer-Encoding: chunked"];
        let mut broken = body(script("200 OK", chunked, "zz\r\n", Then::Close), Some(10)).await;
        assert!(matches!(
            read(&mut broken).await.1,
            Err(HttpErrorKind::Protocol(_))
        ));
        let cut = script("200 OK", &["Content-Length: 10"], "0123", Then::Close);
        let mut cut = body(cut, None).await;
        assert_eq!(read(&mut cut).await.1, Err(HttpErrorKind::Transport));
        assert_eq!(
            read(&mut cut).await.1,
            Err(HttpErrorKind::Transport),
            "a failed body has no end"
        );
    }

    /// Pauses the clock after the bytes have arrived: it jumps to the timer when no task can run.
    #[tokio::test]
    async fn a_stall_ends_the_wait_and_a_slow_caller_is_no_stall() {
        let stalled = script("200 OK", &["Content-Length: 10"], "0123", Then::Stall);
        let mut body = body(stalled, Some(10)).await;
        tokio::time::pause();
        tokio::time::advance(STALL * 10).await;
        let (bytes, outcome) = read(&mut body).await;
        assert_eq!(bytes, b"0123");
        assert_eq!(outcome, Err(HttpErrorKind::Stalled));
    }

    #[tokio::test]
    async fn an_end_that_never_comes_does_not_undo_the_bytes() {
        let open = script("200 OK", &[], "0123", Then::Stall);
        let mut body = body(open, Some(4)).await;
        tokio::time::pause();
        let begun = Instant::now();
        assert_eq!(read(&mut body).await, (b"0123".to_vec(), Ok(())));
        assert!(begun.elapsed() < STALL);
    }
}
