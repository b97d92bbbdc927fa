//! The object on HTTP servers.

use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::timeout;

use super::concessions::{Concession, Concessions};
use super::pool::{After, Server, ServerGuard, ServerPool};
use super::renewal::Renewal;
use super::{FetchError, NO_RANGES, NONE_LEFT, Remote, RemoteBody};
use crate::engine::refresh::Refresher;
use crate::http::{self, Body, Client, HttpError, HttpErrorKind, RangeSupport, Reply};
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
    /// Whether a body of a server without ranges is being read.
    is_read: Arc<AtomicBool>,
    /// Whether it is known if the server has ranges. Before that there is one request at a time,
    /// for a server without ranges answers each with the whole object.
    is_known: AtomicBool,
    turn: AsyncMutex<()>,
    concessions: Concessions,
    renewal: Option<Renewal>,
}

/// How many replies may be no range where one is to be compared. One node of several may have none.
const WHOLE_REPLIES: u32 = 3;

const WHOLE: &str = "200 with the whole object in place of the range that was asked for";

/// How long the look at a mirror may take, which delays the end of the download.
const MIRROR_PATIENCE: Duration = Duration::from_secs(5);

impl HttpRemote {
    pub(crate) fn new(client: Client, servers: Arc<ServerPool>) -> Self {
        Self {
            client,
            servers,
            whole: AtomicBool::new(false),
            first: Mutex::new(None),
            is_read: Arc::default(),
            is_known: AtomicBool::new(true),
            turn: AsyncMutex::default(),
            concessions: Concessions::default(),
            renewal: None,
        }
    }

    /// With a caller who gives fresh URLs.
    pub(crate) fn renewed_by(self, refresher: Arc<Refresher>) -> Self {
        let pinned = self.servers.first().pinned.clone();
        let renewal = Renewal::new(refresher, pinned);
        Self {
            renewal: Some(renewal),
            ..self
        }
    }

    /// As the probe tells it of ranges.
    pub(crate) fn where_ranges_are(self, ranges: RangeSupport) -> Self {
        Self {
            is_known: AtomicBool::new(ranges != RangeSupport::Unknown),
            ..self
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

    async fn fetch_whole(&self) -> Result<Stream, FetchError> {
        let reading = Reading::begin(&self.is_read).ok_or(FetchError::RangesIgnored)?;
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
        Ok(Stream::new(body).alone(reading))
    }

    /// Notes that the server has no ranges. Returns whether that was not known.
    fn note_whole(&self) -> bool {
        let is_new = !self.whole.swap(true, Ordering::Relaxed);
        if is_new {
            self.servers.events().warn_once(NO_RANGES);
        }
        is_new
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
        let asked = self.concessions.asked(range);
        let answered = http::fetch(&self.client, source, pinned, asked).await;
        let why = match &answered {
            Ok(Reply::Whole(_)) => WHOLE,
            Err(error) if *error.kind() == HttpErrorKind::Sliced => {
                "200 in place of 206, though other ranges were answered with 206"
            }
            Err(error) if *error.kind() == HttpErrorKind::Unsatisfied => {
                return match http::look(&self.client, source, pinned).await {
                    Err(changed) if matches!(changed.kind(), HttpErrorKind::Changed(_)) => {
                        Err(changed)
                    }
                    _ => answered,
                };
            }
            _ => return answered,
        };
        if guard.may_be_whole() {
            return answered;
        }
        // One node of several may have no ranges.
        Err(if guard.has_ranges() {
            HttpError::not_ranged(why)
        } else {
            HttpError::protocol(why)
        })
    }
}

impl Remote for HttpRemote {
    type Body = Stream;

    async fn look(&self) -> Result<(), HttpError> {
        let mirrors = self.servers.mirrors_taken();
        let mirrors = mirrors.filter(|mirror| mirror.pinned.wants_look());
        let looks = mirrors.map(|mirror| async {
            let looking = http::look(&self.client, &mirror.source, &mirror.pinned);
            // What it brought is compared then.
            if !matches!(timeout(MIRROR_PATIENCE, looking).await, Ok(Ok(()))) {
                mirror.note_changed();
            }
        });
        let named = self.servers.first();
        let looking = async {
            match named.pinned.wants_look() && !named.is_excluded() {
                true => http::look(&self.client, &named.source, &named.pinned).await,
                false => Ok(()),
            }
        };
        let (looked, _) = tokio::join!(looking, join_all(looks));
        looked
    }

    fn doubtful(&self) -> Vec<usize> {
        self.servers.doubtful()
    }

    fn changed(&self) -> Vec<usize> {
        self.servers.changed()
    }

    fn can_compare(&self) -> bool {
        self.servers.to_compare_with().is_some()
    }

    async fn fetch_again(&self, range: ByteRange) -> Result<Stream, FetchError> {
        let mut whole = 0;
        while whole < WHOLE_REPLIES && !self.is_whole() {
            let Some(guard) = self.servers.to_compare_with() else {
                return Err(HttpError::protocol(NONE_LEFT).into());
            };
            let Server { source, pinned, .. } = guard.server();
            let asked = self.concessions.asked(range);
            let error = match http::fetch(&self.client, source, pinned, asked).await {
                Ok(Reply::Part(body)) => return Ok(Stream::of(body, guard)),
                Ok(Reply::Whole(_)) => HttpError::protocol(WHOLE).passing(),
                Err(error) if *error.kind() == HttpErrorKind::Sliced => error.passing(),
                Err(error) => match guard.failed(&error) {
                    After::Another if guard.server().is_excluded() => continue,
                    After::Another => return Err(error.passing().into()),
                    After::Nowhere => return Err(error.into()),
                },
            };
            if guard.has_ranges() {
                return Err(error.into());
            }
            whole += 1;
        }
        self.note_whole();
        Err(FetchError::RangesIgnored)
    }

    fn manner(&self) -> u32 {
        self.concessions.manner()
    }

    async fn concede(&self, error: &HttpError, wanted: ByteRange, manner: u32) -> bool {
        let _turn = self.turn.lock().await;
        if manner != self.manner() {
            return true;
        }
        if self.is_whole() {
            return false;
        }
        let Some(guard) = self.servers.last() else {
            return false;
        };
        let Server { source, pinned, .. } = guard.server();
        if error.is_precondition() && http::look(&self.client, source, pinned).await.is_err() {
            return false;
        }
        let (has_condition, has_ranges) = (pinned.is_conditional(), guard.has_ranges());
        let Some(next) = self
            .concessions
            .next(error, wanted, has_condition, has_ranges)
        else {
            return false;
        };
        guard.warn(&format!("{error}: {}", next.told()));
        match next {
            Concession::Unconditional => pinned.forgo_condition(),
            Concession::Whole => self.whole.store(true, Ordering::Relaxed),
            Concession::Short | Concession::ExclusiveEnd => {}
        }
        true
    }

    fn access(&self) -> u64 {
        self.renewal.as_ref().map_or(0, Renewal::number)
    }

    async fn regained(&self, refused: u64) -> bool {
        match &self.renewal {
            Some(renewal) => renewal.regained(refused).await,
            None => false,
        }
    }

    fn take_access(&self) {
        if let Some(renewal) = &self.renewal {
            renewal.announce();
        }
    }

    async fn renewed(&self) {
        match &self.renewal {
            Some(renewal) => renewal.renewed().await,
            None => pending().await,
        }
    }

    fn is_whole(&self) -> bool {
        self.whole.load(Ordering::Relaxed)
    }

    async fn fetch(&self, range: ByteRange) -> Result<Stream, FetchError> {
        let turn = match self.is_known.load(Ordering::Relaxed) {
            false => Some(self.turn.lock().await),
            true => None,
        };
        if self.is_whole() {
            drop(turn);
            return self.fetch_whole().await;
        }
        let answered = self.ask(range).await;
        if answered.is_ok() {
            self.is_known.store(true, Ordering::Relaxed);
        }
        let (reply, guard) = match answered {
            // The bytes of a slice can't be trusted; those of a reply without a range can.
            Err(error) if *error.kind() == HttpErrorKind::Sliced => {
                self.note_whole();
                return Err(FetchError::RangesIgnored);
            }
            answered => answered?,
        };
        match reply {
            Reply::Part(body) => Ok(Stream::of(body, guard)),
            Reply::Whole(body) => {
                let first_to_see = self.note_whole();
                let reading = Reading::begin(&self.is_read);
                match reading {
                    Some(reading) if range.start() == 0 && first_to_see => {
                        Ok(Stream::new(body).alone(reading))
                    }
                    reading => {
                        if reading.is_some() {
                            *self.first.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
                        }
                        Err(FetchError::RangesIgnored)
                    }
                }
            }
        }
    }
}

/// Tells that the body of a server without ranges is being read, until it is dropped.
#[derive(Debug)]
struct Reading(Arc<AtomicBool>);

impl Reading {
    /// `None` where another one is being read.
    fn begin(is_read: &Arc<AtomicBool>) -> Option<Self> {
        let is_free = !is_read.swap(true, Ordering::AcqRel);
        is_free.then(|| Self(Arc::clone(is_read)))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// The body of one reply.
#[derive(Debug)]
pub(crate) struct Stream {
    body: Body,
    /// There where it is that of a server without ranges.
    reading: Option<Reading>,
    /// The server that sends the body, where there may be others to ask; given back with the body.
    guard: Option<ServerGuard>,
    has_bytes: bool,
}

impl Stream {
    fn new(body: Body) -> Self {
        Self {
            body,
            reading: None,
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

    fn alone(self, reading: Reading) -> Self {
        Self {
            reading: Some(reading),
            ..self
        }
    }
}

impl RemoteBody for Stream {
    fn first_byte(&self) -> Duration {
        self.body.first_byte()
    }

    fn start(&self) -> Option<u64> {
        self.reading.as_ref().map(|_| 0)
    }

    fn end(&self) -> Option<u64> {
        self.body.range().map(ByteRange::end)
    }

    fn server(&self) -> usize {
        self.guard.as_ref().map_or(0, ServerGuard::index)
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
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
