//! Describes an origin before it starts.

use std::io;
use std::num::NonZeroU64;
use std::time::SystemTime;

use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};

use super::Origin;
use super::config::{Config, Etag, LengthPolicy, RangePolicy};
use super::object::Object;
use super::state::OriginState;

/// Describes an origin before it starts. Returned by [`Origin::builder`].
#[derive(Clone, Debug)]
pub struct Builder {
    object: Object,
    headers: Vec<(String, String)>,
    config: Config,
}

impl Origin {
    /// Begins to describe an origin that differs from what [`start`](Self::start) gives.
    #[must_use]
    pub fn builder(object: Object) -> Builder {
        Builder::new(object)
    }
}

impl Builder {
    fn new(object: Object) -> Self {
        Self {
            object,
            headers: Vec::new(),
            config: Config::default(),
        }
    }

    /// Sets the kind of entity tag. Default: [`Etag::Strong`].
    #[must_use]
    pub fn etag(mut self, etag: Etag) -> Self {
        self.config.etag = etag;
        self
    }

    /// Sets the modification date; `None` for no date. Default: 2024-01-01T00:00:00Z. Each
    /// replacement of the object adds an hour.
    #[must_use]
    pub fn last_modified(mut self, date: Option<SystemTime>) -> Self {
        self.config.modified = date;
        self
    }

    /// Ignores ranges: every answer is 200 with the whole object, without `Accept-Ranges`.
    #[must_use]
    pub fn without_ranges(mut self) -> Self {
        self.config.ranges = RangePolicy::Ignored;
        self
    }

    /// Hides the length: bodies are chunked, and ranges are ignored.
    #[must_use]
    pub fn without_length(mut self) -> Self {
        self.config.length = LengthPolicy::Chunked;
        self.without_ranges()
    }

    /// Answers `HEAD` with this status, 400 to 599, like a server behind a presigned URL.
    #[must_use]
    pub fn refuse_head(mut self, status: u16) -> Self {
        self.config.head = StatusCode::from_u16(status).ok();
        self
    }

    /// Limits the rate of all connections together, in bytes per second. 0, the default, means no
    /// limit.
    #[must_use]
    pub fn rate(mut self, bytes_per_second: u64) -> Self {
        self.config.rate = NonZeroU64::new(bytes_per_second);
        self
    }

    /// Limits the rate of each connection, in bytes per second. 0, the default, means no limit.
    #[must_use]
    pub fn rate_per_connection(mut self, bytes_per_second: u64) -> Self {
        self.config.rate_per_connection = NonZeroU64::new(bytes_per_second);
        self
    }

    /// Holds bodies after `total` bytes, like [`Origin::hold_after`].
    #[must_use]
    pub fn hold_after(mut self, total: u64) -> Self {
        self.config.hold_after = Some(total);
        self
    }

    /// Adds a header, such as a digest, to every 200, 206 and answer to `HEAD`. Repeatable.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Starts the origin on the caller's Tokio runtime.
    ///
    /// # Errors
    ///
    /// A header is invalid, or no port of 127.0.0.1 can be bound.
    pub async fn start(mut self) -> io::Result<Origin> {
        for (name, value) in &self.headers {
            let name = HeaderName::try_from(name).map_err(invalid)?;
            let value = HeaderValue::try_from(value).map_err(invalid)?;
            self.config.headers.append(name, value);
        }
        Origin::launch(OriginState::new(self.config, self.object)).await
    }
}

fn invalid(error: impl Into<hyper::http::Error>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error.into())
}
