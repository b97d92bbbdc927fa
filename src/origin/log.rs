//! What the origin was asked, and how it answered.

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
    /// The number of the connection that it came on, from 0.
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
    /// Every header, with names in lower case, in the order in which they came.
    pub headers: Vec<(String, String)>,
    /// The status of the answer.
    pub status: u16,
    /// The bytes of the object that a 206 carries, half open; none for another status or a list of ranges.
    pub asked: Option<(u64, u64)>,
    /// Bytes in the body of the answer, were it read to its end.
    pub body_bytes_asked: u64,
    /// Bytes of it that were sent so far.
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

/// The log. It only grows, so that an entry's index stays its name.
pub(super) struct Log {
    // A watch and not a mutex, so that a test can await a state instead of sleeping.
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
            // The sender lives in self and so outlives this wait.
            Err(_) => self.entries(),
        }
    }
}
