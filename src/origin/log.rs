//! The log of requests and answers.

use hyper::header::{
    AUTHORIZATION, HOST, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_UNMODIFIED_SINCE, RANGE,
};
use hyper::http::request;
use tokio::sync::watch;

/// One request and its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Logged {
    /// The number of the request's connection, from 0.
    pub connection: u64,
    /// The method.
    pub method: String,
    /// The path with the query.
    pub path: String,
    /// `Range`.
    pub range: Option<String>,
    /// `If-Match`.
    pub if_match: Option<String>,
    /// `If-Unmodified-Since`.
    pub if_unmodified_since: Option<String>,
    /// `If-None-Match`.
    pub if_none_match: Option<String>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<String>,
    /// `Authorization`.
    pub authorization: Option<String>,
    /// `Host`.
    pub host: Option<String>,
    /// All headers in the order of arrival, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// The status of the answer.
    pub status: u16,
    /// The bytes of the object in a 206, half open; `None` for another status or a list of ranges.
    pub asked: Option<(u64, u64)>,
    /// The length of the answer's body in bytes.
    pub body_bytes_asked: u64,
    /// Body bytes sent so far.
    pub body_bytes_sent: u64,
}

impl Logged {
    pub(super) fn new(connection: u64, request: &request::Parts) -> Self {
        let value = |name: HeaderName| {
            let value = request.headers.get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let headers = request.headers.iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        });
        Self {
            connection,
            method: request.method.to_string(),
            path: request.uri.to_string(),
            range: value(RANGE),
            if_match: value(IF_MATCH),
            if_unmodified_since: value(IF_UNMODIFIED_SINCE),
            if_none_match: value(IF_NONE_MATCH),
            if_modified_since: value(IF_MODIFIED_SINCE),
            authorization: value(AUTHORIZATION),
            host: value(HOST),
            headers: headers.collect(),
            ..Self::default()
        }
    }
}

/// The log of requests. It only grows, so an entry keeps its index.
pub(super) struct Log {
    // A watch and not a mutex, so a test can await a state.
    entries: watch::Sender<Vec<Logged>>,
}

impl Log {
    pub(super) fn new() -> Self {
        Self {
            entries: watch::Sender::new(Vec::new()),
        }
    }

    /// Adds an entry and returns its index.
    pub(super) fn add(&self, entry: Logged) -> usize {
        let mut index = 0;
        self.entries.send_modify(|entries| {
            index = entries.len();
            entries.push(entry);
        });
        index
    }

    pub(super) fn sent(&self, index: usize, bytes: u64) {
        self.entries
            .send_modify(|entries| entries[index].body_bytes_sent += bytes);
    }

    pub(super) fn entries(&self) -> Vec<Logged> {
        self.entries.borrow().clone()
    }

    pub(super) async fn wait_for(&self, mut reached: impl FnMut(&[Logged]) -> bool) -> Vec<Logged> {
        let mut entries = self.entries.subscribe();
        match entries.wait_for(|entries| reached(entries)).await {
            Ok(entries) => entries.clone(),
            // The sender is in self and outlives this wait.
            Err(_) => self.entries(),
        }
    }
}
