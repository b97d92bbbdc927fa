//! A time in which no byte arrives from anywhere: who may try, and when. Pure: the caller tells the
//! time.
//!
//! While something arrives, each failed request has a pause of its own. In an outage the attempts
//! come in rounds instead. One attempt goes ahead, the others wait for its outcome, and attempts
//! that fail together count once.

use std::time::Duration;

use tokio::time::Instant;

use crate::engine::schedule::first_byte::FirstByte;

/// How often a network that is gone is tried.
const OFFLINE_INTERVAL: Duration = Duration::from_secs(1);
/// How long a connection may take to open while nothing arrives: this long, or so many usual times
/// to first byte. A packet that is lost on a dead line is sent again after one second, then two.
const OPEN_WITHIN: Duration = Duration::from_secs(2);
const OPEN_FIRST_BYTES: u32 = 10;
/// Of so many attempts of an outage, one has the usual time to connect: the line that comes back
/// may be a slower one.
const PATIENT_ATTEMPT: u32 = 8;

/// Follows the outages of one run.
#[derive(Debug, Default)]
pub(super) struct Outages {
    current: Option<Outage>,
    /// Numbers the rounds of all outages.
    round: u64,
    /// The bytes that had arrived at the last failure, and when that was.
    failed: Option<(u64, Instant)>,
    /// Whether the server has answered in this run.
    has_heard: bool,
    /// The bytes that had arrived from servers before it.
    of_others: u64,
    first_byte: FirstByte,
    /// Since when the network is gone, as far as the caller was told.
    told_gone: Option<Instant>,
}

#[derive(Debug)]
struct Outage {
    since: Instant,
    /// Rounds that failed, those of a network that was gone left out.
    failures: u32,
    /// Attempts that went ahead.
    attempts: u32,
    /// When the next attempt may begin.
    next: Instant,
    /// The round of the attempt that the others wait for.
    scout: Option<u64>,
    /// Since when the network is gone.
    offline: Option<Instant>,
}

/// Whether an attempt may begin now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Nothing holds it up.
    Free,
    /// It goes ahead, and the others wait for it.
    Scout,
    /// Not before this time.
    NotBefore(Instant),
    /// Not before the attempt that went ahead has ended.
    Behind,
}

/// A failed attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failed {
    /// The round in which it began.
    pub(super) round: u64,
    pub(super) begun: Instant,
    pub(super) is_scout: bool,
    pub(super) cause: Cause,
}

/// What an attempt failed of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The network is gone.
    Offline,
    /// No connection could be opened in time.
    NoAnswer,
    /// Anything else that may pass.
    Server,
}

/// What follows from a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    /// Whether it is part of an outage.
    pub(super) in_outage: bool,
    /// Whether it is the first of its round.
    pub(super) leads: bool,
    /// Failed rounds of the outage.
    pub(super) failures: u32,
    /// Since when the outage lasts.
    pub(super) since: Instant,
    /// Since when the network is gone.
    pub(super) offline: Option<Instant>,
    /// What the caller is to be told.
    pub(super) news: Option<News>,
}

/// What the caller is to be told of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    Gone,
    /// It is back, after this time.
    Back(Duration),
}

impl Outages {
    pub(super) fn is_on(&self) -> bool {
        self.current.is_some()
    }

    /// How long the network has been gone at `now`, if it is.
    pub(super) fn offline(&self, now: Instant) -> Option<Duration> {
        let since = self.current.as_ref()?.offline?;
        Some(now - since)
    }

    pub(super) fn has_heard(&self) -> bool {
        self.has_heard
    }

    pub(super) fn round(&self) -> u64 {
        self.round
    }

    /// Whether an attempt may begin at `now`.
    pub(super) fn admit(&mut self, now: Instant) -> Admission {
        match &mut self.current {
            None => Admission::Free,
            Some(outage) if outage.scout.is_some() => Admission::Behind,
            Some(outage) if outage.next > now => Admission::NotBefore(outage.next),
            Some(outage) => {
                outage.scout = Some(self.round);
                outage.attempts = outage.attempts.wrapping_add(1);
                Admission::Scout
            }
        }
    }

    /// How long a connection may take to open now; `None` for as long as usual.
    pub(super) fn open_within(&self) -> Option<Duration> {
        let outage = self.current.as_ref().filter(|_| self.has_heard)?;
        let is_patient = outage.attempts % PATIENT_ATTEMPT == PATIENT_ATTEMPT - 1;
        (!is_patient).then(|| OPEN_WITHIN.max(self.first_byte.usual() * OPEN_FIRST_BYTES))
    }

    /// Ends the attempt that went ahead in this round, without an outcome.
    pub(super) fn scout_ended(&mut self, round: u64) {
        if let Some(outage) = &mut self.current
            && outage.scout == Some(round)
        {
            outage.scout = None;
        }
    }

    /// Judges an attempt that failed at `now`, after `fetched` bytes of the run had arrived.
    ///
    /// It is part of an outage where nothing has arrived since the attempt that failed before.
    pub(super) fn failed(&mut self, failed: &Failed, fetched: u64, now: Instant) -> Judged {
        self.has_heard |= fetched > self.of_others;
        let before = self.failed.replace((fetched, now));
        let since = match before {
            Some((bytes, since)) if bytes == fetched => since,
            _ => now,
        };
        let nothing_came = before.is_some_and(|(bytes, _)| bytes == fetched);
        if !nothing_came && self.current.is_none() {
            return Judged {
                in_outage: false,
                leads: true,
                failures: 0,
                since,
                offline: None,
                news: None,
            };
        }
        let outage = self.current.get_or_insert_with(|| Outage::new(since));
        if failed.is_scout && outage.scout == Some(failed.round) {
            outage.scout = None;
        }
        let leads = failed.round == self.round;
        if leads {
            self.round += 1;
            // Without an answer so far, the address may be wrong as well.
            let is_offline = match failed.cause {
                Cause::Offline => true,
                Cause::NoAnswer => self.has_heard,
                Cause::Server => false,
            };
            if is_offline {
                outage.offline.get_or_insert(now);
                outage.next = now.max(failed.begun + OFFLINE_INTERVAL);
            } else {
                if outage.offline.take().is_some() {
                    // The time without a network was none of the server's.
                    (outage.failures, outage.since) = (0, now);
                }
                outage.failures += 1;
            }
        }
        let news = match (self.told_gone, outage.offline) {
            (None, Some(since)) => {
                self.told_gone = Some(since);
                Some(News::Gone)
            }
            (Some(since), None) if failed.cause == Cause::Server => {
                self.told_gone = None;
                Some(News::Back(now - since))
            }
            _ => None,
        };
        Judged {
            in_outage: true,
            leads,
            failures: outage.failures,
            since: outage.since,
            offline: outage.offline,
            news,
        }
    }

    /// Lets no attempt begin before `next`.
    pub(super) fn wait_until(&mut self, next: Instant) {
        if let Some(outage) = &mut self.current {
            outage.next = next;
        }
    }

    /// All transfers under way have been silent since `since`.
    pub(super) fn suspect(&mut self, since: Instant, now: Instant) {
        self.round += 1;
        let outage = self.current.get_or_insert_with(|| Outage::new(since));
        // An attempt that goes ahead is among the silent ones.
        outage.scout = None;
        outage.next = outage.next.min(now);
    }

    /// The caller paused, and the time of that does not count: whatever failed before is forgotten.
    pub(super) fn begin_anew(&mut self) {
        if self.current.take().is_some() {
            // The attempt that went ahead is none of the next outage's.
            self.round += 1;
        }
        self.failed = None;
    }

    /// Another server is asked from now on, after `fetched` bytes of the run had arrived.
    pub(super) fn meet_another(&mut self, fetched: u64) {
        self.begin_anew();
        (self.has_heard, self.of_others) = (false, fetched);
    }

    /// A server answered, after this time to first byte.
    pub(super) fn answered(&mut self, first_byte: Duration) {
        self.has_heard = true;
        self.first_byte.add(first_byte);
    }

    /// Something arrived, which ends the outage. Returns what the caller is to be told.
    pub(super) fn arrived(&mut self, now: Instant) -> Option<News> {
        self.has_heard = true;
        self.begin_anew();
        let since = self.told_gone.take()?;
        Some(News::Back(now - since))
    }
}

impl Outage {
    fn new(since: Instant) -> Self {
        Self {
            since,
            failures: 0,
            attempts: 0,
            next: since,
            scout: None,
            offline: None,
        }
    }
}

#[cfg(test)]
mod tests;
