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
use super::connections::{Connections, Generation, Pool};
use super::cookies::Cookies;
use super::error::{HttpError, HttpErrorKind};
use super::handshake::Handshakes;
use super::lenient::{self, Lenient};
use super::proxy::Proxies;
use super::resolve::Rotation;
use super::reuse::Returns;
use super::source::Location;
use super::tls;

/// The most header fields of a reply. hyper's default is 100.
const MOST_HEADERS: usize = 1000;

/// How often a request is sent again at once after a reused connection failed under it.
const MOST_STALE: u32 = 4;

/// Sends requests. Cheap to clone; all clones share one pool of connections.
#[derive(Clone)]
pub(crate) struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    config: ClientConfig,
    tls: rustls::ClientConfig,
    connections: Connections<Clients>,
    lenient: Lenient,
    secrets: Secrets,
    cookies: Cookies,
    proxies: Proxies,
    returns: Returns,
    handshakes: Handshakes,
}

/// The head of a reply.
#[derive(Debug)]
pub(super) struct Replied {
    pub(super) response: Response,
    /// The time from the open connection to the head.
    pub(super) first_byte: Duration,
    /// The pool of the connection.
    pub(super) generation: Generation,
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
        let tls = tls::configure(config)?;
        Ok(Self {
            inner: Arc::new(Inner {
                connections: Connections::new(Clients::new(config, &tls, &proxies)?),
                config: config.clone(),
                tls,
                lenient: Lenient::default(),
                secrets,
                cookies: Cookies::default(),
                handshakes: Handshakes::new(proxies.clone()),
                proxies,
                returns: Returns::default(),
            }),
        })
    }

    /// Opens new connections for all requests from now on. Those under way keep theirs.
    pub(crate) fn leave_connections(&self) {
        self.leave(None);
    }

    /// Opens new connections from now on, unless that has happened since one of this pool was
    /// opened.
    pub(super) fn leave_pool(&self, generation: Generation) {
        self.leave(Some(generation));
    }

    fn leave(&self, generation: Option<Generation>) {
        let Inner {
            config,
            tls,
            proxies,
            ..
        } = &*self.inner;
        // The same configuration made a client before.
        let again = || Clients::new(config, tls, proxies).ok();
        self.inner.connections.leave(generation, again);
    }

    /// Gives a connection this long to open where that is less than the connect timeout; `None` for
    /// the connect timeout.
    pub(crate) fn open_within(&self, limit: Option<Duration>) {
        self.inner.connections.set_open_within(limit);
    }

    pub(super) fn secrets(&self) -> &Secrets {
        &self.inner.secrets
    }

    pub(super) fn cookies(&self) -> &Cookies {
        &self.inner.cookies
    }

    pub(super) fn returns(&self) -> &Returns {
        &self.inner.returns
    }

    pub(super) fn handshakes(&self) -> &Handshakes {
        &self.inner.handshakes
    }

    pub(super) fn stall_timeout(&self) -> Duration {
        self.inner.config.stall_timeout
    }

    /// Sends one request and waits for the head of its reply, of any status.
    ///
    /// If a kept-alive connection closes under the request, or brings what is left of an earlier
    /// reply, the request is sent again at once, because GET and HEAD are idempotent (RFC 9112,
    /// section 9.3.1). So it is if a line of the head can't be read, without such lines then.
    /// After a request that got no reply in time, new requests open new connections.
    ///
    /// Cancel safe: dropping the future drops the request.
    pub(super) async fn send(&self, hop: &Hop<'_>) -> Result<Replied, HttpError> {
        let mut stale = 0;
        loop {
            let pool = self.inner.connections.newest();
            let dial = Arc::new(Dial::new(
                self.inner.returns.claim(hop.to.url()),
                self.inner.connections.open_within(),
            ));
            let is_lenient = self.inner.lenient.is_for(hop.to);
            match self.send_once(hop, &pool, &dial, is_lenient).await {
                Err(error)
                    if may_be_stale(error.kind()) && dial.is_reused() && stale < MOST_STALE =>
                {
                    stale += 1;
                }
                Err(error) if error.is_silence() => {
                    self.leave_pool(pool.generation);
                    return Err(error);
                }
                Err(error) if error.is_for_a_line() && !is_lenient => {
                    self.inner.lenient.admit(hop.to);
                }
                outcome => return outcome,
            }
        }
    }

    async fn send_once(
        &self,
        hop: &Hop<'_>,
        pool: &Pool<Clients>,
        dial: &Arc<Dial>,
        is_lenient: bool,
    ) -> Result<Replied, HttpError> {
        let http = pool.client.reading(is_lenient);
        let mut request = http
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
        let sending = Arc::clone(dial).watch(http.execute(request));
        let response = self
            .head_in_time(sending, dial, hop.stall)
            .await?
            .map_err(HttpError::from_send)
            .map_err(|error| self.inner.proxies.blame(hop.to.url(), error))?;
        if is_lenient {
            lenient::check(hop.method, &response)?;
        }
        if let Some(took) = dial.took() {
            self.inner.handshakes.note(hop.to, took);
        }
        Ok(Replied {
            response,
            first_byte: dial.dialled().unwrap_or(begun).elapsed(),
            generation: pool.generation,
        })
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
        let mut timer = pin!(tokio::time::sleep(
            self.inner.config.connect_timeout + stall
        ));
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

/// Whether the failure of a request on a reused connection may be due to what was before it: some
/// servers send the body of a reply to HEAD, which comes in place of the next head.
fn may_be_stale(kind: &HttpErrorKind) -> bool {
    matches!(
        kind,
        HttpErrorKind::Closed | HttpErrorKind::Unreadable { .. }
    )
}

/// Two clients of one pool each, which read heads strictly and leniently.
#[derive(Clone, Debug)]
struct Clients {
    strict: reqwest::Client,
    lenient: reqwest::Client,
}

impl Clients {
    fn new(
        config: &ClientConfig,
        tls: &rustls::ClientConfig,
        proxies: &Proxies,
    ) -> Result<Self, HttpError> {
        let lenient = builder(config, tls.clone(), proxies)?;
        Ok(Self {
            strict: build(builder(config, tls.clone(), proxies)?)?,
            lenient: build(lenient.http1_ignore_invalid_headers_in_responses(true))?,
        })
    }

    fn reading(&self, leniently: bool) -> &reqwest::Client {
        if leniently {
            &self.lenient
        } else {
            &self.strict
        }
    }
}

fn builder(
    config: &ClientConfig,
    tls: rustls::ClientConfig,
    proxies: &Proxies,
) -> Result<ClientBuilder, HttpError> {
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
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http1_allow_spaces_after_header_name_in_responses(true)
        .tls_backend_preconfigured(tls);
    if config.http_version == HttpVersion::Http11 {
        builder = builder.http1_only();
    }
    // A proxy that is given keeps the client from looking at the environment by itself.
    Ok(builder.proxy(proxies.rule()))
}

fn build(builder: ClientBuilder) -> Result<reqwest::Client, HttpError> {
    builder.build().map_err(|error| {
        let causes = HttpError::causes(&error);
        HttpError::configuration(format!("cannot set up the client: {causes}"))
            .with_source(error.without_url())
    })
}

#[cfg(test)]
mod tests;
