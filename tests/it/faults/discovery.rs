//! Finding out what there is.

use crc_fast::{CrcAlgorithm, checksum};
use partwise::origin::Object;

use super::asked::Asked;
use super::fault::{Fault, fault};
use super::table::hold;
use super::{LENGTH, PART};
use crate::support::fault::{Certificate, Reply, Step};
use crate::support::fixture::Outcome;

#[tokio::test(flavor = "multi_thread")]
async fn discovery() {
    let tables = [
        refusals(),
        lengths_that_lie(),
        ranges(),
        sizes(),
        no_lengths(),
    ];
    hold("discovery", tables.into_iter().flatten());
}

/// HEAD is not what it should be.
fn refusals() -> Vec<Fault> {
    vec![
        fault("HEAD refused with 401").head(|_| Reply::status(401)),
        fault("HEAD refused with 403").head(|_| Reply::status(403)),
        fault("HEAD answered with 404").head(|_| Reply::status(404)),
        fault("HEAD answered with 410").head(|_| Reply::status(410)),
        fault("HEAD answered with 429")
            .head(|_| Reply::status(429).header("Retry-After", "100"))
            .check(|world, _| assert_eq!(world.heads(), 1)),
        fault("HEAD answered with 503")
            .head(|_| Reply::status(503))
            .check(|world, _| assert_eq!(world.heads(), 1)),
        fault("HEAD answered with 503, and GET with 404")
            .serves(|asked| Reply::status(if asked.is_head() { 503 } else { 404 }))
            .fails(3, ["404"])
            .check(|world, _| assert_eq!((world.heads(), world.gets()), (1, 1))),
        fault("HEAD refused with 405").head(|_| Reply::status(405)),
        fault("HEAD refused with 501").head(|_| Reply::status(501)),
        fault("HEAD hangs")
            .impatient()
            .head(|_| Reply::raw("").then(Step::Stall)),
        fault("HEAD closes the connection").head(|_| Reply::raw("").then(Step::Close)),
        fault("HEAD resets the connection").head(|_| Reply::raw("").then(Step::Reset)),
        fault("HEAD answered with no HTTP").head(|_| Reply::raw("what?\r\n\r\n").then(Step::Close)),
        fault("HEAD with a body").head(|asked| {
            let page = b"<html>not here</html>".to_vec();
            asked.honest().then(Step::Bytes(page))
        }),
        fault("HEAD without a length").head(|asked| asked.honest().without("content-length")),
        fault("HEAD and GET refused with 403")
            .serves(|_| Reply::status(403))
            .fails(7, ["403", "hint: try a fresh URL"]),
        fault("HEAD and GET answered with 404")
            .serves(|_| Reply::status(404))
            .fails(3, ["404", "hint: check the URL\n"]),
    ]
}

/// A HEAD whose `Content-Length` is this.
fn head_says(name: &'static str, length: &'static str) -> Fault {
    fault(name).head(move |asked| asked.honest().header("Content-Length", length))
}

/// Every answer has this `Content-Length`, and there are no ranges.
fn all_say(name: &'static str, lengths: &'static [&'static str]) -> Fault {
    fault(name).serves(move |asked| {
        let reply = Reply::status(200).body(asked.object, 0..asked.object.length());
        let reply = lengths
            .iter()
            .fold(reply.without("content-length"), |reply, length| {
                reply.add_header("Content-Length", *length)
            });
        if asked.is_head() {
            reply.head_only()
        } else {
            reply.then(Step::Close)
        }
    })
}

/// Lengths that are wrong, mad, or true and too long for this machine.
fn lengths_that_lie() -> Vec<Fault> {
    vec![
        head_says("HEAD's length is smaller than the total", "70000"),
        head_says("HEAD's length is greater than the total", "2000000"),
        head_says("HEAD's length is zero", "0"),
        head_says(
            "HEAD's length is larger than the disk",
            "4611686018427387904",
        )
        .option("--part-size", "auto"),
        head_says("HEAD's length is beyond 2^63", "9223372036854775808"),
        head_says("HEAD's length is negative", "-1"),
        head_says("HEAD's length is doubled", "262147, 262147"),
        head_says("HEAD's length is in conflict with itself", "262147, 7"),
        head_says("HEAD's length is no number", "many"),
        all_say("a length beyond 2^63", &["9223372036854775808"]).fails(3, ["ength"]),
        all_say("a negative length", &["-1"]).fails(3, ["ength"]),
        all_say("a doubled length", &["262147", "262147"]),
        all_say("two lengths in conflict", &["262147", "7"]).fails(3, ["ength"]),
        fault("a total beyond 2^63")
            .serves(|asked| match asked.is_head() {
                true => Reply::status(405),
                false => Reply::status(206)
                    .header("Content-Range", "bytes 0-0/9223372036854775808")
                    .text("x"),
            })
            .fails(3, ["206"]),
        fault("a length larger than the disk")
            .option("--part-size", "auto")
            .serves(|asked| {
                let length = 1_u64 << 62;
                match asked.is_head() {
                    true => asked.honest().header("Content-Length", length.to_string()),
                    false => {
                        let (first, end) = asked.request.range(length).unwrap();
                        Reply::status(206)
                            .header(
                                "Content-Range",
                                format!("bytes {first}-{}/{length}", end - 1),
                            )
                            .header("Content-Length", (end - first).to_string())
                    }
                }
            })
            .fails(
                6,
                [
                    "4611686018427387904 more bytes are needed",
                    "available on the disk",
                ],
            )
            .check(|world, _| {
                assert_eq!(
                    world.gets(),
                    1,
                    "HEAD's word is not enough, and nothing is transferred"
                );
                world.fixture.assert_holds_only(["x"]);
            }),
    ]
}

/// What is said of ranges, and what is done.
fn ranges() -> Vec<Fault> {
    vec![
        fault("no Accept-Ranges, yet 206")
            .serves(|asked| asked.honest().without("accept-ranges"))
            .check(|world, _| assert!(world.gets() > 1, "ranges are used")),
        fault("Accept-Ranges, yet 200").serves(|asked| match asked.is_head() {
            true => asked.honest(),
            false => whole(asked),
        }),
        fault("HEAD refused, then 200 to a range")
            .serves(|asked| match asked.is_head() {
                true => Reply::status(405),
                false => whole(asked),
            })
            .check(|world, _| assert_eq!(world.gets(), 1, "that reply is the one stream")),
        fault("Accept-Ranges: none")
            .serves(|asked| {
                let reply = if asked.is_head() {
                    asked.honest()
                } else {
                    whole(asked)
                };
                reply.header("Accept-Ranges", "none")
            })
            .check(|world, _| assert_eq!(world.gets(), 1, "one stream")),
        fault("HTTP/1.0").serves(|asked| {
            let reply = Reply::status(200).body(asked.object, 0..LENGTH).http10();
            if asked.is_head() {
                reply.head_only().then(Step::Close)
            } else {
                reply
            }
        }),
        fault("HTTP/1.0 without a length").serves(|asked| match asked.is_head() {
            true => Reply::status(501).http10(),
            false => Reply::status(200)
                .body(asked.object, 0..LENGTH)
                .without("content-length")
                .http10(),
        }),
        fault("HTTP/1.0 with ranges").serves(|asked| asked.honest().http10()),
    ]
}

/// The object from its first byte, whatever was asked for.
fn whole(asked: &Asked<'_>) -> Reply {
    asked
        .honest()
        .with_status(200)
        .without("content-range")
        .body(asked.object, 0..asked.object.length())
}

/// A server that refuses ranges, and that tells to HEAD no length or 0.
fn refused_range(name: &'static str, length: u64, status: u16) -> Fault {
    let fault = fault(name).length(length).serves(move |asked| {
        let whole = Reply::status(200).body(asked.object, 0..length);
        match asked.request.header("range") {
            _ if asked.is_head() => whole.head_only().header("Content-Length", "0"),
            Some(_) => Reply::status(status),
            None => whole,
        }
    });
    fault.check(move |world, outcome| {
        assert_eq!((world.heads(), world.gets()), (1, 2));
        let warns = outcome.stderr().contains("no byte ranges");
        assert_eq!(warns, length > 0, "only bytes have ranges");
    })
}

/// Objects of every awkward size.
fn sizes() -> Vec<Fault> {
    let mut table = vec![
        fault("an empty object, 416").length(0),
        fault("an empty object, 416 and no HEAD")
            .length(0)
            .serves(|asked| {
                if asked.is_head() {
                    Reply::status(403)
                } else {
                    asked.honest()
                }
            }),
        refused_range("an empty object, 400 to a range", 0, 400),
        refused_range("an empty object, 403 to a range", 0, 403),
        refused_range("an empty object, 416 to a range", 0, 416),
        refused_range("no length by HEAD, 404 to a range", LENGTH, 404),
        refused_range("no length by HEAD, 500 to a range", LENGTH, 500),
        fault("an empty object, 200").length(0).serves(|asked| {
            let reply = Reply::status(200).body(asked.object, 0..0);
            if asked.is_head() {
                reply.head_only()
            } else {
                reply
            }
        }),
    ];
    for (name, length) in [
        ("one byte", 1),
        ("a part but for a byte", PART - 1),
        ("one part", PART),
        ("a part and a byte", PART + 1),
        ("four parts but for a byte", 4 * PART - 1),
        ("four parts", 4 * PART),
        ("four parts and a byte", 4 * PART + 1),
    ] {
        table.push(fault(name).length(length));
    }
    table
}

/// A stream whose length nobody knows.
fn stream(name: &'static str, finish: fn(Reply) -> Reply) -> Fault {
    fault(name).serves(move |asked| match asked.is_head() {
        true => Reply::status(200).without("content-length"),
        false => finish(Reply::status(200).body(asked.object, 0..LENGTH)),
    })
}

/// Only the end of the connection ends it.
fn open_ended(reply: Reply) -> Reply {
    reply.without("content-length").then(Step::Close)
}

/// The value of `--checksum` for the object of a fault.
fn its_checksum() -> String {
    let mut bytes = vec![0; usize::try_from(LENGTH).unwrap()];
    Object::new(9, LENGTH).read_at(0, &mut bytes);
    format!("crc32c={:08x}", checksum(CrcAlgorithm::Crc32Iscsi, &bytes))
}

/// Whether standard error says that nothing proves the object whole.
#[track_caller]
fn assert_told_unproven(outcome: &Outcome, expected: bool) {
    let told = outcome.stderr();
    let is_told = told.contains("nothing proves that it came whole");
    assert_eq!(is_told, expected, "{told}");
}

/// No length at all.
fn no_lengths() -> Vec<Fault> {
    vec![
        stream("no length, ended by the connection", open_ended)
            .check(|_, outcome| assert_told_unproven(outcome, true)),
        stream(
            "no length, ended by the connection, with a checksum",
            open_ended,
        )
        .option("--checksum", &its_checksum())
        .check(|_, outcome| assert_told_unproven(outcome, false)),
        stream("no length, ended without a goodbye of TLS", |reply| {
            reply.without("content-length").then(Step::Leave)
        })
        .certificate(Certificate::self_signed("127.0.0.1"))
        .arguments(["-k"])
        .check(|world, outcome| {
            assert_eq!(world.gets(), 1);
            outcome.stderr_has("close_notify");
        }),
        stream("no length, in chunks, without a goodbye of TLS", |reply| {
            reply.cut_after(10_000).then(Step::Leave).chunked()
        })
        .certificate(Certificate::self_signed("127.0.0.1"))
        .arguments(["-k"])
        .healed_by(["-k"])
        .fails(3, ["attempts"]),
        stream("no length, in chunks", Reply::chunked)
            .check(|_, outcome| assert_told_unproven(outcome, false)),
        stream("no length, cut after a chunk", |reply| {
            reply.cut_after(10_000).then(Step::Close).chunked()
        })
        .fails(3, ["attempts"]),
        stream("no length, stalled after a chunk", |reply| {
            reply.cut_after(10_000).then(Step::Stall).chunked()
        })
        .impatient()
        .fails(3, ["no byte came for 1 s"]),
        stream("no length, reset", |reply| {
            reply.cut_after(10_000).then(Step::Reset).chunked()
        })
        .fails(3, ["attempts"])
        .heals_to(Object::new(10, LENGTH)),
    ]
}
