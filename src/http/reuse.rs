//! No new connection is opened while one comes back.

use std::error::Error as StdError;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use reqwest::Url;
use tokio::time::Instant;

/// How long a connection may take from the last byte of a reply to its place in the pool. That is a matter of
/// microseconds, and of more where the processors are busy.
const RETURN_GRACE: Duration = Duration::from_millis(20);

/// Connections that are on their way back to the pool.
#[derive(Clone, Debug)]
pub(super) struct Returns {
    grace: Duration,
    /// Where each leads to, and until when it is waited for.
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

    /// A reply from `url` was read to its end, and its connection stays open.
    pub(super) fn note(&self, url: &Url) {
        let origin = url.origin().ascii_serialization();
        self.lock().push((origin, Instant::now() + self.grace));
    }

    /// Until when a connection that leads to `url` is to be waited for; `None` where none returns. No other request is told
    /// of the same one.
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

/// Leaves a connection time to return, which then beats the one that is to be opened.
///
/// # Errors
///
/// [`Superfluous`] once the request has it: hyper then leaves the opening to a task of its own.
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

/// Nobody waits for the connection any more.
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
