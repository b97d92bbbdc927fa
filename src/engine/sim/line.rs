//! What the line to the simulated server does: times in which it is down, and how that shows.

use std::time::Duration;

use crate::http::HttpErrorKind;

/// A time in which nothing passes, from the start of a run on.
#[derive(Clone, Copy, Debug)]
pub(super) struct LineOutage {
    pub(super) from: Duration,
    pub(super) until: Duration,
    pub(super) shows: Shows,
}

/// How an outage shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shows {
    /// The server is not there: connections break, and new ones are refused.
    Refusals,
    /// This machine has no way to the server. Old connections are dead without a sign.
    NoRoute,
    /// Packets are lost. Old connections are dead without a sign.
    Nothing,
}

/// How long a connection may take to open while nothing arrives.
const OPEN_WITHIN: Duration = Duration::from_secs(2);

/// All outages of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Line(pub(super) Vec<LineOutage>);

impl Line {
    /// The failure of a connection that is opened at `now`, and how long it takes.
    pub(super) fn refuses(&self, now: Duration) -> Option<(Duration, HttpErrorKind)> {
        let outage = self.0.iter().find(|outage| outage.lasts_at(now))?;
        Some(match outage.shows {
            Shows::Refusals => (Duration::ZERO, HttpErrorKind::Connect),
            Shows::NoRoute => (Duration::ZERO, HttpErrorKind::Unreachable),
            Shows::Nothing => (OPEN_WITHIN, HttpErrorKind::Timeout),
        })
    }

    /// How an outage shows that ended a connection which was opened at `opened`.
    pub(super) fn ended(&self, opened: Duration, now: Duration) -> Option<Shows> {
        let has_hit = |outage: &&LineOutage| opened < outage.from && outage.from <= now;
        self.0.iter().find(has_hit).map(|outage| outage.shows)
    }
}

impl LineOutage {
    fn lasts_at(&self, now: Duration) -> bool {
        (self.from..self.until).contains(&now)
    }
}
