//! Where an object is fetched from.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use percent_encoding::percent_decode_str;
use reqwest::Url;

use super::error::HttpError;
use super::escape::{escape, is_hidden};

/// The longest file name taken from a URL, in bytes: with `.part.ckpt` and a temporary suffix it stays below
/// the 255 that file systems allow.
const LONGEST_NAME: usize = 240;

/// The URL of an object, the one that its metadata is asked from, and where its redirects led to the last time.
///
/// Cheap to clone; all clones are the same source. The target of a redirect lives in memory alone.
#[derive(Clone)]
pub(crate) struct Source {
    inner: Arc<Inner>,
}

struct Inner {
    /// The origin that headers, user and token were given for.
    home: WebOrigin,
    head: Option<Location>,
    /// A short critical section without an await; a poisoned lock holds nothing half-done.
    state: Mutex<State>,
}

struct State {
    given: Location,
    // INVARIANT: where the redirects of `given` led to.
    target: Option<Location>,
}

/// Scheme, host and port (RFC 6454).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WebOrigin(String);

/// A URL without user information and fragment, and that user information.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location {
    url: Url,
    user: Option<UserInfo>,
}

/// `user:password`, percent-decoded.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct UserInfo {
    pub(super) name: String,
    pub(super) password: Option<String>,
}

/// Which of a source's URLs a request goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Metadata,
    Object,
}

/// Where a request begins.
pub(super) struct Start {
    pub(super) home: WebOrigin,
    /// The URL as it was given.
    pub(super) given: Location,
    /// Where its redirects led to the last time.
    pub(super) target: Option<Location>,
}

impl Source {
    /// A source that headers, user and token of the client are meant for.
    ///
    /// # Errors
    ///
    /// `Configuration` where a URL is not `http://` or `https://` with a host.
    pub(crate) fn new(url: &str, head_url: Option<&str>) -> Result<Self, HttpError> {
        let given = Location::parse(url)?;
        let head = head_url.map(Location::parse).transpose()?;
        Ok(Self::build(given.origin(), given, head))
    }

    /// Another source of the same object. Headers, user and token of the client stay with the origin of `self`;
    /// user information in the mirror's own URL is the mirror's.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub(crate) fn mirror(&self, url: &str) -> Result<Self, HttpError> {
        Ok(Self::build(
            self.inner.home.clone(),
            Location::parse(url)?,
            None,
        ))
    }

    /// Whether both are clones of one source.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    fn build(home: WebOrigin, given: Location, head: Option<Location>) -> Self {
        let state = Mutex::new(State {
            given,
            target: None,
        });
        Self {
            inner: Arc::new(Inner { home, head, state }),
        }
    }

    /// The URL for people: no user information, query or fragment, control characters escaped.
    pub(crate) fn shown(&self) -> String {
        self.state().given.shown()
    }

    /// The URL as it was given, its query included: for the caller's own refresh command alone.
    pub(crate) fn given_url(&self) -> String {
        self.state().given.url.to_string()
    }

    /// `scheme://host`, and the port where it is not the scheme's own.
    pub(crate) fn origin(&self) -> String {
        self.state().given.origin().to_string()
    }

    /// The path, percent-encoded as it is sent.
    pub(crate) fn path(&self) -> String {
        self.state().given.url.path().to_owned()
    }

    /// `scheme://host:port/path`, for a keyed hash: two URLs of one object that differ in their signature
    /// alone agree in it.
    pub(crate) fn key_text(&self) -> String {
        let state = self.state();
        let url = &state.given.url;
        format!(
            "{}://{}:{}{}",
            url.scheme(),
            url.host_str().unwrap_or_default(),
            url.port_or_known_default().unwrap_or_default(),
            url.path()
        )
    }

    /// The last segment of the path, percent-decoded, as a harmless file name of at most 240 bytes.
    /// `None` where nothing is left of it.
    pub(crate) fn file_name(&self) -> Option<String> {
        let state = self.state();
        safe_name(state.given.url.path_segments()?.next_back()?)
    }

    /// The same object under another URL, as a refresh of an expired one gives it. Headers, user and token stay with
    /// the origin that they were given for.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub(crate) fn refreshed(&self, url: &str) -> Result<Self, HttpError> {
        let given = Location::parse(url)?;
        let Inner { home, head, .. } = &*self.inner;
        Ok(Self::build(home.clone(), given, head.clone()))
    }

    pub(super) fn start(&self, endpoint: Endpoint) -> Start {
        let home = self.inner.home.clone();
        if let (Endpoint::Metadata, Some(head)) = (endpoint, &self.inner.head) {
            return Start {
                home,
                given: head.clone(),
                target: None,
            };
        }
        let state = self.state();
        Start {
            home,
            given: state.given.clone(),
            target: state.target.clone(),
        }
    }

    /// Keeps where the redirects of `given` led to, unless that is not, or no longer, the object's URL.
    pub(super) fn remember_target(&self, given: &Location, target: Location) {
        let mut state = self.state();
        if state.given == *given {
            state.target = Some(target);
        }
    }

    /// Forgets this target, unless another request has resolved a newer one meanwhile.
    pub(super) fn forget_this_target(&self, target: &Location) {
        let mut state = self.state();
        if state.target.as_ref() == Some(target) {
            state.target = None;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.shown()).finish()
    }
}

impl fmt::Display for WebOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Location {
    /// # Errors
    ///
    /// `Configuration`, with a text that says what is expected and repeats nothing of the URL.
    pub(super) fn parse(text: &str) -> Result<Self, HttpError> {
        let wrong = |why: &str| {
            HttpError::configuration(format!(
                "not a URL that can be downloaded: expected http://host/path or https://host/path, {why}"
            ))
        };
        if text.trim() != text || text.chars().any(is_hidden) {
            return Err(wrong("found white space around it or a control character"));
        }
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| wrong("found no `://`"))?;
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            // What stands before a later `://` may be anything, a secret too.
            let plausible = scheme.len() <= 12 && scheme.bytes().all(|b| b.is_ascii_alphanumeric());
            return Err(wrong(&if plausible {
                format!("found the scheme `{scheme}`")
            } else {
                "found another scheme".to_owned()
            }));
        }
        // The parser would take the first segment of the path for a missing host.
        if rest.is_empty() || rest.starts_with(['/', '\\', '?', '#', ':']) {
            return Err(wrong("found no host"));
        }
        let url = Url::parse(text).map_err(|error| wrong(&format!("found: {error}")))?;
        Ok(Self::from_url(url))
    }

    /// Takes user information and fragment out of a URL of scheme http or https.
    pub(super) fn from_url(mut url: Url) -> Self {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let user = (!url.username().is_empty() || url.password().is_some()).then(|| UserInfo {
            name: decoded(url.username()),
            password: url.password().map(decoded),
        });
        url.set_fragment(None);
        // These fail for a URL without a host alone, which http and https don't allow.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        Self { url, user }
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    pub(super) fn user(&self) -> Option<&UserInfo> {
        self.user.as_ref()
    }

    pub(super) fn origin(&self) -> WebOrigin {
        WebOrigin(self.url.origin().ascii_serialization())
    }

    pub(super) fn shown(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        escape(url.as_str())
    }
}

impl fmt::Debug for UserInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserInfo(..)")
    }
}

/// A file name that leads nowhere else, hides nothing and is no other system's device or drive.
fn safe_name(segment: &str) -> Option<String> {
    let decoded = percent_decode_str(segment).decode_utf8_lossy();
    // What an encoded separator leads through is dropped, as a path's folders are.
    let last = decoded.rsplit(['/', '\\']).next()?;
    let mut name: String = last
        .trim()
        .chars()
        .map(|c| if is_hidden(c) || c == ':' { '_' } else { c })
        .collect();
    if name.chars().all(|c| c == '.') {
        return None;
    }
    if name.starts_with('.') {
        name.replace_range(..1, "_");
    }
    let mut end = name.len().min(LONGEST_NAME);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.truncate(end);
    Some(name)
}

#[cfg(test)]
mod tests;
