//! An HTTP/1.1 server on the loopback interface that follows the RFCs and serves an object of known
//! bytes.
//!
//! `partwise demo`, the throughput benchmark and the integration tests download from it. It
//! implements RFC 9110: byte ranges, all four conditions, `HEAD`. It shares no code with the
//! downloader, so a defect in one can't hide the same defect in the other.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use partwise::origin::{Etag, Object, Origin};
//!
//! let origin = Origin::builder(Object::new(1, 10 << 20))
//!     .etag(Etag::Weak)
//!     .rate_per_connection(1 << 20)
//!     .start()
//!     .await?;
//! println!("{}", origin.url("object.bin"));
//! # Ok(())
//! # }
//! ```

mod answer;
mod body;
mod builder;
mod conditions;
mod config;
mod gate;
mod log;
mod object;
mod pacer;
mod ranges;
mod serve;
mod state;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::AbortHandle;

pub use builder::Builder;
pub use config::Etag;
pub use log::Logged;
pub use object::Object;

use state::OriginState;

/// A running origin on `127.0.0.1`. Dropping it closes the port and every connection.
pub struct Origin {
    address: SocketAddr,
    shared: Arc<OriginState>,
    accepting: AbortHandle,
}

impl Origin {
    /// Serves `object` with a strong entity tag, a modification date and byte ranges, without a
    /// rate limit. Runs on the caller's Tokio runtime.
    ///
    /// # Errors
    ///
    /// No port of 127.0.0.1 can be bound.
    pub async fn start(object: Object) -> io::Result<Self> {
        Self::builder(object).start().await
    }

    async fn launch(shared: OriginState) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(shared);
        let accepting = tokio::spawn(serve::accept(listener, Arc::clone(&shared))).abort_handle();
        Ok(Self {
            address,
            shared,
            accepting,
        })
    }

    /// The URL of the object with `name` as its path. Every path returns the object.
    #[must_use]
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    /// The address that the origin listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The current entity tag.
    #[must_use]
    pub fn etag(&self) -> Option<String> {
        self.shared.version().etag
    }

    /// All requests answered so far, in the order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Logged> {
        self.shared.log.entries()
    }

    /// Waits until `reached` returns true for the log of requests, and returns the log.
    ///
    /// Cancel safe.
    pub async fn wait_for(&self, reached: impl FnMut(&[Logged]) -> bool) -> Vec<Logged> {
        self.shared.log.wait_for(reached).await
    }

    /// Body bytes sent so far, over all connections.
    #[must_use]
    pub fn served_bytes(&self) -> u64 {
        self.shared.gate.passed()
    }

    /// Waits until at least `total` body bytes were sent.
    ///
    /// Cancel safe.
    pub async fn wait_for_bytes(&self, total: u64) {
        self.shared.gate.wait_for(total).await;
    }

    /// Replaces the object by another one, with a new entity tag and a later modification date.
    ///
    /// A body that is being sent continues with the old object's bytes, like one from a file that
    /// was replaced by a rename. Later requests see only the new object, so the old `If-Match` gets
    /// 412.
    pub fn replace(&self, object: Object) {
        self.shared.replace(object);
    }

    /// Closes every connection, even while it is sending. New connections are accepted.
    pub fn hang_up(&self) {
        self.shared.hang_up.send_replace(());
    }

    /// Holds all bodies from now on until [`release`](Self::release).
    pub fn hold(&self) {
        self.shared.gate.hold();
    }

    /// Holds all bodies after `total` bytes were sent since the start, until
    /// [`release`](Self::release). Exact: not one byte more is sent.
    pub fn hold_after(&self, total: u64) {
        self.shared.gate.hold_after(total);
    }

    /// Releases the bodies held by [`hold`](Self::hold) or [`hold_after`](Self::hold_after).
    pub fn release(&self) {
        self.shared.gate.release();
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use hyper::{Method, StatusCode};

    use super::*;

    const SEED: u64 = 7;
    const LENGTH: u64 = 300_000;

    fn bytes(range: Range<u64>) -> Vec<u8> {
        range.map(|position| Object::byte(SEED, position)).collect()
    }

    fn plain_client() -> reqwest::Client {
        // reqwest requires a TLS provider even for plain HTTP; installing a second one fails.
        let _ = rustls::crypto::ring::default_provider().install_default();
        reqwest::Client::builder().no_proxy().build().unwrap()
    }

    fn request(
        origin: &Origin,
        method: Method,
        headers: &[(&str, &str)],
    ) -> reqwest::RequestBuilder {
        let client = plain_client();
        let request = client.request(method, origin.url("x?y=1"));
        headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        })
    }

    async fn get(origin: &Origin, headers: &[(&str, &str)]) -> reqwest::Response {
        request(origin, Method::GET, headers).send().await.unwrap()
    }

    fn header<'a>(response: &'a reqwest::Response, name: &str) -> Option<&'a str> {
        response
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap())
    }

    #[tokio::test]
    async fn a_whole_object() {
        let origin = Origin::start(Object::new(SEED, LENGTH)).await.unwrap();
        let response = get(&origin, &[("authorization", "Bearer t")]).await;
        assert_eq!(response.status(), 200);
        assert_eq!(header(&response, "accept-ranges"), Some("bytes"));
        assert_eq!(header(&response, "etag"), origin.etag().as_deref());
        assert_eq!(
            header(&response, "last-modified"),
            Some("Mon, 01 Jan 2024 00:00:00 GMT")
        );
        assert_eq!(response.content_length(), Some(LENGTH));
        assert_eq!(response.bytes().await.unwrap(), bytes(0..LENGTH));
        origin.wait_for_bytes(LENGTH).await;

        let log = origin.requests();
        assert_eq!(log.len(), 1);
        assert_eq!(
            (log[0].method.as_str(), log[0].path.as_str()),
            ("GET", "/x?y=1")
        );
        assert_eq!(log[0].authorization.as_deref(), Some("Bearer t"));
        assert_eq!(log[0].host, Some(origin.address().to_string()));
        assert_eq!(
            (log[0].body_bytes_asked, log[0].body_bytes_sent),
            (LENGTH, LENGTH)
        );
    }

    #[tokio::test]
    async fn ranges() {
        let origin = Origin::start(Object::new(SEED, LENGTH)).await.unwrap();
        let response = get(&origin, &[("range", "bytes=1000-199999")]).await;
        assert_eq!(response.status(), 206);
        assert_eq!(
            header(&response, "content-range"),
            Some("bytes 1000-199999/300000")
        );
        assert_eq!(response.bytes().await.unwrap(), bytes(1000..200_000));

        let response = get(&origin, &[("range", "bytes=300000-")]).await;
        assert_eq!(response.status(), 416);
        assert_eq!(header(&response, "content-range"), Some("bytes */300000"));

        let response = get(
            &origin,
            &[("range", "bytes=0-9"), ("if-range", "\"other\"")],
        )
        .await;
        assert_eq!(response.status(), 200);

        let response = get(&origin, &[("range", "bytes=5-5,-2")]).await;
        assert_eq!(response.status(), 206);
        let body = response.bytes().await.unwrap();
        let mut expected = b"\r\n--partwise-origin\r\nContent-Type: application/octet-stream\r\n\
            Content-Range: bytes 5-5/300000\r\n\r\n"
            .to_vec();
        expected.extend(bytes(5..6));
        expected.extend_from_slice(
            b"\r\n--partwise-origin\r\nContent-Type: application/octet-stream\r\n\
            Content-Range: bytes 299998-299999/300000\r\n\r\n",
        );
        expected.extend(bytes(LENGTH - 2..LENGTH));
        expected.extend_from_slice(b"\r\n--partwise-origin--\r\n");
        assert_eq!(body, expected);
        assert_eq!(origin.requests()[0].asked, Some((1000, 200_000)));
    }

    #[tokio::test]
    async fn a_head_has_the_headers_alone() {
        let origin = Origin::start(Object::new(SEED, LENGTH)).await.unwrap();
        let head = request(&origin, Method::HEAD, &[("range", "bytes=0-9")]);
        let response = head.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(header(&response, "content-length"), Some("300000"));
        assert_eq!(origin.served_bytes(), 0);

        let response = request(&origin, Method::PUT, &[]).send().await.unwrap();
        assert_eq!(response.status(), 405);
    }

    #[tokio::test]
    async fn a_replaced_object_fails_the_old_condition() {
        let origin = Origin::start(Object::new(SEED, LENGTH)).await.unwrap();
        let etag = origin.etag().unwrap();
        let old = get(&origin, &[("if-match", &etag)]).await;
        let date = header(&old, "last-modified").unwrap().to_owned();
        assert_eq!(
            get(&origin, &[("if-none-match", &etag)]).await.status(),
            304
        );

        origin.replace(Object::new(SEED + 1, LENGTH));
        assert_eq!(get(&origin, &[("if-match", &etag)]).await.status(), 412);
        assert_eq!(
            get(&origin, &[("if-unmodified-since", &date)])
                .await
                .status(),
            412
        );
        assert_eq!(
            get(&origin, &[("if-none-match", &etag)]).await.status(),
            200
        );
    }

    #[tokio::test]
    async fn the_gate_stops_bodies_at_a_known_byte() {
        let origin = Origin::builder(Object::cheap(LENGTH))
            .hold_after(1000)
            .start()
            .await
            .unwrap();
        let mut response = get(&origin, &[]).await;
        let mut received = 0;
        while received < 1000 {
            received += response.chunk().await.unwrap().unwrap().len();
        }
        assert_eq!((received, origin.served_bytes()), (1000, 1000));
        origin.release();
        assert_eq!(response.bytes().await.unwrap().len(), 299_000);
        let log = origin
            .wait_for(|log| log[0].body_bytes_sent == LENGTH)
            .await;
        assert_eq!(log.len(), 1);
        // A cheap object repeats in the middle of a frame.
        let length = 5 << 20;
        let origin = Origin::start(Object::cheap(length)).await.unwrap();
        let response = get(&origin, &[]).await;
        assert_eq!(response.bytes().await.unwrap().len() as u64, length);
        assert_eq!(origin.served_bytes(), length);
    }

    #[tokio::test]
    async fn origins_that_lack_something() {
        let object = || Object::new(SEED, 100);
        let origin = Origin::builder(object())
            .without_ranges()
            .start()
            .await
            .unwrap();
        let response = get(&origin, &[("range", "bytes=1-2")]).await;
        assert_eq!(
            (response.status(), header(&response, "accept-ranges")),
            (StatusCode::OK, None)
        );

        let origin = Origin::builder(object())
            .without_length()
            .start()
            .await
            .unwrap();
        let response = get(&origin, &[]).await;
        assert_eq!(header(&response, "content-length"), None);
        assert_eq!(response.bytes().await.unwrap(), bytes(0..100));

        let origin = Origin::builder(object())
            .etag(Etag::None)
            .last_modified(None)
            .refuse_head(403)
            .header("Content-MD5", "AAAA")
            .start()
            .await
            .unwrap();
        let response = get(&origin, &[]).await;
        assert_eq!(header(&response, "etag"), None);
        assert_eq!(header(&response, "last-modified"), None);
        assert_eq!(header(&response, "content-md5"), Some("AAAA"));
        let response = request(&origin, Method::HEAD, &[]).send().await.unwrap();
        assert_eq!(response.status(), 403);

        let origin = Origin::builder(object())
            .etag(Etag::Weak)
            .start()
            .await
            .unwrap();
        assert!(origin.etag().unwrap().starts_with("W/\""));
        let wrong = Origin::builder(object()).header("a b", "").start().await;
        assert_eq!(wrong.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    }

    #[tokio::test]
    async fn hanging_up_ends_the_connections_but_not_the_service() {
        let origin = Origin::builder(Object::cheap(LENGTH))
            .hold_after(10)
            .start()
            .await
            .unwrap();
        let response = get(&origin, &[]).await;
        origin.hang_up();
        assert!(response.bytes().await.is_err());
        origin.release();
        let again = get(&origin, &[]).await;
        assert_eq!(again.bytes().await.unwrap().len(), 300_000);
    }

    #[tokio::test]
    async fn dropping_it_ends_the_connections() {
        let origin = Origin::builder(Object::cheap(LENGTH))
            .hold_after(10)
            .start()
            .await
            .unwrap();
        let response = get(&origin, &[]).await;
        let url = origin.url("");
        drop(origin);
        assert!(response.bytes().await.is_err());
        assert!(
            plain_client()
                .get(url)
                .send()
                .await
                .unwrap_err()
                .is_connect()
        );
    }
}
