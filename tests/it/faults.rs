//! What servers do wrong, one fault at a time: once, and without end.
//!
//! For every fault the exit code is 0 if and only if the bytes are right; otherwise the final name stays untouched, and
//! the next run, against a server that has come to its senses, completes the file.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use partwise::origin::Object;

use crate::support::fault::{Door, FaultOrigin, Reply, Request, Step, honest};
use crate::support::fixture::{Fixture, Outcome};

const PART: u64 = 64 << 10;
const LENGTH: u64 = 16 * PART + 3;

/// Turns an honest answer to a range into a faulty one.
type Fault = fn(&Request, Reply) -> Reply;

struct Case {
    name: &'static str,
    fault: Fault,
    /// The exit codes that are right when one answer is faulty.
    once: &'static [i32],
    /// The exit codes that are right when every answer is.
    always: &'static [i32],
}

const fn case(
    name: &'static str,
    once: &'static [i32],
    always: &'static [i32],
    fault: Fault,
) -> Case {
    Case {
        name,
        fault,
        once,
        always,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Once,
    Always,
}

fn object() -> Object {
    Object::new(9, LENGTH)
}

fn bounds(request: &Request) -> (u64, u64) {
    request
        .range(LENGTH)
        .expect("a fault in the answer to a range")
}

/// A `Content-Range` that is off by so much at either end.
fn content_range(request: &Request, first: i64, last: i64, total: u64) -> String {
    let (start, end) = bounds(request);
    let (start, last) = (
        start.saturating_add_signed(first),
        (end - 1).saturating_add_signed(last),
    );
    format!("bytes {start}-{last}/{total}")
}

/// Answers faultily to ranges that do not begin at 0, so that discovery is over by then.
fn faulty(fault: Fault, mode: Mode, healed: &Arc<AtomicBool>) -> FaultOrigin {
    let healed = Arc::clone(healed);
    let faults = AtomicUsize::new(0);
    FaultOrigin::new(move |request| {
        let reply = honest(&object(), request);
        let later = request.range(LENGTH).is_some_and(|(start, _)| start > 0);
        let spared = mode == Mode::Once && faults.load(Ordering::Relaxed) > 0;
        if !later || spared || healed.load(Ordering::Relaxed) {
            return reply;
        }
        faults.fetch_add(1, Ordering::Relaxed);
        fault(request, reply)
    })
}

fn run(fixture: &Fixture, url: &str) -> Outcome {
    let part = PART.to_string();
    let arguments = [
        "get",
        "-c",
        "2",
        "-p",
        &part,
        "--retries",
        "1",
        "--stall-timeout",
        "1",
        url,
    ];
    fixture.partwise(arguments).spawn().wait()
}

#[track_caller]
fn assert_survives(case: &Case, mode: Mode) {
    let healed = Arc::new(AtomicBool::new(false));
    let origin = faulty(case.fault, mode, &healed);
    let fixture = Fixture::new();
    let outcome = run(&fixture, &origin.url("x"));
    let right = if mode == Mode::Once {
        case.once
    } else {
        case.always
    };
    let (name, code, stderr) = (case.name, outcome.code(), outcome.stderr());
    assert!(
        right.contains(&code),
        "{name}, {mode:?}: exit code {code} is none of {right:?}:\n{stderr}"
    );
    assert!(
        !stderr.contains('\x1b'),
        "{name}: a control sequence on standard error: {stderr:?}"
    );
    if code != 0 {
        outcome.stderr_has("partwise: error: ");
        fixture.file("x").is_absent();
        healed.store(true, Ordering::Relaxed);
        let again = run(&fixture, &origin.url("x"));
        assert_eq!(again.code(), 0, "{name}, healed:\n{}", again.stderr());
    }
    fixture.file("x").is(&object());
    fixture.assert_no_leftovers();
}

fn survive(cases: &[Case]) {
    for case in cases {
        assert_survives(case, Mode::Once);
        assert_survives(case, Mode::Always);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_that_pass() {
    survive(&[
        case("408", &[0], &[3], |_, _| Reply::status(408)),
        case("425", &[0], &[3], |_, _| Reply::status(425)),
        case("429", &[0], &[3], |_, _| {
            Reply::status(429).header("Retry-After", "0")
        }),
        case("500", &[0], &[3], |_, _| Reply::status(500)),
        case("502", &[0], &[3], |_, _| Reply::status(502)),
        case("503", &[0], &[3], |_, _| {
            Reply::status(503).header("Retry-After", "1")
        }),
        case("503 with a date past", &[0], &[3], |_, _| {
            Reply::status(503).header("Retry-After", "Mon, 01 Jan 2024 00:00:00 GMT")
        }),
        case("503 with garbage", &[0], &[3], |_, _| {
            Reply::status(503).header("Retry-After", "-1e9")
        }),
        case("504", &[0], &[3], |_, _| Reply::status(504)),
    ]);
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_that_stay() {
    survive(&[
        case("401", &[7], &[7], |_, _| Reply::status(401)),
        case("403", &[7], &[7], |_, _| Reply::status(403)),
        case("404", &[3], &[3], |_, _| Reply::status(404)),
        case("204", &[0, 3], &[3], |_, _| {
            Reply::status(204).without("content-length")
        }),
        case("226", &[0, 3], &[3], |_, reply| reply.with_status(226)),
        case("300", &[0, 3], &[3], |_, _| Reply::status(300)),
        case("304", &[0, 3], &[3], |_, _| {
            Reply::status(304).without("content-length")
        }),
        case("416 with the same total", &[0, 3], &[3], |_, _| {
            Reply::status(416).header("Content-Range", format!("bytes */{LENGTH}"))
        }),
    ]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_object() {
    survive(&[
        case("412", &[4], &[4], |_, _| Reply::status(412)),
        case("another tag", &[4], &[4], |_, reply| {
            reply.header("ETag", "\"other\"")
        }),
        // Once: HEAD and a second GET agree, so it was no change.
        case("another total", &[0, 4], &[4], |request, reply| {
            reply.header("Content-Range", content_range(request, 0, 0, LENGTH + 1))
        }),
        case("416 with another total", &[0, 4], &[4], |_, _| {
            Reply::status(416).header("Content-Range", "bytes */1")
        }),
        case(
            "a tag that turns weak",
            &[0, 3, 4],
            &[0, 3, 4],
            |_, reply| reply.header("ETag", format!("W/\"9-{LENGTH}\"")),
        ),
        case("a login page", &[0, 3, 4], &[3, 4], |_, _| {
            Reply::status(200)
                .header("Content-Type", "text/html")
                .text("<p>Who are you?")
        }),
        case("the whole object", &[0, 3, 4], &[3, 4], |_, reply| {
            reply
                .with_status(200)
                .without("content-range")
                .body(&object(), 0..LENGTH)
        }),
    ]);
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_do_not_prove_the_range() {
    survive(&[
        case("no Content-Range", &[0, 3], &[3], |_, reply| {
            reply.without("content-range")
        }),
        case("starts earlier", &[0, 3], &[3], |request, reply| {
            reply.header("Content-Range", content_range(request, -1, 0, LENGTH))
        }),
        case("starts later", &[0, 3], &[3], |request, reply| {
            reply.header("Content-Range", content_range(request, 1, 0, LENGTH))
        }),
        case("ends past the end", &[0, 3], &[3], |request, reply| {
            reply.header("Content-Range", content_range(request, 0, 9, LENGTH))
        }),
        case("another unit", &[0, 3], &[3], |_, reply| {
            reply.header("Content-Range", "lines 0-9/10")
        }),
        case("the wrong way round", &[0, 3], &[3], |_, reply| {
            reply.header("Content-Range", "bytes 5-3/10")
        }),
        case("an overflow", &[0, 3], &[3], |_, reply| {
            reply.header("Content-Range", format!("bytes 0-{0}{0}/{0}{0}", u64::MAX))
        }),
        case("two Content-Ranges", &[0, 3], &[0, 3], |request, reply| {
            reply.add_header("Content-Range", content_range(request, 1, 0, LENGTH))
        }),
        case("multipart", &[0, 3], &[3], |_, reply| {
            reply
                .without("content-range")
                .header("Content-Type", "multipart/byteranges; boundary=b")
        }),
        case("encoded", &[0, 3], &[3], |_, reply| {
            reply.header("Content-Encoding", "gzip")
        }),
        case("control characters", &[0, 3, 4], &[3, 4], |_, reply| {
            reply.header("ETag", "\"\x1b[2J\u{202e}\"")
        }),
        case("no HTTP", &[0, 3], &[3], |_, _| {
            Reply::raw("\x1b[2Jhello\r\n\r\n").then(Step::Close)
        }),
        case("two hundred headers", &[0, 3], &[0, 3], |_, reply| {
            (0..200).fold(reply, |reply, number| {
                reply.add_header("X-Filler", number.to_string())
            })
        }),
        case("a 1xx first", &[0], &[0], |_, reply| {
            reply.preceded_by("HTTP/1.1 102 Processing\r\n\r\n")
        }),
    ]);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_end_too_early_or_too_late() {
    survive(&[
        case("FIN", &[0], &[0, 3], |_, reply| {
            reply.cut_after(40_000).then(Step::Close)
        }),
        case("FIN without a length", &[0], &[0, 3], |_, reply| {
            reply
                .without("content-length")
                .cut_after(40_000)
                .then(Step::Close)
        }),
        case("FIN before the first byte", &[0], &[3], |_, reply| {
            reply.cut_after(0).then(Step::Close)
        }),
        case("RST", &[0], &[0, 3], |_, reply| {
            reply.cut_after(40_000).then(Step::Reset)
        }),
        case("a legal prefix", &[0], &[0], |request, _| {
            let (start, end) = bounds(request);
            let middle = end.min(start + 10_000);
            Reply::status(206)
                .header("ETag", format!("\"9-{LENGTH}\""))
                .header(
                    "Content-Range",
                    format!("bytes {start}-{}/{LENGTH}", middle - 1),
                )
                .body(&object(), start..middle)
        }),
        case(
            "a length that is not the range's",
            &[0, 3],
            &[3],
            |_, reply| reply.header("Content-Length", "2").cut_after(2),
        ),
        case("bytes past the end", &[0, 3], &[0, 3], |_, reply| {
            reply
                .then(Step::Bytes(b"and more".to_vec()))
                .then(Step::Close)
        }),
    ]);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence() {
    survive(&[
        case("in a body", &[0], &[0, 3], |_, reply| {
            reply.cut_after(40_000).then(Step::Stall)
        }),
        case("before the head", &[0], &[3], |_, _| {
            Reply::raw("").then(Step::Stall)
        }),
        case("a head that drips", &[0], &[3], |_, _| {
            let head = b"HTTP/1.1 503 Slow\r\nContent-Length: 0\r\n\r\n";
            Reply::raw("").then(Step::Slowly(head.to_vec(), Duration::from_millis(2)))
        }),
    ]);
}

/// Runs with all the patience that there is by default, and holds that it ends well.
#[track_caller]
fn assert_downloads(origin: &FaultOrigin) {
    let fixture = Fixture::new();
    let (url, part) = (origin.url("x"), PART.to_string());
    fixture
        .partwise(["get", "-c", "4", "-p", &part, "--stall-timeout", "2", &url])
        .exit_code(0);
    fixture.file("x").is(&object());
    fixture.assert_holds_only(["x"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_at_a_time_is_let_in() {
    let origin = FaultOrigin::with_door(
        |knock| {
            if knock.open == 0 {
                Door::Open
            } else {
                Door::Shut
            }
        },
        |request| honest(&object(), request),
    );
    assert_downloads(&origin);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_connection_is_never_answered() {
    let origin = FaultOrigin::with_door(
        |knock| {
            if knock.number == 0 {
                Door::Silent
            } else {
                Door::Open
            }
        },
        |request| honest(&object(), request),
    );
    assert_downloads(&origin);
}

/// Law 6: no header and no query leaves for another origin, into a checkpoint or onto a terminal.
#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_takes_no_secret_along() {
    let target = FaultOrigin::new(|request| match request.range(LENGTH) {
        Some((start, _)) if start > 0 => Reply::status(404),
        _ => honest(&object(), request),
    });
    let location = target.url("y?signature=TARGETSECRET");
    let home = FaultOrigin::new(move |_| Reply::status(302).header("Location", location.clone()));
    let fixture = Fixture::new();
    let (url, part) = (home.url("x?signature=URLSECRET"), PART.to_string());
    let outcome = fixture
        .partwise([
            "get",
            "-v",
            "-c",
            "2",
            "-p",
            &part,
            "--bearer",
            "BEARERSECRET",
            "-H",
            "X-Key: KEYSECRET",
            &url,
        ])
        .exit_code(3);
    for secret in ["TARGETSECRET", "URLSECRET", "BEARERSECRET", "KEYSECRET"] {
        outcome.assert_no_secret(secret);
    }
    for request in target.requests() {
        assert_eq!(request.target, "/y?signature=TARGETSECRET");
        assert_eq!(
            (request.header("authorization"), request.header("x-key")),
            (None, None)
        );
    }
    assert_eq!(
        home.requests()[0].header("authorization"),
        Some("Bearer BEARERSECRET")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_download_goes_on_under_a_fresh_url() {
    let origin = FaultOrigin::new(|request| {
        let later = request.range(LENGTH).is_some_and(|(start, _)| start > 0);
        if later && request.target.contains("old") {
            Reply::status(403)
        } else {
            honest(&object(), request)
        }
    });
    let fixture = Fixture::new();
    let (url, part) = (origin.url("x?signature=old"), PART.to_string());
    fixture
        .partwise([
            "get",
            "-c",
            "2",
            "-p",
            &part,
            "--refresh-cmd",
            "echo \"$FRESH\"",
            &url,
        ])
        .env("FRESH", origin.url("x?signature=new"))
        .exit_code(0);
    fixture.file("x").is(&object());
    fixture.assert_holds_only(["x"]);
}
