//! Waits for a connection that is returning to the pool before a new one is opened.

use std::error::Error as StdError;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use reqwest::Url;
use tokio::time::Instant;

/// How long a connection may take to return to the pool after the last byte of a reply. It takes
/// microseconds, or longer on a busy machine.
const RETURN_GRACE: Duration = Duration::from_millis(20);

/// The connections that are returning to the pool.
#[derive(Clone, Debug)]
pub(super) struct Returns {
    grace: Duration,
    /// The origin of each connection, and until when to wait for it.
    under_way: Arc<Mutex<Vec<(String, Instant)>>>,
}

impl Default for Returns {
    fn default() -> Self {
        Self::new(RETURN_GRACE)
    }
}

impl Returns {
    pub(super) fn new(grace: Duration) -> Self {
        Self {
            grace,
            under_way: Arc::default(),
        }
    }

    /// Records that a reply from `url` was read to its end and its connection stays open.
    pub(super) fn note(&self, url: &Url) {
        let origin = url.origin().ascii_serialization();
        self.lock().push((origin, Instant::now() + self.grace));
    }

    /// Claims a returning connection to the origin of `url`, and returns until when to wait for it;
    /// `None` if there is none. Each connection is claimed once.
    pub(super) fn claim(&self, url: &Url) -> Option<Instant> {
        let now = Instant::now();
        let mut under_way = self.lock();
        under_way.retain(|(_, until)| *until > now);
        if under_way.is_empty() {
            return None;
        }
        let origin = url.origin().ascii_serialization();
        let found = under_way.iter().position(|(to, _)| *to == origin)?;
        Some(under_way.swap_remove(found).1)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(String, Instant)>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until `until`, or until the request has a connection that returned.
///
/// # Errors
///
/// [`Superfluous`] if the request already has a connection: hyper then polls this future on a
/// background task, where `is_awaited` is false.
pub(super) async fn let_one_return(
    until: Instant,
    is_awaited: impl Fn() -> bool,
) -> Result<(), Superfluous> {
    let mut timer = pin!(tokio::time::sleep_until(until));
    std::future::poll_fn(|cx| {
        if is_awaited() {
            timer.as_mut().poll(cx).map(Ok)
        } else {
            Poll::Ready(Err(Superfluous))
        }
    })
    .await
}

/// The connection is no longer needed.
#[derive(Debug)]
pub(super) struct Superfluous;

impl fmt::Display for Superfluous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request has another connection")
    }
}

impl StdError for Superfluous {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_that_returns_is_claimed_once_and_soon_or_never() {
        let url = |text| Url::parse(text).unwrap();
        let returns = Returns::default();
        returns.note(&url("http://a/x?sig=1"));
        let until = Some(Instant::now() + RETURN_GRACE);
        assert_eq!(returns.claim(&url("http://a:81/x")), None);
        assert_eq!(returns.claim(&url("https://a/x")), None);
        assert_eq!(returns.claim(&url("http://a:80/y")), until);
        assert_eq!(returns.claim(&url("http://a/x")), None);
        returns.note(&url("http://a/"));
        tokio::time::advance(RETURN_GRACE).await;
        assert_eq!(returns.claim(&url("http://a/")), None);
    }
}
