//! The connection pool and what every request has in common.

use std::fmt;
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{ClientBuilder, Identity, Method, Proxy, Response, retry};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::time::Instant;

use super::auth::{Permit, Secrets};
use super::connect::{Dial, Rotation, WatchLayer};
use super::error::{HttpError, HttpErrorKind};
use super::source::Location;
use super::trust::Trust;

/// More than any server sends on purpose; hyper's own limit is 100.
const MOST_HEADERS: usize = 1000;

/// How often a request that met a connection closed under it is sent again at once.
const MOST_STALE: u32 = 4;

const PROXY_SCHEMES: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];

/// What a client needs to know. The defaults are the caller's.
pub(crate) struct ClientConfig {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) user: Option<(String, Option<String>)>,
    pub(crate) bearer: Option<String>,
    pub(crate) netrc: bool,
    /// `None`: `partwise/` and the version.
    pub(crate) user_agent: Option<String>,
    /// `None`: the environment's.
    pub(crate) proxy: Option<String>,
    pub(crate) no_proxy: bool,
    pub(crate) ca_certificate: Option<PathBuf>,
    pub(crate) client_certificate: Option<PathBuf>,
    pub(crate) client_key: Option<PathBuf>,
    pub(crate) insecure: bool,
    pub(crate) http2: bool,
    pub(crate) connect_timeout: Duration,
    pub(crate) stall_timeout: Duration,
}

/// Sends requests. Cheap to clone; all clones share one pool of connections.
#[derive(Clone)]
pub(crate) struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    http: reqwest::Client,
    secrets: Secrets,
    connect_timeout: Duration,
    stall_timeout: Duration,
}

/// One request to one hop.
pub(super) struct Hop<'a> {
    pub(super) method: &'a Method,
    pub(super) to: &'a Location,
    pub(super) fields: &'a HeaderMap,
    pub(super) permit: Permit,
    /// The longest wait for the head of the reply, once there is a connection.
    pub(super) stall: Duration,
}

impl Client {
    /// # Errors
    ///
    /// `Configuration`: a header, token, certificate, key, proxy or netrc file that can't be used.
    pub(crate) fn new(config: &ClientConfig) -> Result<Self, HttpError> {
        let secrets = Secrets::new(config)?;
        Ok(Self {
            inner: Arc::new(Inner {
                http: build(config)?,
                secrets,
                connect_timeout: config.connect_timeout,
                stall_timeout: config.stall_timeout,
            }),
        })
    }

    pub(super) fn secrets(&self) -> &Secrets {
        &self.inner.secrets
    }

    pub(super) fn stall_timeout(&self) -> Duration {
        self.inner.stall_timeout
    }

    /// Sends one request and waits for the head of its reply, whatever its status. Also returns how long the
    /// server took from standing connection to head.
    ///
    /// A connection that was kept alive and is closed under the request says nothing about the server: GET and
    /// HEAD are sent again at once (RFC 9112, section 9.3.1).
    ///
    /// Cancel safe: dropping it drops the request.
    pub(super) async fn send(&self, hop: &Hop<'_>) -> Result<(Response, Duration), HttpError> {
        let mut stale = 0;
        loop {
            let dial = Arc::new(Dial::default());
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
            .map_err(|error| HttpError::from_send(&error))?;
        Ok((response, dial.dialled().unwrap_or(begun).elapsed()))
    }

    /// Awaits the head of a reply: at most `stall` once there is a connection, whose own timeout comes before.
    async fn head_in_time<F: Future>(
        &self,
        sending: F,
        dial: &Dial,
        stall: Duration,
    ) -> Result<F::Output, HttpError> {
        let mut sending = pin!(sending);
        // The outermost bound: a connection may be opened for this request and then go to another one.
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

fn build(config: &ClientConfig) -> Result<reqwest::Client, HttpError> {
    let roots = config
        .ca_certificate
        .as_deref()
        .map(certificates)
        .transpose()?
        .unwrap_or_default();
    if !roots.is_empty() && !config.insecure {
        return trusting(config, &roots);
    }
    let identity = identity_pem(config)?
        .map(|pem| pem.identity())
        .transpose()?;
    let build = |without_store: bool| {
        let mut builder = common(config)?;
        if without_store {
            builder = builder.tls_certs_only([]);
        }
        if let Some(identity) = identity.clone() {
            builder = builder.identity(identity);
        }
        builder
            .build()
            .map_err(|error| configuration("cannot set up the client", &error))
    };
    // A system without a store of certificates can still fetch over http.
    build(false).or_else(|first| build(true).map_err(|_| first))
}

/// A client that trusts these certificates as well as the system's.
fn trusting(
    config: &ClientConfig,
    roots: &[CertificateDer<'static>],
) -> Result<reqwest::Client, HttpError> {
    let wrong = |error: &rustls::Error| {
        HttpError::configuration(format!("cannot set up the trusted certificates: {error}"))
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Trust::new(roots, Arc::clone(&provider)).map_err(|error| wrong(&error))?;
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut tls = match identity_pem(config)? {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let (chain, key) = pem.chain_and_key()?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| wrong(&error))?
        }
    };
    tls.alpn_protocols = if config.http2 {
        vec![b"h2".to_vec(), b"http/1.1".to_vec()]
    } else {
        vec![b"http/1.1".to_vec()]
    };
    common(config)?
        .tls_backend_preconfigured(tls)
        .build()
        .map_err(|error| configuration("cannot set up the client", &error))
}

fn common(config: &ClientConfig) -> Result<ClientBuilder, HttpError> {
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
        .tls_danger_accept_invalid_certs(config.insecure);
    if !config.http2 {
        builder = builder.http1_only();
    }
    if config.no_proxy {
        builder = builder.no_proxy();
    } else if let Some(url) = &config.proxy {
        builder = builder.proxy(proxy(url)?);
    }
    Ok(builder)
}

fn proxy(url: &str) -> Result<Proxy, HttpError> {
    // The text of the parser's error may hold the URL, and that a password.
    let wrong = || {
        HttpError::configuration(
            "the proxy's URL can't be used: expected http://, https:// or socks5:// with host and port",
        )
    };
    let scheme = url.split_once("://").map_or("http", |(scheme, _)| scheme);
    if !PROXY_SCHEMES
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known))
    {
        return Err(wrong());
    }
    Proxy::all(url).map_err(|_| wrong())
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, HttpError> {
    let none = |why: String| {
        HttpError::configuration(format!("no certificates in {}: {why}", file.display()))
    };
    let found: Vec<_> = CertificateDer::pem_slice_iter(&read(file)?)
        .collect::<Result<_, _>>()
        .map_err(|error| none(error.to_string()))?;
    if found.is_empty() {
        return Err(none("expected PEM".to_owned()));
    }
    Ok(found)
}

/// The client's certificate and its private key, as PEM.
struct IdentityPem<'a> {
    pem: Vec<u8>,
    file: &'a Path,
}

impl IdentityPem<'_> {
    fn unusable(&self) -> HttpError {
        HttpError::configuration(format!(
            "no client certificate with its private key in {}: expected both in PEM",
            self.file.display()
        ))
    }

    fn identity(&self) -> Result<Identity, HttpError> {
        Identity::from_pem(&self.pem).map_err(|_| self.unusable())
    }

    fn chain_and_key(
        &self,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), HttpError> {
        let chain = CertificateDer::pem_slice_iter(&self.pem)
            .collect::<Result<_, _>>()
            .map_err(|_| self.unusable())?;
        let key = PrivateKeyDer::from_pem_slice(&self.pem).map_err(|_| self.unusable())?;
        Ok((chain, key))
    }
}

fn identity_pem(config: &ClientConfig) -> Result<Option<IdentityPem<'_>>, HttpError> {
    let Some(file) = &config.client_certificate else {
        return match config.client_key {
            Some(_) => Err(HttpError::configuration(
                "a client key needs a client certificate",
            )),
            None => Ok(None),
        };
    };
    let mut pem = read(file)?;
    if let Some(key) = &config.client_key {
        pem.push(b'\n');
        pem.extend(read(key)?);
    }
    Ok(Some(IdentityPem { pem, file }))
}

fn read(file: &Path) -> Result<Vec<u8>, HttpError> {
    fs::read(file).map_err(|error| {
        HttpError::configuration(format!("cannot read {}: {error}", file.display()))
    })
}

fn configuration(what: &str, error: &reqwest::Error) -> HttpError {
    HttpError::configuration(format!("{what}: {}", HttpError::causes(error)))
}

#[cfg(test)]
impl ClientConfig {
    /// No secrets, no proxy, short timeouts.
    pub(super) fn for_tests() -> Self {
        Self {
            headers: Vec::new(),
            user: None,
            bearer: None,
            netrc: false,
            user_agent: None,
            proxy: None,
            no_proxy: true,
            ca_certificate: None,
            client_certificate: None,
            client_key: None,
            insecure: false,
            http2: false,
            connect_timeout: Duration::from_secs(5),
            stall_timeout: Duration::from_secs(5),
        }
    }
}

#[cfg(test)]
mod tests;
