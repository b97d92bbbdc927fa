//! Content codings, though every request asks for none.

use super::asked::{Asked, World};
use super::fault::{Fault, fault};
use super::table::hold;
use crate::support::fault::Reply;
use crate::support::fixture::Outcome;

/// What the caller is told of a coding.
const TOLD: &str = "is stored with the content coding";
/// The hint that such a server makes useless.
const AGAIN: &str = "run the same command again";

#[tokio::test(flavor = "multi_thread")]
async fn coding() {
    let tables = [
        stored(),
        stored_without_ranges(),
        probed_by_get(),
        contradictions(),
        without_a_length(),
        words_that_are_no_codings(),
        decompressed(),
        elsewhere(),
    ];
    hold("coding", tables.into_iter().flatten());
}

fn coded(reply: Reply, coding: &str) -> Reply {
    reply.header("Content-Encoding", coding)
}

fn is_probe(asked: &Asked<'_>) -> bool {
    !asked.is_head() && asked.request.range(2) == Some((0, 1))
}

/// The object from its first byte, whatever was asked for.
fn whole(asked: &Asked<'_>) -> Reply {
    let reply = asked.honest().with_status(200).without("content-range");
    reply.body(asked.object, 0..asked.object.length())
}

#[track_caller]
fn assert_told_once(outcome: &Outcome, coding: &str) {
    outcome.stderr_has(&format!("{TOLD} `{coding}`; its bytes are kept"));
    assert_eq!(outcome.stderr().matches(TOLD).count(), 1, "once a download");
}

#[track_caller]
fn assert_no_word(_: &World<'_>, outcome: &Outcome) {
    assert!(!outcome.stderr().contains(TOLD), "{}", outcome.stderr());
}

#[track_caller]
fn assert_no_hint(_: &World<'_>, outcome: &Outcome) {
    assert!(!outcome.stderr().contains(AGAIN), "{}", outcome.stderr());
}

/// How often HEAD was sent, and how often the first byte alone was asked for.
fn probes(world: &World<'_>) -> (usize, usize) {
    let requests = world.origin.requests();
    let first_byte = |range: Option<&str>| range == Some("bytes=0-0");
    let by_get = requests.iter().filter(|r| first_byte(r.header("range")));
    (requests.len() - world.gets(), by_get.count())
}

/// Every reply has this coding: the object is stored so.
fn stored() -> Vec<Fault> {
    let everywhere = |name, sent: &'static str, shown: &'static str| {
        fault(name)
            .serves(move |asked| coded(asked.honest(), sent))
            .check(move |world, outcome| {
                assert_told_once(outcome, shown);
                assert_eq!(probes(world), (1, 1));
                assert!(world.gets() > 1, "in parts");
            })
    };
    vec![
        everywhere("stored with gzip", "gzip", "gzip"),
        everywhere("stored with gzip, in capitals", "GZIP", "gzip"),
        everywhere("stored with x-gzip", "x-gzip", "gzip"),
        everywhere("stored with two codings", "br,gzip", "br, gzip"),
        everywhere(
            "stored with gzip in aws-chunked",
            "aws-chunked,gzip",
            "gzip",
        ),
        fault("stored with gzip, two names for it")
            .serves(|asked| {
                let name = if asked.is_later() { "x-gzip" } else { "gzip" };
                coded(asked.honest(), name)
            })
            .check(|_, outcome| assert_told_once(outcome, "gzip")),
        // Then there are two passes at the object.
        fault("stored with gzip, and HEAD's length is wrong")
            .serves(|asked| match asked.is_head() {
                true => coded(asked.honest(), "gzip").header("Content-Length", "70000"),
                false => coded(asked.honest(), "gzip"),
            })
            .check(|world, outcome| {
                assert_told_once(outcome, "gzip");
                assert_eq!(probes(world), (1, 1));
            }),
    ]
}

/// Without ranges there is one stream, whichever reply says so.
fn stored_without_ranges() -> Vec<Fault> {
    let serves = |asked: &Asked<'_>| match asked.is_head() {
        true => coded(asked.honest(), "gzip"),
        false => coded(whole(asked), "gzip"),
    };
    vec![
        fault("stored with gzip, Accept-Ranges: none")
            .serves(move |asked| serves(asked).header("Accept-Ranges", "none"))
            .check(|world, outcome| {
                assert_told_once(outcome, "gzip");
                assert_eq!((probes(world), world.gets()), ((1, 1), 1));
            }),
        fault("stored with gzip, yet 200 to a range")
            .serves(serves)
            .check(|_, outcome| assert_told_once(outcome, "gzip")),
    ]
}

/// HEAD tells too little, so the reply to GET says what later replies must agree with.
fn probed_by_get() -> Vec<Fault> {
    let refused = |asked: &Asked<'_>, reply: fn(&Asked<'_>) -> Reply| match asked.is_head() {
        true => Reply::status(405),
        false => reply(asked),
    };
    vec![
        fault("stored with gzip, and HEAD refused")
            .serves(move |asked| refused(asked, |asked| coded(asked.honest(), "gzip")))
            .check(|world, outcome| {
                assert_told_once(outcome, "gzip");
                assert_eq!(probes(world), (1, 1));
            }),
        fault("stored with gzip, HEAD refused, and 200 to a range")
            .serves(move |asked| refused(asked, |asked| coded(whole(asked), "gzip")))
            .check(|world, outcome| {
                assert_told_once(outcome, "gzip");
                assert_eq!(world.gets(), 1, "that reply is the one stream");
            }),
        fault("stored with gzip, and HEAD tells no length")
            .serves(|asked| match asked.is_head() {
                true => coded(asked.honest(), "gzip").without("content-length"),
                false => coded(asked.honest(), "gzip"),
            })
            .check(|_, outcome| assert_told_once(outcome, "gzip")),
        fault("coded on a HEAD without a length")
            .head(|asked| coded(asked.honest(), "gzip").without("content-length"))
            .check(assert_no_word),
        fault("coded on the probe by GET alone")
            .serves(move |asked| {
                refused(asked, |asked| match is_probe(asked) {
                    true => coded(asked.honest(), "gzip"),
                    false => asked.honest(),
                })
            })
            .fails(3, ["expected `gzip`, found none"])
            .check(assert_no_hint),
        fault("coded on all but the probe by GET")
            .serves(move |asked| {
                refused(asked, |asked| match is_probe(asked) {
                    true => asked.honest(),
                    false => coded(asked.honest(), "gzip"),
                })
            })
            .fails(3, ["expected none, found `gzip`"])
            .check(assert_no_hint),
    ]
}

/// A coding that comes and goes.
fn contradictions() -> Vec<Fault> {
    let later = |name, first: &'static str, later: &'static str, says: &'static str| {
        let serves = move |asked: &Asked<'_>| {
            let coding = if asked.is_later() { later } else { first };
            coded(asked.honest(), coding)
        };
        fault(name).serves(serves).fails(3, [says])
    };
    vec![
        // What GET says is right.
        fault("coded on the HEAD alone")
            .head(|asked| coded(asked.honest(), "gzip"))
            .check(assert_no_word),
        fault("coded on every GET alone")
            .serves(|asked| match asked.is_head() {
                true => asked.honest(),
                false => coded(asked.honest(), "gzip"),
            })
            .fails(3, ["expected none, found `gzip`"])
            .check(assert_no_hint),
        later(
            "coded on later ranges",
            "",
            "gzip",
            "expected none, found `gzip`",
        ),
        later(
            "not coded on later ranges",
            "gzip",
            "",
            "expected `gzip`, found none",
        ),
        later(
            "another coding on later ranges",
            "gzip",
            "br",
            "expected `gzip`, found `br`",
        ),
        // Where another connection brings the range anyway, nobody minds.
        fault("coded on a later range")
            .later(|asked| coded(asked.honest(), "gzip"))
            .once()
            .ends([0, 3], ["expected none, found `gzip`"]),
    ]
}

/// A server that codes on the way.
fn without_a_length() -> Vec<Fault> {
    let coded_stream = |name, head: fn(&Asked<'_>) -> Reply| {
        fault(name)
            .serves(move |asked| match asked.is_head() {
                true => head(asked),
                false => coded(whole(asked), "br").chunked(),
            })
            .fails(3, ["the content coding `br`", "without a length"])
            .check(assert_no_hint)
    };
    vec![
        coded_stream("coded in chunks, and HEAD refused", |_| Reply::status(405)),
        coded_stream("coded in chunks, and HEAD without a length", |asked| {
            coded(asked.honest(), "br").without("content-length")
        }),
    ]
}

/// What some stores hold in place of a coding.
fn words_that_are_no_codings() -> Vec<Fault> {
    let mut table = Vec::new();
    for (everywhere, at_times, word) in [
        ("nothing", "nothing at times", ""),
        ("identity", "identity at times", "identity"),
        ("none", "none at times", "none"),
        ("utf-8", "utf-8 at times", "utf-8"),
        ("UTF8", "UTF8 at times", "UTF8"),
        ("aws-chunked", "aws-chunked at times", "aws-chunked"),
    ] {
        let always = fault(everywhere).serves(move |asked| coded(asked.honest(), word));
        let later = fault(at_times).later(move |asked| coded(asked.honest(), word));
        table.extend([always, later].map(|fault| fault.check(assert_no_word)));
    }
    table
}

/// Google's hashes are those of the bytes as it stores them, also where it sends them decompressed.
fn decompressed() -> Vec<Fault> {
    let stored = |asked: &Asked<'_>| {
        let wrong = "md5=JfnnlDI7RTiF9RgfG2JNCw==";
        let reply = asked.honest().header("x-goog-hash", wrong);
        reply.header("x-goog-stored-content-encoding", "gzip")
    };
    vec![
        fault("Google's hash of what it decompresses")
            .serves(stored)
            .check(assert_no_word),
        fault("Google's hash of what it sends as it stores it")
            .serves(move |asked| coded(stored(asked), "gzip"))
            .fails(5, ["x-goog-hash"])
            .check(|_, outcome| assert_told_once(outcome, "gzip")),
    ]
}

/// Another server, or another URL, has the object in another coding.
fn elsewhere() -> Vec<Fault> {
    let mirror = |world: &World<'_>| vec!["--mirror".to_owned(), world.elsewhere().url("x")];
    let is_fresh = |asked: &Asked<'_>| asked.request.target.contains("fresh");
    vec![
        fault("a mirror has it coded")
            .elsewhere(|asked| coded(asked.honest(), "gzip"))
            .arguments_of(mirror)
            .check(|world, outcome| {
                outcome.stderr_has("is left out: its content coding is `gzip`, expected none");
                let requests = world.elsewhere().requests();
                let is_probe = |range: Option<&str>| range == Some("bytes=0-0");
                let gives = requests.iter().filter(|r| !r.is_head());
                assert!(
                    gives.into_iter().all(|r| is_probe(r.header("range"))),
                    "it gives no byte"
                );
                assert_no_word(world, outcome);
            }),
        fault("a mirror has it coded alike")
            .serves(|asked| coded(asked.honest(), "gzip"))
            .elsewhere(|asked| coded(asked.honest(), "x-gzip"))
            .arguments_of(mirror)
            .check(|world, outcome| {
                let requests = world.elsewhere().requests();
                assert!(requests.iter().any(|r| !r.is_head()), "it takes its share");
                assert_told_once(outcome, "gzip");
            }),
        fault("the fresh URL has it coded")
            .serves(move |asked| match is_fresh(asked) {
                true => coded(asked.honest(), "gzip"),
                false if asked.is_later() => Reply::status(403),
                false => asked.honest(),
            })
            .arguments_of(|world| {
                let fresh = world.origin.url("x?fresh=NEWSECRET");
                vec!["--refresh-cmd".to_owned(), format!("echo '{fresh}'")]
            })
            .fails(4, ["its content coding was none and is `gzip` now"]),
    ]
}
