//! Notices that every transfer has fallen silent at once, and finds out whether their connections
//! are dead.
//!
//! A machine whose address changed, or whose line was down, gets nothing over its old connections,
//! and nothing says so. One transfer is given up for a canary: its bytes are asked for over a new
//! connection. If bytes come there while the old connections stay silent, these are given up too.

use std::time::Duration;

use tokio::time::Instant;

use super::lease::{Activity, RateMeter};

/// The shortest silence that is suspicious.
const SUSPICIOUS: Duration = Duration::from_secs(1);
/// The same before the first byte of a transfer, when nothing tells how fast the server answers.
const SUSPICIOUS_AT_FIRST: Duration = Duration::from_secs(5);
/// A suspicious silence as a multiple of the usual time to first byte.
const SUSPICIOUS_FIRST_BYTES: u32 = 4;
/// A suspicious silence as a multiple of the longest one that ended by itself.
const SUSPICIOUS_GAPS: u32 = 2;
/// The longest silence that ended by itself and counts for that.
const LONGEST_GAP: Duration = Duration::from_secs(5);
/// One transfer alone is weaker evidence than several that fall silent together.
const ALONE: u32 = 3;
/// Where the server refuses connections, it may refuse the canary as well.
const CROWDED: u32 = 5;
/// The least time that a canary has. Its connection has to be opened first.
const CANARY: Duration = Duration::from_secs(3);

/// Follows the silences of one transfer.
#[derive(Debug, Default)]
pub(super) struct Silence {
    /// Whether a byte has arrived at all.
    has_begun: bool,
    longest_gap: Duration,
    suspected: Option<Suspected>,
}

#[derive(Clone, Copy, Debug)]
struct Suspected {
    /// Since when nothing has arrived.
    since: Instant,
    /// When the newest canary was sent.
    at: Instant,
    /// How long that one has.
    patience: Duration,
}

/// What else is known of the server.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Evidence {
    /// Whether it refused connections lately.
    pub(crate) is_crowded: bool,
    /// Whether the link may be used a few times only. Then the first lease in the file is not the
    /// one to give up: the body that brings it may be one that goes on to the end.
    pub(crate) is_limited: bool,
}

/// What the leases show.
#[derive(Debug)]
pub(super) enum Signs<'a> {
    /// Nothing to act on.
    Calm,
    /// All have been silent since that time. This lease is to go over a new connection, ahead of
    /// all others.
    Silent {
        since: Instant,
        canary: &'a RateMeter,
    },
    /// Bytes come over a new connection, and these leases hold old ones that stay silent.
    Dead(Vec<&'a RateMeter>),
}

impl Silence {
    /// Forgets a canary: the transfer pauses.
    pub(super) fn begin_anew(&mut self) {
        self.suspected = None;
    }

    /// Whether a canary is out.
    pub(super) fn is_suspected(&self) -> bool {
        self.suspected.is_some()
    }

    /// Judges the leases, which were measured at `now`. `first_byte` is the usual time to first
    /// byte.
    pub(super) fn check<'a>(
        &mut self,
        leases: impl Iterator<Item = &'a RateMeter> + Clone,
        first_byte: Duration,
        evidence: Evidence,
        now: Instant,
    ) -> Signs<'a> {
        self.has_begun |= leases.clone().any(|meter| meter.heard.is_some());
        match self.suspected {
            None => self.look(leases, first_byte, evidence, now),
            Some(suspected) => self.follow(&leases, suspected, now),
        }
    }

    fn look<'a>(
        &mut self,
        leases: impl Iterator<Item = &'a RateMeter> + Clone,
        first_byte: Duration,
        evidence: Evidence,
        now: Instant,
    ) -> Signs<'a> {
        let at_work = leases.filter(|meter| meter.lease.activity() != Activity::Paused);
        let count = at_work.clone().count();
        let mut limit = if self.has_begun {
            SUSPICIOUS.max(self.longest_gap * SUSPICIOUS_GAPS)
        } else {
            SUSPICIOUS_AT_FIRST
        };
        if count == 1 {
            limit *= ALONE;
        }
        if evidence.is_crowded {
            limit *= CROWDED;
        }
        let limit = limit.max(first_byte * SUSPICIOUS_FIRST_BYTES);
        let Some(since) = at_work.clone().map(|meter| meter.moved).max() else {
            return Signs::Calm;
        };
        let waits = |meter: &RateMeter| meter.lease.activity() == Activity::Waiting;
        if now - since < limit || !at_work.clone().all(waits) {
            return Signs::Calm;
        }
        let position = |meter: &&RateMeter| meter.lease.position();
        let canary = match evidence.is_limited {
            true => at_work.max_by_key(position),
            // Standard output or a player waits for it.
            false => at_work.min_by_key(position),
        };
        let Some(canary) = canary else {
            return Signs::Calm;
        };
        self.suspected = Some(Suspected {
            since,
            at: now,
            patience: CANARY.max(limit * 2),
        });
        Signs::Silent { since, canary }
    }

    /// Remembers a silence that ended by itself.
    fn learn(&mut self, gap: Duration) {
        self.longest_gap = self.longest_gap.max(gap).min(LONGEST_GAP);
    }

    fn follow<'a>(
        &mut self,
        leases: &(impl Iterator<Item = &'a RateMeter> + Clone),
        suspected: Suspected,
        now: Instant,
    ) -> Signs<'a> {
        let Suspected {
            since,
            at,
            patience,
        } = suspected;
        let is_new = |meter: &&RateMeter| meter.since >= at && !meter.lease.has_old_body();
        let has_news = |meter: &RateMeter| meter.heard.is_some_and(|heard| heard > at);
        let mut new = leases.clone().filter(is_new);
        let mut old = leases.clone().filter(|meter| !is_new(meter));
        if let Some(canary) = new.clone().find(|meter| has_news(meter)) {
            self.suspected = None;
            // A server that sends the bytes of each reply late is not silent.
            let gap = canary
                .heard
                .map_or(Duration::ZERO, |heard| heard - canary.since);
            self.learn(gap);
            let is_dead = |meter: &&RateMeter| {
                !has_news(meter) && meter.lease.activity() == Activity::Waiting
            };
            return Signs::Dead(old.filter(is_dead).collect());
        }
        if let Some(heard) = old.find_map(|meter| meter.heard.filter(|heard| *heard > at)) {
            self.suspected = None;
            self.learn(heard - since);
            return Signs::Calm;
        }
        if new.clone().next().is_none() && now - at >= patience {
            // No worker took the canary's place.
            self.suspected = None;
            return Signs::Calm;
        }
        let is_late = |meter: &&RateMeter| {
            meter.lease.activity() == Activity::Waiting && now - meter.moved >= patience
        };
        match new.find(is_late) {
            Some(canary) => {
                self.suspected = Some(Suspected {
                    since,
                    at: now,
                    patience: patience * 2,
                });
                Signs::Silent { since, canary }
            }
            None => Signs::Calm,
        }
    }
}

#[cfg(test)]
mod tests;
