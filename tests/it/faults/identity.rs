//! Which version of the object a reply belongs to, and what is said of its bytes.

use partwise::origin::Object;

use super::LENGTH;
use super::asked::Asked;
use super::fault::{Fault, fault};
use super::table::hold;
use crate::support::fault::Reply;

const DATE: &str = "Mon, 01 Jan 2024 00:00:00 GMT";
const LATER: &str = "Tue, 02 Jan 2024 00:00:00 GMT";
/// The digests of something else.
const WRONG_SHA256: &str = "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=";
const WRONG_MD5: &str = "JfnnlDI7RTiF9RgfG2JNCw==";

#[tokio::test(flavor = "multi_thread")]
async fn identity() {
    let tables = [
        changes(),
        tags(),
        tags_that_are_none(),
        without_tags(),
        fields_that_come_and_go(),
        digests(),
        digests_of_something_else(),
    ];
    hold("identity", tables.into_iter().flatten());
}

/// The discovery's replies have the first tag, ranges that don't begin at 0 the second one;
/// conditions are ignored.
fn turns(name: &'static str, first: &'static str, second: &'static str) -> Fault {
    fault(name)
        .serves(move |asked| asked.tagged(Some(if asked.is_later() { second } else { first })))
        .fails(
            4,
            ["the object changed on the server", "the entity tag was"],
        )
}

/// All replies have this tag; conditions are ignored.
fn always(name: &'static str, tag: &'static str) -> Fault {
    fault(name).serves(move |asked| asked.tagged(Some(tag)))
}

fn changes() -> Vec<Fault> {
    let another = |asked: &Asked<'_>, length: u64| {
        let (start, end) = asked.bounds();
        let object = Object::new(10, length);
        Reply::status(206)
            .header("ETag", format!("\"10-{length}\""))
            .header(
                "Content-Range",
                format!("bytes {start}-{}/{length}", end - 1),
            )
            .body(&object, start..end)
    };
    vec![
        fault("412")
            .later(|_| Reply::status(412))
            .fails(4, ["changed", "412", "--on-change restart"]),
        fault("If-Match ignored, another object of that length")
            .later(move |asked| another(asked, LENGTH))
            .heals_to(Object::new(10, LENGTH))
            .fails(4, ["the entity tag was"]),
        fault("If-Match ignored, a longer object")
            .later(move |asked| another(asked, 2 * LENGTH))
            .heals_to(Object::new(10, 2 * LENGTH))
            .fails(4, ["the entity tag was"]),
        turns("same bytes, other tag", "\"a\"", "\"b\""),
        fault("tags that differ by the CDN's node")
            .serves(|asked| {
                asked.tagged(Some(if asked.request.nth % 2 == 0 {
                    "\"a\""
                } else {
                    "\"b\""
                }))
            })
            .fails(4, ["the entity tag was"]),
        fault("a new version with every request, --on-change restart")
            .arguments(["--on-change", "restart"])
            .serves(|asked| asked.tagged(Some(&format!("\"{}\"", asked.request.nth))))
            .fails(4, ["the entity tag was"]),
        fault("a new length with every request, --on-change restart")
            .arguments(["--on-change", "restart"])
            .serves(|asked| {
                let object = Object::new(9, LENGTH + asked.request.nth as u64);
                let (start, end) = asked.request.range(object.length()).unwrap_or((0, 1));
                let total = object.length();
                match asked.is_head() {
                    true => Reply::status(200).header("Content-Length", total.to_string()),
                    false => Reply::status(206)
                        .header(
                            "Content-Range",
                            format!("bytes {start}-{}/{total}", end - 1),
                        )
                        .body(&object, start..end),
                }
            })
            .fails(4, ["its length was"]),
    ]
}

fn tags() -> Vec<Fault> {
    vec![
        always("a weak tag", "W/\"a\"").check(|world, _| {
            let requests = world.origin.requests();
            assert!(requests.iter().all(|r| r.header("if-match").is_none()));
        }),
        turns("a weak tag that changes", "W/\"a\"", "W/\"b\""),
        turns("a strong tag that turns weak", "\"a\"", "W/\"a\""),
        turns("a weak tag that turns strong", "W/\"a\"", "\"a\""),
        always("Apache's -gzip throughout", "\"a-gzip\""),
        turns("Apache's -gzip on ranges", "\"a\"", "\"a-gzip\""),
        turns("Apache's -gzip on the probe", "\"a-gzip\"", "\"a\""),
        fault("Apache, which does not know its own -gzip")
            .serves(|asked| match asked.request.header("if-match") {
                Some("\"a-gzip\"") => Reply::status(412),
                _ => asked.tagged(Some("\"a-gzip\"")),
            })
            .check(|_, outcome| {
                outcome.stderr_has("asking without a condition");
            }),
        always(
            "the tag of an S3 upload in parts",
            "\"d41d8cd98f00b204e9800998ecf8427e-3\"",
        ),
        always(
            "a tag like the MD5 of something else",
            "\"d41d8cd98f00b204e9800998ecf8427e\"",
        ),
        always("an empty tag", "\"\""),
        always("a tag of commas", "\"a, \\\"b\\\"\""),
    ]
}

/// What can't be sent back counts as absent.
fn tags_that_are_none() -> Vec<Fault> {
    vec![
        always("an unquoted tag", "abc"),
        always("half a tag", "\"abc"),
        always("a tag of non-ASCII", "\"\u{e4}\u{f6}\u{fc}\""),
        always("no value", ""),
        fault("a huge tag")
            .serves(|asked| asked.tagged(Some(&format!("\"{}\"", "x".repeat(20_000))))),
        fault("two tags")
            .serves(|asked| asked.tagged(Some("\"a\"")).add_header("ETag", "\"b\""))
            .fails(3, ["several values of `etag` that differ"]),
        fault("two equal tags")
            .serves(|asked| asked.tagged(Some("\"a\"")).add_header("ETag", "\"a\"")),
    ]
}

fn without_tags() -> Vec<Fault> {
    let unproven = "neither entity tag nor modification date";
    vec![
        fault("a date alone").serves(|asked| asked.tagged(None).header("Last-Modified", DATE)),
        fault("a date that changes")
            .serves(|asked| {
                let date = if asked.is_later() { LATER } else { DATE };
                asked.tagged(None).header("Last-Modified", date)
            })
            .fails(4, ["the modification date was"]),
        fault("a date that is none")
            .serves(|asked| asked.tagged(None).header("Last-Modified", "yesterday"))
            .check(move |_, outcome| {
                assert!(
                    !outcome.stderr().contains(unproven),
                    "it tells versions apart"
                );
            }),
        fault("neither tag nor date")
            .serves(|asked| asked.tagged(None))
            .check(move |_, outcome| {
                outcome.stderr_has(unproven);
            }),
        fault("neither tag nor date, and another length")
            .serves(|asked| {
                let reply = asked.tagged(None);
                if asked.is_later() {
                    let range = asked.content_range(0, 0, LENGTH + 1);
                    return reply.header("Content-Range", range);
                }
                reply
            })
            .fails(4, ["its length was 262147 bytes and is 262148 now"]),
        fault("a tag on the probe alone").serves(|asked| {
            let tag = asked.is_head().then_some("\"a\"");
            asked.tagged(tag)
        }),
        fault("a tag that later ranges lack")
            .later(|asked| asked.tagged(None))
            .fails(3, ["the reply names no version"]),
        fault("a tag on the ranges alone").head(|asked| asked.tagged(None)),
    ]
}

/// Replies of two versions of one length, which some of their fields tell apart.
fn fields_that_come_and_go() -> Vec<Fault> {
    let changed = "the object changed on the server";
    // The first range is of one version, the later ones of another.
    let versions = |name, first: &'static [(&str, &str)], later: &'static [(&str, &str)]| {
        fault(name)
            .serves(move |asked| {
                let fields = match asked.is_later() {
                    true => later,
                    false if asked.is_head() => &[],
                    false => first,
                };
                with_fields(asked, fields)
            })
            .fails(4, [changed])
    };
    // The probe and the first range are of one version, the later ones of another.
    let later = |name, first: &'static [(&str, &str)], later: &'static [(&str, &str)]| {
        fault(name)
            .serves(move |asked| with_fields(asked, if asked.is_later() { later } else { first }))
            .fails(4, [changed])
    };
    vec![
        versions(
            "tags on ranges alone, which change",
            &[("ETag", "\"v1\"")],
            &[("ETag", "\"v2\"")],
        ),
        versions(
            "dates on ranges alone, which change",
            &[("Last-Modified", DATE)],
            &[("Last-Modified", LATER)],
        ),
        fault("one date, and tags on later ranges alone, which change")
            .serves(|asked| {
                let dated = with_fields(asked, &[("Last-Modified", DATE)]);
                match asked.bounds().0 {
                    _ if !asked.is_later() => dated,
                    start if start < LENGTH / 2 => dated.header("ETag", "\"v1\""),
                    _ => dated.header("ETag", "\"v2\""),
                }
            })
            .fails(4, [changed]),
        later(
            "a strong tag that goes, and a date that changes",
            &[("ETag", "\"v1\""), ("Last-Modified", DATE)],
            &[("Last-Modified", LATER)],
        ),
        later(
            "a strong tag that turns unquoted",
            &[("ETag", "\"v1\"")],
            &[("ETag", "v2")],
        ),
        later(
            "a strong tag that turns into a lower-case weak one",
            &[("ETag", "\"v1\"")],
            &[("ETag", "w/\"v2\"")],
        ),
        later(
            "unquoted tags that change",
            &[("ETag", "v1")],
            &[("ETag", "v2")],
        ),
        later(
            "one weak tag, and a date that changes",
            &[("ETag", "W/\"v\""), ("Last-Modified", DATE)],
            &[("ETag", "W/\"v\""), ("Last-Modified", LATER)],
        ),
        later(
            "dates that are none, and change",
            &[("Last-Modified", "yesterday")],
            &[("Last-Modified", "today")],
        ),
        later(
            "the version id of an object store, which changes",
            &[("ETag", "\"v\""), ("x-amz-version-id", "one")],
            &[("ETag", "\"v\""), ("x-amz-version-id", "two")],
        ),
        fault("one strong tag, and dates that differ by the node").serves(|asked| {
            let date = if asked.is_later() { LATER } else { DATE };
            with_fields(asked, &[("ETag", "\"v\"")]).header("Last-Modified", date)
        }),
        fault("later ranges with two tags")
            .serves(|asked| {
                let reply = asked.tagged(Some("\"v1\""));
                match asked.is_later() {
                    true => reply.add_header("ETag", "\"v2\""),
                    false => reply,
                }
            })
            .fails(3, ["several values of `etag` that differ"]),
    ]
}

/// What a server answers that ignores every condition, with these fields in place of a tag.
fn with_fields(asked: &Asked<'_>, fields: &[(&'static str, &str)]) -> Reply {
    let bare = asked.tagged(None).without("last-modified");
    fields
        .iter()
        .fold(bare, |reply, (name, value)| reply.header(name, *value))
}

/// A digest of the whole object that is not this object's.
fn wrong(name: &'static str, field: &'static str, value: &str) -> Fault {
    let value = value.to_owned();
    fault(name)
        .serves(move |asked| asked.honest().header(field, value.clone()))
        .fails(
            5,
            [
                &field.to_ascii_lowercase(),
                "hint: the partial file is kept",
            ],
        )
}

fn digests() -> Vec<Fault> {
    let sha256 = format!("sha-256=:{WRONG_SHA256}:");
    vec![
        wrong("a wrong Repr-Digest", "Repr-Digest", &sha256),
        wrong(
            "a wrong Digest",
            "Digest",
            &format!("SHA-256={WRONG_SHA256}"),
        ),
        wrong(
            "a wrong MD5 of Google's",
            "x-goog-hash",
            &format!("md5={WRONG_MD5}"),
        ),
        wrong("a wrong CRC of Google's", "x-goog-hash", "crc32c=4waSgw=="),
        wrong("a wrong MD5 of Azure's", "x-ms-blob-content-md5", WRONG_MD5),
        wrong(
            "a wrong SHA-256 of S3's",
            "x-amz-checksum-sha256",
            WRONG_SHA256,
        ),
        wrong(
            "a wrong CRC of S3's",
            "x-amz-checksum-crc64nvme",
            "rosUhgp5mIg=",
        ),
        wrong("a wrong CRC of Alibaba's", "x-oss-hash-crc64ecma", "12345"),
        wrong("a wrong CRC of Tencent's", "x-cos-hash-crc64ecma", "12345"),
        fault("a wrong Content-MD5 on the probe")
            .head(|asked| asked.honest().header("Content-MD5", WRONG_MD5))
            .fails(5, ["content-md5"]),
        fault("a wrong checksum on the command line")
            .arguments(["--checksum", "crc32c=00000000"])
            .fails(5, ["--checksum", "crc32c"]),
    ]
}

/// A field that says nothing of the whole object's bytes.
fn ignored(name: &'static str, fields: &'static [(&'static str, &'static str)]) -> Fault {
    fault(name).serves(move |asked| {
        let reply = asked.honest();
        fields
            .iter()
            .fold(reply, |reply, (name, value)| reply.header(name, *value))
    })
}

fn digests_of_something_else() -> Vec<Fault> {
    vec![
        ignored(
            "a composite checksum",
            &[
                ("x-amz-checksum-type", "COMPOSITE"),
                ("x-amz-checksum-sha256", WRONG_SHA256),
            ],
        ),
        ignored(
            "a composite with its count",
            &[("x-amz-checksum-crc32c", "4waSgw==-3")],
        ),
        ignored(
            "digests that can't be read",
            &[
                ("Repr-Digest", "sha-256=:!!!:, md5=::, \u{e4}"),
                ("x-goog-hash", "md5=short"),
                ("x-oss-hash-crc64ecma", "99999999999999999999999999"),
            ],
        ),
        fault("wrong digests of the parts").later(|asked| {
            asked
                .honest()
                .header("Content-MD5", WRONG_MD5)
                .header("Content-Digest", format!("sha-256=:{WRONG_SHA256}:"))
        }),
    ]
}
