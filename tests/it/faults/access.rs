//! Links that may be used a few times, and servers that refuse ranges as they are usually asked for.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::asked::Asked;
use super::fault::{Fault, fault};
use super::table::{Row, hold};
use crate::support::fault::{Reply, honest};

#[tokio::test(flavor = "multi_thread")]
async fn access() {
    let tables = [single_uses(), last_resort()];
    let rows = tables.into_iter().flatten();
    hold("access", rows.map(Row::from));
}

/// Long enough for a lease to take longer than a refusal.
const LONG: u64 = (48 << 20) + 3;

/// A link that may be used once, and is refused with this status from then on.
fn used_once(name: &'static str, status: u16) -> Fault {
    let used = AtomicUsize::new(0);
    fault(name)
        .length(LONG)
        .option("--part-size", "256KiB")
        .option("--connections", "8")
        .serves(move |asked| {
            if !asked.is_head() && used.fetch_add(1, Ordering::Relaxed) > 0 {
                return Reply::status(status);
            }
            honest(asked.object, asked.request)
        })
}

fn single_uses() -> Vec<Fault> {
    vec![
        used_once("a link that may be used once", 403),
        used_once("a link that may be used once, which is gone then", 410),
        used_once("a link that may be used once, which is not found then", 404),
        used_once(
            "a link that may be used once, with too many requests then",
            429,
        ),
    ]
}

/// A server that answers so where its reply would be a range.
fn ranges(name: &'static str, refuse: fn(&Asked<'_>) -> Option<Reply>) -> Fault {
    fault(name).serves(move |asked| match asked.request.header("range") {
        Some(_) if !asked.is_head() => refuse(asked).unwrap_or_else(|| asked.honest()),
        _ => asked.honest(),
    })
}

/// A server that refuses conditions so.
fn conditions(name: &'static str, status: u16) -> Fault {
    fault(name)
        .serves(move |asked| match asked.request.header("if-match") {
            Some(_) if !asked.is_head() => Reply::status(status),
            _ => asked.honest(),
        })
        .check(|_, outcome| {
            outcome.stderr_has("asking without a condition");
        })
}

fn last_resort() -> Vec<Fault> {
    let whole = |fault: Fault| {
        fault.check(|world, outcome| {
            outcome.stderr_has("asking for the whole object in one stream");
            let requests = world.origin.requests();
            let plain = requests.iter().filter(|request| !request.is_head());
            let plain = plain.filter(|request| request.header("range").is_none());
            assert!(
                plain.count() <= 2,
                "one stream, after one that was not its beginning"
            );
        })
    };
    let refused = |name, status: fn(&Asked<'_>) -> Option<Reply>| whole(ranges(name, status));
    vec![
        refused("ranges refused with 400", |_| Some(Reply::status(400))),
        refused("ranges refused with 403", |_| Some(Reply::status(403))),
        refused("ranges refused with 404", |_| Some(Reply::status(404))),
        refused("ranges refused with 416", |_| Some(Reply::status(416))),
        refused("ranges refused with 500", |_| Some(Reply::status(500))),
        conditions("If-Match refused with 400", 400),
        conditions("If-Match refused with 412", 412),
        conditions("If-Match refused with 501", 501),
        ranges("the end of a range taken for the byte after it", |asked| {
            let (first, end) = asked.request.range(u64::MAX)?;
            let length = asked.object.length();
            let last = length.min(end - 1);
            if first >= last {
                return Some(Reply::status(416));
            }
            let range = format!("bytes {first}-{}/{length}", last - 1);
            let reply = asked
                .honest()
                .with_status(206)
                .header("Content-Range", range);
            Some(reply.body(asked.object, first..last))
        })
        .check(|_, outcome| {
            outcome.stderr_has("asking for one more from now on");
        }),
    ]
}
