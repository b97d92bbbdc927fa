//! Delivers events from the engine to its listeners.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::mpsc;

use crate::event::{Event, Progress};

/// How many past state changes a new listener receives.
const KEPT_EVENTS: usize = 64;

/// Delivers every event to every listener.
#[derive(Debug, Default)]
pub(crate) struct EventBus {
    // Held for pushes only, never across an await.
    inner: Mutex<Inner>,
}

/// The state that the lock guards.
#[derive(Debug, Default)]
struct Inner {
    past: VecDeque<Event>,
    listeners: Vec<Listener>,
    closed: bool,
}

/// The bus's side of a subscription.
#[derive(Debug)]
struct Listener {
    items: mpsc::UnboundedSender<Item>,
    /// The newest progress that the listener has not read.
    progress: Arc<Mutex<Option<Progress>>>,
}

/// An entry of a listener's queue.
#[derive(Debug)]
enum Item {
    /// A state change.
    Change(Event),
    /// Marks the place of the progress that the slot holds.
    Progress,
}

/// A listener's side of a subscription.
///
/// The queue holds state changes and at most one progress mark. A listener that does not read thus
/// costs little memory.
#[derive(Debug)]
pub(crate) struct Subscription {
    items: mpsc::UnboundedReceiver<Item>,
    progress: Arc<Mutex<Option<Progress>>>,
}

impl EventBus {
    /// Creates a subscription, which starts with the state changes so far.
    pub(crate) fn subscribe(&self) -> Subscription {
        let (sender, receiver) = mpsc::unbounded_channel();
        let progress = Arc::default();
        let mut inner = lock(&self.inner);
        for event in &inner.past {
            // The receiver is alive, so the send can't fail.
            let _ = sender.send(Item::Change(event.clone()));
        }
        if !inner.closed {
            inner.listeners.push(Listener {
                items: sender,
                progress: Arc::clone(&progress),
            });
        }
        Subscription {
            items: receiver,
            progress,
        }
    }

    /// Delivers an event to every listener.
    pub(crate) fn emit(&self, event: Event) {
        let mut inner = lock(&self.inner);
        if let Event::Progress(progress) = event {
            inner
                .listeners
                .retain(|listener| listener.advance(&progress));
            return;
        }
        inner
            .listeners
            .retain(|listener| listener.items.send(Item::Change(event.clone())).is_ok());
        if inner.past.len() == KEPT_EVENTS {
            inner.past.pop_front();
        }
        inner.past.push_back(event);
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
        inner.listeners.clear();
    }
}

impl Listener {
    /// Merges the progress into the slot. Returns whether the subscription still exists.
    fn advance(&self, news: &Progress) -> bool {
        let mut slot = lock(&self.progress);
        let unread = slot.as_ref().map_or(0, |progress| progress.new_bytes);
        let waiting = slot.is_some();
        *slot = Some(Progress {
            new_bytes: unread + news.new_bytes,
            ..news.clone()
        });
        if waiting {
            !self.items.is_closed()
        } else {
            self.items.send(Item::Progress).is_ok()
        }
    }
}

impl Subscription {
    /// Polls for the next event; `None` once the bus is closed.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        loop {
            match std::task::ready!(self.items.poll_recv(cx)) {
                None => return Poll::Ready(None),
                Some(Item::Change(event)) => return Poll::Ready(Some(event)),
                Some(Item::Progress) => {
                    if let Some(progress) = lock(&self.progress).take() {
                        return Poll::Ready(Some(Event::Progress(progress)));
                    }
                }
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
}
