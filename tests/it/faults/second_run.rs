//! A run that failed half-way, and what the next one meets: evidence that is weak, another object,
//! or a page in place of the object.

mod pages;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use partwise::origin::Object;

use super::asked::Asked;
use super::table::{Ends, Row, assert_ends, assert_no_secret, hold, row};
use super::{LENGTH, PART};
use crate::support::fault::{FaultOrigin, Reply, Step};
use crate::support::fixture::{Fixture, Outcome};

/// What the first run brings.
const HALF: u64 = 8 * PART;
const DATE: &str = "Mon, 01 Jan 2024 00:00:00 GMT";
const EPOCH: &str = "Thu, 01 Jan 1970 00:00:00 GMT";

#[tokio::test(flavor = "multi_thread")]
async fn second_run() {
    let tables = [the_same_object(), another_object(), pages::rows()];
    hold("second run", tables.into_iter().flatten());
}

/// The fields by which the server names a version: the same for every object.
type Names = fn(Reply) -> Reply;

/// What becomes of the bytes that the first run brought.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    /// They stay, after so many blocks of them were compared.
    Stay(u64),
    /// The same after three blocks of them, three of all, and some of the replies that came now.
    StayUnnamed,
    /// They go, and the second run says why.
    Go(&'static str),
    /// The second run fails, because the object changed, and a third one begins anew.
    Change(&'static str),
    /// They stay, and the second run fails with this message and hint; a third one goes on.
    Wait(&'static str, &'static str),
}

struct Story {
    name: &'static str,
    names: Names,
    /// The name under which the second run asks.
    second_name: &'static str,
    /// What the server has at the second run.
    object: Object,
    /// Whether a change is a reason to start over by itself.
    restarts: bool,
    /// What it answers then, in place of that.
    second: Option<fn(&Asked<'_>) -> Reply>,
    then: Then,
}

fn story(name: &'static str, names: Names, then: Then) -> Story {
    Story {
        name,
        names,
        second_name: "x",
        object: Object::new(9, LENGTH),
        restarts: false,
        second: None,
        then,
    }
}

impl Story {
    /// The server has another object of the same length by then.
    fn replaced(self) -> Self {
        let object = Object::new(10, LENGTH);
        Self { object, ..self }
    }

    fn at_another_url(self) -> Self {
        Self {
            second_name: "elsewhere/y",
            ..self
        }
    }

    fn with_another_query(self) -> Self {
        Self {
            second_name: "x?other",
            ..self
        }
    }

    fn hold(self) {
        let phase = Arc::new(AtomicU8::new(0));
        let (now, names, second) = (Arc::clone(&phase), self.names, self.second);
        let (old, new) = (Object::new(9, LENGTH), self.object.clone());
        let origin = FaultOrigin::new(move |request| {
            let phase = now.load(Ordering::Relaxed);
            let asked = Asked {
                request,
                object: if phase == 1 { &new } else { &old },
                elsewhere: None,
            };
            match (phase, second) {
                (0, _) if asked.is_later() => Reply::status(404),
                (0, _) => names(asked.no_more_than(HALF)),
                (1, Some(second)) => second(&asked),
                // Conditions are ignored: a server that names two objects alike can't know better.
                _ => names(asked.tagged(None)),
            }
        });
        let fixture = Fixture::new();
        let on_change = if self.restarts { "restart" } else { "fail" };
        let run = |name: &str, connections| run(&fixture, &origin, name, connections, on_change);
        assert_ends(&run("x", "1"), &Ends::with(3, &["404"]));
        let left = std::fs::read(fixture.path("x.part")).unwrap();
        phase.store(1, Ordering::Relaxed);
        let outcome = run(self.second_name, "2");
        assert_no_secret(&outcome);
        match self.then {
            Then::Stay(blocks) => {
                assert_ends(&outcome, &Ends::well());
                assert_eq!(outcome.json()["resumed_bytes"], HALF);
                assert_eq!(outcome.json()["spot_checks"], blocks);
            }
            Then::StayUnnamed => {
                assert_ends(&outcome, &Ends::well());
                assert_eq!(outcome.json()["resumed_bytes"], HALF);
                assert!(outcome.json()["spot_checks"].as_u64() >= Some(6));
            }
            Then::Go(reason) => {
                assert_ends(&outcome, &Ends::well());
                assert_eq!(outcome.json()["resumed_bytes"], 0);
                // What was thrown away was of no use.
                let bytes = |name: &str| outcome.json()[name].as_u64().unwrap();
                assert_eq!(bytes("fetched_bytes") - bytes("wasted_bytes"), LENGTH);
                let told = outcome.events("restarted");
                let told = told.first().and_then(|event| event["reason"].as_str());
                assert!(told.is_some_and(|told| told.contains(reason)), "{told:?}");
            }
            Then::Change(says) => {
                assert_ends(&outcome, &Ends::with(4, &[says]));
                fixture.file("x").is_absent();
                phase.store(2, Ordering::Relaxed);
                let third = run("x", "2");
                assert_ends(&third, &Ends::well());
                assert_eq!(third.json()["resumed_bytes"], 0);
            }
            Then::Wait(says, hint) => {
                assert_ends(&outcome, &Ends::with(3, &[says, hint]));
                assert_eq!(std::fs::read(fixture.path("x.part")).unwrap(), left);
                fixture.file("x").is_absent();
                phase.store(2, Ordering::Relaxed);
                let third = run("x", "2");
                assert_ends(&third, &Ends::well());
                assert_eq!(third.json()["resumed_bytes"], HALF);
            }
        }
        let expected = match self.then {
            Then::Change(_) => Object::new(9, LENGTH),
            _ => self.object,
        };
        fixture.file("x").is(&expected);
        fixture.assert_holds_only(["x"]);
    }
}

fn run(
    fixture: &Fixture,
    origin: &FaultOrigin,
    name: &str,
    connections: &str,
    on_change: &str,
) -> Outcome {
    let (url, part) = (
        origin.url(&format!("{name}?signature=QUERYSECRET")),
        PART.to_string(),
    );
    let arguments = [
        "get",
        "-k",
        "-c",
        connections,
        "-p",
        &part,
        "-o",
        "x",
        "--retries",
        "0",
        "--on-change",
        on_change,
        "--progress",
        "json",
        "--json",
        &url,
    ];
    fixture.partwise(arguments).spawn().wait()
}

impl From<Story> for Row {
    fn from(story: Story) -> Self {
        row(story.name, || story.hold())
    }
}

fn nothing(reply: Reply) -> Reply {
    reply.without("etag").without("last-modified")
}

fn strong(reply: Reply) -> Reply {
    nothing(reply).header("ETag", "\"9-262147\"")
}

fn weak(reply: Reply) -> Reply {
    nothing(reply).header("ETag", "W/\"9\"")
}

fn date(reply: Reply) -> Reply {
    nothing(reply).header("Last-Modified", DATE)
}

fn weak_and_date(reply: Reply) -> Reply {
    weak(reply).add_header("Last-Modified", DATE)
}

fn unquoted(reply: Reply) -> Reply {
    nothing(reply).header("ETag", "9")
}

fn epoch(reply: Reply) -> Reply {
    nothing(reply).header("Last-Modified", EPOCH)
}

fn digest(reply: Reply) -> Reply {
    nothing(reply).header("x-goog-hash", "crc32c=AAAAAA==")
}

fn typed(reply: Reply) -> Reply {
    date(reply).header("Content-Type", "video/mp4")
}

fn the_same_object() -> Vec<Row> {
    use Then::{Go, Stay, StayUnnamed};
    let stories = vec![
        story("a strong tag", strong, Stay(0)),
        story("a strong tag, another URL", strong, Stay(3)).at_another_url(),
        story("a strong tag, another query", strong, Stay(3)).with_another_query(),
        story("a weak tag", weak, Stay(3)),
        story("a date", date, Stay(3)),
        story("a weak tag and a date", weak_and_date, Stay(3)),
        story("a date, another URL", date, Stay(3)).at_another_url(),
        story("an unquoted tag", unquoted, Stay(3)),
        story("nothing", nothing, StayUnnamed),
        story("a date that every file has", epoch, StayUnnamed),
        story("nothing, another query", nothing, StayUnnamed).with_another_query(),
        story("nothing, another URL", nothing, Go("tells its version")).at_another_url(),
    ];
    let rows = stories.into_iter().map(Row::from);
    let others = [
        row("a weak tag, and a block that comes whole", whole_once),
        row("a strong tag, and one empty reply", empty_once),
        row("a stream without a length that broke", of_unknown_length),
    ];
    rows.chain(others).collect()
}

/// Nothing of such a stream can be resumed, and `inspect` says so.
fn of_unknown_length() {
    let object = Object::new(9, LENGTH);
    let phase = Arc::new(AtomicU8::new(0));
    let now = Arc::clone(&phase);
    let origin = FaultOrigin::new(move |request| match request.is_head() {
        true => Reply::status(405),
        false => {
            let whole = Reply::status(200).body(&object, 0..LENGTH).chunked();
            match now.load(Ordering::Relaxed) {
                0 => whole.cut_after(LENGTH / 2).then(Step::Close),
                _ => whole,
            }
        }
    });
    let fixture = Fixture::new();
    assert_ends(
        &run(&fixture, &origin, "x", "1", "fail"),
        &Ends::with(3, &["x"]),
    );
    fixture.assert_holds_only(["x.part", "x.part.ckpt"]);
    let inspected = fixture.partwise(["inspect", "x"]).exit_code(6);
    inspected.stderr_has("the length of the object is not known, so nothing can be resumed");
    phase.store(1, Ordering::Relaxed);
    assert_ends(&run(&fixture, &origin, "x", "1", "fail"), &Ends::well());
    fixture.file("x").is(&Object::new(9, LENGTH));
}

/// One node of several has no ranges: the block is asked for again.
fn whole_once() {
    let outcome = odd_once(weak, "fail", |object| {
        weak(Reply::status(200).body(object, 0..LENGTH))
    });
    assert_eq!(outcome.json()["spot_checks"], 3);
}

/// One reply is empty, and HEAD goes on to name the version: nothing is thrown away.
fn empty_once() {
    let outcome = odd_once(strong, "restart", |_| Reply::status(200).text(""));
    assert!(outcome.events("restarted").is_empty(), "it goes on");
}

/// The second of two runs, whose first GET is answered so. It goes on with what the first one left.
fn odd_once(names: Names, on_change: &str, odd: fn(&Object) -> Reply) -> Outcome {
    let object = Object::new(9, LENGTH);
    let (second_run, gets) = (Arc::new(AtomicU8::new(0)), AtomicU8::new(0));
    let now = Arc::clone(&second_run);
    let origin = FaultOrigin::new(move |request| {
        let asked = Asked {
            request,
            object: &object,
            elsewhere: None,
        };
        let is_second = now.load(Ordering::Relaxed) == 1;
        match is_second && !asked.is_head() && gets.fetch_add(1, Ordering::Relaxed) == 0 {
            true => odd(&object),
            false if !is_second && asked.is_later() => Reply::status(404),
            false => names(asked.tagged(None)),
        }
    });
    let fixture = Fixture::new();
    let first = run(&fixture, &origin, "x", "1", "fail");
    assert_ends(&first, &Ends::with(3, &["404"]));
    second_run.store(1, Ordering::Relaxed);
    let outcome = run(&fixture, &origin, "x", "1", on_change);
    assert_ends(&outcome, &Ends::well());
    assert_eq!(outcome.json()["resumed_bytes"], 4 * PART);
    fixture.file("x").is(&Object::new(9, LENGTH));
    outcome
}

fn another_object() -> Vec<Row> {
    let went = Then::Go("differ from those that came before");
    let stories = vec![
        story("nothing, and another object", nothing, went),
        story("a date, and another object", date, went),
        story("a weak tag, and another object", weak, went),
        story("both, and another object", weak_and_date, went),
        story("an unquoted tag, and another object", unquoted, went),
        story("a date that every file has, another object", epoch, went),
        story("a strong tag, another URL and object", strong, went).at_another_url(),
        story("a date, another URL and object", date, went).at_another_url(),
        story("a strong tag, another query and object", strong, went).with_another_query(),
    ];
    let stories = stories.into_iter().map(Story::replaced);
    let other_digest = Story {
        second: Some(|asked| nothing(asked.honest()).header("x-goog-hash", "crc32c=BBBBBB==")),
        ..story(
            "a digest, and another one",
            digest,
            Then::Go("the digest in"),
        )
    };
    // A cache still gives the old head.
    let old_head = Story {
        second: Some(|asked| match asked.is_head() {
            true => strong(asked.tagged(None)),
            false => date(asked.tagged(None)),
        }),
        ..story(
            "a strong tag, and another object under its head",
            strong,
            Then::Change("differ from those that came before"),
        )
        .replaced()
    };
    let other_coding = Story {
        second: Some(|asked| strong(asked.tagged(None)).header("Content-Encoding", "gzip")),
        ..story(
            "no coding, and one under the same tag",
            strong,
            Then::Go("the content coding was none and is gzip now"),
        )
    };
    // The same, and what it sends has no ranges.
    let old_head_of_stream = Story {
        second: Some(|asked| match asked.is_head() {
            true => strong(asked.tagged(None)),
            false => Reply::status(200).body(asked.object, 0..LENGTH),
        }),
        ..story(
            "a strong tag, and a nameless stream of another object under its head",
            strong,
            Then::Go("two replies may be of two versions"),
        )
        .replaced()
    };
    stories
        .chain([other_digest, other_coding, old_head, old_head_of_stream])
        .map(Row::from)
        .collect()
}
