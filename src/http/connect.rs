//! Connections: names to addresses in turn, no new one while one comes back, and knowing when a request still waits for
//! its connection.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

/// The system's resolver, with the answers rotated from one connection to the next, so that a name with several
/// addresses has all of them working. The family that the system prefers stays first.
#[derive(Debug, Default)]
pub(super) struct Rotation {
    turn: Arc<AtomicUsize>,
}

impl Resolve for Rotation {
    fn resolve(&self, name: Name) -> Resolving {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = tokio::task::spawn_blocking(move || {
                (host.as_str(), 0)
                    .to_socket_addrs()
                    .map(Iterator::collect::<Vec<_>>)
            })
            .await
            .unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
            .map_err(|error| ResolveError::new(&error))?;
            Ok(Box::new(rotated(&found, turn).into_iter()) as Addrs)
        })
    }
}

/// The addresses, each family turned by `turn` places, the families in the order in which they came.
fn rotated(found: &[SocketAddr], turn: usize) -> Vec<SocketAddr> {
    let prefers_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (mut first, mut second): (Vec<_>, Vec<_>) = found
        .iter()
        .partition(|address| address.is_ipv6() == prefers_v6);
    for family in [&mut first, &mut second] {
        if !family.is_empty() {
            let places = turn % family.len();
            family.rotate_left(places);
        }
    }
    first.append(&mut second);
    first
}

/// A name without an address.
#[derive(Debug)]
pub(super) struct ResolveError {
    text: String,
    temporary: bool,
}

impl ResolveError {
    fn new(error: &io::Error) -> Self {
        let text = error.to_string();
        // std keeps the resolver's code to itself; these are the texts of EAI_AGAIN in glibc, musl and macOS.
        let temporary = ["emporary failure", "Try again", "try again"]
            .iter()
            .any(|again| text.contains(again));
        Self { text, temporary }
    }

    pub(super) fn is_temporary(&self) -> bool {
        self.temporary
    }
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for ResolveError {}

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

tokio::task_local! {
    /// The request that is being sent by this task.
    static SENDING: Arc<Dial>;
}

/// Whether a request still waits for a connection of its own, which has a timeout of its own.
#[derive(Debug)]
pub(super) struct Dial {
    /// Until when to wait for one that is on its way back to the pool.
    returns_until: Option<Instant>,
    state: Mutex<DialState>,
}

#[derive(Clone, Copy, Debug, Default)]
enum DialState {
    /// No connection was opened: the request went over one that stood.
    #[default]
    Reused,
    Dialling,
    Dialled(Instant),
}

impl Dial {
    pub(super) fn new(returns_until: Option<Instant>) -> Self {
        Self {
            returns_until,
            state: Mutex::default(),
        }
    }

    /// Runs a request, watching the connections that it opens.
    pub(super) async fn watch<F: Future>(self: Arc<Self>, send: F) -> F::Output {
        SENDING.scope(self, send).await
    }

    pub(super) fn is_dialling(&self) -> bool {
        matches!(self.state(), DialState::Dialling)
    }

    pub(super) fn is_reused(&self) -> bool {
        matches!(self.state(), DialState::Reused)
    }

    /// When the connection stood, where one was opened.
    pub(super) fn dialled(&self) -> Option<Instant> {
        match self.state() {
            DialState::Dialled(at) => Some(at),
            DialState::Reused | DialState::Dialling => None,
        }
    }

    fn state(&self) -> DialState {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: DialState) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

/// Leaves a connection time to return, which then beats the one that is to be opened.
///
/// # Errors
///
/// [`Superfluous`] once the request has it: hyper then leaves the opening to a task of its own.
async fn let_one_return(until: Instant) -> Result<(), Superfluous> {
    let mut timer = pin!(tokio::time::sleep_until(until));
    std::future::poll_fn(|cx| match SENDING.try_with(|_| ()) {
        Ok(()) => timer.as_mut().poll(cx).map(Ok),
        Err(_) => Poll::Ready(Err(Superfluous)),
    })
    .await
}

/// Nobody waits for the connection any more.
#[derive(Debug)]
struct Superfluous;

impl fmt::Display for Superfluous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request has another connection")
    }
}

impl StdError for Superfluous {}

/// Opens no connection while one returns, and tells the request that opens one when that begins and ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct WatchLayer;

impl<S> Layer<S> for WatchLayer {
    type Service = Watched<S>;

    fn layer(&self, inner: S) -> Watched<S> {
        Watched { inner }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Watched<S> {
    inner: S,
}

impl<S, R> Service<R> for Watched<S>
where
    S: Service<R, Error = Box<dyn StdError + Send + Sync>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, destination: R) -> Self::Future {
        let dial = SENDING.try_with(Arc::clone).ok();
        let connecting = self.inner.call(destination);
        Box::pin(async move {
            if let Some(dial) = &dial {
                if let Some(until) = dial.returns_until {
                    let_one_return(until).await?;
                }
                dial.set(DialState::Dialling);
            }
            let connected = connecting.await;
            if let Some(dial) = &dial {
                dial.set(DialState::Dialled(Instant::now()));
            }
            connected
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn each_family_turns_and_the_preferred_one_stays_first() {
        let found = addresses(&["[::1]:0", "1.1.1.1:0", "[::2]:0", "2.2.2.2:0", "3.3.3.3:0"]);
        assert_eq!(
            rotated(&found, 0),
            addresses(&["[::1]:0", "[::2]:0", "1.1.1.1:0", "2.2.2.2:0", "3.3.3.3:0"])
        );
        assert_eq!(
            rotated(&found, 5),
            addresses(&["[::2]:0", "[::1]:0", "3.3.3.3:0", "1.1.1.1:0", "2.2.2.2:0"])
        );
        assert_eq!(rotated(&[], 7), []);
    }

    #[test]
    fn only_a_temporary_failure_is_one() {
        let temporary = |text| ResolveError::new(&io::Error::other(text)).is_temporary();
        assert!(temporary(
            "failed to lookup address information: Temporary failure in name resolution"
        ));
        assert!(temporary("failed to lookup address information: Try again"));
        assert!(!temporary(
            "failed to lookup address information: Name or service not known"
        ));
    }

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

    proptest! {
        #[test]
        fn no_address_is_lost(octets in proptest::collection::vec(any::<u8>(), 0..8), turn in any::<usize>()) {
            let found: Vec<SocketAddr> = octets.iter().map(|o| SocketAddr::from(([127, 0, 0, *o], 0))).collect();
            let mut turned = rotated(&found, turn);
            let mut expected = found;
            turned.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(turned, expected);
        }
    }
}
