//! Tells whether a request still waits for its connection.

use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use super::reuse::let_one_return;

tokio::task_local! {
    /// The request that this task is sending.
    static SENDING: Arc<Dial>;
}

/// Tracks whether a request waits for a connection that is being opened for it.
#[derive(Debug)]
pub(super) struct Dial {
    /// Until when to wait for a connection that is returning to the pool.
    returns_until: Option<Instant>,
    /// The longest time that a new connection may take to open, where it is less than usual.
    open_within: Option<Duration>,
    state: Mutex<DialState>,
}

#[derive(Clone, Copy, Debug, Default)]
enum DialState {
    /// No connection was opened: the request used an open one.
    #[default]
    Reused,
    Dialling,
    Dialled {
        at: Instant,
        took: Duration,
    },
}

impl Dial {
    pub(super) fn new(returns_until: Option<Instant>, open_within: Option<Duration>) -> Self {
        Self {
            returns_until,
            open_within,
            state: Mutex::default(),
        }
    }

    /// Sends a request and tracks the connections that it opens.
    pub(super) async fn watch<F: Future>(self: Arc<Self>, send: F) -> F::Output {
        SENDING.scope(self, send).await
    }

    pub(super) fn is_dialling(&self) -> bool {
        matches!(self.state(), DialState::Dialling)
    }

    /// Whether the request used a connection that was not opened for it. It may have got one while
    /// another was being opened.
    pub(super) fn is_reused(&self) -> bool {
        !matches!(self.state(), DialState::Dialled { .. })
    }

    /// When the connection was open, if one was opened for this request.
    pub(super) fn dialled(&self) -> Option<Instant> {
        match self.state() {
            DialState::Dialled { at, .. } => Some(at),
            DialState::Reused | DialState::Dialling => None,
        }
    }

    /// How long the connection took to open, if one was opened for this request.
    pub(super) fn took(&self) -> Option<Duration> {
        match self.state() {
            DialState::Dialled { took, .. } => Some(took),
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

/// A connector layer that waits for a returning connection before it opens one, and records in the
/// request's [`Dial`] when opening begins and ends.
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
                    let_one_return(until, || SENDING.try_with(|_| ()).is_ok()).await?;
                }
                dial.set(DialState::Dialling);
            }
            let begun = Instant::now();
            let limit = dial.as_ref().and_then(|dial| dial.open_within);
            let connected = open_within(limit, connecting).await;
            if let Some(dial) = &dial {
                // hyper goes on in the background where the request got another connection.
                dial.set(match SENDING.try_with(|_| ()) {
                    Ok(()) => DialState::Dialled {
                        at: Instant::now(),
                        took: begun.elapsed(),
                    },
                    Err(_) => DialState::Reused,
                });
            }
            connected
        })
    }
}

/// Awaits a connection, at most as long as `limit` says.
async fn open_within<T>(
    limit: Option<Duration>,
    connecting: impl Future<Output = Result<T, Box<dyn StdError + Send + Sync>>>,
) -> Result<T, Box<dyn StdError + Send + Sync>> {
    let Some(limit) = limit else {
        return connecting.await;
    };
    match tokio::time::timeout(limit, connecting).await {
        Ok(connected) => connected,
        Err(_) => {
            let why = format!("no answer within {} s", limit.as_secs_f64());
            Err(io::Error::new(io::ErrorKind::TimedOut, why).into())
        }
    }
}
