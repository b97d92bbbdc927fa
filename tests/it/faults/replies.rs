//! Answers to a range that are not what was asked for, one of them or all of them.

use partwise::origin::Object;

use super::asked::{Asked, World};
use super::fault::{Fault, fault};
use super::table::hold;
use super::{LENGTH, PART};
use crate::support::fault::{Reply, Step, honest};
use crate::support::fixture::Outcome;

#[tokio::test(flavor = "multi_thread")]
async fn replies() {
    let tables = [
        statuses(),
        content_ranges(),
        malformed(),
        lengths(),
        bodies(),
        other_things(),
        slices(),
    ];
    hold("replies", tables.into_iter().flatten());
}

/// A fault in one answer, where it may pass unharmed, and the same one in all answers, where it
/// ends so.
fn both<const N: usize>(
    name: &'static str,
    code: i32,
    says: [&str; N],
    reply: fn(&Asked<'_>) -> Reply,
) -> [Fault; 2] {
    [
        fault(name).later(reply).fails(code, says),
        // Where another connection brings the range anyway, nobody minds.
        fault(name).later(reply).once().ends([0, code], says),
    ]
}

/// The same for a fault that costs nothing when it happens once.
fn harmless_once<const N: usize>(
    name: &'static str,
    code: i32,
    says: [&str; N],
    reply: fn(&Asked<'_>) -> Reply,
) -> [Fault; 2] {
    [
        fault(name).later(reply).fails(code, says),
        fault(name).later(reply).once(),
    ]
}

/// A body that goes on past its promised end. Where another connection takes over the range's tail,
/// nobody reads so far.
fn too_long(name: &'static str, reply: fn(&Asked<'_>) -> Reply) -> [Fault; 2] {
    [fault(name).later(reply), fault(name).later(reply).once()]
        .map(|fault| fault.ends([0, 3], ["longer than promised"]))
}

/// A fault that never costs anything.
fn harmless(name: &'static str, reply: fn(&Asked<'_>) -> Reply) -> [Fault; 2] {
    [fault(name).later(reply), fault(name).later(reply).once()]
}

fn statuses() -> Vec<Fault> {
    [
        both("204", 3, ["204"], |_| {
            Reply::status(204).without("content-length")
        }),
        both("226", 3, ["226"], |asked| asked.honest().with_status(226)),
        both("300", 3, ["300"], |_| Reply::status(300)),
        both("304", 3, ["304"], |_| {
            Reply::status(304).without("content-length")
        }),
        both("416 with the same total", 3, ["416"], |_| {
            Reply::status(416).header("Content-Range", format!("bytes */{LENGTH}"))
        }),
        harmless_once("416 without a total", 3, ["416", "attempts"], |_| {
            Reply::status(416)
        }),
        [
            shrunk("416 without a total, and another length", PART + 1),
            shrunk("416 without a total, and an object that is empty", 0).healed_by(["--fresh"]),
        ],
        both("416 with another total", 4, ["changed", "is 1 now"], |_| {
            Reply::status(416).header("Content-Range", "bytes */1")
        }),
        both("no HTTP", 3, ["can't be read"], |_| {
            Reply::raw("\x1b[2Jhello\r\n\r\n").then(Step::Close)
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The object has this length after the first reply with bytes; a range past its end is refused in
/// short.
fn shrunk(name: &'static str, length: u64) -> Fault {
    let shorter = Object::new(10, length);
    let healed = shorter.clone();
    let fault = fault(name).serves(move |asked| {
        let mut request = asked.request.clone();
        request.headers.retain(|(name, _)| name != "if-match");
        match asked.request.nth {
            0..2 => asked.honest(),
            _ if asked.is_later() => Reply::status(416),
            _ => honest(&shorter, &request),
        }
    });
    fault.fails(4, ["changed", "is "]).heals_to(healed)
}

fn content_ranges() -> Vec<Fault> {
    [
        both(
            "206 without a Content-Range",
            3,
            ["Content-Range"],
            |asked| asked.honest().without("content-range"),
        ),
        both("starts earlier", 3, ["another range"], |asked| {
            let wrong = asked.content_range(-1, 0, LENGTH);
            asked.honest().header("Content-Range", wrong)
        }),
        both("starts later", 3, ["another range"], |asked| {
            let wrong = asked.content_range(1, 0, LENGTH);
            asked.honest().header("Content-Range", wrong)
        }),
        harmless("ends earlier", |asked| asked.no_more_than(3_000)),
        both(
            "ends past the end",
            3,
            ["not a usable Content-Range"],
            |asked| {
                let wrong = format!("bytes {}-{}/{LENGTH}", asked.bounds().0, LENGTH + 9);
                asked.honest().header("Content-Range", wrong)
            },
        ),
        both("another total", 4, ["changed"], |asked| {
            let wrong = asked.content_range(0, 0, LENGTH + 1);
            asked.honest().header("Content-Range", wrong)
        }),
        harmless("no total", |asked| {
            let (start, end) = asked.bounds();
            asked
                .honest()
                .header("Content-Range", format!("bytes {start}-{}/*", end - 1))
        }),
        both(
            "no total and no tag",
            3,
            ["neither the total length nor"],
            |asked| {
                let (start, end) = asked.bounds();
                asked
                    .honest()
                    .without("etag")
                    .header("Content-Range", format!("bytes {start}-{}/*", end - 1))
            },
        ),
    ]
    .into_iter()
    .flatten()
    .chain([ends_later()])
    .collect()
}

fn ends_later() -> Fault {
    fault("ends later")
        // The end of the object is kept back until somebody asks for bytes before it.
        .impatient()
        .serves(|asked| {
            let (start, end) = asked.bounds();
            if asked.is_head() {
                return asked.honest();
            }
            if end == LENGTH {
                return asked.honest().cut_after(LENGTH / 16).then(Step::Stall);
            }
            let later = format!("bytes {start}-{end}/{LENGTH}");
            asked
                .honest()
                .header("Content-Range", later)
                .body(asked.object, start..end + 1)
        })
        .fails(3, ["another range"])
}

fn malformed() -> Vec<Fault> {
    [
        both("the wrong way round", 3, ["bytes 5-3/10"], |asked| {
            asked.honest().header("Content-Range", "bytes 5-3/10")
        }),
        both("another unit", 3, ["lines 0-9/10"], |asked| {
            asked.honest().header("Content-Range", "lines 0-9/10")
        }),
        both("an overflow", 3, ["Content-Range"], |asked| {
            let number = format!("{0}{0}", u64::MAX);
            asked
                .honest()
                .header("Content-Range", format!("bytes 0-{number}/{number}"))
        }),
        both("an empty Content-Range", 3, ["Content-Range"], |asked| {
            asked.honest().header("Content-Range", "")
        }),
        both("two Content-Ranges", 3, ["content-range"], |asked| {
            let wrong = asked.content_range(1, 0, LENGTH);
            asked.honest().add_header("Content-Range", wrong)
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn lengths() -> Vec<Fault> {
    [
        both(
            "a Content-Length that is not the range's",
            3,
            ["Content-Length"],
            |asked| asked.honest().header("Content-Length", "2").cut_after(2),
        ),
        harmless_once(
            "ends before its first byte",
            3,
            ["ended early", "found 0"],
            |asked| asked.honest().cut_after(0).then(Step::Close),
        ),
        harmless("ends early", |asked| {
            asked.honest().cut_after(50_000).then(Step::Close)
        }),
        harmless("ends early, without a length", |asked| {
            asked
                .honest()
                .without("content-length")
                .cut_after(50_000)
                .then(Step::Close)
        }),
        harmless("ends early, in chunks", |asked| {
            asked.honest().cut_after(50_000).chunked()
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn bodies() -> Vec<Fault> {
    [
        harmless("in chunks", |asked| asked.honest().chunked()),
        too_long("bytes past the end, in chunks", |asked| {
            asked
                .honest()
                .then(Step::Bytes(b"and more".to_vec()))
                .chunked()
        }),
        too_long("bytes past the end, without a length", |asked| {
            asked
                .honest()
                .without("content-length")
                .then(Step::Bytes(b"and more".to_vec()))
                .then(Step::Close)
        }),
    ]
    .into_iter()
    .flatten()
    .chain([fault("bytes past the promised end").later(|asked| {
        asked
            .honest()
            .then(Step::Bytes(b"and more".to_vec()))
            .then(Step::Close)
    })])
    .collect()
}

fn other_things() -> Vec<Fault> {
    [
        both("several parts", 3, ["multipart/byteranges"], |asked| {
            asked
                .honest()
                .without("content-range")
                .header("Content-Type", "multipart/byteranges; boundary=b")
        }),
        both(
            "several parts with a Content-Range",
            3,
            ["multipart/byteranges"],
            |asked| {
                asked
                    .honest()
                    .header("Content-Type", "multipart/byteranges; boundary=b")
            },
        ),
        both("a login page", 3, ["HTML"], |_| {
            Reply::status(200)
                .header("Content-Type", "text/html")
                .text("<p>Who are you?")
        }),
        both("a login page without a length", 3, ["HTML"], |_| {
            Reply::status(200)
                .header("Content-Type", "text/html; charset=utf-8")
                .text("<p>Who are you?")
                .without("content-length")
                .then(Step::Close)
        }),
        both("a login page with a tag of its own", 4, ["changed"], |_| {
            Reply::status(200)
                .header("Content-Type", "text/html")
                .header("ETag", "\"page\"")
                .text("<p>Who are you?")
        }),
    ]
    .into_iter()
    .flatten()
    // Before a first 206 it means that the server has no ranges, afterwards that something is wrong
    // with it.
    .chain(
        [whole_object(), whole_object().once()]
            .map(|fault| fault.ends([0, 3], ["200 with the whole object"])),
    )
    .collect()
}

fn whole_object() -> Fault {
    fault("the whole object").later(|asked| {
        asked
            .honest()
            .with_status(200)
            .without("content-range")
            .body(asked.object, 0..LENGTH)
    })
}

/// Every range is answered with 200 and the bytes of the range, with their length or without; HEAD
/// is honest or refused.
fn slices() -> Vec<Fault> {
    let slice = |asked: &Asked<'_>, names_range: bool, has_length: bool| {
        let (start, end) = asked.bounds();
        let reply = Reply::status(200).body(asked.object, start..end);
        let reply = reply.header("ETag", "\"v\"");
        let reply = if has_length { reply } else { reply.chunked() };
        match names_range {
            true => reply.header("Content-Range", asked.content_range(0, 0, LENGTH)),
            false => reply,
        }
    };
    let mut faults = Vec::new();
    for (name, refuses_head, names_range, has_length) in [
        ("200 with a slice", false, false, true),
        ("200 with a slice, and HEAD refused", true, false, true),
        ("200 with a slice and its range", false, true, true),
        (
            "200 with a slice and its range, and HEAD refused",
            true,
            true,
            true,
        ),
        ("200 with a slice, no length", false, false, false),
        (
            "200 with a slice, no length, and HEAD refused",
            true,
            false,
            false,
        ),
        (
            "200 with a slice and its range, no length",
            false,
            true,
            false,
        ),
        (
            "200 with a slice and its range, no length, and HEAD refused",
            true,
            true,
            false,
        ),
    ] {
        let serves = move |asked: &Asked<'_>| match asked.is_head() {
            true if refuses_head => Reply::status(405),
            true => asked.honest().header("ETag", "\"v\""),
            false if asked.request.range(LENGTH).is_some() => slice(asked, names_range, has_length),
            // Where nothing has a length, the whole object has none either.
            false if refuses_head && !has_length => asked.tagged(Some("\"v\"")).chunked(),
            false => asked.tagged(Some("\"v\"")),
        };
        let few = |world: &World<'_>, _: &Outcome| {
            assert!(world.gets() <= 24, "{} requests", world.gets());
        };
        faults.push(fault(name).serves(serves).check(few));
    }
    let no_length = fault("a range of an object without a length")
        .arguments(["--range", "0-99"])
        .serves(|asked| match asked.is_head() {
            true => Reply::status(405),
            false => Reply::status(200).body(asked.object, 0..LENGTH).chunked(),
        })
        .fails(3, ["the server does not tell the length"]);
    faults.push(no_length);
    let cut_short = fault("a slice tells the total, and the whole has no length and is cut short")
        .serves(move |asked| match asked.is_head() {
            true => Reply::status(405),
            false if asked.request.range(LENGTH).is_some() => slice(asked, true, false),
            false => Reply::status(200)
                .body(asked.object, 0..LENGTH / 2)
                .chunked(),
        })
        .fails(3, ["the body ended early"]);
    faults.push(cut_short);
    faults
}
