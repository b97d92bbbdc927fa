//! Connections: names to addresses in turn, and knowing when a request still waits for its connection.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

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

tokio::task_local! {
    /// The request that is being sent by this task.
    static SENDING: Arc<Dial>;
}

/// Whether a request still waits for a connection of its own, which has a timeout of its own.
#[derive(Debug, Default)]
pub(super) struct Dial {
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

/// Tells the request that opens a connection when that begins and ends.
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
    S: Service<R>,
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
        if let Some(dial) = &dial {
            dial.set(DialState::Dialling);
        }
        let connecting = self.inner.call(destination);
        Box::pin(async move {
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
