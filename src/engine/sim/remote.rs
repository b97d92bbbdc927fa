//! The simulated server. Its ranges are always right. The weather decides what fails, and the world
//! what the replies say of their version.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;
use tokio::time::{Instant, sleep};

use super::line::{Line, Shows};
use super::world::World;
use crate::engine::job::Job;
use crate::engine::remote::object::{Object, Wanted};
use crate::engine::remote::{FetchError, Remote, RemoteBody};
use crate::engine::run::Passes;
use crate::error::Error;
use crate::http::{HttpError, HttpErrorKind, Pinned, RangeSupport};
use crate::object::{ByteRange, Identity, Proof};

/// How long a body is silent before the attempt fails.
const STALL: Duration = Duration::from_secs(15);

/// Decides what fails at the server and on the network, and how often.
#[derive(Clone, Debug)]
pub(super) struct Weather {
    pub(super) ranges: Ranges,
    /// The probability that a request is refused or lost, per request.
    pub(super) refuse: f64,
    /// The probability that a body breaks, per chunk.
    pub(super) tear: f64,
    /// The probability that a reply is a legal prefix of the requested range, per request.
    pub(super) shorten: f64,
    /// Whether some refusals are permanent.
    pub(super) fatal: bool,
    /// The longest time to a reply, and to each chunk.
    pub(super) wait: Duration,
    /// The greatest length of a chunk, in bytes.
    pub(super) longest_chunk: u64,
    /// The position at which every reply fails.
    pub(super) broken_at: Option<u64>,
    /// Whether replies stall at `broken_at`. They break there otherwise.
    pub(super) hangs: bool,
    /// How many more replies the link gives; any number where that is `None`.
    pub(super) uses: Option<u32>,
    pub(super) line: Line,
}

impl Weather {
    /// Weather in which nothing fails.
    pub(super) fn fair() -> Self {
        Self {
            ranges: Ranges::Served,
            refuse: 0.0,
            tear: 0.0,
            shorten: 0.0,
            fatal: false,
            wait: Duration::from_millis(300),
            longest_chunk: 24,
            broken_at: None,
            hangs: false,
            uses: None,
            line: Line::default(),
        }
    }
}

/// How the server treats the `Range` field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ranges {
    /// It replies with the range.
    Served,
    /// The probe finds that the server has no ranges.
    Denied,
    /// The probe finds nothing, and the replies are whole.
    Ignored,
}

/// A simulated server with one object.
#[derive(Clone, Debug)]
pub(super) struct SimServer(Arc<Mutex<State>>);

/// The state that the lock guards.
#[derive(Debug)]
struct State {
    world: World,
    rng: fastrand::Rng,
    weather: Weather,
    version: usize,
    /// The number of active requests.
    active: u32,
    begun: Instant,
    log: Vec<(Duration, ServerEvent)>,
}

/// An entry of the server's log.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ServerEvent {
    /// A probe found this version.
    Probed { version: usize },
    /// A range was requested while the server had this version.
    Asked { range: ByteRange, version: usize },
    /// A reply of this version was accepted, which had all its fields or not.
    Replied { version: usize, is_named: bool },
    /// A last look at the object agreed with what had come.
    Looked,
    /// A last look found another version.
    LookedElse,
    /// A request or a body failed.
    Failed(HttpErrorKind),
    /// A chunk was sent.
    Sent { position: u64, bytes: usize },
    /// The next version replaced the object.
    Changed,
}

impl SimServer {
    /// Creates a server that has this version at first.
    pub(super) fn new(world: World, version: usize, weather: Weather, rng: fastrand::Rng) -> Self {
        Self(Arc::new(Mutex::new(State {
            world,
            rng,
            weather,
            version,
            active: 0,
            begun: Instant::now(),
            log: Vec::new(),
        })))
    }

    /// Replaces the object with its next version, if there is one.
    pub(super) fn change(&self) {
        let mut state = self.state();
        if state.version + 1 < state.world.lengths.len() {
            state.version += 1;
            state.note(ServerEvent::Changed);
        }
    }

    /// The version that the server has now.
    pub(super) fn version(&self) -> usize {
        self.state().version
    }

    /// The number of active requests.
    pub(super) fn active(&self) -> u32 {
        self.state().active
    }

    /// The log so far, with the time of each event since the start.
    pub(super) fn log(&self) -> Vec<(Duration, ServerEvent)> {
        self.state().log.clone()
    }

    /// Finds the object, in place of a probe. A pass before may have found that it has no ranges.
    pub(super) async fn probe(
        &self,
        job: &Job,
        passes: &Passes,
    ) -> Result<Object<SimRemote>, Error> {
        let delay = self.state().wait();
        sleep(delay).await;
        let mut state = self.state();
        let version = state.version;
        state.note(ServerEvent::Probed { version });
        let ranges = match state.weather.ranges {
            _ if passes.has_no_ranges => RangeSupport::No,
            Ranges::Served => RangeSupport::Yes,
            Ranges::Denied => RangeSupport::No,
            Ranges::Ignored => RangeSupport::Unknown,
        };
        let metadata = state.world.metadata(version, ranges);
        let length = state.world.lengths[version];
        let pinned = Pinned::new(length, metadata.identity.clone());
        let remote = SimRemote {
            server: self.clone(),
            pinned: pinned.clone(),
            whole: AtomicBool::new(ranges == RangeSupport::No),
        };
        drop(state);
        Ok(Object {
            wanted: Wanted::new(job, length)?,
            pinned,
            metadata,
            remote,
            found_by: passes.next.probe,
            stands_in_for: None,
        })
    }

    /// Opens a connection now, and returns when that was.
    async fn open(&self) -> Result<Duration, HttpError> {
        let (now, refusal) = {
            let state = self.state();
            let now = state.begun.elapsed();
            (now, state.weather.line.refuses(now))
        };
        match refusal {
            None => Ok(now),
            Some((time, kind)) => {
                sleep(time).await;
                Err(self.state().fail(kind, None))
            }
        }
    }

    /// Passes bytes over a connection that was opened then.
    async fn pass(&self, opened: Duration) -> Result<(), HttpError> {
        let ended = {
            let state = self.state();
            state.weather.line.ended(opened, state.begun.elapsed())
        };
        let kind = match ended {
            None => return Ok(()),
            Some(Shows::Refusals) => HttpErrorKind::Transport,
            Some(Shows::NoRoute | Shows::Nothing) => {
                sleep(STALL).await;
                HttpErrorKind::Stalled
            }
        };
        Err(self.state().fail(kind, None))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0
            .lock()
            .expect("no simulation panics while it holds the server")
    }
}

impl State {
    fn note(&mut self, what: ServerEvent) {
        let at = self.begun.elapsed();
        self.log.push((at, what));
    }

    fn wait(&mut self) -> Duration {
        self.weather.wait.mul_f64(self.rng.f64())
    }

    /// What a reply says of the version.
    fn claims(&mut self) -> Identity {
        let omits = self.world.lies.omits;
        let Identity { tag, date, .. } = self.world.identity(self.version);
        Identity::of(
            tag.filter(|_| self.rng.f64() >= omits),
            date.filter(|_| self.rng.f64() >= omits),
        )
    }

    /// Spends a use of the link, if it has a number of them.
    fn use_link(&mut self) -> Result<(), HttpError> {
        match &mut self.weather.uses {
            None => Ok(()),
            Some(0) => Err(self.fail(HttpErrorKind::Refused(StatusCode::FORBIDDEN), None)),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    fn fail(&mut self, kind: HttpErrorKind, after: Option<Duration>) -> HttpError {
        self.note(ServerEvent::Failed(kind.clone()));
        HttpError::scripted(kind, after)
    }

    /// A random refusal, and how long it takes.
    fn refusal(&mut self) -> (Duration, HttpError) {
        let after = self
            .rng
            .bool()
            .then(|| Duration::from_millis(self.rng.u64(0..5000)));
        let last = if self.weather.fatal { 10 } else { 8 };
        let status = HttpErrorKind::Status;
        let (seconds, kind, after) = match self.rng.u8(0..last) {
            0 => (10, HttpErrorKind::Timeout, None),
            1 => (STALL.as_secs(), HttpErrorKind::Stalled, None),
            2 => (0, HttpErrorKind::Closed, None),
            3 => (0, HttpErrorKind::Connect, None),
            4 => (0, status(StatusCode::SERVICE_UNAVAILABLE), after),
            5 => (0, status(StatusCode::TOO_MANY_REQUESTS), after),
            6 => (0, status(StatusCode::BAD_GATEWAY), after),
            7 => (0, HttpErrorKind::Transport, None),
            8 => (0, HttpErrorKind::Refused(StatusCode::FORBIDDEN), None),
            _ => (0, status(StatusCode::NOT_FOUND), None),
        };
        (Duration::from_secs(seconds), self.fail(kind, after))
    }
}

/// The simulated server as the engine uses it, pinned to one version.
#[derive(Debug)]
pub(super) struct SimRemote {
    server: SimServer,
    pinned: Pinned,
    whole: AtomicBool,
}

impl SimRemote {
    /// Compares what a reply says of the server's version with the pinned one.
    fn check(&self, state: &mut State, is_all: bool) -> Result<(), HttpError> {
        let version = state.version;
        let claims = state.claims();
        let checked = if state.world.lengths[version] != self.pinned.length {
            Err(HttpError::changed("another length"))
        } else {
            self.pinned.pin(&claims, is_all)
        };
        match &checked {
            Ok(()) => {
                let is_named = claims == state.world.identity(version);
                state.note(ServerEvent::Replied { version, is_named });
            }
            Err(error) => state.note(ServerEvent::Failed(error.kind().clone())),
        }
        checked
    }
}

/// Counts a request as active until it is dropped.
#[derive(Debug)]
struct RequestGuard(SimServer);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.state().active -= 1;
    }
}

impl Remote for SimRemote {
    type Body = SimBody;

    fn doubtful(&self) -> Vec<usize> {
        let is_doubtful = self.pinned.replies() > 0 && self.pinned.proof() == Proof::None;
        if is_doubtful { vec![0] } else { Vec::new() }
    }

    async fn look(&self) -> Result<(), HttpError> {
        if !self.pinned.wants_look() {
            return Ok(());
        }
        self.server.open().await?;
        let wait = self.server.state().wait();
        sleep(wait).await;
        let mut state = self.server.state();
        if state.rng.f64() < state.weather.refuse {
            return Err(state.fail(HttpErrorKind::Closed, None));
        }
        let claims = state.claims();
        let looked = match self.pinned.look_again(&claims) {
            Ok(Proof::None) => Err(HttpError::scripted(HttpErrorKind::Closed, None)),
            looked => looked.map(|_| ()),
        };
        match &looked {
            Ok(()) => state.note(ServerEvent::Looked),
            Err(error) if matches!(error.kind(), HttpErrorKind::Changed(_)) => {
                state.note(ServerEvent::LookedElse);
            }
            Err(error) => state.note(ServerEvent::Failed(error.kind().clone())),
        }
        looked
    }

    fn is_whole(&self) -> bool {
        self.whole.load(Ordering::Relaxed)
    }

    async fn fetch(&self, range: ByteRange) -> Result<SimBody, FetchError> {
        let (guard, wait) = {
            let mut state = self.server.state();
            state.active += 1;
            let version = state.version;
            state.note(ServerEvent::Asked { range, version });
            (RequestGuard(self.server.clone()), state.wait())
        };
        let opened = self.server.open().await?;
        // The server counts a request when it comes, however late it answers.
        let may_use = self.server.state().use_link();
        sleep(wait).await;
        self.server.pass(opened).await?;
        may_use?;
        let refusal = {
            let mut state = self.server.state();
            let refused = state.rng.f64() < state.weather.refuse;
            refused.then(|| state.refusal())
        };
        if let Some((time, error)) = refusal {
            sleep(time).await;
            return Err(error.into());
        }
        let mut state = self.server.state();
        let length = self.pinned.length;
        let has_ranges = !self.is_whole() && state.weather.ranges != Ranges::Ignored;
        let is_all = !has_ranges || range == ByteRange::whole(length);
        self.check(&mut state, is_all)?;
        let version = state.version;
        let end = if self.is_whole() {
            length
        } else if state.weather.ranges == Ranges::Ignored {
            let first = !self.whole.swap(true, Ordering::Relaxed);
            if range.start() != 0 || !first {
                return Err(FetchError::RangesIgnored);
            }
            length
        } else if state.rng.f64() < state.weather.shorten {
            state.rng.u64(range.start() + 1..=range.end())
        } else {
            range.end()
        };
        Ok(SimBody {
            remote: self.server.clone(),
            version,
            position: if self.is_whole() { 0 } else { range.start() },
            is_whole: self.is_whole(),
            end,
            first_byte: wait,
            opened,
            _guard: guard,
        })
    }
}

/// A reply's body. Its version stays the same when the object changes, unless the server
/// overwrites it in place.
#[derive(Debug)]
pub(super) struct SimBody {
    remote: SimServer,
    version: usize,
    position: u64,
    is_whole: bool,
    end: u64,
    first_byte: Duration,
    /// When its connection was opened.
    opened: Duration,
    _guard: RequestGuard,
}

impl RemoteBody for SimBody {
    fn first_byte(&self) -> Duration {
        self.first_byte
    }

    fn start(&self) -> Option<u64> {
        self.is_whole.then_some(0)
    }

    fn server(&self) -> usize {
        0
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        if self.position == self.end {
            return Ok(None);
        }
        let (wait, torn) = {
            let mut state = self.remote.state();
            (state.wait(), state.rng.f64() < state.weather.tear)
        };
        sleep(wait).await;
        self.remote.pass(self.opened).await?;
        if torn {
            let (seconds, error) = {
                let mut state = self.remote.state();
                let (expected, found) = (self.end, self.position);
                let (seconds, kind) = match state.rng.u8(0..3) {
                    0 => (STALL.as_secs(), HttpErrorKind::Stalled),
                    1 => (0, HttpErrorKind::Short { expected, found }),
                    _ => (0, HttpErrorKind::Transport),
                };
                (seconds, state.fail(kind, None))
            };
            sleep(Duration::from_secs(seconds)).await;
            return Err(error);
        }
        let (broken_at, hangs) = {
            let weather = &self.remote.state().weather;
            (weather.broken_at, weather.hangs)
        };
        if broken_at == Some(self.position) && hangs {
            sleep(STALL).await;
            return Err(self.remote.state().fail(HttpErrorKind::Stalled, None));
        }
        let mut state = self.remote.state();
        let broken_at = broken_at.filter(|at| *at >= self.position);
        if broken_at == Some(self.position) {
            return Err(state.fail(HttpErrorKind::Transport, None));
        }
        let end = self.end.min(broken_at.unwrap_or(self.end));
        let longest = state.weather.longest_chunk.min(end - self.position);
        let length = state.rng.u64(1..=longest);
        let positions = self.position..self.position + length;
        let world = &state.world;
        if world.lies.overwrites && world.lengths[state.version] == world.lengths[self.version] {
            self.version = state.version;
        }
        let bytes: Bytes = positions
            .map(|position| world.byte(self.version, position))
            .collect();
        state.note(ServerEvent::Sent {
            position: self.position,
            bytes: bytes.len(),
        });
        self.position += length;
        Ok(Some(bytes))
    }
}
