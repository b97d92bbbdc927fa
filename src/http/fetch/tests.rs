use super::*;
use crate::http::head::header_map;
use crate::http::testing::{ScriptedServer, Seen, Then, client, script};
use crate::http::{Coding, HttpErrorKind};
use crate::object::{Date, Identity, Tag};

const LENGTH: u64 = 100;
const DATE: &str = "Tue, 14 Nov 2023 22:13:20 GMT";
const LATER: &str = "Tue, 14 Nov 2023 22:13:21 GMT";

fn asked() -> ByteRange {
    ByteRange::new(10, 20).unwrap()
}

fn pinned(tag: Option<&str>, date: Option<&str>) -> Pinned {
    let identity = Identity::of(tag.map(Tag::of_text), date.map(Date::of_text));
    let pinned = Pinned::new(LENGTH, identity);
    pinned.hold();
    pinned
}

/// One word for the outcome of a request for bytes 10 to 19.
fn judge(status: u16, fields: &[(&str, &str)], pinned: &Pinned) -> String {
    judge_asking(asked(), status, fields, pinned)
}

/// One word for the outcome of a request for this range.
fn judge_asking(asked: ByteRange, status: u16, fields: &[(&str, &str)], pinned: &Pinned) -> String {
    let headers = header_map(fields);
    let head = Head {
        status: StatusCode::from_u16(status).unwrap(),
        headers: &headers,
    };
    match check(head, pinned, asked) {
        Ok(Promise::Part(range)) => format!("part {range}"),
        Ok(Promise::Whole) => "whole".to_owned(),
        Err(error) => match error.kind() {
            HttpErrorKind::Changed(_) => "changed".to_owned(),
            HttpErrorKind::Protocol(_) => "protocol".to_owned(),
            HttpErrorKind::Unsatisfied => "unsatisfied".to_owned(),
            HttpErrorKind::Coding(_) => "coding".to_owned(),
            HttpErrorKind::Page(_) => "page".to_owned(),
            HttpErrorKind::Refused(_) => "refused".to_owned(),
            HttpErrorKind::Status(_) => "status".to_owned(),
            kind => format!("{kind:?}"),
        },
    }
}

/// {status} × {Content-Range} × {Content-Length}: what is expected follows from the three rules
/// below.
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
                    200 if is_slice(range, length) => expected_of_part(taken, total, length),
                    200 => match length {
                        Some(LENGTH) => "whole".to_owned(),
                        Some(10) => "Sliced".to_owned(),
                        Some(_) => "changed".to_owned(),
                        None => "protocol".to_owned(),
                    },
                    412 => "changed".to_owned(),
                    416 if range == Some("bytes */101") => "changed".to_owned(),
                    416 if range.is_none() => "unsatisfied".to_owned(),
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

/// Whether a 200 is a part: it names a range, and has its length.
fn is_slice(range: Option<&str>, length: Option<u64>) -> bool {
    let Some(Ok(ContentRange::Satisfied { range, .. })) = range.map(ContentRange::parse) else {
        return false;
    };
    range != ByteRange::whole(LENGTH) && length.is_none_or(|length| length == range.len())
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
    // Each reply is the first of its server.
    let strong = || pinned(Some("\"a\""), Some(DATE));
    let weak = || pinned(Some("W/\"a\""), Some(DATE));
    let dated = || pinned(None, Some(DATE));
    let none = || pinned(None, None);
    // Fields, and the outcome for each of the four.
    type Fields = &'static [(&'static str, &'static str)];
    let cases: [(Fields, [bool; 4]); 9] = [
        (&[], [true, true, true, true]),
        (&[("etag", "\"a\"")], [true, false, true, true]),
        (&[("etag", "W/\"a\"")], [false, true, true, true]),
        (&[("etag", "\"b\"")], [false, false, true, true]),
        (&[("etag", "\"a-gzip\"")], [false, false, true, true]),
        (&[("etag", "unquoted")], [false, false, true, true]),
        (&[("last-modified", LATER)], [false, false, false, true]),
        (
            &[("etag", "\"a\""), ("last-modified", LATER)],
            [true, false, false, true],
        ),
        (&[("last-modified", DATE)], [true, true, true, true]),
    ];
    for (fields, outcomes) in cases {
        let versions = [strong(), weak(), dated(), none()];
        for (pinned, passes) in versions.iter().zip(outcomes) {
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
        (
            &[part, ("content-type", "multipart/byteranges; boundary=x")][..],
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
        (&[("content-length", "1234"), html], "page"),
        (&[html], "page"),
        (&[tag, html], "whole"),
        (&[tag], "whole"),
        (&[("etag", "\"b\""), html], "changed"),
    ];
    let whole = ByteRange::whole(LENGTH);
    for (fields, expected) in cases {
        let found = judge_asking(whole, 200, fields, &strong);
        assert_eq!(found, expected, "{fields:?}");
    }
    let date = &[("last-modified", DATE)];
    let cases = [
        (&[][..], pinned(None, None), "whole"),
        (&[], pinned(None, Some(DATE)), "protocol"),
        (date, pinned(None, Some(DATE)), "whole"),
    ];
    for (fields, pinned, expected) in cases {
        assert_eq!(judge_asking(whole, 200, fields, &pinned), expected);
    }
}

/// Without a length, nothing tells the whole object from the range that was asked for.
#[test]
fn what_may_be_a_slice_is_no_whole_object() {
    let tag = ("etag", "\"a\"");
    for (fields, expected) in [
        (&[tag][..], "Sliced"),
        (&[tag, ("content-length", "10")], "Sliced"),
        (&[tag, ("content-length", "100")], "whole"),
        (&[tag, ("content-length", "11")], "changed"),
    ] {
        let found = judge(200, fields, &pinned(Some("\"a\""), None));
        assert_eq!(found, expected, "{fields:?}");
    }
    assert_eq!(judge(200, &[], &pinned(None, None)), "Sliced");
}

#[test]
fn a_message_in_place_of_the_object_is_refused() {
    let of = |media: &str| pinned(None, None).of_media(Some(media.to_owned()));
    let json = ("content-type", "application/json; charset=utf-8");
    let problem = ("content-type", "application/problem+json");
    for (fields, media, expected) in [
        (&[json, ("content-length", "26")][..], "video/mp4", "page"),
        (&[json], "video/mp4", "page"),
        (&[problem], "video/mp4", "page"),
        (&[json, ("content-length", "100")], "video/mp4", "whole"),
        (&[json], "application/json", "whole"),
        (&[("content-type", "video/mp4")], "text/plain", "whole"),
    ] {
        let found = judge_asking(ByteRange::whole(LENGTH), 200, fields, &of(media));
        assert_eq!(found, expected, "{fields:?} {media}");
    }
}

/// A coding that the probe found, those of later replies, and how these are judged.
#[test]
fn every_reply_is_in_the_coding_that_the_probe_found() {
    let cases = [
        (None, None, true),
        (None, Some("identity"), true),
        (None, Some("none"), true),
        (None, Some("utf-8"), true),
        (None, Some("gzip"), false),
        (Some("gzip"), Some("gzip"), true),
        (Some("gzip"), Some("x-gzip"), true),
        (Some("gzip"), Some("aws-chunked, gzip"), true),
        (Some("gzip"), None, false),
        (Some("gzip"), Some("none"), false),
        (Some("gzip"), Some("br"), false),
        (Some("gzip"), Some("gzip, gzip"), false),
    ];
    let replies = [
        (206, ("content-range", "bytes 10-19/100"), "part 10-19"),
        (200, ("content-length", "100"), "whole"),
    ];
    for (found, coding, passes) in cases {
        for (status, field, passed) in replies {
            let pinned = || pinned(Some("\"a\""), None).in_coding(found.map(Coding::named));
            let judge_coded = |pinned: &Pinned, coding: Option<&str>| {
                let coding = coding.map(|coding| ("content-encoding", coding));
                let fields: Vec<_> = [field].into_iter().chain(coding).collect();
                judge(status, &fields, pinned)
            };
            let first = judge_coded(&pinned(), coding);
            assert_eq!(first, if passes { passed } else { "coding" }, "{coding:?}");
            // After a reply that agreed, another one may yet agree.
            let confirmed = pinned();
            assert_eq!(judge_coded(&confirmed, found), passed);
            let later = judge_coded(&confirmed, coding);
            assert_eq!(
                later,
                if passes { passed } else { "protocol" },
                "{coding:?}"
            );
        }
    }
}

#[test]
fn a_coded_reply_without_a_length_needs_the_strong_tag() {
    let coding = ("content-encoding", "gzip");
    for (tag, expected) in [("\"a\"", "whole"), ("W/\"a\"", "coding")] {
        let pinned = pinned(Some(tag), None).in_coding(Some(Coding::named("gzip")));
        let fields = [("etag", tag), coding];
        let whole = ByteRange::whole(LENGTH);
        assert_eq!(judge_asking(whole, 200, &fields, &pinned), expected);
    }
}

#[test]
fn another_total_is_reported_to_correct_a_wrong_head() {
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
    let server = ScriptedServer::start(|_: &Seen| {
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
    let server = ScriptedServer::start(|_: &Seen| {
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
    let server = ScriptedServer::start(|_: &Seen| unreachable!()).await;
    let empty = ByteRange::new(5, 5).unwrap();
    let outcome = fetch(&client(), &server.source("/x"), &pinned(None, None), empty).await;
    assert!(outcome.is_err());
}
