//! The sources of an error of the HTTP client below.

use std::error::Error as StdError;
use std::io;

use super::resolve::ResolveError;
use super::trust;

/// The texts and kinds of an error's sources.
pub(super) struct Causes {
    pub(super) text: String,
    pub(super) io: Vec<io::ErrorKind>,
    pub(super) unresolved: Option<bool>,
    pub(super) incomplete: bool,
    pub(super) parse: bool,
    pub(super) alert: bool,
    pub(super) proxy_authorization: bool,
    /// What is wrong with the server's certificate.
    pub(super) certificate: Option<String>,
}

impl Causes {
    pub(super) fn of(error: &reqwest::Error) -> Self {
        let mut causes = Self {
            text: String::new(),
            io: Vec::new(),
            unresolved: None,
            incomplete: false,
            parse: false,
            alert: false,
            proxy_authorization: false,
            certificate: None,
        };
        let mut said: Vec<String> = Vec::new();
        // The outermost error only says that the request failed, and may contain the URL: skip it.
        let mut next = error.source();
        while let Some(cause) = next {
            causes.note(cause);
            said.push(cause.to_string());
            next = inner(cause);
        }
        // Wrappers repeat the text of what they wrap, before or after their own.
        let mut told: Vec<&str> = Vec::new();
        for (position, text) in said.iter().enumerate() {
            let repeated = said[position + 1..].iter().any(|later| later == text)
                || told.iter().any(|earlier| earlier.contains(text.as_str()));
            let says_nothing = text.starts_with("client error (")
                || text == "dns error"
                || text == "error resolving DNS";
            if !repeated && !says_nothing {
                told.push(text);
            }
        }
        causes.text = if told.is_empty() {
            "unknown cause".to_owned()
        } else {
            told.join(": ")
        };
        causes
    }

    fn note(&mut self, cause: &(dyn StdError + 'static)) {
        if let Some(resolve) = cause.downcast_ref::<ResolveError>() {
            self.unresolved = Some(resolve.is_temporary());
        }
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            self.io.push(io.kind());
        }
        if let Some(rustls::Error::InvalidCertificate(why)) = cause.downcast_ref() {
            self.certificate = Some(trust::explain(why));
        }
        if let Some(http) = cause.downcast_ref::<hyper::Error>() {
            self.incomplete |= http.is_incomplete_message();
            self.parse |= http.is_parse();
        }
        // These types are private or of a crate that is no dependency: only the text identifies
        // them.
        let text = cause.to_string();
        self.alert |= text.contains("fatal alert") || text.contains("certificate");
        self.proxy_authorization |= text.contains("proxy authorization required");
    }

    pub(super) fn io(&self, predicate: impl Fn(io::ErrorKind) -> bool) -> bool {
        self.io.iter().copied().any(predicate)
    }
}

/// The source of an error. `io::Error::source` skips the error that it wraps.
fn inner<'a>(cause: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match cause.downcast_ref::<io::Error>() {
        Some(io) => io
            .get_ref()
            .map(|wrapped| wrapped as &(dyn StdError + 'static)),
        None => cause.source(),
    }
}
