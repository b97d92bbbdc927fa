//! The servers that one object is fetched from, and the choice between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::engine::control::events::EventBus;
use crate::http::{self, HttpError, HttpErrorKind, Pinned, Source, Verdict};
use crate::object::Proof;

/// Failures in a row after which a server is chosen only where the others fail as well.
const MOST_FAILURES: u32 = 3;

/// How many active fetches weigh as much as one failure in the choice of a server.
const FAILURE_WEIGHT: u32 = 4;

/// A source of the object, and the version that each of its replies must belong to.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) source: Source,
    pub(crate) pinned: Pinned,
    /// The number of active fetches.
    active: AtomicU32,
    /// Failures in a row; [`EXCLUDED`] once the server is excluded.
    failures: AtomicU32,
    /// Whether a reply was a range. From then on, a reply with the whole object is a fault.
    has_ranges: AtomicBool,
    /// Whether it was found to have another version, or nothing tells whether it has.
    has_changed: AtomicBool,
}

/// Stands for the failures of a server that is never chosen again.
const EXCLUDED: u32 = u32::MAX;

/// The servers of one object. The first is the one that the caller named.
#[derive(Debug)]
pub(crate) struct ServerPool {
    // INVARIANT: at least one.
    servers: Vec<Server>,
    events: Arc<EventBus>,
}

/// Counts a fetch as active at the chosen server until it is dropped.
#[derive(Debug)]
pub(crate) struct ServerGuard {
    servers: Arc<ServerPool>,
    // INVARIANT: the index of a server.
    at: usize,
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Try another server.
    Another,
    /// Report the error.
    Nowhere,
}

impl Server {
    /// Creates a server without failures.
    pub(crate) fn new(source: Source, pinned: Pinned) -> Self {
        Self {
            source,
            pinned,
            active: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            has_ranges: AtomicBool::new(false),
            has_changed: AtomicBool::new(false),
        }
    }

    /// Records that the server has another version now, or may have.
    pub(crate) fn note_changed(&self) {
        self.has_changed.store(true, Ordering::Relaxed);
    }

    /// Whether what it brought may be of another version, for all that its replies tell.
    fn is_doubtful(&self) -> bool {
        let pinned = &self.pinned;
        // An excluded server is not looked at any more.
        let is_in_doubt = self.has_changed.load(Ordering::Relaxed)
            || pinned.proof() == Proof::None
            || (self.is_excluded() && pinned.may_be_overwritten());
        pinned.replies() > 0 && is_in_doubt
    }

    /// Counts a failure and returns how many there are in a row; `None` for an excluded server.
    fn count_failure(&self) -> Option<u32> {
        let more = |failures: u32| (failures != EXCLUDED).then(|| failures.saturating_add(1));
        self.failures
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .ok()
            .map(|before| before + 1)
    }

    pub(crate) fn is_excluded(&self) -> bool {
        self.failures.load(Ordering::Relaxed) == EXCLUDED
    }

    fn fails_often(&self) -> bool {
        self.failures.load(Ordering::Relaxed) >= MOST_FAILURES
    }

    /// The pool chooses the server with the least load.
    fn load(&self) -> (u32, u32) {
        let failures = self.failures.load(Ordering::Relaxed);
        let active = self.active.load(Ordering::Relaxed);
        if failures < MOST_FAILURES {
            (0, active + failures * FAILURE_WEIGHT)
        } else {
            (failures, active)
        }
    }
}

impl ServerPool {
    /// Creates a pool of at least one server.
    pub(crate) fn new(first: Server, mirrors: Vec<Server>, events: Arc<EventBus>) -> Arc<Self> {
        let mut servers = vec![first];
        servers.extend(mirrors);
        Arc::new(Self { servers, events })
    }

    /// Where the caller is warned.
    pub(super) fn events(&self) -> &EventBus {
        &self.events
    }

    /// The number of servers, excluded ones included.
    pub(crate) fn len(&self) -> usize {
        self.servers.len()
    }

    /// The mirrors that are not excluded.
    pub(crate) fn mirrors_taken(&self) -> impl Iterator<Item = &Server> {
        let mirrors = self.servers.iter().skip(1);
        mirrors.filter(|mirror| !mirror.is_excluded())
    }

    /// The indices of the mirrors that have another version now, or may have.
    pub(crate) fn changed(&self) -> Vec<usize> {
        let has_changed = |at: &usize| self.servers[*at].has_changed.load(Ordering::Relaxed);
        (1..self.len()).filter(has_changed).collect()
    }

    /// The indices of the servers of which what they brought may be of another version.
    pub(crate) fn doubtful(&self) -> Vec<usize> {
        let is_doubtful = |at: &usize| self.servers[*at].is_doubtful();
        (0..self.len()).filter(is_doubtful).collect()
    }

    /// The server that the caller named.
    pub(crate) fn first(&self) -> &Server {
        &self.servers[0]
    }

    /// Chooses the server with the fewest active fetches. One that failed often in a row is chosen
    /// only where the others fail as well.
    pub(crate) fn next(self: &Arc<Self>) -> ServerGuard {
        let at = (0..self.len())
            .min_by_key(|at| self.servers[*at].load())
            .unwrap_or(0);
        self.guard(at)
    }

    /// The one server that is left; `None` where there are several.
    pub(crate) fn last(self: &Arc<Self>) -> Option<ServerGuard> {
        let is_left = |at: &usize| !self.servers[*at].is_excluded();
        let mut left = (0..self.len()).filter(is_left);
        let at = left.next()?;
        left.next().is_none().then(|| self.guard(at))
    }

    /// The server that the caller named; where it is excluded, another one that is not in doubt.
    pub(crate) fn to_compare_with(self: &Arc<Self>) -> Option<ServerGuard> {
        let is_fit = |at: &usize| {
            let server = &self.servers[*at];
            !server.is_excluded() && (*at == 0 || !server.is_doubtful())
        };
        let at = (0..self.len()).find(is_fit)?;
        Some(self.guard(at))
    }

    fn guard(self: &Arc<Self>, at: usize) -> ServerGuard {
        self.servers[at].active.fetch_add(1, Ordering::Relaxed);
        ServerGuard {
            servers: Arc::clone(self),
            at,
        }
    }
}

impl ServerGuard {
    /// The chosen server.
    pub(crate) fn server(&self) -> &Server {
        &self.servers.servers[self.at]
    }

    /// The server's index in the pool; 0 is the server that the caller named.
    pub(crate) fn index(&self) -> usize {
        self.at
    }

    /// Warns the caller.
    pub(crate) fn warn(&self, message: &str) {
        self.servers.events.warn(message);
    }

    /// Whether every other server is excluded.
    fn is_last(&self) -> bool {
        let mut others = self.servers.servers.iter().enumerate();
        others.all(|(at, other)| at == self.at || other.is_excluded())
    }

    /// Whether another server does not fail again and again.
    fn others_answer(&self) -> bool {
        let mut others = self.servers.servers.iter().enumerate();
        others.any(|(at, other)| at != self.at && !other.fails_often())
    }

    /// Records that the server replied with a range.
    pub(crate) fn note_ranges(&self) {
        self.server().has_ranges.store(true, Ordering::Relaxed);
    }

    /// Whether the server has replied with a range.
    pub(crate) fn has_ranges(&self) -> bool {
        self.server().has_ranges.load(Ordering::Relaxed)
    }

    /// Whether the server may reply with the whole object: it has never replied with a range, and
    /// every other server is excluded.
    pub(crate) fn may_be_whole(&self) -> bool {
        !self.has_ranges() && self.is_last()
    }

    /// Records that bytes arrived, which resets the count of failures.
    pub(crate) fn succeeded(&self) {
        // One step, because another task may exclude the server meanwhile.
        let reset = |failures: u32| (failures != EXCLUDED).then_some(0);
        let _ = self
            .server()
            .failures
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, reset);
    }

    /// Records a failure, and returns what to do about it. A server that failed for good is
    /// excluded from now on, unless it is the last one.
    pub(crate) fn failed(&self, error: &HttpError) -> After {
        let server = self.server();
        if self.at > 0 && matches!(error.kind(), HttpErrorKind::Changed(_)) {
            server.note_changed();
        }
        if self.is_last() {
            return After::Nowhere;
        }
        // The caller must decide where the named server's object has changed, or needs new
        // credentials.
        let is_for_the_caller = self.at == 0
            && matches!(
                error.kind(),
                HttpErrorKind::Changed(_) | HttpErrorKind::Refused(_)
            );
        if is_for_the_caller {
            return After::Nowhere;
        }
        let events = &self.servers.events;
        let shown = || server.source.shown();
        if http::verdict(error) == Verdict::Fatal {
            if server.failures.swap(EXCLUDED, Ordering::Relaxed) != EXCLUDED {
                events.warn(format!("continuing without {}: {error}", shown()));
            }
        } else if server.count_failure() == Some(MOST_FAILURES) && self.others_answer() {
            events.warn(format!(
                "continuing without {} while others answer: {error}",
                shown()
            ));
        }
        After::Another
    }
}

impl Drop for ServerGuard {
    fn drop(&mut self) {
        self.server().active.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Identity;

    fn servers() -> (Arc<ServerPool>, Arc<EventBus>) {
        let server = |host: &str| {
            let pinned = Pinned::new(10, Identity::default());
            let url = format!("http://user:secret@{host}/x?secret");
            Server::new(Source::new(&url, None).unwrap(), pinned)
        };
        let events = Arc::new(EventBus::default());
        let servers = ServerPool::new(server("a"), vec![server("b")], Arc::clone(&events));
        (servers, events)
    }

    fn lie() -> HttpError {
        HttpError::protocol("a lie")
    }

    /// A guard of each server, that of the first server first.
    fn guards(servers: &Arc<ServerPool>) -> (ServerGuard, ServerGuard) {
        let (first, second) = (servers.next(), servers.next());
        assert_eq!((first.at, second.at), (0, 1));
        (first, second)
    }

    #[test]
    fn fetches_are_spread_over_the_servers() {
        let (servers, _) = servers();
        let (first, _second) = guards(&servers);
        drop(first);
        assert_eq!(servers.next().at, 0);
    }

    #[tokio::test]
    async fn a_server_that_fails_for_good_is_excluded_unless_it_is_the_last() {
        let (servers, bus) = servers();
        let mut events = bus.subscribe();
        let (first, second) = guards(&servers);
        assert_eq!(second.failed(&lie()), After::Another);
        second.succeeded();
        let _busy: Vec<_> = (0..5).map(|_| servers.next()).collect();
        assert_eq!(servers.next().at, 0);
        assert_eq!(first.failed(&lie()), After::Nowhere);
        assert!(!servers.first().is_excluded());
        assert_eq!(
            second.failed(&lie()),
            After::Another,
            "a second failure warns no more"
        );
        bus.close();
        let event = std::future::poll_fn(|cx| events.poll_next(cx)).await;
        let message = "continuing without http://b/x: a lie".to_owned();
        assert_eq!(event, Some(crate::event::Event::Warning { message }));
        let event = std::future::poll_fn(|cx| events.poll_next(cx)).await;
        assert_eq!(event, None);
    }

    #[test]
    fn a_server_is_chosen_again_after_one_failure_and_comes_last_after_several() {
        let (servers, _) = servers();
        let (first, second) = guards(&servers);
        drop(first);
        let passing = HttpError::protocol("a passing failure").passing();
        assert_eq!(second.failed(&passing), After::Another);
        let busy: Vec<_> = (0..8).map(|_| servers.next()).collect();
        assert!(busy.iter().any(|guard| guard.at == 1));
        for _ in 1..MOST_FAILURES {
            second.failed(&passing);
        }
        let _busier: Vec<_> = (0..20).map(|_| servers.next()).collect();
        assert_eq!(servers.next().at, 0);
        second.succeeded();
        assert_eq!(servers.next().at, 1);
    }

    #[test]
    fn a_change_at_the_first_server_is_reported_to_the_caller() {
        let (servers, _) = servers();
        let (first, second) = guards(&servers);
        let changed = HttpError::changed("another tag");
        assert_eq!(first.failed(&changed), After::Nowhere);
        assert_eq!(second.failed(&changed), After::Another);
    }

    #[test]
    fn only_the_last_server_may_have_no_ranges() {
        let (servers, _) = servers();
        let (first, second) = guards(&servers);
        assert!(!first.may_be_whole());
        second.failed(&lie());
        assert!(first.may_be_whole());
        first.note_ranges();
        assert!(!first.may_be_whole());
    }
}
