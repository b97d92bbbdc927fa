//! The sources that one object is fetched from, and whose turn it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::engine::control::events::EventBus;
use crate::http::{self, HttpError, HttpErrorKind, Pinned, Source, Verdict};

/// AttemptCounts in a row after which a server is asked only when the others fail as well.
const MOST_FAILURES: u32 = 3;

/// How many fetches under way weigh as much as one failure in the choice of a server.
const WEIGHT_OF_FAILURE: u32 = 4;

/// A source of the object, and the version of it that every reply of this source must belong to.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) source: Source,
    pub(crate) pinned: Pinned,
    underway: AtomicU32,
    /// In a row; [`LEFT_OUT`] once it is left out.
    failures: AtomicU32,
    /// Some reply was a part, so a whole object in place of another is a fault.
    has_ranges: AtomicBool,
}

const LEFT_OUT: u32 = u32::MAX;

/// The sources of one object, the one that was asked for first.
#[derive(Debug)]
pub(crate) struct ServerPool {
    // INVARIANT: at least one.
    servers: Vec<Server>,
    events: Arc<EventBus>,
}

/// A fetch that counts as under way at its server for as long as this lives.
#[derive(Debug)]
pub(crate) struct ServerGuard {
    servers: Arc<ServerPool>,
    // INVARIANT: the index of a server.
    at: usize,
}

/// Where to go on after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Another server may have what this one did not give.
    Another,
    /// The error is what there is to tell.
    Nowhere,
}

impl Server {
    pub(crate) fn new(source: Source, pinned: Pinned) -> Self {
        Self {
            source,
            pinned,
            underway: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            has_ranges: AtomicBool::new(false),
        }
    }

    fn is_left_out(&self) -> bool {
        self.failures.load(Ordering::Relaxed) == LEFT_OUT
    }

    /// The less, the sooner it is its guard.
    fn load(&self) -> (u32, u32) {
        let failures = self.failures.load(Ordering::Relaxed);
        let underway = self.underway.load(Ordering::Relaxed);
        if failures < MOST_FAILURES {
            (0, underway + failures * WEIGHT_OF_FAILURE)
        } else {
            (failures, underway)
        }
    }
}

impl ServerPool {
    pub(crate) fn new(first: Server, mirrors: Vec<Server>, events: Arc<EventBus>) -> Arc<Self> {
        let mut servers = vec![first];
        servers.extend(mirrors);
        Arc::new(Self { servers, events })
    }

    pub(crate) fn len(&self) -> usize {
        self.servers.len()
    }

    /// The source that was asked for.
    pub(crate) fn first(&self) -> &Server {
        &self.servers[0]
    }

    /// A turn at the server with the fewest fetches under way; one that failed lately comes after the others.
    pub(crate) fn next(self: &Arc<Self>) -> ServerGuard {
        let at = (0..self.len())
            .min_by_key(|at| self.servers[*at].load())
            .unwrap_or(0);
        self.servers[at].underway.fetch_add(1, Ordering::Relaxed);
        ServerGuard {
            servers: Arc::clone(self),
            at,
        }
    }
}

impl ServerGuard {
    pub(crate) fn server(&self) -> &Server {
        &self.servers.servers[self.at]
    }

    /// The server's place among all; 0 is the one that was asked for.
    pub(crate) fn index(&self) -> usize {
        self.at
    }

    /// Whether every other server is left out.
    pub(crate) fn is_at_the_last(&self) -> bool {
        let mut others = self.servers.servers.iter().enumerate();
        others.all(|(at, other)| at == self.at || other.is_left_out())
    }

    /// Takes note that the server answered a range with a part.
    pub(crate) fn has_ranges(&self) {
        self.server().has_ranges.store(true, Ordering::Relaxed);
    }

    /// Whether the server may answer a range with the whole object: it never did otherwise, and there is no other.
    pub(crate) fn may_be_whole(&self) -> bool {
        !self.server().has_ranges.load(Ordering::Relaxed) && self.is_at_the_last()
    }

    /// Takes note that bytes come.
    pub(crate) fn succeeded(&self) {
        if !self.server().is_left_out() {
            self.server().failures.store(0, Ordering::Relaxed);
        }
    }

    /// Takes note of a failure. A server that failed for good is left out from now on, if there is another.
    pub(crate) fn failed(&self, error: &HttpError) -> After {
        let server = self.server();
        if self.is_at_the_last() {
            return After::Nowhere;
        }
        // That the object asked for has changed, or wants fresh credentials, is for the caller to hear.
        let is_the_callers = self.at == 0
            && matches!(
                error.kind(),
                HttpErrorKind::Changed(_) | HttpErrorKind::Refused(_)
            );
        if is_the_callers {
            return After::Nowhere;
        }
        let events = &self.servers.events;
        let shown = || server.source.shown();
        if http::verdict(error) == Verdict::Fatal {
            if server.failures.swap(LEFT_OUT, Ordering::Relaxed) != LEFT_OUT {
                events.warn(format!("going on without {}: {error}", shown()));
            }
        } else if !server.is_left_out()
            && server.failures.fetch_add(1, Ordering::Relaxed) + 1 == MOST_FAILURES
        {
            events.warn(format!(
                "going on without {} while others answer: {error}",
                shown()
            ));
        }
        After::Another
    }
}

impl Drop for ServerGuard {
    fn drop(&mut self) {
        self.server().underway.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Validator;

    fn servers() -> (Arc<ServerPool>, Arc<EventBus>) {
        let server = |host: &str| {
            let pinned = Pinned {
                length: 10,
                validator: Validator::None,
            };
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

    /// Guards of both, those of the first server first.
    fn guards(servers: &Arc<ServerPool>) -> (ServerGuard, ServerGuard) {
        let (first, second) = (servers.next(), servers.next());
        assert_eq!((first.at, second.at), (0, 1));
        (first, second)
    }

    #[test]
    fn turns_are_spread_and_given_back() {
        let (servers, _) = servers();
        let (first, _second) = guards(&servers);
        drop(first);
        assert_eq!(servers.next().at, 0);
    }

    #[tokio::test]
    async fn a_server_that_fails_for_good_is_left_out_while_there_is_another() {
        let (servers, bus) = servers();
        let mut events = bus.subscribe();
        let (first, second) = guards(&servers);
        assert_eq!(second.failed(&lie()), After::Another);
        second.succeeded();
        let _busy: Vec<_> = (0..5).map(|_| servers.next()).collect();
        assert_eq!(servers.next().at, 0);
        assert_eq!(first.failed(&lie()), After::Nowhere);
        assert!(!servers.first().is_left_out());
        assert_eq!(
            second.failed(&lie()),
            After::Another,
            "what is left out already is told once"
        );
        bus.close();
        let event = std::future::poll_fn(|cx| events.poll_next(cx)).await;
        let message = "going on without http://b/x: a lie".to_owned();
        assert_eq!(event, Some(crate::event::Event::Warning { message }));
        let event = std::future::poll_fn(|cx| events.poll_next(cx)).await;
        assert_eq!(event, None);
    }

    #[test]
    fn a_server_that_stumbles_gets_its_turn_again_and_one_that_lies_low_comes_last() {
        let (servers, _) = servers();
        let (first, second) = guards(&servers);
        drop(first);
        let stumble = HttpError::protocol("a stumble").passing();
        assert_eq!(second.failed(&stumble), After::Another);
        let busy: Vec<_> = (0..8).map(|_| servers.next()).collect();
        assert!(busy.iter().any(|guard| guard.at == 1));
        for _ in 1..MOST_FAILURES {
            second.failed(&stumble);
        }
        let _busier: Vec<_> = (0..20).map(|_| servers.next()).collect();
        assert_eq!(servers.next().at, 0);
        second.succeeded();
        assert_eq!(servers.next().at, 1);
    }

    #[test]
    fn what_the_caller_must_hear_of_the_first_server_is_told() {
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
        first.has_ranges();
        assert!(!first.may_be_whole());
    }
}
