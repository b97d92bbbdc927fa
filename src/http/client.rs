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
use reqwest::{Certificate, ClientBuilder, Identity, Method, Proxy, Response, retry};
use tokio::time::Instant;

use super::auth::{Permit, Secrets};
use super::connect::{Dial, Rotation, WatchLayer};
use super::error::{HttpError, HttpErrorKind};
use super::source::Location;

/// More than any server sends on purpose; hyper's own limit is 100.
const MOST_HEADERS: usize = 1000;

/// How often a request that met a connection closed under it is sent again at once.
const MOST_STALE: u32 = 4;

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
    let identity = identity(config)?;
    let build = |only_these: bool| {
        let mut builder = common(config)?;
        builder = if only_these {
            builder.tls_certs_only(roots.clone())
        } else {
            builder.tls_certs_merge(roots.clone())
        };
        if let Some(identity) = identity.clone() {
            builder = builder.identity(identity);
        }
        builder
            .build()
            .map_err(|error| configuration("cannot set up the client", &error))
    };
    // A system without a store of certificates can still fetch over http, or with a certificate given.
    build(false).or_else(|first| build(true).map_err(|_| first))
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
        // The text of the parser's error may hold the URL, and that a password.
        let proxy = Proxy::all(url)
            .map_err(|_| HttpError::configuration("the proxy's URL can't be used: expected http://host:port, https://host:port or socks5://host:port"))?;
        builder = builder.proxy(proxy);
    }
    Ok(builder)
}

fn certificates(file: &Path) -> Result<Vec<Certificate>, HttpError> {
    let found = Certificate::from_pem_bundle(&read(file)?).map_err(|error| {
        configuration(&format!("no certificates in {}", file.display()), &error)
    })?;
    if found.is_empty() {
        return Err(HttpError::configuration(format!(
            "no certificates in {}: expected PEM",
            file.display()
        )));
    }
    Ok(found)
}

fn identity(config: &ClientConfig) -> Result<Option<Identity>, HttpError> {
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
    Identity::from_pem(&pem).map(Some).map_err(|_| {
        HttpError::configuration(format!(
            "no client certificate with its private key in {}: expected both in PEM",
            file.display()
        ))
    })
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
mod tests {
    use super::*;
    use crate::http::testing::{Script, Seen, Server, Then, client, script};

    async fn send(client: &Client, server: &Server) -> Result<Response, HttpError> {
        let to = Location::parse(&server.url("/x?sig=secret")).unwrap();
        let fields = HeaderMap::new();
        let hop = Hop {
            method: &Method::GET,
            to: &to,
            fields: &fields,
            permit: Permit::default(),
            stall: client.stall_timeout(),
        };
        client.send(&hop).await.map(|(response, _)| response)
    }

    fn impatient() -> Client {
        Client::new(&ClientConfig {
            stall_timeout: Duration::from_millis(50),
            ..ClientConfig::for_tests()
        })
        .unwrap()
    }

    #[tokio::test]
    async fn a_request_says_what_it_should() {
        let server = Server::start(|_: &Seen| script("200 OK", &[], "", Then::Close)).await;
        send(&client(), &server).await.unwrap();
        let seen = &server.seen()[0];
        assert_eq!(seen.field("accept-encoding"), Some("identity"));
        assert!(seen.field("user-agent").unwrap().starts_with("partwise/"));
        assert_eq!(seen.field("authorization"), None);
    }

    #[tokio::test]
    async fn broken_heads_have_their_kinds() {
        let none = || Script(Vec::new(), Then::Close);
        let junk = || Script(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec(), Then::Close);
        let lengths = || {
            script(
                "200 OK",
                &["Content-Length: 1", "Content-Length: 2"],
                "",
                Then::Close,
            )
        };
        type Answer = fn() -> Script;
        let cases: [(Answer, fn(&HttpErrorKind) -> bool); 3] = [
            (none, |kind| *kind == HttpErrorKind::Closed),
            (junk, |kind| matches!(kind, HttpErrorKind::Protocol(_))),
            (lengths, |kind| matches!(kind, HttpErrorKind::Protocol(_))),
        ];
        for (position, (answer, is_expected)) in cases.into_iter().enumerate() {
            let server = Server::start(move |_: &Seen| answer()).await;
            let error = send(&client(), &server).await.unwrap_err();
            assert!(is_expected(error.kind()), "{position}: {error:?}");
            assert!(!error.to_string().contains("secret"), "{error}");
            assert_eq!(
                server.asked().len(),
                1,
                "a fresh connection is no reason to ask again"
            );
        }
    }

    #[tokio::test]
    async fn informational_replies_and_many_headers_are_taken() {
        let many: Vec<String> = (0..200).map(|n| format!("X-{n}: {n}")).collect();
        let server = Server::start(move |_: &Seen| {
            let fields: Vec<&str> = many.iter().map(String::as_str).collect();
            let Script(last, then) = script("200 OK", &fields, "", Then::Close);
            let first = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";
            Script([&first[..], &last].concat(), then)
        })
        .await;
        let response = send(&client(), &server).await.unwrap();
        assert_eq!(response.headers().len(), 200);
    }

    #[tokio::test]
    async fn a_connection_closed_while_idle_is_no_error() {
        let server = Server::start(
            |seen: &Seen| match (seen.connection, seen.target.as_str()) {
                // Promises to stay open, and closes on the second request.
                (0, _) if seen.field("x-second").is_some() => Script(Vec::new(), Then::Close),
                _ => script("200 OK", &["Content-Length: 0"], "", Then::KeepOpen),
            },
        )
        .await;
        let client = client();
        drop(send(&client, &server).await.unwrap());
        let to = Location::parse(&server.url("/x")).unwrap();
        let fields = HeaderMap::from_iter([(
            hyper::header::HeaderName::from_static("x-second"),
            HeaderValue::from_static("1"),
        )]);
        let hop = Hop {
            method: &Method::GET,
            to: &to,
            fields: &fields,
            permit: Permit::default(),
            stall: Duration::from_secs(5),
        };
        client.send(&hop).await.unwrap();
        let connections: Vec<_> = server.seen().iter().map(|seen| seen.connection).collect();
        assert_eq!(connections, [0, 0, 1]);
    }

    #[tokio::test]
    async fn a_head_that_never_comes_is_a_stall_that_does_not_wait_for_the_connect_timeout() {
        let server = Server::start(|_: &Seen| Script(b"HTTP/1.1 200".to_vec(), Then::Stall)).await;
        let begun = Instant::now();
        let error = send(&impatient(), &server).await.unwrap_err();
        assert_eq!(error.kind(), &HttpErrorKind::Stalled);
        assert_eq!(error.to_string(), "no byte came for 0.05 s");
        assert!(begun.elapsed() < ClientConfig::for_tests().connect_timeout);
    }

    #[tokio::test]
    async fn a_refused_connection_is_told_once() {
        let server = Server::start(|_: &Seen| unreachable!()).await;
        let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/x?sig=secret", dead.local_addr().unwrap());
        drop((dead, server));
        let to = Location::parse(&url).unwrap();
        let hop = Hop {
            method: &Method::GET,
            to: &to,
            fields: &HeaderMap::new(),
            permit: Permit::default(),
            stall: Duration::from_secs(5),
        };
        let error = client().send(&hop).await.unwrap_err();
        assert_eq!(error.kind(), &HttpErrorKind::Connect);
        let text = error.to_string();
        assert_eq!(text.matches("refused").count(), 1, "{text}");
        assert!(!text.contains("secret"), "{text}");
    }

    #[tokio::test]
    async fn a_tls_handshake_that_never_ends_is_a_connect_timeout() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = Location::parse(&format!("https://{}/x", listener.local_addr().unwrap())).unwrap();
        let client = Client::new(&ClientConfig {
            connect_timeout: Duration::from_millis(50),
            ..ClientConfig::for_tests()
        })
        .unwrap();
        let hop = Hop {
            method: &Method::GET,
            to: &to,
            fields: &HeaderMap::new(),
            permit: Permit::default(),
            stall: Duration::from_secs(60),
        };
        let error = client.send(&hop).await.unwrap_err();
        assert_eq!(error.kind(), &HttpErrorKind::Timeout, "{error}");
    }

    #[test]
    fn unusable_settings_are_named_without_their_secrets() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let empty = || Some(file.path().to_owned());
        let missing = || Some(PathBuf::from("/nonexistent/x.pem"));
        let base = ClientConfig::for_tests;
        let cases = [
            (
                ClientConfig {
                    ca_certificate: empty(),
                    ..base()
                },
                "no certificates in",
            ),
            (
                ClientConfig {
                    ca_certificate: missing(),
                    ..base()
                },
                "cannot read /nonexistent/x.pem",
            ),
            (
                ClientConfig {
                    client_certificate: empty(),
                    ..base()
                },
                "no client certificate",
            ),
            (
                ClientConfig {
                    client_key: empty(),
                    ..base()
                },
                "needs a client certificate",
            ),
            (
                ClientConfig {
                    user_agent: Some("a\nb".to_owned()),
                    ..base()
                },
                "the user agent",
            ),
            (
                ClientConfig {
                    proxy: Some("http://u:secret@:x".to_owned()),
                    no_proxy: false,
                    ..base()
                },
                "the proxy's URL",
            ),
        ];
        for (config, expected) in cases {
            let error = Client::new(&config).unwrap_err();
            assert_eq!(error.kind(), &HttpErrorKind::Configuration);
            let text = error.to_string();
            assert!(
                text.contains(expected) && !text.contains("secret"),
                "{text}"
            );
        }
    }
}
