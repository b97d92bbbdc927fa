//! Outputs that are no file: standard output, and the benchmark's sinks.

mod readers;

use partwise::Download;
use partwise::origin::Object;
use tokio::runtime::Handle;

use super::table::{Row, hold, row};
use super::{LENGTH, PART};
use crate::support::fault::{FaultOrigin, Reply, Request, honest};
use crate::support::fixture::Fixture;

#[tokio::test(flavor = "multi_thread")]
async fn outputs() {
    let mut rows = Vec::new();
    // Without a length HEAD tells nothing; with a wrong one the first reply to a range contradicts
    // it.
    for length in [
        None,
        Some("70000"),
        Some("2000000"),
        Some("0"),
        Some("4611686018427387904"),
    ] {
        rows.push(to_standard_output(length));
        rows.push(discarded(length));
        rows.push(measured(length));
    }
    rows.push(absurdly_long());
    rows.push(large_parts());
    rows.push(refreshed("another tag", Some(LENGTH)));
    rows.push(refreshed("another length", Some(8 * LENGTH)));
    rows.push(refreshed("no length", None));
    rows.push(replaced_in_the_middle());
    rows.extend(readers::rows());
    hold("outputs", rows);
}

/// A server whose HEAD has this length; it is honest otherwise.
fn head_says(object: &Object, length: Option<&'static str>) -> FaultOrigin {
    let object = object.clone();
    FaultOrigin::new(move |request: &Request| {
        let reply: Reply = honest(&object, request);
        match (request.is_head(), length) {
            (false, _) => reply,
            (true, Some(length)) => reply.header("Content-Length", length),
            (true, None) => reply.without("content-length"),
        }
    })
}

/// A server that names a length that no memory and no disk has.
fn absurdly_long() -> Row {
    row("standard output, 2^62 bytes", || {
        let origin = FaultOrigin::new(|request: &Request| {
            let length = 1_u64 << 62;
            let reply = Reply::status(200).header("Content-Length", length.to_string());
            match request.range(length) {
                Some((first, end)) if !request.is_head() => {
                    let range = format!("bytes {first}-{}/{length}", end - 1);
                    let reply = reply.with_status(206).header("Content-Range", range);
                    reply.header("Content-Length", (end - first).to_string())
                }
                _ => reply,
            }
        });
        let fixture = Fixture::new();
        let command = fixture.partwise(["get", "-o", "-", &origin.url("x")]);
        let outcome = command.exit_code(3);
        outcome.stderr_has("a length of 4611686018427387904 bytes is more than");
    })
}

/// Parts that are larger than the memory that a run may use.
fn large_parts() -> Row {
    row("standard output, parts of 64 GiB", || {
        let object = Object::new(9, LENGTH);
        let served = object.clone();
        let origin = FaultOrigin::new(move |request: &Request| honest(&served, request));
        let fixture = Fixture::new();
        let command = fixture.partwise(["get", "-o", "-", "-p", "64G", &origin.url("x")]);
        let outcome = command.limit("-v 2097152").exit_code(0);
        assert_eq!(outcome.stdout().len() as u64, LENGTH);
    })
}

fn named(output: &str, length: Option<&str>) -> String {
    format!("{output}, HEAD's length is {}", length.unwrap_or("missing"))
}

fn to_standard_output(length: Option<&'static str>) -> Row {
    row(named("standard output", length), move || {
        let object = Object::new(9, LENGTH);
        let origin = head_says(&object, length);
        let fixture = Fixture::new();
        let part = PART.to_string();
        let url = origin.url("x?signature=QUERYSECRET");
        let command = fixture.partwise(["get", "-o", "-", "-c", "2", "-p", &part, &url]);
        let outcome = command.exit_code(0);
        outcome.assert_no_secret("SECRET");
        let mut expected = vec![0; usize::try_from(LENGTH).unwrap()];
        object.read_at(0, &mut expected);
        assert!(outcome.stdout() == expected, "other bytes");
        fixture.assert_holds_only([]);
    })
}

fn discarded(length: Option<&'static str>) -> Row {
    row(named("discard", length), move || {
        let origin = head_says(&Object::new(9, LENGTH), length);
        let download = Download::builder(origin.url("x")).no_proxy(true).discard();
        let handle = download.build().unwrap().start();
        let report = Handle::current().block_on(handle.finish());
        assert_eq!(report.unwrap().bytes, LENGTH);
    })
}

fn measured(length: Option<&'static str>) -> Row {
    row(named("the benchmark", length), move || {
        let origin = head_says(&Object::new(9, LENGTH), length);
        let fixture = Fixture::new();
        let url = origin.url("x");
        let sweep = [
            "bench", "-c", "1", "-p", "16K", "--runs", "1", "--json", &url,
        ];
        let results = fixture.partwise(sweep).exit_code(0).json();
        assert!(results["fetched_bytes"].as_u64() > Some(0), "{results}");
    })
}

/// Access to standard output's object runs out after a while, and the fresh URL is another
/// object's, of this length. Without one it is the same object.
fn refreshed(name: &str, length: Option<u64>) -> Row {
    row(
        format!("standard output, a fresh URL with {name}"),
        move || {
            let object = Object::new(9, LENGTH);
            let other = length.map(|length| Object::new(10, length));
            let origin = FaultOrigin::new(move |request: &Request| {
                let start = request.range(LENGTH).map_or(0, |(start, _)| start);
                match request.target.contains("fresh") {
                    true => match &other {
                        Some(other) => honest(other, request),
                        None if request.is_head() => Reply::status(405),
                        None => Reply::status(200).body(&object, 0..LENGTH).chunked(),
                    },
                    false if start >= LENGTH / 2 => Reply::status(403),
                    // Or one request might bring everything.
                    false => honest(&object, request).cut_after(LENGTH / 2 - start),
                }
            });
            let fixture = Fixture::new();
            let (part, url) = (PART.to_string(), origin.url("x?signature=QUERYSECRET"));
            let refresh = format!("echo '{}'", origin.url("x?fresh=NEWSECRET"));
            let command = [
                "get",
                "-o",
                "-",
                "-c",
                "2",
                "-p",
                &part,
                "--refresh-cmd",
                &refresh,
                &url,
            ];
            let outcome = fixture.partwise(command).exit_code(4);
            outcome.stderr_has("the object changed on the server");
            outcome.assert_no_secret("SECRET");
            let mut expected = vec![0; outcome.stdout().len()];
            Object::new(9, LENGTH).read_at(0, &mut expected);
            assert!(outcome.stdout() == expected, "bytes of another object");
        },
    )
}

/// No reply names its version, and one in the middle is of another.
fn replaced_in_the_middle() -> Row {
    row("standard output, one reply of another object", || {
        let (object, other) = (Object::new(9, LENGTH), Object::new(10, LENGTH));
        let mut later = 0;
        let origin = FaultOrigin::new(move |request: &Request| {
            let start = request.range(LENGTH).map_or(0, |(start, _)| start);
            later += u32::from(!request.is_head() && start > 0);
            let of = match (later, start > 0) {
                (3, true) => &other,
                _ => &object,
            };
            // Short replies, so that there are many.
            let reply = honest(of, request).without("etag").without("last-modified");
            match request.range(LENGTH) {
                Some((start, end)) if !request.is_head() => {
                    let end = end.min(start + PART);
                    let range = format!("bytes {start}-{}/{LENGTH}", end - 1);
                    reply.header("Content-Range", range).body(of, start..end)
                }
                _ => reply,
            }
        });
        let fixture = Fixture::new();
        let (part, url) = (PART.to_string(), origin.url("x"));
        let command = fixture.partwise(["get", "-o", "-", "-c", "1", "-p", &part, &url]);
        command
            .exit_code(4)
            .stderr_has("differ from those that came before");
    })
}
