//! The look at an object whose bytes have all come.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{DATE, EPOCH, dated, uncut};
use crate::faults::LENGTH;
use crate::faults::asked::{Asked, World};
use crate::faults::fault::{Fault, fault};
use crate::support::fault::Reply;

/// A version that was made in the second in which it is first seen is looked at again.
pub(super) fn faults() -> Vec<Fault> {
    let young = |name, last: &'static str| {
        ending(name, move |asked, is_end| {
            young_as(asked, if is_end { last } else { "\"a\"" })
        })
    };
    let heads = |world: &World<'_>| {
        let requests = world.origin.requests();
        requests.iter().filter(|r| r.is_head()).count()
    };
    vec![
        young("a young version, and the same at the end", "\"a\"")
            .check(move |world, _| assert_eq!(heads(world), 2, "it is looked at again")),
        young("a young version that is another one at the end", "\"b\"").fails(
            4,
            ["the object changed on the server", "the entity tag was"],
        ),
        ending(
            "a young version that has another length at the end",
            |asked, is_end| {
                let reply = young_as(asked, "\"a\"");
                match (is_end, asked.is_head()) {
                    (true, true) => reply.header("Content-Length", (LENGTH + 1).to_string()),
                    (true, false) => {
                        reply.header("Content-Range", format!("bytes 0-0/{}", LENGTH + 1))
                    }
                    (false, _) => reply,
                }
            },
        )
        .fails(4, ["its length was 262147 bytes and is 262148 now"]),
        ending(
            "a young version that HEAD alone names, and names otherwise at the end",
            |asked, is_end| {
                let reply = asked.tagged(None).header("Date", DATE);
                match (asked.is_head(), is_end) {
                    (false, _) => reply,
                    (true, false) => reply.header("Last-Modified", DATE),
                    (true, true) => reply.header("Last-Modified", "Mon, 01 Jan 2024 00:00:01 GMT"),
                }
            },
        )
        .fails(4, ["the modification date was"]),
        ending(
            "a young version, and a login page at the end",
            |asked, is_end| {
                let page = Reply::status(200)
                    .header("Content-Type", "text/html")
                    .header("ETag", "\"page\"")
                    .text("<!doctype html><title>Log in</title>");
                match (is_end, asked.is_head()) {
                    (true, true) => page.head_only(),
                    (true, false) => page,
                    (false, _) => young_as(asked, "\"a\""),
                }
            },
        )
        .check(|_, outcome| {
            outcome.stderr_has("the object can't be looked at once more");
        }),
        fault("a young version whose HEAD has no length and whose date tells nothing").serves(
            |asked| {
                let reply = dated(asked.tagged(None)).header("Date", EPOCH);
                match asked.is_head() {
                    true => reply.header("Content-Length", "0"),
                    false => reply,
                }
            },
        ),
        fault("a young version, and a new tag in every reply")
            .option("--connections", "1")
            .serves(|asked| {
                let tag = format!("\"{}\"", asked.request.nth);
                let reply = uncut(asked, &tag).header("Last-Modified", DATE);
                reply.header("Date", DATE)
            }),
        fault("a young stream, and a new tag in every reply")
            .serves(|asked| match asked.is_head() {
                true => Reply::status(405),
                false => {
                    let tag = format!("\"{}\"", asked.request.nth);
                    let reply = uncut(asked, &tag).with_status(200).without("content-range");
                    let reply = reply.body(asked.object, 0..LENGTH).chunked();
                    reply.header("Last-Modified", DATE).header("Date", DATE)
                }
            })
            .check(|_, outcome| {
                outcome.stderr_has("the server names another version in every reply");
            }),
        fault("an old version is not looked at again")
            .serves(|asked| asked.honest().header("Date", DATE))
            .check(move |world, _| assert_eq!(heads(world), 1)),
        ending(
            "a young version, and nothing answers at the end",
            |asked, is_end| match is_end {
                true => Reply::status(403),
                false => young_as(asked, "\"a\""),
            },
        )
        .check(|_, outcome| {
            outcome.stderr_has("the object can't be looked at once more");
        }),
    ]
}

/// A server of which the script is told whether a request belongs to the closing look.
fn ending(
    name: &'static str,
    script: impl Fn(&Asked<'_>, bool) -> Reply + Send + Sync + 'static,
) -> Fault {
    let heads = AtomicUsize::new(0);
    fault(name).serves(move |asked| {
        let is_last = asked.is_head() && heads.fetch_add(1, Ordering::Relaxed) > 0;
        let is_probe = asked.request.header("range") == Some("bytes=0-0");
        script(asked, is_last || is_probe)
    })
}

/// What is asked for, of a version with this tag that was made a moment ago.
fn young_as(asked: &Asked<'_>, tag: &str) -> Reply {
    let reply = asked.tagged(Some(tag)).header("Last-Modified", DATE);
    reply.header("Date", DATE)
}
