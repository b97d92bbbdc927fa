//! A fresh URL ahead of time, where the old one tells when it expires.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::sleep;

use super::refresh::refreshed;
use crate::engine::control::events::EventBus;
use crate::event::Event;
use crate::http::{self, Client, Pinned, Source};
use crate::object::Proof;
use crate::options::Refresh;

/// The longest time before a URL expires at which it is replaced.
const LONGEST_MARGIN: Duration = Duration::from_secs(60);
/// The same as a share of the time for which the URL can still be used.
const MARGIN_SHARE: u32 = 10;
/// The longest sleep: timers stand still while the machine is suspended.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

/// Replaces the URL of a source in time, as long as the caller gives URLs that expire later.
#[derive(Debug)]
pub(super) struct Renewal {
    refresh: Refresh,
    client: Client,
    source: Source,
    pinned: Pinned,
    events: Arc<EventBus>,
}

impl Renewal {
    pub(super) fn new(
        refresh: Refresh,
        client: Client,
        source: Source,
        pinned: Pinned,
        events: Arc<EventBus>,
    ) -> Self {
        Self {
            refresh,
            client,
            source,
            pinned,
            events,
        }
    }

    /// Returns where nothing more can be done ahead of time. A URL that the server refuses is
    /// replaced in any case.
    ///
    /// Cancel safe: dropping it kills the caller's command, and drops the future of the caller's
    /// function.
    pub(super) async fn run(&self) {
        while let Some(expiry) = self.source.expiry() {
            if !wait_for_margin(expiry).await || !self.renew(expiry).await {
                return;
            }
        }
    }

    /// Replaces a URL that expires then. Returns whether it did.
    async fn renew(&self, expiry: SystemTime) -> bool {
        let proof = self.pinned.identity().best_proof();
        if proof < Proof::StrongTag {
            return false;
        }
        let fresh = match refreshed(&self.refresh, &self.source, &self.events).await {
            Ok(fresh) => fresh,
            Err(error) => {
                self.keep(&error.to_string());
                return false;
            }
        };
        let is_same_path = fresh.key_text() == self.source.key_text();
        let is_later = fresh.expiry().is_none_or(|fresh| fresh > expiry);
        if !is_later || (proof < Proof::Digest && !is_same_path) {
            return false;
        }
        if let Err(error) = http::look(&self.client, &fresh, &self.pinned).await {
            self.keep(&format!(
                "the fresh URL does not lead to the object: {error}"
            ));
            return false;
        }
        self.source.take_url_of(&fresh);
        self.events.emit(Event::Refreshed);
        true
    }

    fn keep(&self, why: &str) {
        self.events.warn(format!(
            "the URL is about to expire and is kept until then: {why}"
        ));
    }
}

/// Waits until shortly before the URL expires. Returns whether it has not expired: a clock that is
/// wrong makes it seem so from the start.
async fn wait_for_margin(expiry: SystemTime) -> bool {
    let left = || expiry.duration_since(SystemTime::now()).ok();
    let Some(margin) = left().map(|left| (left / MARGIN_SHARE).min(LONGEST_MARGIN)) else {
        return false;
    };
    while let Some(left) = left().and_then(|left| left.checked_sub(margin)) {
        sleep(left.clamp(Duration::from_millis(1), LONGEST_SLEEP)).await;
    }
    true
}
