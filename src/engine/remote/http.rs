//! The object on HTTP servers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;

use super::pool::{After, Server, ServerGuard, ServerPool};
use super::{FetchError, Remote, RemoteBody};
use crate::http::{self, Body, Client, HttpError, HttpErrorKind, Reply};
use crate::object::ByteRange;

/// The object on its servers.
#[derive(Debug)]
pub(crate) struct HttpRemote {
    client: Client,
    servers: Arc<ServerPool>,
    /// The server has no ranges: every body is the whole object.
    whole: AtomicBool,
    /// The probe's own reply, where it was the object.
    first: Mutex<Option<Body>>,
}

/// How often a server is asked for a range that it answers with the whole object, where that range
/// is to be compared. One node of several may have no ranges.
const WHOLE_REPLIES: u32 = 3;

impl HttpRemote {
    pub(crate) fn new(client: Client, servers: Arc<ServerPool>) -> Self {
        Self {
            client,
            servers,
            whole: AtomicBool::new(false),
            first: Mutex::new(None),
        }
    }

    /// From a server without ranges: one stream, beginning with the probe's own reply if there is
    /// one.
    pub(crate) fn whole(client: Client, servers: Arc<ServerPool>, first: Option<Body>) -> Self {
        if first.is_some() {
            servers.first().pinned.comes_with_probe();
        }
        Self {
            whole: AtomicBool::new(true),
            first: Mutex::new(first),
            ..Self::new(client, servers)
        }
    }

    async fn fetch_whole(&self, start: u64) -> Result<Stream, FetchError> {
        let first = self
            .first
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let body = match first {
            Some(body) => body,
            None => {
                let Server { source, pinned, .. } = self.servers.first();
                http::fetch_whole(&self.client, source, pinned).await?
            }
        };
        Stream::skip_to(body, start).await
    }

    /// Asks one server after another, at most as many times as there are servers, until one
    /// replies.
    async fn ask(&self, range: ByteRange) -> Result<(Reply, ServerGuard), HttpError> {
        let mut asked = 0;
        loop {
            let guard = self.servers.next();
            asked += 1;
            let error = match self.ask_one(&guard, range).await {
                Ok(reply) => return Ok((reply, guard)),
                Err(error) => error,
            };
            match guard.failed(&error) {
                After::Another if asked < self.servers.len() => {}
                After::Another => return Err(error.passing()),
                After::Nowhere => return Err(error),
            }
        }
    }

    async fn ask_one(&self, guard: &ServerGuard, range: ByteRange) -> Result<Reply, HttpError> {
        let Server { source, pinned, .. } = guard.server();
        let answered = http::fetch(&self.client, source, pinned, range).await;
        let why = match &answered {
            Ok(Reply::Whole(_)) => {
                "200 with the whole object in place of the range that was asked for"
            }
            Err(error) if *error.kind() == HttpErrorKind::Sliced => {
                "200 in place of 206, though other ranges were answered with 206"
            }
            _ => return answered,
        };
        if guard.may_be_whole() {
            return answered;
        }
        let error = HttpError::protocol(why);
        // One node of several may have no ranges.
        Err(if guard.has_ranges() {
            error.passing()
        } else {
            error
        })
    }
}

impl Remote for HttpRemote {
    type Body = Stream;

    async fn look(&self) -> Result<(), HttpError> {
        let servers = self.servers.taken();
        let servers = servers.filter(|(server, _)| server.pinned.wants_look());
        let looks = servers.map(|(server, is_named)| async move {
            let looked = http::look(&self.client, &server.source, &server.pinned).await;
            match looked {
                // What it brought is compared.
                Err(error) if !is_named && matches!(error.kind(), HttpErrorKind::Changed(_)) => {
                    server.note_changed();
                    Ok(())
                }
                looked => looked,
            }
        });
        let looked = join_all(looks).await.into_iter();
        let (changed, others): (Vec<_>, Vec<_>) = looked.partition(|looked| {
            matches!(looked, Err(error) if matches!(error.kind(), HttpErrorKind::Changed(_)))
        });
        changed.into_iter().chain(others).collect()
    }

    fn doubtful(&self) -> Vec<usize> {
        self.servers.doubtful()
    }

    async fn fetch_again(&self, range: ByteRange) -> Result<Stream, FetchError> {
        for _ in 0..WHOLE_REPLIES {
            if self.is_whole() {
                break;
            }
            let Some(guard) = self.servers.to_compare_with() else {
                let why = "no server is left by which to compare what came";
                return Err(HttpError::protocol(why).into());
            };
            let Server { source, pinned, .. } = guard.server();
            match http::fetch(&self.client, source, pinned, range).await {
                Ok(Reply::Part(body)) => return Ok(Stream::of(body, guard)),
                Ok(Reply::Whole(_)) => {}
                Err(error) if *error.kind() == HttpErrorKind::Sliced => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.whole.store(true, Ordering::Relaxed);
        Err(FetchError::RangesIgnored)
    }

    fn is_whole(&self) -> bool {
        self.whole.load(Ordering::Relaxed)
    }

    async fn fetch(&self, range: ByteRange) -> Result<Stream, FetchError> {
        if self.is_whole() {
            return self.fetch_whole(range.start()).await;
        }
        let (reply, guard) = match self.ask(range).await {
            // The bytes of a slice can't be trusted; those of a reply without a range can.
            Err(error) if *error.kind() == HttpErrorKind::Sliced => {
                self.whole.store(true, Ordering::Relaxed);
                return Err(FetchError::RangesIgnored);
            }
            answered => answered?,
        };
        match reply {
            Reply::Part(body) => Ok(Stream::of(body, guard)),
            Reply::Whole(body) => {
                let first_to_see = !self.whole.swap(true, Ordering::Relaxed);
                if range.start() == 0 && first_to_see {
                    Ok(Stream::new(body))
                } else {
                    *self.first.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
                    Err(FetchError::RangesIgnored)
                }
            }
        }
    }
}

/// A body, wound forward to where its reader begins.
#[derive(Debug)]
pub(crate) struct Stream {
    body: Body,
    begun: Option<Bytes>,
    /// The server that sends the body, where there may be others to ask; given back with the body.
    guard: Option<ServerGuard>,
    has_bytes: bool,
}

impl Stream {
    fn new(body: Body) -> Self {
        Self {
            body,
            begun: None,
            guard: None,
            has_bytes: false,
        }
    }

    /// A range that this server sends.
    fn of(body: Body, guard: ServerGuard) -> Self {
        guard.note_ranges();
        Self {
            guard: Some(guard),
            ..Self::new(body)
        }
    }

    async fn skip_to(mut body: Body, start: u64) -> Result<Self, FetchError> {
        let mut position = 0;
        while position < start {
            let Some(mut chunk) = body.chunk().await? else {
                return Err(HttpError::protocol(
                    "the object ended before the range that was asked for",
                )
                .into());
            };
            let length = chunk.len() as u64;
            if position + length > start {
                let skip = usize::try_from(start - position).unwrap_or(chunk.len());
                return Ok(Self {
                    begun: Some(chunk.split_off(skip)),
                    ..Self::new(body)
                });
            }
            position += length;
        }
        Ok(Self::new(body))
    }
}

impl RemoteBody for Stream {
    fn first_byte(&self) -> Duration {
        self.body.first_byte()
    }

    fn server(&self) -> usize {
        self.guard.as_ref().map_or(0, ServerGuard::index)
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        if let Some(bytes) = self.begun.take() {
            return Ok(Some(bytes));
        }
        let outcome = self.body.chunk().await;
        let Some(guard) = &self.guard else {
            return outcome;
        };
        match outcome {
            Ok(bytes) => {
                if !self.has_bytes {
                    self.has_bytes = true;
                    guard.succeeded();
                }
                Ok(bytes)
            }
            Err(error) => match guard.failed(&error) {
                After::Another => Err(error.passing()),
                After::Nowhere => Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests;
