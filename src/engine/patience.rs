//! Whether a failed request is worth another attempt, and when that may be made.
//!
//! Patience is counted in attempts and in time. While something arrives, each request has its own
//! pauses. Where nothing arrives from anywhere, all requests share one pause, and one of them goes
//! ahead.

mod outage;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use self::outage::{Admission, Cause, Failed, Judged, News, Outages};
use super::control::events::EventBus;
use super::control::{Control, Intent};
use super::failures::Failures;
use super::metrics::Metrics;
use crate::event::Event;
use crate::http::{self, Client, HttpError, HttpErrorKind, Verdict};

/// The longest pause where the server does not answer at all. It costs such a server nothing, and
/// the download goes on soon after it is back.
const LONGEST_UNANSWERED: Duration = Duration::from_secs(5);

/// Pauses after so many failures are no longer than those before.
const GROWING: u32 = 32;
/// The least pause of an attempt that has no way to the server while others have one.
const NO_WAY: Duration = Duration::from_secs(1);

/// What the caller allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Attempts after the first, without progress.
    pub(crate) retries: u32,
    /// How long to wait for a network that is gone. With 0 that is a failure like any other.
    pub(crate) wait_online: Duration,
}

impl Limits {
    /// How long a server that does not answer is tried at least: twice the longest pauses together,
    /// and once if it has not answered before.
    fn span(&self, has_heard: bool) -> Duration {
        let growing = self.retries.min(GROWING);
        let pauses = (1..=growing).map(http::longest_backoff);
        let longest = http::longest_backoff(GROWING).saturating_mul(self.retries - growing);
        let all = pauses.fold(longest, Duration::saturating_add);
        if has_heard {
            all.saturating_mul(2)
        } else {
            all
        }
    }
}

/// The patience of one run, which all its requests share.
#[derive(Debug)]
pub(crate) struct Patience {
    limits: Limits,
    client: Client,
    metrics: Arc<Metrics>,
    events: Arc<EventBus>,
    /// Whether there is an outage. Read for each chunk, without the lock.
    is_on: AtomicBool,
    // Held for bookkeeping only, never across an await.
    outages: Mutex<Outages>,
    /// Notified when an attempt that waits may have its turn.
    changed: Notify,
}

/// Leave to begin one attempt. While an outage lasts, the others wait until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    patience: &'a Patience,
    round: u64,
    begun: Instant,
    is_scout: bool,
}

/// What follows from a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another attempt, after this pause and in its turn.
    Again(Pause),
    /// No more, after so many failed in a row.
    GiveUp { attempts: u32 },
}

/// The pause before an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pause {
    delay: Duration,
    /// Failed attempts in a row.
    pub(crate) attempts: u32,
    /// Whether the caller is told. Of attempts that fail together, one is announced.
    is_told: bool,
    /// Whether the pause is that of the turn, which all share.
    is_shared: bool,
    /// Whether it counts as a retry, which the lack of a network is not.
    counts: bool,
}

impl Patience {
    pub(crate) fn new(
        limits: Limits,
        client: Client,
        metrics: Arc<Metrics>,
        events: Arc<EventBus>,
    ) -> Self {
        Self {
            limits,
            client,
            metrics,
            events,
            is_on: AtomicBool::new(false),
            outages: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Where the caller is told of what happens.
    pub(crate) fn events(&self) -> &EventBus {
        &self.events
    }

    /// Waits until the next attempt may begin. Returns at once unless nothing arrives anywhere.
    ///
    /// Cancel safe: a dropped call has no turn.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        loop {
            // Listens before it looks, so it misses no change in between.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let begun = Instant::now();
            let (admission, round) = {
                let mut outages = self.lock();
                let admission = outages.admit(begun);
                if admission == Admission::Scout {
                    self.client.open_within(outages.open_within());
                }
                (admission, outages.round())
            };
            let is_scout = admission == Admission::Scout;
            match admission {
                Admission::Free | Admission::Scout => {
                    return Turn {
                        patience: self,
                        round,
                        begun,
                        is_scout,
                    };
                }
                Admission::NotBefore(next) => {
                    tokio::select! {
                        () = changed => {}
                        () = sleep_until(next) => {}
                    }
                }
                Admission::Behind => changed.await,
            }
        }
    }

    /// The turn of an attempt that began without waiting for one.
    pub(crate) fn past_turn(&self) -> Turn<'_> {
        Turn {
            patience: self,
            round: self.lock().round(),
            begun: Instant::now(),
            is_scout: false,
        }
    }

    /// Judges a failed attempt. `count` counts it, and returns those in a row of what was asked
    /// for; it is not called while the network is gone.
    pub(crate) fn judge(
        &self,
        turn: Turn<'_>,
        error: &HttpError,
        count: impl FnOnce() -> Failures,
    ) -> Next {
        let cause = self.cause(error);
        let after = match (cause, http::verdict(error)) {
            (Cause::Offline, _) => None,
            (_, Verdict::Retry { after } | Verdict::Throttled { after }) => after,
            (_, Verdict::Fatal) => {
                if self.offline().is_some() {
                    // The answer says that the network is back.
                    self.note(turn, cause, Instant::now());
                }
                let attempts = count().count;
                return Next::GiveUp { attempts };
            }
        };
        let now = Instant::now();
        let judged = self.note(turn, cause, now);
        let (attempts, is_over) = match judged.offline {
            Some(since) => (1, now - since >= self.limits.wait_online),
            // As long as other transfers go on, a network that is gone for this one is not waited
            // for.
            None if cause == Cause::Offline => (judged.failures.max(1), false),
            None => {
                let failures = count();
                let attempts = failures.count.max(judged.failures);
                (attempts, self.is_over(error, failures, &judged, now))
            }
        };
        if is_over {
            // Another attempt may go ahead in its place.
            self.changed.notify_waiters();
            return Next::GiveUp { attempts };
        }
        let longest = match error.is_unanswered() {
            true => LONGEST_UNANSWERED,
            false => Duration::MAX,
        };
        let backoff = http::backoff(attempts, fastrand::f64()).min(longest);
        // A server that asks for less than a pause may ask so again and again.
        let delay = after.map_or(backoff, |after| after.max(backoff));
        let delay = match cause {
            Cause::Offline if !judged.in_outage => delay.max(NO_WAY),
            _ => delay,
        };
        if judged.in_outage && judged.leads && judged.offline.is_none() {
            self.lock().wait_until(now + delay);
        }
        self.changed.notify_waiters();
        Next::Again(Pause {
            delay,
            attempts,
            is_told: judged.leads && judged.offline.is_none() && cause != Cause::Offline,
            is_shared: judged.in_outage,
            counts: cause != Cause::Offline && judged.offline.is_none(),
        })
    }

    /// Records the failure, and announces a network that is gone or back.
    fn note(&self, mut turn: Turn<'_>, cause: Cause, now: Instant) -> Judged {
        let failed = Failed {
            round: turn.round,
            begun: turn.begun,
            is_scout: std::mem::take(&mut turn.is_scout),
            cause,
        };
        let mut outages = self.lock();
        let judged = outages.failed(&failed, self.metrics.fetched_bytes(), now);
        self.follow(&outages);
        self.tell(judged.news);
        judged
    }

    fn cause(&self, error: &HttpError) -> Cause {
        match error.kind() {
            _ if self.limits.wait_online.is_zero() => Cause::Server,
            _ if error.is_offline() => Cause::Offline,
            // A name that was known before: the name server of another network, or of none.
            HttpErrorKind::Resolve { .. } if self.lock().has_heard() => Cause::Offline,
            HttpErrorKind::Timeout => Cause::NoAnswer,
            _ => Cause::Server,
        }
    }

    /// Whether the patience with a server is used up.
    fn is_over(
        &self,
        error: &HttpError,
        failures: Failures,
        judged: &Judged,
        now: Instant,
    ) -> bool {
        let since = match judged.in_outage {
            true => judged.since.min(failures.since),
            false => failures.since,
        };
        // A server that answers has been asked often enough after so many attempts.
        let has_heard = self.lock().has_heard();
        let is_long = !error.is_unanswered() || now - since >= self.limits.span(has_heard);
        failures.count.max(judged.failures) > self.limits.retries && is_long
    }

    /// Announces a retry at `part` that is to be told, counts it, and waits for a pause of its own.
    ///
    /// Cancel safe: the retry counts from the first poll on.
    pub(crate) async fn pause(&self, part: u32, error: &HttpError, pause: Pause) {
        if pause.counts {
            self.metrics.retried();
        }
        let Pause { delay, .. } = pause;
        tracing::debug!(part, %error, ?delay, "retrying");
        if pause.is_told {
            self.events.emit(Event::Retrying {
                part,
                reason: error.to_string(),
                delay,
            });
        }
        if !pause.is_shared {
            tokio::time::sleep(delay).await;
        }
    }

    /// Records that something arrived, which ends an outage.
    pub(crate) fn arrived(&self) {
        if self.is_on.load(Ordering::Relaxed) {
            self.end(&mut self.lock());
        }
    }

    /// Records that a server answered, after this time to first byte.
    pub(crate) fn answered(&self, first_byte: Duration) {
        let mut outages = self.lock();
        outages.answered(first_byte);
        self.end(&mut outages);
    }

    fn end(&self, outages: &mut Outages) {
        let news = outages.arrived(Instant::now());
        self.follow(outages);
        self.changed.notify_waiters();
        self.tell(news);
    }

    /// Lets the next attempt begin now: it asks in another way.
    pub(crate) fn again_at_once(&self) {
        self.lock().wait_until(Instant::now());
        self.changed.notify_waiters();
    }

    /// Takes note that every transfer has been silent since `since`: requests go over new
    /// connections, one of them goes ahead.
    pub(crate) fn suspect(&self, since: Instant) {
        self.leave_connections();
        let mut outages = self.lock();
        outages.suspect(since, Instant::now());
        self.follow(&outages);
        self.changed.notify_waiters();
    }

    /// Rests through a pause of the caller's, whose time does not count, and forgets what failed
    /// before it. Returns what the caller wants next, which is never a pause.
    pub(crate) async fn rest(&self, control: &Control) -> Intent {
        self.events.emit(Event::Paused);
        let next = control.rest().await;
        self.begin_anew();
        next
    }

    fn begin_anew(&self) {
        let mut outages = self.lock();
        outages.begin_anew();
        self.follow(&outages);
    }

    /// Another server is asked from now on. Whether it is there is not known.
    pub(crate) fn meet_another(&self) {
        let mut outages = self.lock();
        outages.meet_another(self.metrics.fetched_bytes());
        self.follow(&outages);
    }

    /// Opens new connections for all requests from now on.
    pub(crate) fn leave_connections(&self) {
        self.client.leave_connections();
    }

    /// Whether nothing arrives anywhere.
    pub(crate) fn is_in_outage(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// How long the network has been gone, if it is.
    pub(crate) fn offline(&self) -> Option<Duration> {
        let is_on = self.is_in_outage();
        is_on.then(|| self.lock().offline(Instant::now())).flatten()
    }

    // The lock is held, here and in `tell`, for others to see and to hear the changes in order.
    fn follow(&self, outages: &Outages) {
        if self.is_on.swap(outages.is_on(), Ordering::Relaxed) != outages.is_on() {
            self.client.open_within(outages.open_within());
        }
    }

    fn tell(&self, news: Option<News>) {
        match news {
            Some(News::Gone) => {
                tracing::debug!("waiting for the network");
                self.events.emit(Event::Offline);
            }
            Some(News::Back(gone)) => {
                tracing::debug!(?gone, "the network is back");
                self.events.emit(Event::Online { gone });
            }
            None => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Outages> {
        // The bookkeeping is consistent between any two calls, so a panic elsewhere leaves it
        // usable.
        self.outages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.is_scout {
            self.patience.lock().scout_ended(self.round);
            self.patience.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests;
