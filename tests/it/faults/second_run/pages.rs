//! A page, a message or nothing in place of the object of which a part is on disk.

use super::{Story, Then, story, strong, typed};
use crate::faults::asked::Asked;
use crate::faults::table::Row;
use crate::support::fault::Reply;

/// A page of HTML, without ranges.
fn html() -> Reply {
    let page = "<!doctype html><title>Log in</title>".repeat(100);
    Reply::status(200)
        .header("Content-Type", "text/html; charset=utf-8")
        .text(page)
}

/// What a captive portal, a login or a quota says in place of the object.
pub(super) fn rows() -> Vec<Row> {
    let waits = Then::Wait(
        "the server sends a page in place of the object",
        "hint: log in to the network or the site",
    );
    let page = |name, second: fn(&Asked<'_>) -> Reply| Story {
        second: Some(second),
        ..story(name, strong, waits)
    };
    let stories = vec![
        page("a page of HTML", |asked| heard(asked, html())),
        page("a redirect to a page of HTML", |asked| {
            match asked.request.target.starts_with("/login") {
                true => heard(asked, html()),
                false => Reply::status(302).header("Location", "/login"),
            }
        }),
        page("a page of HTML without a length", |asked| {
            match asked.is_head() {
                true => html().head_only().without("content-length"),
                false => html().chunked(),
            }
        }),
        page("nothing at all", |asked| {
            heard(asked, Reply::status(200).text(""))
        }),
        page("26 bytes of JSON", |asked| {
            let quota = Reply::status(200).header("Content-Type", "application/json");
            heard(asked, quota.text("{\"error\":\"quota exceeded\"}"))
        }),
        Story {
            restarts: true,
            ..page(
                "an empty body to GET alone, --on-change restart",
                |asked| match asked.is_head() {
                    true => strong(asked.tagged(None)),
                    false => Reply::status(200).text(""),
                },
            )
        },
        Story {
            names: typed,
            then: Then::Wait(
                "the server sends a message (application/json) in place of the object",
                "hint: log in to the network or the site",
            ),
            ..page("JSON without a length to GET alone", |asked| {
                let quota = Reply::status(200).header("Content-Type", "application/json");
                match asked.is_head() {
                    true => typed(asked.tagged(None)),
                    false => quota.text("{\"error\":\"quota exceeded\"}").chunked(),
                }
            })
        },
    ];
    stories.into_iter().map(Row::from).collect()
}

/// To HEAD the head alone.
fn heard(asked: &Asked<'_>, reply: Reply) -> Reply {
    match asked.is_head() {
        true => reply.head_only(),
        false => reply,
    }
}
