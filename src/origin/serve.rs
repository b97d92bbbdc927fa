//! Answering requests.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hyper::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName,
    LAST_MODIFIED, RANGE,
};
use hyper::http::{HeaderValue, request};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::Object;
use super::body::{Body, Source, Stretch, empty};
use super::conditions::{Validators, Verdict, evaluate, range_applies};
use super::config::{Config, Length, Ranges};
use super::gate::Gate;
use super::log::{Log, Logged};
use super::pacer::Pacer;
use super::ranges::{Selection, select};

/// What separates the parts of a multipart body. The object's bytes may hold it by chance: readers go by the lengths.
const BOUNDARY: &str = "partwise-origin";

/// What all connections share.
pub(super) struct Shared {
    config: Config,
    // Locked to read or replace a version as a whole, never over an await.
    version: Mutex<Version>,
    pub(super) log: Log,
    pub(super) gate: Gate,
    pub(super) pacer: Pacer,
}

/// The object as it stands, with its validators.
#[derive(Clone)]
pub(super) struct Version {
    object: Object,
    pub(super) etag: Option<String>,
    modified: Option<SystemTime>,
}

impl Shared {
    pub(super) fn new(config: Config, object: Object) -> Self {
        Self {
            version: Mutex::new(Version {
                etag: config.etag.of(&object),
                object,
                modified: config.modified,
            }),
            log: Log::new(),
            gate: Gate::new(config.hold_after),
            pacer: Pacer::new(config.rate),
            config,
        }
    }

    pub(super) fn version(&self) -> Version {
        self.version
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn replace(&self, object: Object) {
        let mut version = self.version.lock().unwrap_or_else(PoisonError::into_inner);
        version.etag = self.config.etag.of(&object);
        version.object = object;
        // A date has no more than seconds, so a version that came at once needs a date that differs.
        version.modified = version
            .modified
            .map(|date| date + Duration::from_secs(3600));
    }
}

impl Version {
    fn validators(&self) -> Validators<'_> {
        Validators {
            etag: self.etag.as_deref(),
            modified: self.modified,
        }
    }
}

/// Accepts connections until it is aborted; that ends them too, because they live in its join set.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    for number in 0.. {
        let stream = loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => break stream,
                    // Out of descriptors, say: time may help.
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                },
                Some(_) = connections.join_next() => {}
            }
        };
        connections.spawn(converse(stream, number, Arc::clone(&shared)));
    }
}

/// Serves one connection to its end. A client that goes away is no fault of this server's, so errors are not told.
async fn converse(stream: TcpStream, number: u64, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let pacer = Arc::new(Pacer::new(shared.config.rate_per_connection));
    let service = service_fn(move |request: Request<_>| {
        let answer = Answer {
            shared: Arc::clone(&shared),
            pacer: Arc::clone(&pacer),
            version: shared.version(),
            connection: number,
        };
        let (request, _body): (_, hyper::body::Incoming) = request.into_parts();
        async move { Ok::<_, Infallible>(answer.to(&request)) }
    });
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// The answer to one request, before it is known what that is.
struct Answer {
    shared: Arc<Shared>,
    pacer: Arc<Pacer>,
    version: Version,
    connection: u64,
}

/// The kind of an answer and what its body is made of.
struct Outline {
    status: StatusCode,
    headers: Vec<(HeaderName, String)>,
    stretches: VecDeque<Stretch>,
    asked: Option<Range<u64>>,
}

impl Outline {
    fn bare(status: StatusCode) -> Self {
        Self {
            status,
            headers: Vec::new(),
            stretches: VecDeque::new(),
            asked: None,
        }
    }

    fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn length(&self) -> u64 {
        self.stretches.iter().map(Stretch::length).sum()
    }
}

impl Answer {
    fn to(self, request: &request::Parts) -> Response<Body> {
        let outline = self.outline(request);
        let is_head = request.method == Method::HEAD;
        let length = outline.length();
        let entry = self.shared.log.add(Logged {
            status: outline.status.as_u16(),
            asked: outline.asked.clone().map(|range| (range.start, range.end)),
            body_bytes_asked: if is_head { 0 } else { length },
            ..Logged::new(self.connection, request)
        });

        let mut response = Response::new(empty());
        *response.status_mut() = outline.status;
        self.put_headers(&mut response, &outline);
        if !is_head && length > 0 {
            let source = Source {
                object: self.version.object,
                shared: self.shared,
                connection: self.pacer,
                entry,
                stretches: outline.stretches,
            };
            *response.body_mut() = source.into_body();
        }
        response
    }

    /// Method, then conditions, then range: the order of section 13.2.1.
    fn outline(&self, request: &request::Parts) -> Outline {
        let config = &self.shared.config;
        match (&request.method, config.head) {
            (&Method::HEAD, Some(status)) => return Outline::bare(status),
            (&Method::GET | &Method::HEAD, _) => {}
            _ => return Outline::bare(StatusCode::METHOD_NOT_ALLOWED).with(ALLOW, "GET, HEAD"),
        }
        let validators = self.version.validators();
        match evaluate(&request.headers, validators) {
            Verdict::PreconditionFailed => return Outline::bare(StatusCode::PRECONDITION_FAILED),
            Verdict::NotModified => return Outline::bare(StatusCode::NOT_MODIFIED),
            Verdict::Proceed => {}
        }
        // A range means something in a GET alone (section 14.2).
        let wanted = request.method == Method::GET
            && config.ranges == Ranges::Served
            && range_applies(&request.headers, validators);
        let header = request.headers.get(RANGE).filter(|_| wanted);
        let length = self.version.object.length();
        match select(header.and_then(|value| value.to_str().ok()), length) {
            Selection::Whole => whole(length),
            Selection::Parts(parts) => partial(&parts, length),
            Selection::Unsatisfiable => Outline::bare(StatusCode::RANGE_NOT_SATISFIABLE)
                .with(CONTENT_RANGE, format!("bytes */{length}")),
        }
    }

    fn put_headers(&self, response: &mut Response<Body>, outline: &Outline) {
        let status = outline.status;
        let carries_object = status == StatusCode::OK || status == StatusCode::PARTIAL_CONTENT;
        let headers = response.headers_mut();
        if carries_object {
            headers.extend(self.shared.config.headers.clone());
            if self.shared.config.ranges == Ranges::Served {
                headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            }
        }
        let mut put = |name: HeaderName, value: &str| {
            let value = HeaderValue::try_from(value).expect("made here of visible ASCII");
            headers.insert(name, value);
        };
        if carries_object || status == StatusCode::NOT_MODIFIED {
            if let Some(etag) = &self.version.etag {
                put(ETAG, etag);
            }
            if let Some(date) = self.version.modified {
                put(LAST_MODIFIED, &httpdate::fmt_http_date(date));
            }
        }
        for (name, value) in &outline.headers {
            put(name.clone(), value);
        }
        let chunked = self.shared.config.length == Length::Chunked && carries_object;
        if !chunked && status != StatusCode::NOT_MODIFIED {
            put(CONTENT_LENGTH, &outline.length().to_string());
        }
    }
}

fn whole(length: u64) -> Outline {
    Outline {
        stretches: [Stretch::Object(0..length)].into(),
        ..Outline::bare(StatusCode::OK)
    }
    .with(CONTENT_TYPE, "application/octet-stream")
}

fn partial(parts: &[Range<u64>], length: u64) -> Outline {
    let [only] = parts else {
        return multipart(parts, length);
    };
    Outline {
        stretches: [Stretch::Object(only.clone())].into(),
        asked: Some(only.clone()),
        ..Outline::bare(StatusCode::PARTIAL_CONTENT)
    }
    .with(CONTENT_TYPE, "application/octet-stream")
    .with(CONTENT_RANGE, content_range(only, length))
}

/// Section 14.6.
fn multipart(parts: &[Range<u64>], length: u64) -> Outline {
    let mut outline = Outline::bare(StatusCode::PARTIAL_CONTENT).with(
        CONTENT_TYPE,
        format!("multipart/byteranges; boundary={BOUNDARY}"),
    );
    for part in parts {
        let head = format!(
            "\r\n--{BOUNDARY}\r\nContent-Type: application/octet-stream\r\nContent-Range: {}\r\n\r\n",
            content_range(part, length)
        );
        outline
            .stretches
            .push_back(Stretch::Text(Bytes::from(head)));
        outline.stretches.push_back(Stretch::Object(part.clone()));
    }
    let end = format!("\r\n--{BOUNDARY}--\r\n");
    outline.stretches.push_back(Stretch::Text(Bytes::from(end)));
    outline
}

fn content_range(part: &Range<u64>, length: u64) -> String {
    format!("bytes {}-{}/{length}", part.start, part.end - 1)
}

#[cfg(test)]
mod tests {
    use super::super::{Etag, Origin};
    use super::*;

    const SEED: u64 = 7;
    const LENGTH: u64 = 300_000;

    fn bytes(range: Range<u64>) -> Vec<u8> {
        range.map(|position| Object::byte(SEED, position)).collect()
    }

    fn request(
        origin: &Origin,
        method: Method,
        headers: &[(&str, &str)],
    ) -> reqwest::RequestBuilder {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
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
        assert!(reqwest::get(url).await.unwrap_err().is_connect());
    }
}
