//! The URL of an object, its origin, and the target of its redirects.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use percent_encoding::percent_decode_str;
use reqwest::Url;

use super::error::HttpError;
use super::escape::{escape, is_hidden};
use super::expiry::expiry;

/// The longest file name taken from a URL, in bytes: with `.part.ckpt` and a temporary suffix it
/// stays below the file systems' limit of 255.
const LONGEST_NAME: usize = 240;

/// The longest extension that a cut name keeps, in bytes, its dot included.
const LONGEST_EXTENSION: usize = 16;

/// The extension of an archive that is compressed as a whole is of two parts, as in `.tar.gz`.
const ARCHIVE: &str = ".tar";

/// The URL of an object, the URL for its metadata, and the last target of its redirects.
///
/// Cheap to clone; all clones are the same source. The target of a redirect is only kept in memory.
#[derive(Clone)]
pub(crate) struct Source {
    inner: Arc<Inner>,
}

struct Inner {
    /// The origin that headers, user and token were given for.
    home: WebOrigin,
    head: Option<Location>,
    /// Locked briefly and never over an await; a poisoned lock leaves consistent data.
    state: Mutex<State>,
}

struct State {
    given: Location,
    // INVARIANT: the target of the redirects of `given`.
    target: Option<Location>,
    /// The URLs that `given` replaced.
    former: Vec<Location>,
}

/// Scheme, host and port (RFC 6454).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WebOrigin(String);

/// A URL without user information and fragment, and the user information taken from it.
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

/// The start of a request.
pub(super) struct Start {
    pub(super) home: WebOrigin,
    /// The URL as given.
    pub(super) given: Location,
    /// The last target of its redirects.
    pub(super) target: Option<Location>,
}

impl Source {
    /// A source that receives the client's headers, user and token.
    ///
    /// # Errors
    ///
    /// `Configuration` if a URL is not `http://` or `https://` with a host.
    pub(crate) fn new(url: &str, head_url: Option<&str>) -> Result<Self, HttpError> {
        let given = Location::parse(url)?;
        let head = head_url.map(Location::parse).transpose()?;
        Ok(Self::build(given.origin(), given, head))
    }

    /// Another source of the same object. The client's headers, user and token still go only to the
    /// origin of `self`; user information in the mirror's URL goes to the mirror.
    ///
    /// # Errors
    ///
    /// The errors of [`new`](Self::new).
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
            former: Vec::new(),
        });
        Self {
            inner: Arc::new(Inner { home, head, state }),
        }
    }

    /// The URL for display: without user information, query and fragment, control characters
    /// escaped.
    pub(crate) fn shown(&self) -> String {
        self.state().given.shown()
    }

    /// The URL as given, with its query. Only for the caller's refresh command.
    pub(crate) fn given_url(&self) -> String {
        self.state().given.url.to_string()
    }

    /// The origin as `scheme://host`, with the port unless it is the scheme's default.
    pub(crate) fn origin(&self) -> String {
        self.state().given.origin().to_string()
    }

    /// The path, percent-encoded as it is sent.
    pub(crate) fn path(&self) -> String {
        self.state().given.url.path().to_owned()
    }

    /// The URL as `scheme://host:port/path`, for a keyed hash. Two URLs that differ only in their
    /// signature give the same text.
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

    /// Whether there is a URL of its own for the metadata.
    pub(crate) fn has_head_url(&self) -> bool {
        self.inner.head.is_some()
    }

    /// Whether the URL has a query, which may be a signature.
    pub(crate) fn has_query(&self) -> bool {
        self.state().given.url.query().is_some()
    }

    /// The query as text, for a keyed hash; empty where there is none.
    pub(crate) fn query_text(&self) -> String {
        self.state().given.query_text().to_owned()
    }

    /// Whether `is` holds for the query of this URL, or of one that it replaced.
    pub(crate) fn any_query(&self, is: impl Fn(&str) -> bool) -> bool {
        let state = self.state();
        let mut all = std::iter::once(&state.given).chain(&state.former);
        all.any(|location| is(location.query_text()))
    }

    /// When the URL expires, where its query tells that.
    pub(crate) fn expiry(&self) -> Option<SystemTime> {
        expiry(&self.state().given.url)
    }

    /// The last segment of the path, percent-decoded, as a safe file name of at most 240 bytes.
    /// A longer one is cut before its extension. `None` if nothing is left of it.
    pub(crate) fn file_name(&self) -> Option<String> {
        let state = self.state();
        safe_name(state.given.url.path_segments()?.next_back()?)
    }

    /// The same object under the URL that a refresh returned. Headers, user and token still go only
    /// to the origin that they were given for.
    ///
    /// # Errors
    ///
    /// The errors of [`new`](Self::new).
    pub(crate) fn refreshed(&self, url: &str) -> Result<Self, HttpError> {
        let given = Location::parse(url)?;
        let Inner { home, head, .. } = &*self.inner;
        Ok(Self::build(home.clone(), given, head.clone()))
    }

    /// Takes the URL of `fresh`, for all clones, in place of its own.
    pub(crate) fn take_url_of(&self, fresh: &Self) {
        let given = fresh.state().given.clone();
        let mut state = self.state();
        let former = std::mem::replace(&mut state.given, given);
        state.former.push(former);
        state.target = None;
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

    /// Remembers the target of the redirects of `given`, if `given` is the object's URL.
    pub(super) fn remember_target(&self, given: &Location, target: Location) {
        let mut state = self.state();
        if state.given == *given {
            state.target = Some(target);
        }
    }

    /// Forgets this target, unless another request has resolved a newer one.
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
    /// `Configuration`. The text repeats nothing of the URL.
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
            // The text before a later `://` may contain a secret.
            let plausible = scheme.len() <= 12 && scheme.bytes().all(|b| b.is_ascii_alphanumeric());
            return Err(wrong(&if plausible {
                format!("found the scheme `{scheme}`")
            } else {
                "found another scheme".to_owned()
            }));
        }
        // The parser would use the first path segment as a missing host.
        if rest.is_empty() || rest.starts_with(['/', '\\', '?', '#', ':']) {
            return Err(wrong("found no host"));
        }
        let url = Url::parse(text).map_err(|error| wrong(&format!("found: {error}")))?;
        Ok(Self::from_url(url))
    }

    /// Removes user information and fragment from an http or https URL.
    pub(super) fn from_url(mut url: Url) -> Self {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let user = (!url.username().is_empty() || url.password().is_some()).then(|| UserInfo {
            name: decoded(url.username()),
            password: url.password().map(decoded),
        });
        url.set_fragment(None);
        // These fail only for a URL without a host, which http and https don't allow.
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

    fn query_text(&self) -> &str {
        self.url.query().unwrap_or_default()
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

/// A safe file name: no path, not hidden, no control characters, no drive letter.
fn safe_name(segment: &str) -> Option<String> {
    let decoded = percent_decode_str(segment).decode_utf8_lossy();
    // Folders before an encoded separator are dropped, like the folders of a path.
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
    if name.len() > LONGEST_NAME {
        let extension = extension(&name).to_owned();
        let mut end = LONGEST_NAME - extension.len();
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
        name.push_str(&extension);
    }
    Some(name)
}

/// The extension of a file name, its dot included; empty where there is none, or where it is too
/// long to be one.
fn extension(name: &str) -> &str {
    let Some(dot) = name.rfind('.') else {
        return "";
    };
    let from = match name[..dot].rfind('.') {
        Some(before) if name[before..dot].eq_ignore_ascii_case(ARCHIVE) => before,
        _ => dot,
    };
    match &name[from..] {
        "." => "",
        extension if extension.len() <= LONGEST_EXTENSION => extension,
        _ => "",
    }
}

#[cfg(test)]
mod tests;
