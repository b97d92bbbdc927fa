//! Delivers events from the engine to its listeners.

mod queue;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use self::queue::Backlog;
use crate::event::Event;

/// How many past state changes a new listener receives.
const KEPT_EVENTS: usize = 64;
/// How many events wait for a listener that does not read.
const MOST_UNREAD: usize = 512;

/// Delivers every event to every listener.
#[derive(Debug)]
pub(crate) struct EventBus {
    // Held for pushes only, never across an await.
    inner: Mutex<Inner>,
}

/// The state that the lock guards.
#[derive(Debug)]
struct Inner {
    past: Backlog,
    listeners: Vec<Weak<Mutex<Queue>>>,
    /// Warnings that are given once.
    warned: BTreeSet<&'static str>,
    closed: bool,
}

/// What a listener has not read.
#[derive(Debug)]
struct Queue {
    unread: Backlog,
    /// Whether no further event comes.
    closed: bool,
    /// The task that waits for the next event.
    waiting: Option<Waker>,
}

/// A listener's side of a subscription. One that does not read costs bounded memory.
#[derive(Debug)]
pub(crate) struct Subscription {
    queue: Arc<Mutex<Queue>>,
}

impl Default for EventBus {
    fn default() -> Self {
        Self {
            inner: Mutex::new(Inner {
                past: Backlog::of_at_most(KEPT_EVENTS),
                listeners: Vec::new(),
                warned: BTreeSet::new(),
                closed: false,
            }),
        }
    }
}

impl EventBus {
    /// Creates a subscription, which starts with the state changes so far.
    pub(crate) fn subscribe(&self) -> Subscription {
        let mut inner = lock(&self.inner);
        let queue = Arc::new(Mutex::new(Queue {
            unread: inner.past.for_at_most(MOST_UNREAD),
            closed: inner.closed,
            waiting: None,
        }));
        inner.listeners.push(Arc::downgrade(&queue));
        Subscription { queue }
    }

    /// Delivers an event to every listener.
    pub(crate) fn emit(&self, event: Event) {
        let mut inner = lock(&self.inner);
        inner.tell(|queue| queue.unread.push(event.clone()));
        if !matches!(event, Event::Progress(_)) {
            inner.past.push(event);
        }
    }

    /// Warns the caller, unless that was done before.
    pub(crate) fn warn_once(&self, message: &'static str) {
        let is_new = lock(&self.inner).warned.insert(message);
        if is_new {
            self.warn(message);
        }
    }

    /// Delivers a warning to every listener.
    pub(crate) fn warn(&self, message: impl Into<String>) {
        self.emit(Event::Warning {
            message: message.into(),
        });
    }

    /// Ends every subscription, once its listener has read what it holds.
    pub(crate) fn close(&self) {
        let mut inner = lock(&self.inner);
        inner.closed = true;
        inner.tell(|queue| queue.closed = true);
    }
}

/// Nothing more comes then.
impl Drop for EventBus {
    fn drop(&mut self) {
        self.close();
    }
}

impl Inner {
    /// Changes the queue of every listener that still exists, and wakes it.
    fn tell(&mut self, change: impl Fn(&mut Queue)) {
        self.listeners.retain(|listener| {
            let Some(queue) = listener.upgrade() else {
                return false;
            };
            let mut queue = lock(&queue);
            change(&mut queue);
            if let Some(waiting) = queue.waiting.take() {
                waiting.wake();
            }
            true
        });
    }
}

impl Subscription {
    /// Polls for the next event; `None` once the bus is closed.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut queue = lock(&self.queue);
        match queue.unread.pop() {
            Some(event) => Poll::Ready(Some(event)),
            None if queue.closed => Poll::Ready(None),
            None => {
                queue.waiting = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these mutexes guard is consistent between any two statements, so a panic elsewhere
    // leaves it usable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Progress;
    use std::future::poll_fn;

    fn progress(new: u64, so_far: u64) -> Event {
        Event::Progress(Progress {
            new_bytes: new,
            completed_bytes: so_far,
            ..Progress::default()
        })
    }

    async fn next(subscription: &mut Subscription) -> Option<Event> {
        poll_fn(|cx| subscription.poll_next(cx)).await
    }

    #[tokio::test]
    async fn progress_is_merged_and_state_changes_are_not() {
        let events = EventBus::default();
        let mut early = events.subscribe();
        events.emit(progress(10, 10));
        events.emit(Event::Committed { parts: 1 });
        events.emit(progress(5, 15));
        events.emit(Event::Committed { parts: 2 });
        events.close();
        assert_eq!(next(&mut early).await, Some(progress(15, 15)));
        assert_eq!(next(&mut early).await, Some(Event::Committed { parts: 1 }));
        assert_eq!(next(&mut early).await, Some(Event::Committed { parts: 2 }));
        assert_eq!(next(&mut early).await, None);
    }

    #[tokio::test]
    async fn a_late_subscription_starts_with_past_state_changes() {
        let events = EventBus::default();
        events.emit(Event::Paused);
        events.close();
        let mut late = events.subscribe();
        assert_eq!(next(&mut late).await, Some(Event::Paused));
        assert_eq!(next(&mut late).await, None);
    }

    #[tokio::test]
    async fn a_listener_that_does_not_read_hears_the_end() {
        let events = EventBus::default();
        let mut slow = events.subscribe();
        for parts in 0..100_000 {
            events.emit(Event::Committed { parts });
        }
        events.emit(Event::Paused);
        events.close();
        let missed = 100_001 - MOST_UNREAD as u64;
        assert_eq!(
            next(&mut slow).await,
            Some(Event::Missed { events: missed })
        );
        let mut last = None;
        let mut read = 0;
        while let Some(event) = next(&mut slow).await {
            last = Some(event);
            read += 1;
        }
        assert_eq!((read, last), (MOST_UNREAD, Some(Event::Paused)));
    }
}
