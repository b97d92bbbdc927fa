//! The connections of a client, which it can leave all at once.
//!
//! A connection may be dead without a sign: the machine has another address, or a router between
//! has forgotten it. A request over HTTP/2, or over a connection that was idle, would go to its
//! end over such a connection again and again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The pool of connections for new requests, and how long one of them may take to open.
#[derive(Debug)]
pub(super) struct Connections<C> {
    // Held to copy or to replace, never across an await.
    newest: Mutex<Newest<C>>,
}

#[derive(Debug)]
struct Newest<C> {
    pool: Pool<C>,
    open_within: Option<Duration>,
}

/// One pool of connections.
#[derive(Clone, Debug)]
pub(super) struct Pool<C> {
    pub(super) client: C,
    pub(super) generation: Generation,
}

/// Tells one pool of a client from those that it left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Generation(u64);

impl<C: Clone> Connections<C> {
    pub(super) fn new(client: C) -> Self {
        let generation = Generation::default();
        Self {
            newest: Mutex::new(Newest {
                pool: Pool { client, generation },
                open_within: None,
            }),
        }
    }

    /// The pool that new requests use.
    pub(super) fn newest(&self) -> Pool<C> {
        self.lock().pool.clone()
    }

    /// Replaces the newest pool by that of `client`, if its generation is `left`; always, if that is
    /// `None`. Requests that are under way keep their connections.
    pub(super) fn leave(&self, left: Option<Generation>, client: impl FnOnce() -> Option<C>) {
        let mut newest = self.lock();
        let Generation(number) = newest.pool.generation;
        if left.is_none_or(|left| left == newest.pool.generation)
            && let Some(client) = client()
        {
            let generation = Generation(number + 1);
            newest.pool = Pool { client, generation };
        }
    }

    /// The longest time that a new connection may take to open, where it is less than usual.
    pub(super) fn open_within(&self) -> Option<Duration> {
        self.lock().open_within
    }

    pub(super) fn set_open_within(&self, limit: Option<Duration>) {
        self.lock().open_within = limit;
    }

    fn lock(&self) -> MutexGuard<'_, Newest<C>> {
        // Only assignments happen under the lock, so a panic elsewhere leaves the value consistent.
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_fail_together_leave_their_pool_once() {
        let connections = Connections::new("first");
        let first = connections.newest().generation;
        for client in ["second", "third"] {
            connections.leave(Some(first), || Some(client));
        }
        assert_eq!(connections.newest().client, "second");
        connections.leave(None, || None);
        assert_eq!(connections.newest().client, "second", "none was made");
        connections.leave(None, || Some("fourth"));
        assert_eq!(connections.newest().client, "fourth");
        assert_ne!(connections.newest().generation, first);
    }
}
