//! Errors of HTTP requests.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;

use super::causes::Causes;
use super::escape::escape;
use super::explanation::Explanation;
use crate::object::ByteRange;

/// What hyper says of a line that it can't read; only the text tells it from other causes.
const UNREADABLE_LINE: &str = "invalid HTTP header parsed";

/// A failed request: its kind, for the verdict, and a text without secrets, for people.
///
/// The text names neither the URL nor the method, which the caller knows. It names the origin if a
/// redirect led to another one.
#[derive(Clone, Debug)]
pub(crate) struct HttpError {
    kind: HttpErrorKind,
    // INVARIANT: escaped; without user information, query, fragment and header values of the user.
    text: String,
    // Boxed, which keeps the error below 128 bytes.
    reply: Box<OfReply>,
    retry_after: Option<Duration>,
    found_length: Option<u64>,
    // INVARIANT: without a URL, neither in `Display` nor in `Debug`.
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// What an error tells of the reply that is the failure.
#[derive(Clone, Debug, Default)]
struct OfReply {
    /// The origin that a redirect led to.
    origin: Option<String>,
    // INVARIANT: without secrets.
    explanation: Explanation,
}

/// The cause of a failed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HttpErrorKind {
    /// The caller's URL, header or certificate can't be used. Nothing was sent.
    Configuration,
    /// The host name could not be resolved; `temporary` if a retry may succeed.
    Resolve { temporary: bool },
    /// The connection could not be opened: refused, reset, closed in the handshake.
    Connect,
    /// There is no way to the server: no route, no address of this machine, no answer on the way.
    Unreachable,
    /// TLS failed: certificate, protocol version, alert.
    Tls,
    /// The connection was not open within the connect timeout, or died silently.
    Timeout,
    /// No byte arrived within the stall timeout.
    Stalled,
    /// The whole download is slower than the caller puts up with.
    TooSlow,
    /// A new connection was closed before the head of a reply.
    Closed,
    /// The connection broke in the middle of a reply.
    Transport,
    /// The body ended early. Lengths are in bytes.
    Short { expected: u64, found: u64 },
    /// A status that does not answer the request.
    Status(StatusCode),
    /// The server refused access: 401 or 403.
    Refused(StatusCode),
    /// A condition of the caller does not hold.
    PreconditionFailed,
    /// The server answered a range with 200 and a body that may be that range.
    Sliced,
    /// The server answered a range with the whole object, though others with ranges.
    NotRanged,
    /// 416 for a range that the object has, without the length that it has now.
    Unsatisfied,
    /// The object is not the pinned version.
    Changed(String),
    /// The reply violates HTTP.
    Protocol(String),
    /// The head of a reply can't be read; `line` if one of its fields is why.
    Unreadable { line: bool },
    /// A page or a message came in place of the object.
    Page(String),
    /// A content coding in which the object can't be fetched. The server will answer so again.
    Coding(String),
    /// A redirect that can't be followed.
    Redirect(String),
}

impl HttpError {
    pub(crate) fn kind(&self) -> &HttpErrorKind {
        &self.kind
    }

    /// Whether a line of the reply's head could not be read.
    pub(super) fn is_for_a_line(&self) -> bool {
        self.kind == HttpErrorKind::Unreadable { line: true }
    }

    /// The status of the reply that is the failure; `None` where no reply is.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self.kind {
            HttpErrorKind::Status(status) | HttpErrorKind::Refused(status) => Some(status),
            _ => None,
        }
    }

    /// The word by which the body of the reply names the cause, such as `ExpiredToken`.
    pub(crate) fn code(&self) -> Option<&str> {
        self.reply.explanation.code.as_deref()
    }

    /// The pause that `Retry-After` asked for, clamped by
    /// [`parse_retry_after`](super::retry::parse_retry_after).
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The length in bytes that the reply named, if only the length differs from the pinned
    /// version. HEAD may have named a wrong length; a probe by GET finds out.
    pub(crate) fn found_length(&self) -> Option<u64> {
        self.found_length
    }

    /// Whether this machine has no network, as far as the failure tells: no way to the server, or
    /// no answer of a name server.
    pub(crate) fn is_offline(&self) -> bool {
        matches!(
            self.kind,
            HttpErrorKind::Unreachable | HttpErrorKind::Resolve { temporary: true }
        )
    }

    /// Whether no server answered at all: it may not be there for a while.
    pub(crate) fn is_unanswered(&self) -> bool {
        let is_closed = matches!(
            self.kind,
            HttpErrorKind::Connect | HttpErrorKind::Closed | HttpErrorKind::Timeout
        );
        is_closed || self.is_offline()
    }

    /// Why the object has changed where the server says so by 412, and tells nothing of it.
    pub(super) const PRECONDITION: &str =
        "the server says that it is no longer the version asked for (412)";

    /// Whether the server refused the condition that tells the version (412).
    pub(crate) fn is_precondition(&self) -> bool {
        matches!(&self.kind, HttpErrorKind::Changed(why) if why == Self::PRECONDITION)
    }

    /// Whether the connection may be dead without a sign.
    pub(super) fn is_silence(&self) -> bool {
        matches!(self.kind, HttpErrorKind::Stalled | HttpErrorKind::Timeout)
    }

    pub(super) fn new(kind: HttpErrorKind, text: impl AsRef<str>) -> Self {
        Self {
            kind,
            text: escape(text.as_ref()),
            reply: Box::default(),
            retry_after: None,
            found_length: None,
            source: None,
        }
    }

    /// An error that a simulation scripts.
    #[cfg(test)]
    pub(crate) fn scripted(kind: HttpErrorKind, retry_after: Option<Duration>) -> Self {
        let text = format!("scripted: {kind:?}");
        Self {
            retry_after,
            ..Self::new(kind, text)
        }
    }

    pub(super) fn configuration(text: impl AsRef<str>) -> Self {
        Self::new(HttpErrorKind::Configuration, text)
    }

    pub(crate) fn protocol(why: impl AsRef<str>) -> Self {
        let why = escape(why.as_ref());
        Self::new(HttpErrorKind::Protocol(why.clone()), why)
    }

    /// A range was answered with the whole object, though others were with ranges.
    pub(crate) fn not_ranged(why: &str) -> Self {
        Self::new(HttpErrorKind::NotRanged, why)
    }

    pub(super) fn page(what: &str) -> Self {
        let why = format!("the server sends {what} in place of the object");
        Self::new(HttpErrorKind::Page(why.clone()), why)
    }

    pub(super) fn coding(why: impl AsRef<str>) -> Self {
        let why = escape(why.as_ref());
        Self::new(HttpErrorKind::Coding(why.clone()), why)
    }

    pub(super) fn redirect(why: impl AsRef<str>) -> Self {
        let why = escape(why.as_ref());
        Self::new(HttpErrorKind::Redirect(why.clone()), why)
    }

    pub(crate) fn changed(why: impl AsRef<str>) -> Self {
        let why = escape(why.as_ref());
        let text = format!("the object changed on the server: {why}");
        Self::new(HttpErrorKind::Changed(why), text)
    }

    /// An object that may be of another version: nothing tells.
    pub(crate) fn unproven(why: &str) -> Self {
        Self::new(HttpErrorKind::Changed(why.to_owned()), why)
    }

    pub(super) fn precondition_failed(why: &str) -> Self {
        Self::new(HttpErrorKind::PreconditionFailed, why)
    }

    pub(super) fn stalled(timeout: Duration) -> Self {
        Self::new(
            HttpErrorKind::Stalled,
            format!("no byte came for {} s", timeout.as_secs_f64()),
        )
    }

    /// A download that is slower than the caller puts up with, for so long.
    pub(crate) fn too_slow(bytes_per_second: u64, span: Duration) -> Self {
        Self::new(
            HttpErrorKind::TooSlow,
            format!(
                "slower than the lowest speed of {bytes_per_second} bytes a second for {} s",
                span.as_secs_f64()
            ),
        )
    }

    pub(super) fn short(expected: u64, found: u64) -> Self {
        Self::new(
            HttpErrorKind::Short { expected, found },
            format!("the body ended early: expected {expected} bytes, found {found}"),
        )
    }

    /// A range that was answered with 200 and a body that may be that range.
    pub(super) fn sliced() -> Self {
        Self::new(
            HttpErrorKind::Sliced,
            "200 with a body that may be the range that was asked for",
        )
    }

    /// A range of the object that was answered with 416.
    pub(super) fn unsatisfied(range: ByteRange) -> Self {
        Self::new(
            HttpErrorKind::Unsatisfied,
            format!("416 for the range {range}, without a length"),
        )
    }

    /// The error for a status that does not answer the request.
    pub(super) fn status_of(status: StatusCode, retry_after: Option<Duration>) -> Self {
        let text = match status.canonical_reason() {
            Some(reason) => format!("the server answered {} {reason}", status.as_str()),
            None => format!("the server answered {}", status.as_str()),
        };
        let kind = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => HttpErrorKind::Refused(status),
            _ if status.is_client_error() || status.is_server_error() => {
                HttpErrorKind::Status(status)
            }
            _ => HttpErrorKind::Protocol(text.clone()),
        };
        Self {
            retry_after,
            ..Self::new(kind, text)
        }
    }

    /// Keeps the error that caused this one, which must not show a URL.
    pub(super) fn with_source(self, source: impl StdError + Send + Sync + 'static) -> Self {
        Self {
            source: Some(Arc::new(source)),
            ..self
        }
    }

    /// With who failed before the text.
    pub(super) fn by(self, who: &str) -> Self {
        Self {
            text: format!("{}: {}", escape(who), self.text),
            ..self
        }
    }

    pub(super) fn with_kind(self, kind: HttpErrorKind) -> Self {
        Self { kind, ..self }
    }

    pub(super) fn with_found_length(self, found: u64) -> Self {
        Self {
            found_length: Some(found),
            ..self
        }
    }

    /// Adds the origin that a redirect led to, unless the error already names one.
    pub(super) fn at(mut self, origin: String) -> Self {
        self.reply.origin.get_or_insert(origin);
        self
    }

    /// Adds what the body of the reply says, if its status is the failure.
    pub(super) fn explained(mut self, explanation: &Explanation) -> Self {
        if self.status().is_some() {
            self.reply.explanation.clone_from(explanation);
        }
        self
    }

    /// The texts of an error's sources, each once, without the URL and without texts that say
    /// nothing.
    pub(super) fn causes(error: &reqwest::Error) -> String {
        Causes::of(error).text
    }

    /// The error of a request that failed before the head of its reply.
    pub(super) fn from_send(error: reqwest::Error) -> Self {
        let causes = Causes::of(&error);
        let failed = if error.is_connect() {
            Self::from_connect(&error, &causes)
        } else {
            Self::from_exchange(causes)
        };
        failed.with_source(error.without_url())
    }

    /// The error of a request that failed on an open connection.
    fn from_exchange(causes: Causes) -> Self {
        let kind = if causes.io(|kind| kind == io::ErrorKind::TimedOut) {
            HttpErrorKind::Timeout
        } else if causes.alert {
            HttpErrorKind::Tls
        } else if causes.parse {
            let line = causes.text.contains(UNREADABLE_LINE);
            HttpErrorKind::Unreadable { line }
        } else {
            HttpErrorKind::Closed
        };
        let text = match kind {
            HttpErrorKind::Closed => format!("closed before it answered: {}", causes.text),
            HttpErrorKind::Unreadable { .. } => format!("the reply can't be read: {}", causes.text),
            _ => causes.text,
        };
        Self::new(kind, text)
    }

    fn from_connect(error: &reqwest::Error, causes: &Causes) -> Self {
        if let Some(temporary) = causes.unresolved {
            return Self::new(HttpErrorKind::Resolve { temporary }, &causes.text);
        }
        if let Some(why) = &causes.certificate {
            let text = format!("the server's certificate can't be trusted: {why}");
            return Self::new(HttpErrorKind::Tls, text);
        }
        let kind = if causes.proxy_authorization {
            HttpErrorKind::Status(StatusCode::PROXY_AUTHENTICATION_REQUIRED)
        } else if error.is_timeout() {
            HttpErrorKind::Timeout
        } else if causes.io(is_unreachable) {
            HttpErrorKind::Unreachable
        } else if causes.io(|kind| kind == io::ErrorKind::InvalidData) {
            HttpErrorKind::Tls
        } else {
            HttpErrorKind::Connect
        };
        Self::new(kind, format!("could not connect: {}", causes.text))
    }

    /// Whether a body broke off because the connection ended without TLS's goodbye.
    pub(super) fn is_end_without_goodbye(error: &reqwest::Error) -> bool {
        Causes::of(error).io(|kind| kind == io::ErrorKind::UnexpectedEof)
    }

    /// The error of a body that broke off. `promised` is the length of the body and the number of
    /// bytes received.
    pub(super) fn from_body(error: reqwest::Error, promised: Option<(u64, u64)>) -> Self {
        let causes = Causes::of(&error);
        let is_early = causes.incomplete || causes.io(|kind| kind == io::ErrorKind::UnexpectedEof);
        let is_unreadable = causes.parse
            || causes.io(|kind| {
                matches!(
                    kind,
                    io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
                )
            });
        let failed = match promised {
            Some((expected, found)) if is_early => Self::short(expected, found),
            _ if is_unreadable && !is_early => {
                Self::protocol(format!("the body can't be read: {}", causes.text))
            }
            _ => Self::new(
                HttpErrorKind::Transport,
                format!("the connection broke: {}", causes.text),
            ),
        };
        failed.with_source(error.without_url())
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if let Some(line) = self.reply.explanation.line() {
            write!(f, ": {}", escape(&line))?;
        }
        match &self.reply.origin {
            Some(origin) => write!(f, " (redirected to {origin})"),
            None => Ok(()),
        }
    }
}

impl StdError for HttpError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

fn is_unreachable(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::AddrNotAvailable
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_have_their_kinds() {
        let kind = |status| HttpError::status_of(status, None).kind().clone();
        assert_eq!(
            kind(StatusCode::FORBIDDEN),
            HttpErrorKind::Refused(StatusCode::FORBIDDEN)
        );
        assert_eq!(
            kind(StatusCode::NOT_FOUND),
            HttpErrorKind::Status(StatusCode::NOT_FOUND)
        );
        assert!(matches!(
            kind(StatusCode::NO_CONTENT),
            HttpErrorKind::Protocol(_)
        ));
        let error = HttpError::status_of(StatusCode::BAD_GATEWAY, None);
        assert_eq!(error.to_string(), "the server answered 502 Bad Gateway");
    }

    #[test]
    fn texts_are_escaped_and_name_the_redirects_origin_once() {
        let error = HttpError::protocol("bad \x1b[0m field")
            .at("http://b".to_owned())
            .at("http://c".to_owned());
        assert_eq!(
            error.to_string(),
            "bad \\u{1b}[0m field (redirected to http://b)"
        );
    }
}
