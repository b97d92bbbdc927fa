//! The unread events of one listener, bounded.

use std::collections::VecDeque;

use crate::event::{Event, Progress};

/// Events in order, at most so many. When it is full, the oldest event that another one of its kind
/// follows soon, and if there is none the oldest of all, makes room for a new one.
#[derive(Clone, Debug)]
pub(super) struct Backlog {
    // INVARIANT: at most `most` items.
    items: VecDeque<Item>,
    most: usize,
    dropped: u64,
}

#[derive(Clone, Debug)]
enum Item {
    Change(Event),
    Progress(Progress),
}

impl Item {
    /// Whether progress before and after it can't be added.
    fn is_start_over(&self) -> bool {
        matches!(
            self,
            Self::Change(Event::Restarted { .. } | Event::Resumed { .. })
        )
    }

    /// Whether it is one of many: what it tells counts for less once it is old.
    fn is_passing(&self) -> bool {
        match self {
            Self::Change(event) => matches!(
                event,
                Event::Verifying { .. }
                    | Event::Retrying { .. }
                    | Event::Committed { .. }
                    | Event::Warning { .. }
            ),
            Self::Progress(_) => false,
        }
    }
}

impl Backlog {
    pub(super) fn of_at_most(most: usize) -> Self {
        Self {
            items: VecDeque::new(),
            most,
            dropped: 0,
        }
    }

    /// Adds an event. Progress joins the progress that is unread.
    pub(super) fn push(&mut self, event: Event) {
        let item = match event {
            Event::Progress(news) => match self.unread_progress() {
                Some(unread) => {
                    let new_bytes = unread.new_bytes + news.new_bytes;
                    *unread = Progress { new_bytes, ..news };
                    return;
                }
                None => Item::Progress(news),
            },
            event => Item::Change(event),
        };
        if self.items.len() >= self.most {
            self.drop_one();
        }
        self.items.push_back(item);
    }

    /// The unread progress, where no event after it gives a meaning of its own to what follows.
    fn unread_progress(&mut self) -> Option<&mut Progress> {
        let newest_first = self.items.iter_mut().rev();
        newest_first
            .take_while(|item| !item.is_start_over())
            .find_map(|item| match item {
                Item::Progress(progress) => Some(progress),
                Item::Change(_) => None,
            })
    }

    fn drop_one(&mut self) {
        let passing = self.items.iter().position(Item::is_passing);
        let oldest = || {
            let is_change = |item: &Item| matches!(item, Item::Change(_));
            self.items.iter().position(is_change)
        };
        let index = passing.or_else(oldest).unwrap_or(0);
        if self.items.remove(index).is_some() {
            self.dropped += 1;
        }
    }

    /// The oldest event, which is the number of those that were dropped where there are any.
    pub(super) fn pop(&mut self) -> Option<Event> {
        match std::mem::take(&mut self.dropped) {
            0 => self.items.pop_front().map(|item| match item {
                Item::Change(event) => event,
                Item::Progress(progress) => Event::Progress(progress),
            }),
            events => Some(Event::Missed { events }),
        }
    }

    /// The same events in a backlog for so many, without the number of those that were dropped.
    pub(super) fn for_at_most(&self, most: usize) -> Self {
        Self {
            items: self.items.clone(),
            most,
            dropped: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut backlog: Backlog) -> Vec<Event> {
        std::iter::from_fn(|| backlog.pop()).collect()
    }

    #[test]
    fn what_passes_makes_room_for_what_stays() {
        let committed = |parts| Event::Committed { parts };
        let restarted = || Event::Restarted {
            reason: "x".to_owned(),
        };
        let mut backlog = Backlog::of_at_most(3);
        backlog.push(restarted());
        for parts in 0..1000 {
            backlog.push(committed(parts));
        }
        backlog.push(Event::Paused);
        let left = [restarted(), committed(999), Event::Paused];
        let told = all(backlog);
        assert_eq!(told[0], Event::Missed { events: 999 });
        assert_eq!(told[1..], left);
    }

    #[test]
    fn progress_is_added_up_but_not_over_a_start_over() {
        let progress = |new_bytes| {
            Event::Progress(Progress {
                new_bytes,
                ..Progress::default()
            })
        };
        let restarted = || Event::Restarted {
            reason: "x".to_owned(),
        };
        let mut backlog = Backlog::of_at_most(9);
        for event in [progress(1), Event::Paused, progress(2), restarted()] {
            backlog.push(event);
        }
        for event in [progress(4), Event::Paused, progress(8)] {
            backlog.push(event);
        }
        let left = [
            progress(3),
            Event::Paused,
            restarted(),
            progress(12),
            Event::Paused,
        ];
        assert_eq!(all(backlog), left);
    }

    #[test]
    fn a_loss_of_what_stays_is_told() {
        let mut backlog = Backlog::of_at_most(2);
        backlog.push(Event::Progress(Progress::default()));
        for _ in 0..3 {
            backlog.push(Event::Paused);
        }
        let left = [
            Event::Missed { events: 2 },
            Event::Progress(Progress::default()),
            Event::Paused,
        ];
        assert_eq!(all(backlog), left);
    }
}
