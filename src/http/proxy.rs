//! Which proxy a request goes through: the caller's or the environment's, and what goes through
//! none.

use std::ffi::OsString;
use std::net::IpAddr;

use ipnet::IpNet;
use reqwest::{Proxy, Url};

use super::config::ClientConfig;
use super::error::{HttpError, HttpErrorKind};
use super::escape::is_hidden;

const SCHEMES: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];

const EXPECTED: &str = "expected http://, https:// or socks5:// with host and port";

/// The proxies of a client.
#[derive(Clone, Debug, Default)]
pub(super) struct Proxies {
    http: Option<Url>,
    https: Option<Url>,
    exceptions: Vec<Exception>,
}

/// What goes through no proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Exception {
    host: Host,
    /// `None` for every port.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Any,
    Network(IpNet),
    /// A domain and all below it, in lower case.
    Domain(String),
}

impl Proxies {
    /// # Errors
    ///
    /// `Configuration` for a proxy that can't be used. The text names the variable of the
    /// environment, and repeats nothing of the value.
    pub(super) fn new(
        config: &ClientConfig,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, HttpError> {
        if config.no_proxy {
            return Ok(Self::default());
        }
        let value = |name: &str| {
            let value = environment(name).filter(|value| !value.is_empty())?;
            Some(value.to_string_lossy().into_owned())
        };
        let (http, https) = match &config.proxy {
            Some(given) => {
                let url = parse(given).ok_or_else(|| {
                    HttpError::configuration(format!("the proxy's URL can't be used: {EXPECTED}"))
                })?;
                (Some(url.clone()), Some(url))
            }
            None => of_environment(value)?,
        };
        let exceptions = ["no_proxy", "NO_PROXY"].into_iter().find_map(value);
        Ok(Self {
            http,
            https,
            exceptions: exceptions.map_or_else(Vec::new, |list| exceptions_in(&list)),
        })
    }

    /// The proxy for requests to this URL; `None` where they go to the server itself.
    pub(super) fn of(&self, url: &Url) -> Option<&Url> {
        let proxy = match url.scheme() {
            "https" => self.https.as_ref(),
            _ => self.http.as_ref(),
        }?;
        let is_exempt = self.exceptions.iter().any(|exception| exception.holds(url));
        (!is_exempt).then_some(proxy)
    }

    /// In the form of the client.
    pub(super) fn rule(&self) -> Proxy {
        let proxies = self.clone();
        Proxy::custom(move |url| proxies.of(url).cloned())
    }

    /// The error of a request to this URL. One of connecting names the proxy that it goes through.
    pub(super) fn blame(&self, url: &Url, error: HttpError) -> HttpError {
        let is_of_connecting = matches!(
            error.kind(),
            HttpErrorKind::Connect
                | HttpErrorKind::Unreachable
                | HttpErrorKind::Resolve { .. }
                | HttpErrorKind::Timeout
        );
        match self.of(url) {
            Some(proxy) if is_of_connecting => error.by(&format!("the proxy {}", shown(proxy))),
            _ => error,
        }
    }
}

/// The proxies for http and https. A name in lower case counts before one in upper case.
fn of_environment(
    value: impl Fn(&str) -> Option<String>,
) -> Result<(Option<Url>, Option<Url>), HttpError> {
    // A CGI program gets the request's header `Proxy` as `HTTP_PROXY`, and anybody may send one.
    let is_cgi = value("REQUEST_METHOD").is_some();
    let named = |names: &[&str]| {
        let mut names = names.iter();
        let found = names.find_map(|name| Some((*name, value(name)?)));
        let parsed = found.map(|(name, text)| {
            parse(&text).ok_or_else(|| {
                HttpError::configuration(format!(
                    "the proxy in the environment variable `{name}` can't be used: {EXPECTED}"
                ))
            })
        });
        parsed.transpose()
    };
    let http = match is_cgi {
        true => named(&["http_proxy"])?,
        false => named(&["http_proxy", "HTTP_PROXY"])?,
    };
    let https = named(&["https_proxy", "HTTPS_PROXY"])?;
    let all = || named(&["all_proxy", "ALL_PROXY"]);
    Ok(match (http, https) {
        (Some(http), Some(https)) => (Some(http), Some(https)),
        (http, https) => {
            let all = all()?;
            (http.or_else(|| all.clone()), https.or(all))
        }
    })
}

/// A proxy's URL; `None` for one that can't be used. GNOME writes `socks://`.
fn parse(text: &str) -> Option<Url> {
    if text.chars().any(|c| c.is_whitespace() || is_hidden(c)) {
        return None;
    }
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let scheme = match scheme.to_ascii_lowercase() {
        socks if socks == "socks" => "socks5".to_owned(),
        scheme if SCHEMES.contains(&scheme.as_str()) => scheme,
        _ => return None,
    };
    let url = Url::parse(&format!("{scheme}://{rest}")).ok()?;
    let has_host = url.host_str().is_some_and(|host| !host.is_empty());
    (has_host && Proxy::all(url.clone()).is_ok()).then_some(url)
}

/// Without user information and path.
fn shown(proxy: &Url) -> String {
    let host = proxy.host_str().unwrap_or_default();
    let port = proxy
        .port()
        .map_or_else(String::new, |port| format!(":{port}"));
    format!("{}://{host}{port}", proxy.scheme())
}

/// What a list as in `no_proxy` names.
fn exceptions_in(list: &str) -> Vec<Exception> {
    let entries = list.split(|c: char| c == ',' || c.is_whitespace());
    entries
        .filter(|entry| !entry.is_empty())
        .map(Exception::parse)
        .collect()
}

impl Exception {
    fn parse(entry: &str) -> Self {
        if entry == "*" {
            return Self {
                host: Host::Any,
                port: None,
            };
        }
        // An IPv6 address has colons of its own.
        let (host, port) = match (network(entry), entry.rsplit_once(':')) {
            (None, Some((host, port))) => match port.parse() {
                Ok(port) => (host, Some(port)),
                Err(_) => (entry, None),
            },
            _ => (entry, None),
        };
        let host = match network(host) {
            Some(network) => Host::Network(network),
            None => Host::Domain(host.trim_matches('.').to_ascii_lowercase()),
        };
        Self { host, port }
    }

    fn holds(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        let is_its_port = self
            .port
            .is_none_or(|port| url.port_or_known_default() == Some(port));
        is_its_port
            && match &self.host {
                Host::Any => true,
                Host::Network(network) => {
                    address(host).is_some_and(|address| network.contains(&address))
                }
                Host::Domain(domain) => {
                    let host = host.trim_end_matches('.');
                    let above = host.strip_suffix(domain.as_str());
                    !domain.is_empty()
                        && above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
                }
            }
    }
}

fn address(host: &str) -> Option<IpAddr> {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    bare.unwrap_or(host).parse().ok()
}

fn network(text: &str) -> Option<IpNet> {
    let alone = address(text).map(IpNet::from);
    alone.or_else(|| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(given: Option<&str>, environment: &[(&str, &str)]) -> Result<Proxies, HttpError> {
        let config = ClientConfig {
            proxy: given.map(str::to_owned),
            ..ClientConfig::default()
        };
        Proxies::new(&config, |name| {
            let found = environment.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.into())
        })
    }

    fn of(proxies: &Proxies, url: &str) -> Option<String> {
        proxies.of(&Url::parse(url).unwrap()).map(shown)
    }

    #[test]
    fn an_error_of_connecting_names_the_proxy_and_another_does_not() {
        let proxies = proxies(Some("http://user:SECRET@p:3128"), &[]).unwrap();
        let url = Url::parse("http://h/x").unwrap();
        for (kind, is_named) in [
            (HttpErrorKind::Connect, true),
            (HttpErrorKind::Unreachable, true),
            (HttpErrorKind::Timeout, true),
            (HttpErrorKind::Resolve { temporary: true }, true),
            (HttpErrorKind::Stalled, false),
        ] {
            let text = proxies.blame(&url, HttpError::new(kind, "why")).to_string();
            assert_eq!(text.contains("the proxy http://p:3128"), is_named, "{text}");
            assert!(!text.contains("SECRET"), "{text}");
        }
    }

    #[test]
    fn the_environment_names_proxies() {
        let found = proxies(
            None,
            &[
                ("http_proxy", "me:SECRET@one:1"),
                ("HTTP_PROXY", "http://other"),
                ("ALL_PROXY", "socks://127.0.0.1:3/"),
            ],
        );
        let found = found.unwrap();
        assert_eq!(of(&found, "http://h/").unwrap(), "http://one:1");
        assert_eq!(of(&found, "https://h/").unwrap(), "socks5://127.0.0.1:3");
        let cgi = [("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "http://evil")];
        assert_eq!(of(&proxies(None, &cgi).unwrap(), "http://h/"), None);
        let empty = [("all_proxy", ""), ("ALL_PROXY", "http://two")];
        let found = proxies(None, &empty).unwrap();
        assert_eq!(of(&found, "http://h/").unwrap(), "http://two");
    }

    #[test]
    fn what_is_no_proxy_is_named_and_not_repeated() {
        for value in [
            "ftp://me:SECRET@h",
            "http://SECRET h",
            "http://",
            "://SECRET",
        ] {
            for name in ["http_proxy", "HTTPS_PROXY", "all_proxy"] {
                let error = proxies(None, &[(name, value)]).unwrap_err().to_string();
                assert!(error.contains(&format!("`{name}`")), "{error}");
                assert!(!error.contains("SECRET"), "{error}");
            }
            let error = proxies(Some(value), &[]).unwrap_err().to_string();
            assert!(error.contains("the proxy's URL"), "{error}");
        }
    }

    #[test]
    fn exceptions_hold_for_every_proxy() {
        let is_direct = |list: &str, url: &str| {
            let environment = [("NO_PROXY", list)];
            let found = proxies(Some("http://proxy:1"), &environment).unwrap();
            of(&found, url).is_none()
        };
        for (list, url, expected) in [
            ("*", "http://h/", true),
            ("*", "http://127.0.0.1:8080/", true),
            ("*", "https://[::1]/", true),
            ("", "http://h/", false),
            ("a.org, b.org", "http://B.org/", true),
            (".a.org", "http://a.org/", true),
            ("a.org", "http://x.a.org/", true),
            ("a.org", "http://xa.org/", false),
            ("a.org:80", "http://a.org/", true),
            ("a.org:443", "http://a.org/", false),
            ("a.org:443", "https://a.org/", true),
            ("127.0.0.1", "http://127.0.0.1:9/", true),
            ("127.0.0.1:9", "http://127.0.0.1:9/", true),
            ("127.0.0.1:9", "http://127.0.0.1:8/", false),
            ("127.0.0.0/8", "http://127.1.2.3/", true),
            ("10.0.0.0/8", "http://127.1.2.3/", false),
            ("::1", "http://[::1]:9/", true),
            ("[::1]:9", "http://[::1]:9/", true),
            ("[::1]:9", "http://[::1]/", false),
        ] {
            assert_eq!(is_direct(list, url), expected, "{list} {url}");
        }
    }
}
