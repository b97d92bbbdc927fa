//! Finding out what there is to download.

use std::time::{Duration, SystemTime};

use hyper::header::{HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, StatusCode};

use super::body::Body;
use super::client::Client;
use super::conditions::{Conditions, Judgement};
use super::error::{HttpError, HttpErrorKind};
use super::head::{Head, Media};
use super::redirect::{Answer, Ask, follow};
use super::source::{Entry, Source};
use crate::object::{ByteRange, ContentRange, EntityTag, Validator};

/// How long HEAD may take before GET is asked instead: some servers never answer it.
const HEAD_PATIENCE: Duration = Duration::from_secs(5);

/// What the probe's reply says of the object.
#[derive(Debug)]
pub(crate) struct Metadata {
    /// In bytes; `None` where the server doesn't tell.
    pub(crate) length: Option<u64>,
    pub(crate) validator: Validator,
    pub(crate) etag: Option<EntityTag>,
    pub(crate) last_modified: Option<SystemTime>,
    pub(crate) ranges: RangeSupport,
    /// The fields that may carry digests of the whole object, names in lower case.
    pub(crate) fields: Vec<(String, String)>,
    /// How long the server took from standing connection to the head of its reply.
    pub(crate) first_byte: Duration,
}

/// Whether ranges can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RangeSupport {
    Yes,
    No,
    Unknown,
}

/// The outcome of a probe.
#[derive(Debug)]
pub(crate) enum Probed {
    Found {
        metadata: Metadata,
        /// The whole object from byte 0, where the server answered so to the ranged GET: to be used as the one stream.
        stream: Option<Body>,
    },
    /// The caller's condition says that nothing newer is there.
    NotModified,
}

/// Asks for the metadata: by HEAD, and by a GET of the first byte where HEAD tells too little.
///
/// Every wait in it is bounded. Cancel safe: dropping it drops the request.
///
/// # Errors
///
/// `PreconditionFailed` where a condition of the caller's does not hold; else what
/// [`HttpErrorKind`](super::HttpErrorKind) lists.
pub(crate) async fn probe(
    client: &Client,
    source: &Source,
    conditions: &Conditions,
) -> Result<Probed, HttpError> {
    let ask = Ask {
        method: Method::HEAD,
        entry: Entry::Metadata,
        fields: conditions.fields()?,
        stall: client.stall_timeout().min(HEAD_PATIENCE),
    };
    match follow(client, source, &ask).await {
        Ok(answer) => match judge_head(answer.head()) {
            Heard::Length(length) => found(&answer, conditions, Some(length), None),
            Heard::NotModified => Ok(Probed::NotModified),
            Heard::Failed(error) => Err(answer.blame(error)),
            Heard::TooLittle => probe_by_get(client, source, conditions).await,
        },
        Err(error) if may_be_head_alone(error.kind()) => {
            probe_by_get(client, source, conditions).await
        }
        Err(error) => Err(error),
    }
}

/// Asks for the metadata by a GET of the first byte, which is right where HEAD is wrong.
///
/// # Errors
///
/// As [`probe`].
pub(crate) async fn probe_by_get(
    client: &Client,
    source: &Source,
    conditions: &Conditions,
) -> Result<Probed, HttpError> {
    let plain = conditions.fields()?;
    let mut ranged = plain.clone();
    ranged.insert(RANGE, HeaderValue::from_static("bytes=0-0"));
    let answer = get(client, source, ranged).await?;
    let got = judge_ranged(answer.head());
    let (answer, got) = match got {
        Got::Unusable => {
            let answer = get(client, source, plain).await?;
            let got = judge_plain(answer.head());
            (answer, got)
        }
        got => (answer, got),
    };
    match got {
        Got::Ranged(length) => found(&answer, conditions, Some(length), None),
        Got::Stream(length) => {
            let range = length.map(ByteRange::whole);
            let stall = client.stall_timeout();
            let probed = found(&answer, conditions, length, Some(RangeSupport::No))?;
            Ok(match probed {
                Probed::Found { metadata, .. } => Probed::Found {
                    metadata,
                    stream: Some(Body::new(answer.response, range, answer.first_byte, stall)),
                },
                Probed::NotModified => Probed::NotModified,
            })
        }
        Got::NotModified => Ok(Probed::NotModified),
        Got::Failed(error) => Err(answer.blame(error)),
        Got::Unusable => Err(answer.blame(answer.head().status_error())),
    }
}

async fn get(client: &Client, source: &Source, fields: HeaderMap) -> Result<Answer, HttpError> {
    let ask = Ask {
        method: Method::GET,
        entry: Entry::Object,
        fields,
        stall: client.stall_timeout(),
    };
    follow(client, source, &ask).await
}

/// What a reply to HEAD is good for.
enum Heard {
    Length(u64),
    TooLittle,
    NotModified,
    Failed(HttpError),
}

fn judge_head(head: Head<'_>) -> Heard {
    match head.status {
        StatusCode::OK => match (head.refuse_coding(), head.content_length()) {
            // No length, and no object either, in the mouth of many a server.
            (Ok(()), Ok(Some(length))) if length > 0 => Heard::Length(length),
            _ => Heard::TooLittle,
        },
        StatusCode::NOT_MODIFIED => Heard::NotModified,
        StatusCode::PRECONDITION_FAILED => Heard::Failed(precondition_failed()),
        StatusCode::UNAUTHORIZED
        | StatusCode::NOT_FOUND
        | StatusCode::PROXY_AUTHENTICATION_REQUIRED
        | StatusCode::GONE
        | StatusCode::TOO_MANY_REQUESTS
        | StatusCode::SERVICE_UNAVAILABLE => Heard::Failed(head.status_error()),
        _ => Heard::TooLittle,
    }
}

/// Whether GET may fare better than HEAD did.
fn may_be_head_alone(kind: &HttpErrorKind) -> bool {
    matches!(
        kind,
        HttpErrorKind::Stalled
            | HttpErrorKind::Closed
            | HttpErrorKind::Transport
            | HttpErrorKind::Protocol(_)
    )
}

/// What a reply to GET is good for.
enum Got {
    /// Ranges work; the object's length in bytes.
    Ranged(u64),
    Stream(Option<u64>),
    /// Nothing against the object, but the range was answered so that only a GET without one can help.
    Unusable,
    NotModified,
    Failed(HttpError),
}

fn judge_ranged(head: Head<'_>) -> Got {
    match head.status {
        StatusCode::PARTIAL_CONTENT => match (head.content_range(), head.content_length()) {
            (
                Ok(Some(ContentRange::Satisfied {
                    range,
                    total: Some(total),
                })),
                Ok(None | Some(1)),
            ) if range == ByteRange::whole(1) && head.media() != Media::Multipart => {
                match head.refuse_coding() {
                    Ok(()) => Got::Ranged(total),
                    Err(error) => Got::Failed(error),
                }
            }
            _ => Got::Unusable,
        },
        StatusCode::RANGE_NOT_SATISFIABLE => match head.content_range() {
            Ok(Some(ContentRange::Unsatisfied { total: 0 })) => Got::Ranged(0),
            _ => Got::Unusable,
        },
        _ => judge_plain(head),
    }
}

fn judge_plain(head: Head<'_>) -> Got {
    match head.status {
        StatusCode::OK => {
            let length = head.refuse_coding().and_then(|()| head.content_length());
            match length {
                Ok(length) => Got::Stream(length),
                Err(error) => Got::Failed(error),
            }
        }
        StatusCode::NOT_MODIFIED => Got::NotModified,
        StatusCode::PRECONDITION_FAILED => Got::Failed(precondition_failed()),
        _ => Got::Failed(head.status_error()),
    }
}

fn precondition_failed() -> HttpError {
    HttpError::precondition_failed("the server says that the condition does not hold (412)")
}

/// The metadata of a reply that tells enough, if the caller's conditions hold.
fn found(
    answer: &Answer,
    conditions: &Conditions,
    length: Option<u64>,
    ranges: Option<RangeSupport>,
) -> Result<Probed, HttpError> {
    let head = answer.head();
    let (etag, last_modified) = (head.etag(), head.last_modified());
    match conditions.judge(etag.as_ref(), last_modified) {
        Judgement::Holds => {}
        Judgement::NotModified => return Ok(Probed::NotModified),
        Judgement::Failed(why) => {
            return Err(answer.blame(HttpError::precondition_failed(why)));
        }
    }
    let metadata = Metadata {
        length,
        validator: Validator::from_fields(etag.clone(), last_modified),
        etag,
        last_modified,
        ranges: ranges.unwrap_or_else(|| range_support(head)),
        fields: digest_fields(head),
        first_byte: answer.first_byte,
    };
    Ok(Probed::Found {
        metadata,
        stream: None,
    })
}

fn range_support(head: Head<'_>) -> RangeSupport {
    match (head.status, head.accepts_ranges()) {
        (StatusCode::PARTIAL_CONTENT, _) | (_, Some(true)) => RangeSupport::Yes,
        (_, Some(false)) => RangeSupport::No,
        (_, None) => RangeSupport::Unknown,
    }
}

/// The fields whose names speak of a digest. On a part, those that are defined over the message's content
/// (RFC 9530, section 2; RFC 1864) say nothing of the whole.
fn digest_fields(head: Head<'_>) -> Vec<(String, String)> {
    let is_part = head.status != StatusCode::OK;
    head.headers
        .iter()
        .filter(|(name, _)| {
            let name = name.as_str();
            let is_of_content = name == "content-digest" || name == "content-md5";
            [
                "digest", "hash", "checksum", "md5", "crc", "sha1", "sha256", "sha-",
            ]
            .iter()
            .any(|word| name.contains(word))
                && !(is_part && is_of_content)
        })
        .filter_map(|(name, value)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::client::ClientConfig;
    use crate::http::testing::{Script, Seen, Server, Then, client, script};

    /// One line for the outcome.
    async fn outcome(server: &Server) -> String {
        told(probe(&client(), &server.source("/x"), &Conditions::default()).await)
    }

    fn told(probed: Result<Probed, HttpError>) -> String {
        match probed {
            Ok(Probed::Found { metadata, stream }) => {
                let length = metadata
                    .length
                    .map_or("unknown".to_owned(), |l| l.to_string());
                let stream = stream.map_or("", |_| ", stream");
                format!("{length} bytes, ranges {:?}{stream}", metadata.ranges)
            }
            Ok(Probed::NotModified) => "not modified".to_owned(),
            Err(error) => format!("{:?}", error.kind())
                .split('(')
                .next()
                .unwrap()
                .to_owned(),
        }
    }

    type Answer = fn() -> Script;

    async fn server(head: Answer, ranged: Answer, plain: Answer) -> Server {
        Server::start(
            move |seen: &Seen| match (seen.method.as_str(), seen.field("range")) {
                ("HEAD", _) => head(),
                (_, Some(_)) => ranged(),
                (_, None) => plain(),
            },
        )
        .await
    }

    fn never() -> Script {
        unreachable!("it is not asked")
    }

    fn status(line: &str) -> Script {
        script(line, &["Content-Length: 0"], "", Then::KeepOpen)
    }

    fn first_byte() -> Script {
        let fields = [
            "Content-Range: bytes 0-0/100",
            "Content-Length: 1",
            "ETag: \"a\"",
        ];
        script("206 Partial Content", &fields, "x", Then::KeepOpen)
    }

    fn whole() -> Script {
        script(
            "200 OK",
            &["Content-Length: 3", "Accept-Ranges: bytes"],
            "abc",
            Then::KeepOpen,
        )
    }

    fn head_refused() -> Script {
        status("405 Method Not Allowed")
    }

    #[tokio::test]
    async fn what_head_tells_is_enough_or_get_is_asked() {
        const BY_GET: &str = "100 bytes, ranges Yes";
        let cases: [(Answer, &str); 22] = [
            (
                || {
                    script(
                        "200 OK",
                        &["Content-Length: 9", "Accept-Ranges: bytes"],
                        "",
                        Then::KeepOpen,
                    )
                },
                "9 bytes, ranges Yes",
            ),
            (
                || {
                    script(
                        "200 OK",
                        &["Content-Length: 9", "Accept-Ranges: none"],
                        "",
                        Then::KeepOpen,
                    )
                },
                "9 bytes, ranges No",
            ),
            (
                || script("200 OK", &["Content-Length: 9"], "", Then::KeepOpen),
                "9 bytes, ranges Unknown",
            ),
            (
                || script("200 OK", &["Content-Length: 9"], "", Then::Close),
                "9 bytes, ranges Unknown",
            ),
            (
                || script("200 OK", &["Content-Length: 0"], "", Then::KeepOpen),
                BY_GET,
            ),
            (|| script("200 OK", &[], "", Then::KeepOpen), BY_GET),
            (
                || {
                    script(
                        "200 OK",
                        &["Transfer-Encoding: chunked"],
                        "",
                        Then::KeepOpen,
                    )
                },
                BY_GET,
            ),
            (
                || {
                    script(
                        "200 OK",
                        &["Content-Length: 9", "Content-Encoding: gzip"],
                        "",
                        Then::KeepOpen,
                    )
                },
                BY_GET,
            ),
            (
                || {
                    script(
                        "200 OK",
                        &["Content-Length: 9", "Content-Length: 8"],
                        "",
                        Then::Close,
                    )
                },
                BY_GET,
            ),
            (
                || script("200 OK", &["Content-Length: -9"], "", Then::Close),
                BY_GET,
            ),
            (
                || {
                    script(
                        "200 OK",
                        &["Content-Length: 9223372036854775808"],
                        "",
                        Then::Close,
                    )
                },
                BY_GET,
            ),
            (|| status("403 Forbidden"), BY_GET),
            (|| status("405 Method Not Allowed"), BY_GET),
            (|| status("501 Not Implemented"), BY_GET),
            (|| status("500 Internal Server Error"), BY_GET),
            (|| script("204 No Content", &[], "", Then::KeepOpen), BY_GET),
            (|| Script(Vec::new(), Then::Close), BY_GET),
            (|| Script(b"junk\r\n\r\n".to_vec(), Then::Close), BY_GET),
            (|| status("401 Unauthorized"), "Refused"),
            (|| status("404 Not Found"), "Status"),
            (|| status("503 Service Unavailable"), "Status"),
            (|| status("302 Found"), "Redirect"),
        ];
        for (position, (head, expected)) in cases.into_iter().enumerate() {
            let server = server(head, first_byte, never).await;
            assert_eq!(outcome(&server).await, expected, "case {position}");
            assert_eq!(server.asked().len(), if expected == BY_GET { 2 } else { 1 });
        }
    }

    #[tokio::test]
    async fn what_the_ranged_get_tells() {
        let cases: [(Answer, &str, usize); 15] = [
            (first_byte, "100 bytes, ranges Yes", 2),
            (
                || {
                    script(
                        "206 Partial Content",
                        &["Content-Range: bytes 0-0/100"],
                        "x",
                        Then::Close,
                    )
                },
                "100 bytes, ranges Yes",
                2,
            ),
            (whole, "3 bytes, ranges No, stream", 2),
            (
                || script("200 OK", &["Content-Length: 0"], "", Then::KeepOpen),
                "0 bytes, ranges No, stream",
                2,
            ),
            (
                || script("200 OK", &[], "abc", Then::Close),
                "unknown bytes, ranges No, stream",
                2,
            ),
            (
                || {
                    script(
                        "200 OK",
                        &["Content-Length: 3", "Content-Encoding: br"],
                        "abc",
                        Then::KeepOpen,
                    )
                },
                "Protocol",
                2,
            ),
            (
                || {
                    script(
                        "416 Range Not Satisfiable",
                        &["Content-Range: bytes */0", "Content-Length: 0"],
                        "",
                        Then::KeepOpen,
                    )
                },
                "0 bytes, ranges Unknown",
                2,
            ),
            (
                || status("416 Range Not Satisfiable"),
                "3 bytes, ranges No, stream",
                3,
            ),
            (
                || {
                    script(
                        "206 Partial Content",
                        &["Content-Length: 1"],
                        "x",
                        Then::KeepOpen,
                    )
                },
                "3 bytes, ranges No, stream",
                3,
            ),
            (
                || {
                    script(
                        "206 Partial Content",
                        &["Content-Range: bytes 0-0/*", "Content-Length: 1"],
                        "x",
                        Then::KeepOpen,
                    )
                },
                "3 bytes, ranges No, stream",
                3,
            ),
            (
                || {
                    script(
                        "206 Partial Content",
                        &["Content-Range: bytes 0-1/100", "Content-Length: 2"],
                        "xx",
                        Then::KeepOpen,
                    )
                },
                "3 bytes, ranges No, stream",
                3,
            ),
            (
                || {
                    script(
                        "206 Partial Content",
                        &["Content-Range: bytes 1-1/100", "Content-Length: 1"],
                        "x",
                        Then::KeepOpen,
                    )
                },
                "3 bytes, ranges No, stream",
                3,
            ),
            (|| status("403 Forbidden"), "Refused", 2),
            (|| status("404 Not Found"), "Status", 2),
            (
                || script("204 No Content", &[], "", Then::KeepOpen),
                "Protocol",
                2,
            ),
        ];
        for (position, (ranged, expected, requests)) in cases.into_iter().enumerate() {
            let server = server(head_refused, ranged, whole).await;
            assert_eq!(outcome(&server).await, expected, "case {position}");
            assert_eq!(server.asked().len(), requests, "case {position}");
        }
    }

    #[tokio::test]
    async fn a_stream_hands_out_the_whole_object() {
        let server = server(head_refused, whole, never).await;
        let probed = probe(&client(), &server.source("/x"), &Conditions::default()).await;
        let Ok(Probed::Found {
            stream: Some(mut body),
            ..
        }) = probed
        else {
            panic!("{probed:?}")
        };
        assert_eq!(body.range(), Some(ByteRange::whole(3)));
        assert_eq!(body.chunk().await.unwrap().unwrap(), "abc");
        assert_eq!(body.chunk().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_head_that_hangs_is_given_up() {
        let server = server(|| Script(Vec::new(), Then::Stall), first_byte, never).await;
        let impatient = Client::new(&ClientConfig {
            stall_timeout: Duration::from_millis(500),
            ..ClientConfig::for_tests()
        })
        .unwrap();
        let probed = probe(&impatient, &server.source("/x"), &Conditions::default()).await;
        assert_eq!(told(probed), "100 bytes, ranges Yes");
    }

    #[tokio::test]
    async fn metadata_may_have_a_url_of_its_own() {
        let server = Server::start(|seen: &Seen| match seen.method.as_str() {
            "HEAD" => script("200 OK", &["Content-Length: 9"], "", Then::KeepOpen),
            _ => first_byte(),
        })
        .await;
        let source = Source::new(&server.url("/get"), Some(&server.url("/head"))).unwrap();
        probe(&client(), &source, &Conditions::default())
            .await
            .unwrap();
        probe_by_get(&client(), &source, &Conditions::default())
            .await
            .unwrap();
        assert_eq!(server.asked(), ["HEAD /head", "GET /get"]);
    }

    #[tokio::test]
    async fn conditions_are_sent_and_judged_here_too() {
        let tag = |text: &str| Conditions {
            if_match: Some(text.to_owned()),
            ..Conditions::default()
        };
        let none = |text: &str| Conditions {
            if_none_match: Some(text.to_owned()),
            ..Conditions::default()
        };
        let ignoring: Answer = || {
            script(
                "200 OK",
                &["Content-Length: 9", "ETag: \"a\""],
                "",
                Then::KeepOpen,
            )
        };
        let not_modified: Answer = || script("304 Not Modified", &[], "", Then::KeepOpen);
        let failed: Answer = || status("412 Precondition Failed");
        let cases = [
            (ignoring, tag("\"a\""), "9 bytes, ranges Unknown"),
            (ignoring, tag("\"b\""), "PreconditionFailed"),
            (ignoring, none("\"a\""), "not modified"),
            (ignoring, none("\"b\""), "9 bytes, ranges Unknown"),
            (not_modified, none("\"a\""), "not modified"),
            (failed, tag("\"b\""), "PreconditionFailed"),
        ];
        for (position, (head, conditions, expected)) in cases.into_iter().enumerate() {
            let server = server(head, never, never).await;
            let probed = probe(&client(), &server.source("/x"), &conditions).await;
            assert_eq!(told(probed), expected, "case {position}");
            let seen = &server.seen()[0];
            assert_eq!(seen.field("if-match"), conditions.if_match.as_deref());
            assert_eq!(
                seen.field("if-none-match"),
                conditions.if_none_match.as_deref()
            );
        }
    }

    #[tokio::test]
    async fn validators_and_digests_are_kept() {
        let server = server(
            || {
                let fields = [
                    "Content-Length: 9",
                    "ETag: W/\"a\"",
                    "Last-Modified: Thu, 01 Jan 1970 00:00:10 GMT",
                    "x-goog-hash: crc32c=AAAAAA==",
                    "X-OSS-Hash-CRC64ECMA: 1",
                    "Repr-Digest: sha-256=:AA==:",
                    "Server: x",
                ];
                script("200 OK", &fields, "", Then::KeepOpen)
            },
            never,
            never,
        )
        .await;
        let probed = probe(&client(), &server.source("/x"), &Conditions::default()).await;
        let Ok(Probed::Found { metadata, .. }) = probed else {
            panic!("{probed:?}")
        };
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(10);
        assert_eq!(metadata.last_modified, Some(date));
        assert_eq!(metadata.validator.if_unmodified_since(), Some(date));
        assert_eq!(metadata.etag.unwrap().as_str(), "W/\"a\"");
        let names: Vec<_> = metadata
            .fields
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(
            names,
            ["x-goog-hash", "x-oss-hash-crc64ecma", "repr-digest"]
        );
    }
}
