//! A fresh URL in place of one that has run out or is about to, while the transfer goes on.
//!
//! It is taken without a new pass where its replies can prove that the object is the same: by the
//! same strong tag, or something stronger, under the same host and path. Anything less takes
//! comparisons of blocks, with which a new pass begins.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use crate::engine::refresh::Refresher;
use crate::event::Event;
use crate::http::{self, Conditions, HttpError, Pinned, Probed, Source};

/// The longest time before a URL expires at which it is replaced.
const LONGEST_MARGIN: Duration = Duration::from_secs(60);
/// The same as a share of the time for which the URL can still be used.
const MARGIN_SHARE: u32 = 10;
/// The longest sleep: timers stand still while the machine is suspended.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

/// Replaces the URL of a source, as often as the caller gives fresh ones.
#[derive(Debug)]
pub(super) struct Renewal {
    refresher: Arc<Refresher>,
    pinned: Pinned,
    /// Notified where a URL is refused.
    wanted: Notify,
    /// One more than the number of the newest URL that was refused.
    refused: AtomicU64,
    access: watch::Sender<Access>,
    /// Whether this URL can't be replaced ahead of time.
    is_given_up_ahead: AtomicBool,
    /// The replies that had come when a URL was refused the last time.
    replies: AtomicU64,
}

/// The access to the source.
#[derive(Clone, Copy, Debug, Default)]
struct Access {
    /// Numbers the URLs.
    number: u64,
    /// Whether no fresh URL is to be had.
    is_lost: bool,
}

impl Renewal {
    pub(super) fn new(refresher: Arc<Refresher>, pinned: Pinned) -> Self {
        Self {
            refresher,
            pinned,
            wanted: Notify::new(),
            access: watch::Sender::default(),
            refused: AtomicU64::new(0),
            is_given_up_ahead: AtomicBool::new(false),
            replies: AtomicU64::new(0),
        }
    }

    /// Numbers the URL that requests use now.
    pub(super) fn number(&self) -> u64 {
        self.access.borrow().number
    }

    /// Waits until another URL is used than this one, which was refused. Returns whether one is.
    /// Needs [`renewed`](Self::renewed) to be polled meanwhile.
    pub(super) async fn regained(&self, refused: u64) -> bool {
        if !self.pinned.has_strong_name() {
            return false;
        }
        let mut access = self.access.subscribe();
        self.refused.fetch_max(refused + 1, Ordering::Relaxed);
        self.wanted.notify_one();
        let is_decided = |access: &Access| access.number != refused || access.is_lost;
        let decided = access.wait_for(is_decided).await;
        decided.is_ok_and(|access| access.number != refused)
    }

    /// Returns once the URL was replaced, shortly before it expires or after it was refused.
    /// [`announce`](Self::announce) is to follow.
    ///
    /// Cancel safe: dropping it kills the caller's command, and drops the future of the caller's
    /// function.
    pub(super) async fn renewed(&self) {
        loop {
            tokio::select! {
                expiry = self.about_to_expire() => {
                    if self.renew_ahead(expiry).await {
                        return;
                    }
                    self.is_given_up_ahead.store(true, Ordering::Relaxed);
                }
                () = self.wanted.notified() => {
                    if self.refused.load(Ordering::Relaxed) <= self.number() {
                        // It was replaced meanwhile.
                        continue;
                    }
                    if self.renew_refused().await {
                        return;
                    }
                    self.access.send_modify(|access| access.is_lost = true);
                }
            }
        }
    }

    fn source(&self) -> &Source {
        self.refresher.source()
    }

    /// Lets those that wait for a URL go on under the fresh one.
    pub(super) fn announce(&self) {
        self.is_given_up_ahead.store(false, Ordering::Relaxed);
        self.refresher.events().emit(Event::Refreshed);
        self.access.send_modify(|access| {
            access.number += 1;
            access.is_lost = false;
        });
    }

    /// Waits until shortly before the URL expires, and returns when that is. Never returns for a
    /// URL that seems to have expired from the start: the clock may be wrong.
    async fn about_to_expire(&self) -> SystemTime {
        let expiry = self.source().expiry();
        if let Some(expiry) = expiry.filter(|_| !self.is_given_up_ahead.load(Ordering::Relaxed)) {
            let left = || expiry.duration_since(SystemTime::now()).ok();
            if let Some(margin) = left().map(|left| (left / MARGIN_SHARE).min(LONGEST_MARGIN)) {
                while let Some(left) = left().and_then(|left| left.checked_sub(margin)) {
                    sleep(left.clamp(Duration::from_millis(1), LONGEST_SLEEP)).await;
                }
                return expiry;
            }
        }
        pending().await
    }

    /// Replaces a URL that can still be used until then. Returns whether it did.
    async fn renew_ahead(&self, expiry: SystemTime) -> bool {
        if !self.pinned.has_strong_name() {
            return false;
        }
        let fresh = match self.refresher.ask().await {
            Ok(fresh) => fresh,
            Err(error) => {
                self.keep(&error.to_string());
                return false;
            }
        };
        if fresh.expiry().is_some_and(|fresh| fresh <= expiry) || !self.proves(&fresh) {
            return false;
        }
        if let Err(error) = self.find_again(&fresh).await {
            self.keep(&format!(
                "the fresh URL does not lead to the object: {error}"
            ));
            return false;
        }
        self.source().take_url_of(&fresh);
        true
    }

    /// Replaces a URL that was refused. Returns whether it did.
    async fn renew_refused(&self) -> bool {
        let replies = self.pinned.replies();
        let is_fruitless = self.replies.swap(replies, Ordering::Relaxed) == replies;
        let Ok(Some(fresh)) = self.refresher.fresh().await else {
            return false;
        };
        if fresh.given_url() == self.source().given_url() || !self.proves(&fresh) {
            return false;
        }
        // Where the URL before brought nothing, a probe may use the fresh one up. Then the next
        // replies alone tell whether the object is the same.
        if !is_fruitless && self.find_again(&fresh).await.is_err() {
            return false;
        }
        self.source().take_url_of(&fresh);
        true
    }

    /// Asks whether the object under the fresh URL is the same, as far as its metadata tell.
    async fn find_again(&self, fresh: &Source) -> Result<(), HttpError> {
        let conditions = Conditions::default();
        // The URL for HEAD is another one, and tells nothing of this one.
        let probed = match fresh.has_head_url() {
            true => http::probe_by_get(self.refresher.client(), fresh, &conditions).await,
            false => http::probe(self.refresher.client(), fresh, &conditions).await,
        };
        match probed? {
            Probed::Found { metadata, .. } => {
                let coding = metadata.coding.as_ref();
                self.pinned
                    .pin_again(metadata.length, coding, &metadata.identity)
            }
            Probed::NotModified => Ok(()),
        }
    }

    /// Whether replies under the fresh URL can prove that the object is the same.
    fn proves(&self, fresh: &Source) -> bool {
        fresh.key_text() == self.source().key_text()
    }

    fn keep(&self, why: &str) {
        self.refresher.events().warn(format!(
            "the URL is about to expire and is kept until then: {why}"
        ));
    }
}
