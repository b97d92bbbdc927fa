//! A time in which no byte arrives from anywhere: who may try, and when. Pure: the caller tells the
//! time.
//!
//! While something arrives, each failed request has a pause of its own. In an outage the attempts
//! come in rounds instead. One attempt goes ahead, the others wait for its outcome, and attempts
//! that fail together count once.

use std::time::Duration;

use tokio::time::Instant;

/// How often a network that is gone is tried.
const OFFLINE_INTERVAL: Duration = Duration::from_secs(1);

/// Follows the outages of one run.
#[derive(Debug, Default)]
pub(super) struct Outages {
    current: Option<Outage>,
    /// Numbers the rounds of all outages.
    round: u64,
    /// The bytes that had arrived at the last failure, and when that was.
    failed: Option<(u64, Instant)>,
    /// Whether any server has answered in this run.
    has_heard: bool,
}

#[derive(Debug)]
struct Outage {
    since: Instant,
    /// Rounds that failed, those of a network that was gone left out.
    failures: u32,
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
}

impl Outages {
    pub(super) fn is_on(&self) -> bool {
        self.current.is_some()
    }

    /// Since when the network is gone.
    pub(super) fn offline(&self) -> Option<Instant> {
        self.current.as_ref()?.offline
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
                Admission::Scout
            }
        }
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
        self.has_heard |= fetched > 0;
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
                outage.offline = None;
                outage.failures += 1;
            }
        }
        Judged {
            in_outage: true,
            leads,
            failures: outage.failures,
            since: outage.since,
            offline: outage.offline,
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
        self.current = None;
        self.failed = None;
    }

    /// Something arrived. Returns how long the network was gone, if it was.
    pub(super) fn arrived(&mut self, now: Instant) -> Option<Duration> {
        self.has_heard = true;
        let outage = self.current.take()?;
        outage.offline.map(|since| now - since)
    }
}

impl Outage {
    fn new(since: Instant) -> Self {
        Self {
            since,
            failures: 0,
            next: since,
            scout: None,
            offline: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn attempt(outages: &Outages, begun: Instant, cause: Cause) -> Failed {
        Failed {
            round: outages.round(),
            begun,
            is_scout: outages.is_on(),
            cause,
        }
    }

    /// Outages that have just begun: two attempts failed without a byte in between.
    fn begun(now: Instant, cause: Cause) -> (Outages, Judged) {
        let mut outages = Outages::default();
        let first = attempt(&outages, now, cause);
        outages.failed(&first, 10, now);
        let second = attempt(&outages, now, cause);
        let judged = outages.failed(&second, 10, now);
        (outages, judged)
    }

    #[test]
    fn failures_with_bytes_between_them_are_no_outage() {
        let now = Instant::now();
        let mut outages = Outages::default();
        for fetched in 0..5 {
            let failed = attempt(&outages, now, Cause::Server);
            assert!(!outages.failed(&failed, fetched, now).in_outage);
            assert_eq!(outages.admit(now), Admission::Free);
        }
    }

    #[test]
    fn one_attempt_goes_ahead_and_those_that_fail_together_count_once() {
        let now = Instant::now();
        let (mut outages, judged) = begun(now, Cause::Server);
        assert!(judged.in_outage && judged.leads);
        assert_eq!(judged.failures, 1);
        let late = Failed {
            round: outages.round() - 1,
            is_scout: false,
            ..attempt(&outages, now, Cause::Server)
        };
        let again = outages.failed(&late, 10, now);
        assert_eq!((again.leads, again.failures), (false, 1));
        outages.wait_until(now + SECOND);
        assert_eq!(outages.admit(now), Admission::NotBefore(now + SECOND));
        assert_eq!(outages.admit(now + SECOND), Admission::Scout);
        assert_eq!(outages.admit(now + SECOND), Admission::Behind);
        let scout = attempt(&outages, now + SECOND, Cause::Server);
        let judged = outages.failed(&scout, 10, now + SECOND);
        assert_eq!((judged.leads, judged.failures), (true, 2));
        assert_eq!(judged.since, now);
        assert_eq!(outages.admit(now + SECOND * 9), Admission::Scout);
        outages.scout_ended(outages.round());
        assert_eq!(outages.admit(now + SECOND * 9), Admission::Scout);
    }

    #[test]
    fn a_network_that_is_gone_is_tried_each_second_and_counts_no_failure() {
        let now = Instant::now();
        let (mut outages, judged) = begun(now, Cause::Offline);
        assert_eq!((judged.offline, judged.failures), (Some(now), 0));
        assert_eq!(outages.admit(now), Admission::NotBefore(now + SECOND));
        assert_eq!(outages.admit(now + SECOND), Admission::Scout);
        let slow = attempt(&outages, now + SECOND, Cause::Offline);
        let later = now + SECOND * 4;
        assert_eq!(outages.failed(&slow, 10, later).offline, Some(now));
        assert_eq!(outages.admit(later), Admission::Scout);
        assert_eq!(outages.arrived(later), Some(SECOND * 4));
        assert_eq!(outages.admit(later), Admission::Free);
    }

    #[test]
    fn a_pause_is_no_time_of_an_outage() {
        let now = Instant::now();
        let (mut outages, _) = begun(now, Cause::Offline);
        outages.begin_anew();
        let later = now + SECOND * 3600;
        assert_eq!(outages.admit(later), Admission::Free);
        let first = attempt(&outages, later, Cause::Offline);
        assert!(!outages.failed(&first, 10, later).in_outage);
        let second = attempt(&outages, later, Cause::Offline);
        assert_eq!(outages.failed(&second, 10, later).offline, Some(later));
    }

    #[test]
    fn an_answer_of_any_kind_says_that_the_network_is_back() {
        let now = Instant::now();
        let (mut outages, _) = begun(now, Cause::Offline);
        let refused = attempt(&outages, now, Cause::Server);
        let judged = outages.failed(&refused, 10, now);
        assert_eq!((judged.offline, judged.failures), (None, 1));
    }

    #[test]
    fn a_server_that_never_answered_may_be_none() {
        let now = Instant::now();
        let mut silent = Outages::default();
        silent.suspect(now, now);
        let first = attempt(&silent, now, Cause::NoAnswer);
        assert_eq!(silent.failed(&first, 0, now).offline, None);
        let mut outages = Outages::default();
        outages.arrived(now);
        outages.suspect(now, now + SECOND);
        assert_eq!(outages.admit(now + SECOND), Admission::Scout);
        let scout = attempt(&outages, now + SECOND, Cause::NoAnswer);
        let judged = outages.failed(&scout, 10, now + SECOND * 3);
        assert_eq!(judged.offline, Some(now + SECOND * 3));
    }

    #[test]
    fn silent_transfers_that_fail_later_do_not_end_the_wait_for_the_network() {
        let now = Instant::now();
        let mut outages = Outages::default();
        outages.arrived(now);
        let silent = Failed {
            is_scout: false,
            ..attempt(&outages, now, Cause::Server)
        };
        outages.suspect(now, now + SECOND);
        outages.admit(now + SECOND);
        let scout = attempt(&outages, now + SECOND, Cause::Offline);
        outages.failed(&scout, 10, now + SECOND);
        let judged = outages.failed(&silent, 10, now + SECOND * 15);
        assert_eq!((judged.leads, judged.failures), (false, 0));
        assert_eq!(judged.offline, Some(now + SECOND));
    }
}
