//! Replies whose fields can't tell two versions apart, so that bytes are compared; and one reply
//! that is one version by itself.

mod closing_looks;
mod mirrors;
mod one_stream;

use std::sync::atomic::{AtomicUsize, Ordering};

use partwise::origin::Object;

use super::asked::{Asked, World};
use super::fault::{Fault, fault};
use super::table::{Row, hold};
use super::{LENGTH, PART};
use crate::support::fault::{Reply, Step};
use crate::support::fixture::Outcome;

const EPOCH: &str = "Thu, 01 Jan 1970 00:00:00 GMT";
const DATE: &str = "Mon, 01 Jan 2024 00:00:00 GMT";

#[tokio::test(flavor = "multi_thread")]
async fn weak_evidence() {
    let tables = [
        unnamed_replies(),
        closing_looks::faults(),
        one_reply(),
        one_stream::faults(),
        mirrors::faults(),
        fresh_urls(),
    ];
    let rows = tables.into_iter().flatten().map(Row::from);
    hold("weak evidence", rows.chain(one_stream::selections()));
}

/// The range that was asked for, of another object of the same length.
fn of_another(asked: &Asked<'_>) -> Reply {
    let (start, end) = asked.bounds();
    asked
        .tagged(None)
        .body(&Object::new(10, LENGTH), start..end)
}

/// At most a part of this object, without a field that names it.
fn short(asked: &Asked<'_>, of: &Object) -> Reply {
    let (start, end) = asked.bounds();
    let end = end.min(start + PART);
    let range = format!("bytes {start}-{}/{LENGTH}", end - 1);
    let reply = asked.tagged(None).header("Content-Range", range);
    reply.body(of, start..end)
}

/// The whole object, or the range that was asked for, whatever the conditions.
fn uncut(asked: &Asked<'_>, tag: &str) -> Reply {
    let (start, end) = asked.bounds();
    let reply = asked.tagged(Some(tag));
    match asked.is_head() {
        true => reply,
        false => reply
            .header(
                "Content-Range",
                format!("bytes {start}-{}/{LENGTH}", end - 1),
            )
            .body(asked.object, start..end),
    }
}

/// A server that has the object until a range was asked for that does not begin at 0, and another
/// object from then on.
fn replaced(
    before: fn(&Asked<'_>) -> Reply,
    after: fn(&Asked<'_>) -> Reply,
) -> impl Fn(&Asked<'_>) -> Reply + Send + Sync + 'static {
    let later = AtomicUsize::new(0);
    move |asked| {
        if asked.is_later() {
            later.fetch_add(1, Ordering::Relaxed);
        }
        match later.load(Ordering::Relaxed) {
            0 => before(asked),
            _ => after(asked),
        }
    }
}

fn unnamed_replies() -> Vec<Fault> {
    vec![
        fault("no fields, and the object is replaced in mid-run")
            .option("--connections", "1")
            .serves(replaced(|asked| asked.tagged(None), of_another))
            .fails(4, ["differ from those that came before"]),
        fault("a date that every file has, and the object is replaced")
            .option("--connections", "1")
            .serves(replaced(
                |asked| dated(asked.tagged(None)),
                |asked| dated(of_another(asked)),
            ))
            .fails(4, ["differ from those that came before"]),
        fault("the first reply names a version of which HEAD and the others say nothing")
            .option("--connections", "1")
            .serves({
                let gets = AtomicUsize::new(0);
                move |asked| {
                    let is_first = !asked.is_head() && gets.fetch_add(1, Ordering::Relaxed) == 0;
                    match is_first {
                        true => short(asked, &Object::new(10, LENGTH)).header("ETag", "\"b\""),
                        false => asked.tagged(None).header("Last-Modified", DATE),
                    }
                }
            })
            .fails(4, ["differ from those that came before"]),
        fault("no fields, and one of several ranges is of another object")
            .option("--connections", "1")
            .arguments(["--range", "0-16383,32768-49151,65536-81919"])
            .serves({
                let middle = AtomicUsize::new(0);
                move |asked| match asked.bounds() {
                    (32768, _) if middle.fetch_add(1, Ordering::Relaxed) == 0 => of_another(asked),
                    _ => asked.tagged(None),
                }
            })
            .fails(4, ["differ from those that came before"]),
        // Not the first block, not the last one, and most likely not the one by chance.
        fault("no fields, and one reply in the middle is of another object")
            .option("--connections", "1")
            .serves({
                let later = AtomicUsize::new(0);
                move |asked| {
                    let nth = match asked.is_later() {
                        true => later.fetch_add(1, Ordering::Relaxed),
                        false => 0,
                    };
                    let other = Object::new(10, LENGTH);
                    match asked.is_head() {
                        true => asked.tagged(None),
                        false => short(asked, if nth == 3 { &other } else { asked.object }),
                    }
                }
            })
            .fails(4, ["differ from those that came before"]),
        fault("no fields, and the same object")
            .serves(|asked| asked.tagged(None))
            .check(|_, outcome| {
                outcome.stderr_has("neither entity tag nor modification date");
                assert_compared(outcome, 3);
            }),
        fault("the replies to ranges do not tell what HEAD told")
            .serves(|asked| match asked.is_head() {
                true => asked.tagged(Some("\"a\"")),
                false => asked.tagged(None),
            })
            .check(|_, outcome| {
                let warning = "the replies to ranges do not tell their version";
                assert_eq!(outcome.stderr().matches(warning).count(), 1);
                assert_compared(outcome, 3);
            }),
        fault("HEAD told, the replies don't, and the object is replaced")
            .option("--connections", "1")
            .serves(replaced(
                |asked| match asked.is_head() {
                    true => asked.tagged(Some("\"a\"")),
                    false => asked.tagged(None),
                },
                of_another,
            ))
            .fails(4, ["differ from those that came before"]),
    ]
}

/// Holds that at least so many blocks were compared.
fn assert_compared(outcome: &Outcome, least: u32) {
    let stderr = outcome.stderr();
    let told = stderr.split_once(" blocks compared").map(|(told, _)| told);
    let count = told.and_then(|told| told.rsplit_once(' '));
    let count = count.and_then(|(_, count)| count.parse::<u32>().ok());
    assert!(count >= Some(least), "{stderr}");
}

/// A date that tells nothing.
fn dated(reply: Reply) -> Reply {
    reply.header("Last-Modified", EPOCH)
}

/// Nodes behind one name, each with a tag of its own.
fn one_reply() -> Vec<Fault> {
    let alone = |name| fault(name).option("--connections", "1");
    vec![
        alone("the node of the one GET has another tag, and refuses HEAD's").serves(
            |asked| match (asked.is_head(), asked.request.header("if-match")) {
                (true, _) => uncut(asked, "\"a\""),
                (false, Some(_)) => Reply::status(412),
                (false, None) => uncut(asked, "\"b\""),
            },
        ),
        alone("the node of the one GET has another tag")
            .serves(|asked| uncut(asked, if asked.is_head() { "\"a\"" } else { "\"b\"" })),
        alone("the node of the one GET without ranges has another tag").serves(|asked| {
            let tag = if asked.is_head() { "\"a\"" } else { "\"b\"" };
            let reply = uncut(asked, tag).with_status(200).without("content-range");
            let reply = reply.header("Accept-Ranges", "none");
            match asked.is_head() {
                true => reply,
                false => reply.body(asked.object, 0..LENGTH),
            }
        }),
        alone("the one GET breaks, and the next node has another tag")
            .serves(|asked| {
                let tag = if asked.is_later() { "\"c\"" } else { "\"b\"" };
                match asked.is_head() {
                    true => uncut(asked, "\"a\""),
                    false => uncut(asked, tag).cut_after(LENGTH / 2).then(Step::Close),
                }
            })
            .fails(4, ["the entity tag was"]),
        fault("HEAD is of an old version for good")
            .arguments(["--on-change", "restart"])
            .serves(|asked| uncut(asked, if asked.is_head() { "\"a\"" } else { "\"b\"" })),
        alone("--if-match, and the node of the one GET has another tag")
            .arguments(["--if-match", "\"a\""])
            .serves(|asked| uncut(asked, if asked.is_head() { "\"a\"" } else { "\"b\"" }))
            .fails(4, ["the entity tag was"]),
    ]
}

/// The URL that a refresh gives is another one, so its tag proves nothing.
fn fresh_urls() -> Vec<Fault> {
    let is_fresh = |asked: &Asked<'_>| asked.request.target.starts_with("/fresh");
    let refresh = |world: &World<'_>| {
        let fresh = world.origin.url("fresh/x?NEWSECRET");
        vec!["--refresh-cmd".to_owned(), format!("echo '{fresh}'")]
    };
    let fresh = |name, reply: fn(&Asked<'_>) -> Reply| {
        fault(name)
            .option("--connections", "1")
            .serves(move |asked| match is_fresh(asked) {
                true => reply(asked).header("ETag", "\"a\""),
                false if asked.is_later() => Reply::status(403),
                false => asked.tagged(Some("\"a\"")),
            })
            .arguments_of(refresh)
    };
    vec![
        fresh("a fresh URL of the same object", |asked| asked.tagged(None)).check(|_, outcome| {
            outcome.stderr_has("strong entity tag \"a\", and 3 blocks compared");
        }),
        fresh(
            "a fresh URL of another object with the same tag",
            of_another,
        )
        .fails(4, ["differ from those that came before"]),
    ]
}
