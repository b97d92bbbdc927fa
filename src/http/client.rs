//! The HTTP client: its connection pool, and the sending of one request.

use crate::options::HttpVersion;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{ClientBuilder, Method, Response, retry};
use tokio::time::Instant;

use super::auth::{Permit, Secrets};
use super::config::ClientConfig;
use super::connect::{Dial, WatchLayer};
use super::error::{HttpError, HttpErrorKind};
use super::proxy::Proxies;
use super::resolve::Rotation;
use super::reuse::Returns;
use super::source::Location;
use super::tls;

/// The most header fields of a reply. hyper's default is 100.
const MOST_HEADERS: usize = 1000;

/// How often a request is sent again at once after a reused connection was closed under it.
const MOST_STALE: u32 = 4;

/// Sends requests. Cheap to clone; all clones share one pool of connections.
#[derive(Clone)]
pub(crate) struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    http: reqwest::Client,
    secrets: Secrets,
    proxies: Proxies,
    returns: Returns,
    connect_timeout: Duration,
    stall_timeout: Duration,
}

/// One request to one hop.
pub(super) struct Hop<'a> {
    pub(super) method: &'a Method,
    pub(super) to: &'a Location,
    pub(super) fields: &'a HeaderMap,
    pub(super) permit: Permit,
    /// The longest wait for the head of the reply on an open connection.
    pub(super) stall: Duration,
}

impl Client {
    /// # Errors
    ///
    /// `Configuration` for a header, token, certificate, key, proxy or netrc file that can't be
    /// used.
    pub(crate) fn new(config: &ClientConfig) -> Result<Self, HttpError> {
        let secrets = Secrets::new(config)?;
        let proxies = Proxies::new(config, |name| std::env::var_os(name))?;
        Ok(Self {
            inner: Arc::new(Inner {
                http: build(config, &proxies)?,
                secrets,
                proxies,
                returns: Returns::default(),
                connect_timeout: config.connect_timeout,
                stall_timeout: config.stall_timeout,
            }),
        })
    }

    pub(super) fn secrets(&self) -> &Secrets {
        &self.inner.secrets
    }

    pub(super) fn returns(&self) -> &Returns {
        &self.inner.returns
    }

    pub(super) fn stall_timeout(&self) -> Duration {
        self.inner.stall_timeout
    }

    /// Sends one request and waits for the head of its reply, of any status. Also returns the time
    /// from the open connection to the head.
    ///
    /// If a kept-alive connection closes under the request, the request is sent again at once,
    /// because GET and HEAD are idempotent (RFC 9112, section 9.3.1).
    ///
    /// Cancel safe: dropping the future drops the request.
    pub(super) async fn send(&self, hop: &Hop<'_>) -> Result<(Response, Duration), HttpError> {
        let mut stale = 0;
        loop {
            let dial = Arc::new(Dial::new(self.inner.returns.claim(hop.to.url())));
            match self.send_once(hop, &dial).await {
                Err(error)
                    if *error.kind() == HttpErrorKind::Closed
                        && dial.is_reused()
                        && stale < MOST_STALE =>
                {
                    stale += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn send_once(
        &self,
        hop: &Hop<'_>,
        dial: &Arc<Dial>,
    ) -> Result<(Response, Duration), HttpError> {
        let mut request = self
            .inner
            .http
            .request(hop.method.clone(), hop.to.url().clone())
            .headers(hop.permit.headers.clone());
        if let Some(user) = &hop.permit.basic {
            request = request.basic_auth(&user.name, user.password.as_ref());
        }
        let mut request = request
            .build()
            .map_err(|error| HttpError::configuration(error.without_url().to_string()))?;
        for (name, value) in hop.fields {
            request.headers_mut().insert(name.clone(), value.clone());
        }
        let begun = Instant::now();
        let sending = Arc::clone(dial).watch(self.inner.http.execute(request));
        let response = self
            .head_in_time(sending, dial, hop.stall)
            .await?
            .map_err(HttpError::from_send)
            .map_err(|error| self.inner.proxies.blame(hop.to.url(), error))?;
        Ok((response, dial.dialled().unwrap_or(begun).elapsed()))
    }

    /// Awaits the head of a reply, at most `stall` after the connection is open. Opening it has its
    /// own timeout.
    async fn head_in_time<F: Future>(
        &self,
        sending: F,
        dial: &Dial,
        stall: Duration,
    ) -> Result<F::Output, HttpError> {
        let mut sending = pin!(sending);
        // The outer bound: a connection may be opened for this request and then serve another one.
        let mut timer = pin!(tokio::time::sleep(self.inner.connect_timeout + stall));
        let mut is_waiting = false;
        std::future::poll_fn(|cx| {
            if let Poll::Ready(outcome) = sending.as_mut().poll(cx) {
                return Poll::Ready(Ok(outcome));
            }
            if !is_waiting && !dial.is_dialling() {
                is_waiting = true;
                timer.as_mut().reset(Instant::now() + stall);
            }
            timer
                .as_mut()
                .poll(cx)
                .map(|()| Err(HttpError::stalled(stall)))
        })
        .await
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

fn build(config: &ClientConfig, proxies: &Proxies) -> Result<reqwest::Client, HttpError> {
    let identity = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]);
    let agent = config
        .user_agent
        .as_deref()
        .unwrap_or(concat!("partwise/", env!("CARGO_PKG_VERSION")));
    let agent = HeaderValue::from_str(agent).map_err(|_| {
        HttpError::configuration("the user agent holds a character that no header may hold")
    })?;
    let mut builder = ClientBuilder::new()
        .default_headers(identity)
        .user_agent(agent)
        .redirect(Policy::none())
        .referer(false)
        .retry(retry::never())
        .connect_timeout(config.connect_timeout)
        .connector_layer(WatchLayer)
        .dns_resolver(Rotation::default())
        .tcp_nodelay(true)
        .pool_max_idle_per_host(usize::MAX)
        .http1_max_headers(MOST_HEADERS)
        .tls_backend_preconfigured(tls::configure(config)?);
    if config.http_version == HttpVersion::Http11 {
        builder = builder.http1_only();
    }
    // A proxy that is given keeps the client from looking at the environment by itself.
    let builder = builder.proxy(proxies.rule());
    builder.build().map_err(|error| {
        let causes = HttpError::causes(&error);
        HttpError::configuration(format!("cannot set up the client: {causes}"))
            .with_source(error.without_url())
    })
}

#[cfg(test)]
mod tests;
