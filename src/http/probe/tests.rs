use super::*;
use crate::http::config::ClientConfig;
use crate::http::testing::{Script, ScriptedServer, Seen, Then, client, script};

/// One line for the outcome.
async fn outcome(server: &ScriptedServer) -> String {
    told(probe(&client(), &server.source("/x"), &Conditions::default()).await)
}

fn told(probed: Result<Probed, HttpError>) -> String {
    match probed {
        Ok(Probed::Found { metadata, stream }) => {
            let length = metadata
                .length
                .map_or("unknown".to_owned(), |l| l.to_string());
            let stream = stream.map_or("", |_| ", stream");
            let coding = metadata.coding.map_or(String::new(), |c| format!(", {c}"));
            format!(
                "{length} bytes, ranges {:?}{stream}{coding}",
                metadata.ranges
            )
        }
        Ok(Probed::NotModified) => "not modified".to_owned(),
        Err(error) => format!("{:?}", error.kind())
            .split('(')
            .next()
            .unwrap()
            .to_owned(),
    }
}

type ScriptFn = fn() -> Script;

async fn server(head: ScriptFn, ranged: ScriptFn, plain: ScriptFn) -> ScriptedServer {
    ScriptedServer::start(
        move |seen: &Seen| match (seen.method.as_str(), seen.field("range")) {
            ("HEAD", _) => head(),
            (_, Some(_)) => ranged(),
            (_, None) => plain(),
        },
    )
    .await
}

fn never() -> Script {
    unreachable!("it is not asked")
}

fn status(line: &str) -> Script {
    script(line, &["Content-Length: 0"], "", Then::KeepOpen)
}

fn first_byte() -> Script {
    let fields = [
        "Content-Range: bytes 0-0/100",
        "Content-Length: 1",
        "ETag: \"a\"",
    ];
    script("206 Partial Content", &fields, "x", Then::KeepOpen)
}

fn whole() -> Script {
    script(
        "200 OK",
        &["Content-Length: 3", "Accept-Ranges: bytes"],
        "abc",
        Then::KeepOpen,
    )
}

fn head_refused() -> Script {
    status("405 Method Not Allowed")
}

#[tokio::test]
async fn what_head_tells_is_enough_or_get_is_asked() {
    const BY_GET: &str = "100 bytes, ranges Yes";
    let cases: [(ScriptFn, &str); 27] = [
        (
            || {
                script(
                    "200 OK",
                    &["Content-Length: 9", "Accept-Ranges: bytes"],
                    "",
                    Then::KeepOpen,
                )
            },
            "9 bytes, ranges Yes",
        ),
        (
            || {
                script(
                    "200 OK",
                    &["Content-Length: 9", "Accept-Ranges: none"],
                    "",
                    Then::KeepOpen,
                )
            },
            "9 bytes, ranges No",
        ),
        (
            || script("200 OK", &["Content-Length: 9"], "", Then::KeepOpen),
            "9 bytes, ranges Unknown",
        ),
        (
            || script("200 OK", &["Content-Length: 9"], "", Then::Close),
            "9 bytes, ranges Unknown",
        ),
        (
            || script("200 OK", &["Content-Length: 0"], "", Then::KeepOpen),
            BY_GET,
        ),
        (|| script("200 OK", &[], "", Then::KeepOpen), BY_GET),
        (
            || {
                script(
                    "200 OK",
                    &["Transfer-Encoding: chunked"],
                    "",
                    Then::KeepOpen,
                )
            },
            BY_GET,
        ),
        (
            || {
                script(
                    "200 OK",
                    &["Content-Length: 9", "Content-Encoding: gzip"],
                    "",
                    Then::KeepOpen,
                )
            },
            BY_GET,
        ),
        (
            || script("200 OK", &["Content-Encoding: gzip"], "", Then::KeepOpen),
            BY_GET,
        ),
        (
            || {
                let fields = ["Transfer-Encoding: chunked", "Content-Encoding: gzip"];
                script("200 OK", &fields, "", Then::KeepOpen)
            },
            BY_GET,
        ),
        (
            || {
                script(
                    "200 OK",
                    &["Content-Length: 9", "Content-Length: 8"],
                    "",
                    Then::Close,
                )
            },
            BY_GET,
        ),
        (
            || script("200 OK", &["Content-Length: -9"], "", Then::Close),
            BY_GET,
        ),
        (
            || {
                script(
                    "200 OK",
                    &["Content-Length: 9223372036854775808"],
                    "",
                    Then::Close,
                )
            },
            BY_GET,
        ),
        (|| status("403 Forbidden"), BY_GET),
        (|| status("405 Method Not Allowed"), BY_GET),
        (|| status("501 Not Implemented"), BY_GET),
        (|| status("500 Internal Server Error"), BY_GET),
        (|| script("204 No Content", &[], "", Then::KeepOpen), BY_GET),
        (|| Script(Vec::new(), Then::Close), BY_GET),
        (|| Script(b"junk\r\n\r\n".to_vec(), Then::Close), BY_GET),
        (|| status("401 Unauthorized"), BY_GET),
        (|| status("404 Not Found"), BY_GET),
        (|| status("410 Gone"), BY_GET),
        (|| status("429 Too Many Requests"), BY_GET),
        (|| status("503 Service Unavailable"), BY_GET),
        (|| status("407 Proxy Authentication Required"), "Status"),
        (|| status("302 Found"), "Redirect"),
    ];
    for (position, (head, expected)) in cases.into_iter().enumerate() {
        let server = server(head, first_byte, never).await;
        assert_eq!(outcome(&server).await, expected, "case {position}");
        assert_eq!(server.asked().len(), if expected == BY_GET { 2 } else { 1 });
    }
}

#[tokio::test]
async fn what_the_ranged_get_tells() {
    let cases: [(ScriptFn, &str, usize); 18] = [
        (first_byte, "100 bytes, ranges Yes", 2),
        (
            || {
                script(
                    "206 Partial Content",
                    &["Content-Range: bytes 0-0/100"],
                    "x",
                    Then::Close,
                )
            },
            "100 bytes, ranges Yes",
            2,
        ),
        (whole, "3 bytes, ranges No, stream", 2),
        (
            || script("200 OK", &["Content-Length: 0"], "", Then::KeepOpen),
            "0 bytes, ranges No, stream",
            2,
        ),
        (
            || script("200 OK", &[], "abc", Then::Close),
            "unknown bytes, ranges No, stream",
            2,
        ),
        (
            || {
                script(
                    "200 OK",
                    &["Content-Length: 3", "Content-Encoding: br"],
                    "abc",
                    Then::KeepOpen,
                )
            },
            "3 bytes, ranges No, stream, br",
            2,
        ),
        (
            || script("200 OK", &["Content-Encoding: br"], "abc", Then::Close),
            "Coding",
            2,
        ),
        (
            || {
                let fields = ["Content-Range: bytes 0-0/100", "Content-Encoding: br"];
                script("206 Partial Content", &fields, "x", Then::Close)
            },
            "100 bytes, ranges Yes, br",
            2,
        ),
        (
            || {
                let fields = ["Content-Range: bytes */0", "Content-Encoding: br"];
                script("416 Range Not Satisfiable", &fields, "", Then::Close)
            },
            "0 bytes, ranges Unknown",
            2,
        ),
        (
            || {
                script(
                    "416 Range Not Satisfiable",
                    &["Content-Range: bytes */0", "Content-Length: 0"],
                    "",
                    Then::KeepOpen,
                )
            },
            "0 bytes, ranges Unknown",
            2,
        ),
        (
            || status("416 Range Not Satisfiable"),
            "3 bytes, ranges No, stream",
            3,
        ),
        (
            || {
                script(
                    "206 Partial Content",
                    &["Content-Length: 1"],
                    "x",
                    Then::KeepOpen,
                )
            },
            "3 bytes, ranges No, stream",
            3,
        ),
        (
            || {
                script(
                    "206 Partial Content",
                    &["Content-Range: bytes 0-0/*", "Content-Length: 1"],
                    "x",
                    Then::KeepOpen,
                )
            },
            "3 bytes, ranges No, stream",
            3,
        ),
        (
            || {
                script(
                    "206 Partial Content",
                    &["Content-Range: bytes 0-1/100", "Content-Length: 2"],
                    "xx",
                    Then::KeepOpen,
                )
            },
            "3 bytes, ranges No, stream",
            3,
        ),
        (
            || {
                script(
                    "206 Partial Content",
                    &["Content-Range: bytes 1-1/100", "Content-Length: 1"],
                    "x",
                    Then::KeepOpen,
                )
            },
            "3 bytes, ranges No, stream",
            3,
        ),
        (|| status("403 Forbidden"), "Refused", 2),
        (|| status("404 Not Found"), "Status", 2),
        (
            || script("204 No Content", &[], "", Then::KeepOpen),
            "Protocol",
            2,
        ),
    ];
    for (position, (ranged, expected, requests)) in cases.into_iter().enumerate() {
        let server = server(head_refused, ranged, whole).await;
        assert_eq!(outcome(&server).await, expected, "case {position}");
        assert_eq!(server.asked().len(), requests, "case {position}");
    }
}

#[tokio::test]
async fn a_stream_hands_out_the_whole_object() {
    let server = server(head_refused, whole, never).await;
    let probed = probe(&client(), &server.source("/x"), &Conditions::default()).await;
    let Ok(Probed::Found {
        stream: Some(mut body),
        ..
    }) = probed
    else {
        panic!("{probed:?}")
    };
    assert_eq!(body.range(), Some(ByteRange::whole(3)));
    assert_eq!(body.chunk().await.unwrap().unwrap(), "abc");
    assert_eq!(body.chunk().await.unwrap(), None);
}

#[tokio::test]
async fn a_head_that_hangs_is_given_up() {
    let server = server(|| Script(Vec::new(), Then::Stall), first_byte, never).await;
    let impatient = Client::new(&ClientConfig {
        stall_timeout: Duration::from_millis(500),
        ..ClientConfig::for_tests()
    })
    .unwrap();
    let probed = probe(&impatient, &server.source("/x"), &Conditions::default()).await;
    assert_eq!(told(probed), "100 bytes, ranges Yes");
}

#[tokio::test]
async fn metadata_may_have_a_url_of_its_own() {
    let server = ScriptedServer::start(|seen: &Seen| match seen.method.as_str() {
        "HEAD" => script("200 OK", &["Content-Length: 9"], "", Then::KeepOpen),
        _ => first_byte(),
    })
    .await;
    let source = Source::new(&server.url("/get"), Some(&server.url("/head"))).unwrap();
    probe(&client(), &source, &Conditions::default())
        .await
        .unwrap();
    probe_by_get(&client(), &source, &Conditions::default())
        .await
        .unwrap();
    assert_eq!(server.asked(), ["HEAD /head", "GET /get"]);
}

#[tokio::test]
async fn conditions_are_sent_and_judged_here_too() {
    let tag = |text: &str| Conditions {
        if_match: Some(text.to_owned()),
        ..Conditions::default()
    };
    let none = |text: &str| Conditions {
        if_none_match: Some(text.to_owned()),
        ..Conditions::default()
    };
    let ignoring: ScriptFn = || {
        script(
            "200 OK",
            &["Content-Length: 9", "ETag: \"a\""],
            "",
            Then::KeepOpen,
        )
    };
    let not_modified: ScriptFn = || script("304 Not Modified", &[], "", Then::KeepOpen);
    let failed: ScriptFn = || status("412 Precondition Failed");
    let cases = [
        (ignoring, tag("\"a\""), "9 bytes, ranges Unknown"),
        (ignoring, tag("\"b\""), "PreconditionFailed"),
        (ignoring, none("\"a\""), "not modified"),
        (ignoring, none("\"b\""), "9 bytes, ranges Unknown"),
        (not_modified, none("\"a\""), "not modified"),
        (failed, tag("\"b\""), "PreconditionFailed"),
    ];
    for (position, (head, conditions, expected)) in cases.into_iter().enumerate() {
        let server = server(head, never, never).await;
        let probed = probe(&client(), &server.source("/x"), &conditions).await;
        assert_eq!(told(probed), expected, "case {position}");
        let seen = &server.seen()[0];
        assert_eq!(seen.field("if-match"), conditions.if_match.as_deref());
        assert_eq!(
            seen.field("if-none-match"),
            conditions.if_none_match.as_deref()
        );
    }
}

#[tokio::test]
async fn validators_and_digests_are_kept() {
    let server = server(
        || {
            let fields = [
                "Content-Length: 9",
                "ETag: W/\"a\"",
                "Last-Modified: Thu, 01 Jan 1970 00:00:10 GMT",
                "x-goog-hash: crc32c=AAAAAA==",
                "X-OSS-Hash-CRC64ECMA: 1",
                "Repr-Digest: sha-256=:AA==:",
                "Server: x",
            ];
            script("200 OK", &fields, "", Then::KeepOpen)
        },
        never,
        never,
    )
    .await;
    let probed = probe(&client(), &server.source("/x"), &Conditions::default()).await;
    let Ok(Probed::Found { metadata, .. }) = probed else {
        panic!("{probed:?}")
    };
    let date = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(10);
    let validator = metadata.identity.validator();
    assert_eq!(validator.if_unmodified_since(), Some(date));
    assert_eq!(metadata.identity.tag.unwrap().text(), "W/\"a\"");
    let names: Vec<_> = metadata
        .fields
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        names,
        ["x-goog-hash", "x-oss-hash-crc64ecma", "repr-digest"]
    );
}

#[tokio::test]
async fn the_probes_connection_is_used_again() {
    let server = server(head_refused, first_byte, never).await;
    let (client, source) = (client(), server.source("/x"));
    for _ in 0..3 {
        probe(&client, &source, &Conditions::default())
            .await
            .unwrap();
    }
    assert!(server.seen().iter().all(|seen| seen.connection == 0));
}
