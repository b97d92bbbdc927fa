//! Answers requests.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName,
    LAST_MODIFIED, RANGE,
};
use hyper::http::{HeaderValue, request};
use hyper::{Method, Response, StatusCode};

use super::body::{AnswerBody, BodySlice, BodySource, empty};
use super::conditions::{Evaluated, evaluate, range_applies};
use super::config::{LengthPolicy, RangePolicy};
use super::log::Logged;
use super::pacer::Pacer;
use super::ranges::{Selected, select};
use super::state::{ObjectVersion, OriginState};

/// The boundary of a multipart body. The object's bytes may contain it by chance: readers use the
/// lengths.
const BOUNDARY: &str = "partwise-origin";

/// Answers one request of a connection.
pub(super) struct Responder {
    pub(super) shared: Arc<OriginState>,
    pub(super) pacer: Arc<Pacer>,
    pub(super) version: ObjectVersion,
    pub(super) connection: u64,
}

/// The status, headers and body of an answer.
struct Outline {
    status: StatusCode,
    headers: Vec<(HeaderName, String)>,
    stretches: VecDeque<BodySlice>,
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
        self.stretches.iter().map(BodySlice::length).sum()
    }
}

impl Responder {
    pub(super) fn to(self, request: &request::Parts) -> Response<AnswerBody> {
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
            let source = BodySource {
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

    /// Evaluates method, conditions and range, in the order of section 13.2.1.
    fn outline(&self, request: &request::Parts) -> Outline {
        let config = &self.shared.config;
        match (&request.method, config.head) {
            (&Method::HEAD, Some(status)) => return Outline::bare(status),
            (&Method::GET | &Method::HEAD, _) => {}
            _ => return Outline::bare(StatusCode::METHOD_NOT_ALLOWED).with(ALLOW, "GET, HEAD"),
        }
        let validators = self.version.validators();
        match evaluate(&request.headers, validators) {
            Evaluated::PreconditionFailed => return Outline::bare(StatusCode::PRECONDITION_FAILED),
            Evaluated::NotModified => return Outline::bare(StatusCode::NOT_MODIFIED),
            Evaluated::Proceed => {}
        }
        // A range applies only to a GET (section 14.2).
        let wanted = request.method == Method::GET
            && config.ranges == RangePolicy::Served
            && range_applies(&request.headers, validators);
        let header = request.headers.get(RANGE).filter(|_| wanted);
        let length = self.version.object.length();
        match select(header.and_then(|value| value.to_str().ok()), length) {
            Selected::Whole => whole(length),
            Selected::Parts(parts) => partial(&parts, length),
            Selected::Unsatisfiable => Outline::bare(StatusCode::RANGE_NOT_SATISFIABLE)
                .with(CONTENT_RANGE, format!("bytes */{length}")),
        }
    }

    fn put_headers(&self, response: &mut Response<AnswerBody>, outline: &Outline) {
        let status = outline.status;
        let carries_object = status == StatusCode::OK || status == StatusCode::PARTIAL_CONTENT;
        let headers = response.headers_mut();
        if carries_object {
            headers.extend(self.shared.config.headers.clone());
            if self.shared.config.ranges == RangePolicy::Served {
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
        let chunked = self.shared.config.length == LengthPolicy::Chunked && carries_object;
        if !chunked && status != StatusCode::NOT_MODIFIED {
            put(CONTENT_LENGTH, &outline.length().to_string());
        }
    }
}

fn whole(length: u64) -> Outline {
    Outline {
        stretches: [BodySlice::Object(0..length)].into(),
        ..Outline::bare(StatusCode::OK)
    }
    .with(CONTENT_TYPE, "application/octet-stream")
}

fn partial(parts: &[Range<u64>], length: u64) -> Outline {
    let [only] = parts else {
        return multipart(parts, length);
    };
    Outline {
        stretches: [BodySlice::Object(only.clone())].into(),
        asked: Some(only.clone()),
        ..Outline::bare(StatusCode::PARTIAL_CONTENT)
    }
    .with(CONTENT_TYPE, "application/octet-stream")
    .with(CONTENT_RANGE, content_range(only, length))
}

/// Several ranges as `multipart/byteranges` (section 14.6).
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
            .push_back(BodySlice::Text(Bytes::from(head)));
        outline.stretches.push_back(BodySlice::Object(part.clone()));
    }
    let end = format!("\r\n--{BOUNDARY}--\r\n");
    outline
        .stretches
        .push_back(BodySlice::Text(Bytes::from(end)));
    outline
}

fn content_range(part: &Range<u64>, length: u64) -> String {
    format!("bytes {}-{}/{length}", part.start, part.end - 1)
}
