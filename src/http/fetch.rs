//! One ranged GET, fully checked.

use hyper::header::{HeaderMap, HeaderValue, IF_MATCH, IF_UNMODIFIED_SINCE, RANGE};
use reqwest::{Method, StatusCode};

use super::body::Body;
use super::client::Client;
use super::error::HttpError;
use super::head::{Head, Media};
use super::redirect::{Ask, follow};
use super::source::{Entry, Source};
use crate::object::{ByteRange, ContentRange, Validator};

/// The version that every reply must belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pinned {
    /// In bytes.
    pub(crate) length: u64,
    pub(crate) validator: Validator,
}

/// A reply whose head proved itself.
#[derive(Debug)]
pub(crate) enum Reply {
    /// 206. [`Body::range`] begins where the asked range does and ends at or before its end.
    Part(Body),
    /// 200: the whole object from byte 0, of the pinned version as far as the head tells.
    Whole(Body),
}

/// What the head of a reply promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promise {
    Part(ByteRange),
    Whole,
}

/// Asks for a range of the pinned version (RFC 9110, sections 13.1 and 14.2) and checks the head of the reply.
///
/// An entity tag that differs is a change, even where it differs from one node of a CDN to the next.
/// Every wait in it is bounded: by the connect timeout and the stall timeout for each hop.
/// Cancel safe: dropping it drops the request.
///
/// # Errors
///
/// `Changed` for another version; `Protocol` for what no correct server answers, an empty range included, which
/// can't be asked for; else what [`HttpErrorKind`](super::HttpErrorKind) lists.
pub(crate) async fn fetch(
    client: &Client,
    source: &Source,
    pinned: &Pinned,
    range: ByteRange,
) -> Result<Reply, HttpError> {
    let ask = Ask {
        method: Method::GET,
        entry: Entry::Object,
        fields: fields(&pinned.validator, range)?,
        stall: client.stall_timeout(),
    };
    let answer = follow(client, source, &ask).await?;
    let promise = check(answer.head(), pinned, range).map_err(|error| answer.blame(error))?;
    let body = |range| {
        Body::new(
            answer.response,
            Some(range),
            answer.first_byte,
            client.stall_timeout(),
        )
    };
    Ok(match promise {
        Promise::Part(range) => Reply::Part(body(range)),
        Promise::Whole => Reply::Whole(body(ByteRange::whole(pinned.length))),
    })
}

/// `Range`, and the condition that the validator allows.
fn fields(validator: &Validator, range: ByteRange) -> Result<HeaderMap, HttpError> {
    let range = range
        .to_header()
        .ok_or_else(|| HttpError::protocol("an empty range can't be asked for"))?;
    let mut fields = HeaderMap::new();
    fields.insert(RANGE, ascii(&range));
    if let Some(tag) = validator.if_match() {
        fields.insert(IF_MATCH, ascii(tag.as_str()));
    }
    if let Some(date) = validator.if_unmodified_since() {
        fields.insert(IF_UNMODIFIED_SINCE, ascii(&httpdate::fmt_http_date(date)));
    }
    Ok(fields)
}

fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("ranges, entity tags and dates are visible ASCII")
}

/// Holds the head of a reply against what was asked and what is pinned.
fn check(head: Head<'_>, pinned: &Pinned, asked: ByteRange) -> Result<Promise, HttpError> {
    match head.status {
        StatusCode::PARTIAL_CONTENT => check_part(head, pinned, asked).map(Promise::Part),
        StatusCode::OK => check_whole(head, pinned).map(|()| Promise::Whole),
        StatusCode::PRECONDITION_FAILED => Err(HttpError::changed(
            "the server says that it is no longer the version asked for (412)",
        )),
        StatusCode::RANGE_NOT_SATISFIABLE => Err(check_unsatisfied(head, pinned, asked)),
        _ => Err(head.status_error()),
    }
}

fn check_part(head: Head<'_>, pinned: &Pinned, asked: ByteRange) -> Result<ByteRange, HttpError> {
    head.refuse_coding()?;
    if head.media() == Media::Multipart {
        return Err(HttpError::protocol(
            "several parts (multipart/byteranges) came though one range was asked for",
        ));
    }
    let (range, total) = match head.content_range()? {
        Some(ContentRange::Satisfied { range, total }) => (range, total),
        Some(ContentRange::Unsatisfied { .. }) => {
            return Err(HttpError::protocol("206 with an unsatisfied Content-Range"));
        }
        None => return Err(HttpError::protocol("206 without a Content-Range")),
    };
    check_version(head, pinned)?;
    match total {
        Some(total) => check_total(total, pinned.length)?,
        None if !names_pinned_tag(head, &pinned.validator) => {
            return Err(HttpError::protocol(
                "206 that names neither the total length nor the pinned entity tag",
            ));
        }
        None => {}
    }
    if range.start() != asked.start() || range.end() > asked.end() {
        return Err(HttpError::protocol(format!(
            "another range than the one asked for: expected {asked}, found {range}"
        )));
    }
    match head.content_length()? {
        Some(length) if length != range.len() => Err(HttpError::protocol(format!(
            "a Content-Length that is not the range's: expected {}, found {length}",
            range.len()
        ))),
        _ => Ok(range),
    }
}

fn check_whole(head: Head<'_>, pinned: &Pinned) -> Result<(), HttpError> {
    head.refuse_coding()?;
    if head.media() == Media::Multipart {
        return Err(HttpError::protocol("200 with a multipart body"));
    }
    check_version(head, pinned)?;
    let length = head.content_length()?;
    // What came in place of the object, most likely: a page to log in with, or one that excuses itself.
    if head.media() == Media::Html
        && length != Some(pinned.length)
        && !names_pinned_tag(head, &pinned.validator)
    {
        return Err(HttpError::protocol(
            "200 with a page of HTML in place of the bytes asked for",
        ));
    }
    match length {
        Some(total) => check_total(total, pinned.length),
        None if proves_version(head, &pinned.validator) => Ok(()),
        None => Err(HttpError::protocol(
            "200 that proves neither length nor version",
        )),
    }
}

fn check_unsatisfied(head: Head<'_>, pinned: &Pinned, asked: ByteRange) -> HttpError {
    if let Err(error) = check_version(head, pinned) {
        return error;
    }
    match head.content_range() {
        Ok(Some(ContentRange::Unsatisfied { total })) => match check_total(total, pinned.length) {
            Err(error) => error,
            Ok(()) => HttpError::protocol(format!(
                "416 for the range {asked}, which lies within the {total} bytes that it names"
            )),
        },
        Ok(_) => HttpError::protocol(format!("416 for the range {asked}, without a length")),
        Err(error) => error,
    }
}

fn check_version(head: Head<'_>, pinned: &Pinned) -> Result<(), HttpError> {
    pinned
        .validator
        .check(head.etag().as_ref(), head.last_modified())
        .map_err(|mismatch| HttpError::changed(mismatch.to_string()))
}

fn check_total(found: u64, pinned: u64) -> Result<(), HttpError> {
    if found == pinned {
        return Ok(());
    }
    Err(
        HttpError::changed(format!("its length was {pinned} bytes and is {found} now"))
            .with_found_length(found),
    )
}

/// Whether the reply carries the pinned tag, and that is a strong one.
fn names_pinned_tag(head: Head<'_>, validator: &Validator) -> bool {
    matches!(validator, Validator::Strong(pinned) if head.etag().as_ref() == Some(pinned))
}

/// Whether the reply carries what is pinned, where anything is.
fn proves_version(head: Head<'_>, validator: &Validator) -> bool {
    match validator {
        Validator::Strong(pinned) | Validator::Weak { tag: pinned, .. } => {
            head.etag().as_ref() == Some(pinned)
        }
        Validator::LastModified(pinned) => head.last_modified() == Some(*pinned),
        Validator::None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::HttpErrorKind;
    use crate::http::head::header_map;
    use crate::http::testing::{Seen, Server, Then, client, script};
    use crate::object::EntityTag;

    const LENGTH: u64 = 100;
    const DATE: &str = "Thu, 01 Jan 1970 00:00:10 GMT";
    const LATER: &str = "Thu, 01 Jan 1970 00:00:11 GMT";

    fn asked() -> ByteRange {
        ByteRange::new(10, 20).unwrap()
    }

    fn pinned(tag: Option<&str>, date: Option<&str>) -> Pinned {
        Pinned {
            length: LENGTH,
            validator: Validator::from_fields(
                tag.map(|text| EntityTag::parse(text).unwrap()),
                date.map(|text| httpdate::parse_http_date(text).unwrap()),
            ),
        }
    }

    /// One word for the outcome.
    fn judge(status: u16, fields: &[(&str, &str)], pinned: &Pinned) -> String {
        let headers = header_map(fields);
        let head = Head {
            status: StatusCode::from_u16(status).unwrap(),
            headers: &headers,
        };
        match check(head, pinned, asked()) {
            Ok(Promise::Part(range)) => format!("part {range}"),
            Ok(Promise::Whole) => "whole".to_owned(),
            Err(error) => match error.kind() {
                HttpErrorKind::Changed(_) => "changed".to_owned(),
                HttpErrorKind::Protocol(_) => "protocol".to_owned(),
                HttpErrorKind::Refused(_) => "refused".to_owned(),
                HttpErrorKind::Status(_) => "status".to_owned(),
                kind => format!("{kind:?}"),
            },
        }
    }

    /// {status} × {Content-Range} × {Content-Length}: what is expected follows from the three rules below.
    #[test]
    fn product_of_status_range_and_length() {
        // Each with the range that a 206 may take from it, and the total that it names.
        let ranges: [(Option<&str>, Option<&str>, Option<u64>); 15] = [
            (None, None, None),
            (Some("bytes 10-19/100"), Some("10-19"), Some(100)),
            (Some("bytes 10-10/100"), Some("10-10"), Some(100)),
            (Some("bytes 10-15/100"), Some("10-15"), Some(100)),
            (Some("bytes 9-19/100"), None, Some(100)),
            (Some("bytes 11-19/100"), None, Some(100)),
            (Some("bytes 10-20/100"), None, Some(100)),
            (Some("bytes 0-99/100"), None, Some(100)),
            (Some("bytes 10-19/101"), None, Some(101)),
            (Some("bytes 10-19/*"), None, None),
            (Some("bytes 5-3/10"), None, None),
            (Some("items 10-19/100"), None, None),
            (Some("bytes 10-99999999999999999999/100"), None, None),
            (Some("bytes */100"), None, None),
            (Some("bytes */101"), None, None),
        ];
        let lengths = [
            None,
            Some(10),
            Some(6),
            Some(1),
            Some(99),
            Some(100),
            Some(101),
        ];
        let statuses = [
            200, 204, 206, 226, 300, 304, 401, 403, 404, 412, 416, 500, 503,
        ];
        let pinned = pinned(Some("\"a\""), None);
        for status in statuses {
            for (range, taken, total) in ranges {
                for length in lengths {
                    let text = length.map(|l: u64| l.to_string());
                    let mut fields = Vec::new();
                    fields.extend(range.map(|value| ("content-range", value)));
                    fields.extend(text.as_deref().map(|value| ("content-length", value)));
                    let expected = match status {
                        206 => expected_of_part(taken, total, length),
                        200 => match length {
                            Some(LENGTH) => "whole".to_owned(),
                            Some(_) => "changed".to_owned(),
                            None => "protocol".to_owned(),
                        },
                        412 => "changed".to_owned(),
                        416 if range == Some("bytes */101") => "changed".to_owned(),
                        416 | 204 | 226 | 300 | 304 => "protocol".to_owned(),
                        401 | 403 => "refused".to_owned(),
                        _ => "status".to_owned(),
                    };
                    let found = judge(status, &fields, &pinned);
                    assert_eq!(found, expected, "{status} {range:?} {length:?}");
                }
            }
        }
    }

    fn expected_of_part(taken: Option<&str>, total: Option<u64>, length: Option<u64>) -> String {
        let Some(taken) = taken else {
            let is_changed = total.is_some_and(|total| total != LENGTH);
            return if is_changed { "changed" } else { "protocol" }.to_owned();
        };
        let (first, last) = taken.split_once('-').unwrap();
        let count = last.parse::<u64>().unwrap() - first.parse::<u64>().unwrap() + 1;
        match length {
            Some(length) if length != count => "protocol".to_owned(),
            _ => format!("part {taken}"),
        }
    }

    #[test]
    fn product_of_validators() {
        let part = ("content-range", "bytes 10-19/100");
        let strong = pinned(Some("\"a\""), Some(DATE));
        let weak = pinned(Some("W/\"a\""), Some(DATE));
        let dated = pinned(None, Some(DATE));
        let none = pinned(None, None);
        // Fields, and the outcome for each of the four.
        let cases: [(&[(&str, &str)], [bool; 4]); 8] = [
            (&[], [true, true, true, true]),
            (&[("etag", "\"a\"")], [true, false, true, true]),
            (&[("etag", "W/\"a\"")], [false, true, true, true]),
            (&[("etag", "\"b\"")], [false, false, true, true]),
            (&[("etag", "\"a-gzip\"")], [false, false, true, true]),
            (&[("etag", "unquoted")], [true, true, true, true]),
            (&[("last-modified", LATER)], [true, true, false, true]),
            (&[("last-modified", DATE)], [true, true, true, true]),
        ];
        for (fields, outcomes) in cases {
            for (pinned, passes) in [&strong, &weak, &dated, &none].into_iter().zip(outcomes) {
                let fields = [fields, &[part]].concat();
                let expected = if passes { "part 10-19" } else { "changed" };
                assert_eq!(
                    judge(206, &fields, pinned),
                    expected,
                    "{fields:?} {pinned:?}"
                );
            }
        }
    }

    #[test]
    fn what_no_part_may_be() {
        let part = ("content-range", "bytes 10-19/100");
        let strong = pinned(Some("\"a\""), None);
        let cases = [
            (&[part, ("content-encoding", "gzip")][..], "protocol"),
            (&[part, ("content-encoding", "identity")], "part 10-19"),
            (
                &[part, ("content-type", "multipart/byteranges; boundary=x")],
                "protocol",
            ),
            (
                &[("content-type", "multipart/byteranges; boundary=x")],
                "protocol",
            ),
            (&[part, ("content-range", "bytes 10-18/100")], "protocol"),
            (&[part, part], "part 10-19"),
            // The total may be unknown where the tag proves the version.
            (
                &[("content-range", "bytes 10-19/*"), ("etag", "\"a\"")],
                "part 10-19",
            ),
            (
                &[("content-range", "bytes 10-19/*"), ("etag", "\"b\"")],
                "changed",
            ),
        ];
        for (fields, expected) in cases {
            assert_eq!(judge(206, fields, &strong), expected, "{fields:?}");
        }
    }

    #[test]
    fn what_a_whole_reply_must_prove() {
        let strong = pinned(Some("\"a\""), None);
        let html = ("content-type", "text/html; charset=utf-8");
        let tag = ("etag", "\"a\"");
        let cases = [
            (&[("content-length", "100"), html][..], "whole"),
            (&[("content-length", "1234"), html], "protocol"),
            (&[html], "protocol"),
            (&[tag, html], "whole"),
            (&[tag], "whole"),
            (&[("etag", "\"b\""), html], "changed"),
            (
                &[("content-length", "100"), ("content-encoding", "gzip")],
                "protocol",
            ),
        ];
        for (fields, expected) in cases {
            assert_eq!(judge(200, fields, &strong), expected, "{fields:?}");
        }
        assert_eq!(judge(200, &[], &pinned(None, None)), "whole");
        assert_eq!(judge(200, &[], &pinned(None, Some(DATE))), "protocol");
        assert_eq!(
            judge(200, &[("last-modified", DATE)], &pinned(None, Some(DATE))),
            "whole"
        );
    }

    #[test]
    fn another_total_is_told_so_that_a_wrong_head_can_be_put_right() {
        let headers = header_map(&[("content-range", "bytes 10-19/90")]);
        let head = Head {
            status: StatusCode::PARTIAL_CONTENT,
            headers: &headers,
        };
        let error = check(head, &pinned(None, None), asked()).unwrap_err();
        assert_eq!(error.found_length(), Some(90));
        let both = header_map(&[("content-range", "bytes 10-19/90"), ("etag", "\"b\"")]);
        let head = Head {
            status: StatusCode::PARTIAL_CONTENT,
            headers: &both,
        };
        let error = check(head, &pinned(Some("\"a\""), None), asked()).unwrap_err();
        assert_eq!(error.found_length(), None);
    }

    #[tokio::test]
    async fn the_validator_ladder_is_sent() {
        let server = Server::start(|_: &Seen| {
            script(
                "206 Partial Content",
                &["Content-Range: bytes 10-19/100"],
                "0123456789",
                Then::Close,
            )
        })
        .await;
        let (client, source) = (client(), server.source("/x"));
        let rungs = [
            (pinned(Some("\"a\""), Some(DATE)), Some("\"a\""), None),
            (pinned(Some("W/\"a\""), Some(DATE)), None, Some(DATE)),
            (pinned(Some("W/\"a\""), None), None, None),
            (pinned(None, Some(DATE)), None, Some(DATE)),
            (pinned(None, None), None, None),
        ];
        for (pinned, if_match, if_unmodified_since) in rungs {
            let reply = fetch(&client, &source, &pinned, asked()).await.unwrap();
            let Reply::Part(mut body) = reply else {
                panic!("{reply:?}")
            };
            assert_eq!(body.range(), Some(asked()));
            let mut bytes: Vec<u8> = Vec::new();
            while let Some(chunk) = body.chunk().await.unwrap() {
                bytes.extend(&chunk);
            }
            assert_eq!(bytes, b"0123456789");
            let seen = server.seen().pop().unwrap();
            assert_eq!(seen.field("range"), Some("bytes=10-19"));
            assert_eq!(seen.field("if-match"), if_match);
            assert_eq!(seen.field("if-unmodified-since"), if_unmodified_since);
            assert_eq!(seen.field("if-range"), None);
        }
    }

    #[tokio::test]
    async fn a_whole_reply_begins_at_byte_0() {
        let server = Server::start(|_: &Seen| {
            script(
                "200 OK",
                &["Content-Length: 100"],
                "x".repeat(100),
                Then::KeepOpen,
            )
        })
        .await;
        let reply = fetch(
            &client(),
            &server.source("/x"),
            &pinned(None, None),
            asked(),
        )
        .await;
        match reply.unwrap() {
            Reply::Whole(body) => assert_eq!(body.range(), Some(ByteRange::whole(100))),
            reply @ Reply::Part(_) => panic!("{reply:?}"),
        }
    }

    #[tokio::test]
    async fn an_empty_range_is_never_asked() {
        let server = Server::start(|_: &Seen| unreachable!()).await;
        let empty = ByteRange::new(5, 5).unwrap();
        let outcome = fetch(&client(), &server.source("/x"), &pinned(None, None), empty).await;
        assert!(outcome.is_err());
    }
}
