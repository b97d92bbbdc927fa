//! Lines of a head that break the rules: those that nobody needs cost nothing, and those that the
//! checks need are not taken for absent.

use partwise::origin::Object;

use super::LENGTH;
use super::asked::Asked;
use super::fault::{Fault, fault};
use super::table::hold;
use crate::support::fault::{Reply, Step, honest};

#[tokio::test(flavor = "multi_thread")]
async fn lines() {
    hold("lines", unneeded().into_iter().chain(needed()));
}

/// This line in every head.
fn unneeded_line(name: &'static str, field: &'static str, value: &'static str) -> Fault {
    fault(name).serves(move |asked| asked.honest().header(field, value))
}

fn unneeded() -> Vec<Fault> {
    vec![
        unneeded_line("a folded line", "X-Odd", "one\r\n  two"),
        unneeded_line("a space before the colon", "X-Odd ", "one"),
        unneeded_line("a space in the name", "X Odd", "one"),
        unneeded_line("a name that steers a terminal", "X\x1b[2J", "one"),
        unneeded_line("a control character", "X-Odd", "one\x01two"),
        unneeded_line("no name", "", "one"),
        fault("a control character in one head")
            .later(|asked| asked.honest().header("X-Odd", "\x01"))
            .once(),
        fault("a Location in Latin-1").serves(|asked| match asked.request.target.as_str() {
            "/caf%E9?a=%E9" => asked.honest(),
            "/caf%E9" => Reply::status(404),
            _ => Reply::raw(
                *b"HTTP/1.1 302 Odd\r\nLocation: /caf\xe9?a=\xe9\r\nContent-Length: 0\r\n\r\n",
            ),
        }),
    ]
}

/// A reply to a range in which this field is another line.
fn instead(
    name: &'static str,
    field: &'static str,
    line: fn(&str) -> (&'static str, String),
) -> Fault {
    fault(name).later(move |asked| {
        let (start, end) = asked.bounds();
        let value = match field {
            "content-length" => (end - start).to_string(),
            "content-range" => asked.content_range(0, 0, LENGTH),
            _ => String::new(),
        };
        let (name, value) = line(&value);
        let reply = asked.honest().without(field).add_header(name, value);
        reply.then(Step::Close)
    })
}

/// Another object of that length under an entity tag that can't be read.
fn changed(asked: &Asked<'_>) -> Reply {
    let other = Object::new(10, LENGTH);
    let mut request = asked.request.clone();
    request.headers.retain(|(name, _)| name != "if-match");
    honest(&other, &request).header("ETag", "\"new\x01\"")
}

fn needed() -> Vec<Fault> {
    vec![
        instead(
            "a Content-Length with a space in its name",
            "content-length",
            |value| ("Content Length", value.to_owned()),
        )
        .fails(3, ["where the body ends"]),
        instead(
            "a Content-Length with a control character",
            "content-length",
            |value| ("Content-Length", format!("{value}\x01")),
        )
        .fails(3, ["where the body ends"]),
        instead("a folded Content-Length", "content-length", |value| {
            (
                "Content-Length",
                format!("{}\r\n {}", &value[..2], &value[2..]),
            )
        })
        .fails(3, ["can't be read"]),
        instead(
            "a Content-Length with a space before the colon",
            "content-length",
            |value| ("Content-Length ", value.to_owned()),
        ),
        instead(
            "a Content-Range with a space in its name",
            "content-range",
            |value| ("Content Range", value.to_owned()),
        )
        .fails(3, ["206 without a Content-Range"]),
        instead(
            "a Content-Range with a control character",
            "content-range",
            |value| ("Content-Range", format!("{value}\x01")),
        )
        .fails(3, ["206 without a Content-Range"]),
        instead(
            "a Transfer-Encoding with a control character",
            "content-length",
            |_| ("Transfer-Encoding", "chunked\x01".to_owned()),
        )
        .fails(3, ["where the body ends"]),
        instead("a folded Transfer-Encoding", "content-length", |_| {
            ("Transfer-Encoding", "chun\r\n ked".to_owned())
        })
        .fails(3, ["the transfer coding `chun ked`"]),
        fault("chunks whose Transfer-Encoding can't be read")
            .serves(|asked| {
                let reply = Reply::status(200).body(asked.object, 0..LENGTH).chunked();
                let reply = reply.header("Transfer-Encoding", "chunked\x01");
                if asked.is_head() {
                    reply.head_only()
                } else {
                    reply.then(Step::Close)
                }
            })
            .fails(3, ["where the body ends"]),
        fault("a coding of the transfer that nobody asked for")
            .serves(|asked| {
                let reply = Reply::status(200).body(asked.object, 0..LENGTH).chunked();
                let reply = reply.header("Transfer-Encoding", "gzip, chunked");
                if asked.is_head() {
                    reply.head_only()
                } else {
                    reply
                }
            })
            .fails(3, ["the transfer coding `gzip`"]),
        fault("an ETag with a control character").serves(|asked| asked.tagged(Some("\"a\x01\""))),
        fault("an ETag with a control character, and another object in mid-run")
            .serves(|asked| match asked.request.nth {
                0..5 => asked.tagged(Some("\"a\x01\"")),
                _ => changed(asked),
            })
            .fails(4, ["changed on the server"])
            .heals_to(Object::new(10, LENGTH)),
    ]
}
