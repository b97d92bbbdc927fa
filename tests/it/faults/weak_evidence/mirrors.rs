//! Mirrors: blocks of each are compared before it brings a byte, and those of its replies where it
//! changed meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering};

use partwise::origin::Object;

use super::{DATE, assert_compared, of_another};
use crate::faults::asked::{Asked, World};
use crate::faults::fault::{Fault, fault};
use crate::faults::{LENGTH, PART};
use crate::support::fault::Reply;

/// The length of a block that is compared.
const BLOCK: u64 = 64 << 10;

/// What a mirror may have, and what its replies tell.
pub(super) fn faults() -> Vec<Fault> {
    let mirror = |world: &World<'_>| vec!["--mirror".to_owned(), world.elsewhere().url("x")];
    let with = |reply: Reply| reply.header("ETag", "\"a\"").header("Last-Modified", DATE);
    let like = |name, elsewhere: fn(&Asked<'_>) -> Reply| {
        fault(name)
            .serves(move |asked| with(asked.tagged(None)))
            .elsewhere(move |asked| with(elsewhere(asked)))
            .arguments_of(mirror)
    };
    vec![
        like(
            "a mirror with the same tag and date, and other bytes",
            of_another,
        )
        .check(|world, outcome| {
            outcome.stderr_has("is left out: some of its bytes are not those of the object");
            let requests = world.elsewhere().requests();
            assert!(
                requests.iter().filter(|r| !r.is_head()).count() <= 3,
                "blocks alone"
            );
        }),
        like("a mirror that is the same", |asked| asked.tagged(None)).check(|_, outcome| {
            outcome.stderr_has("strong entity tag \"a\", and 3 blocks compared");
        }),
        like("a mirror whose blocks don't come", |asked| {
            match asked.is_head() {
                true => asked.tagged(None),
                false => Reply::status(500),
            }
        })
        .check(|_, outcome| {
            outcome.stderr_has("is left out: the server answered 500");
        }),
        changing(
            "a mirror that changes its tag, and has the same bytes",
            false,
        )
        .shared(BLOCK)
        .check(|_, outcome| assert_compared(outcome, 5)),
        changing(
            "a mirror that changes, and brought bytes of another object",
            true,
        )
        .shared(BLOCK)
        .fails(4, ["differ from those that came before"]),
        like("a young mirror is looked at", |asked| {
            asked.tagged(None).header("Date", DATE)
        })
        .shared(BLOCK)
        .check(|world, _| {
            let requests = world.elsewhere().requests();
            assert_eq!(requests.iter().filter(|r| r.is_head()).count(), 2);
        }),
        fault("--trust-mirrors")
            .elsewhere(|asked| asked.tagged(Some("\"other\"")))
            .arguments_of(move |world| [mirror(world), vec!["--trust-mirrors".to_owned()]].concat())
            .shared(BLOCK)
            .check(|world, outcome| {
                outcome.stderr_has("the mirrors are trusted: only their lengths");
                let requests = world.elsewhere().requests();
                assert!(requests.iter().any(|r| !r.is_head()), "it takes its share");
            }),
    ]
}

/// A mirror whose first reply after the comparison is the last one with its tag, and of another
/// object or not. It is young, and so looked at in the end.
fn changing(name: &'static str, is_other: bool) -> Fault {
    let later = AtomicUsize::new(0);
    let with = |reply: Reply, tag| {
        let reply = reply.header("ETag", tag).header("Last-Modified", DATE);
        reply.header("Date", DATE)
    };
    fault(name)
        .serves(move |asked| with(asked.tagged(None), "\"a\""))
        .elsewhere(move |asked| {
            let (start, end) = asked.bounds();
            if asked.is_head() || end - start == BLOCK || end - start == 1 {
                let is_changed = later.load(Ordering::Relaxed) > 0 && end - start != BLOCK;
                let tag = if is_changed { "\"b\"" } else { "\"a\"" };
                return with(asked.tagged(None), tag);
            }
            let other = Object::new(10, LENGTH);
            let end = end.min(start + PART);
            let range = format!("bytes {start}-{}/{LENGTH}", end - 1);
            let reply = asked.tagged(None).header("Content-Range", range);
            match later.fetch_add(1, Ordering::Relaxed) {
                0 if is_other => with(reply.body(&other, start..end), "\"a\""),
                0 => with(reply.body(asked.object, start..end), "\"a\""),
                _ => with(reply.body(asked.object, start..end), "\"b\""),
            }
        })
        // No lease is as long as a block that is compared.
        .option("--part-size", "20000")
        .arguments_of(|world| vec!["--mirror".to_owned(), world.elsewhere().url("x")])
}
