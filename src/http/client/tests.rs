use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::http::body::Body;
use crate::http::redirect::FinalReply;
use crate::http::testing::{Script, ScriptedServer, Seen, Then, client, script};

async fn send(client: &Client, server: &ScriptedServer) -> Result<Response, HttpError> {
    let to = Location::parse(&server.url("/x?sig=secret")).unwrap();
    let fields = HeaderMap::new();
    let hop = Hop {
        method: &Method::GET,
        to: &to,
        fields: &fields,
        permit: Permit::default(),
        stall: client.stall_timeout(),
    };
    client.send(&hop).await.map(|replied| replied.response)
}

/// The error and its sources, from the outermost to the innermost.
fn chain(error: &HttpError) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    let outermost: &(dyn StdError + 'static) = error;
    std::iter::successors(Some(outermost), |error| (*error).source())
}

fn io_kind(error: &HttpError) -> Option<io::ErrorKind> {
    chain(error).find_map(|cause| cause.downcast_ref::<io::Error>().map(io::Error::kind))
}

#[track_caller]
fn assert_no_secret(error: &HttpError) {
    assert!(chain(error).count() > 1, "{error:?} has no source");
    for cause in chain(error) {
        for text in [format!("{cause}"), format!("{cause:?}")] {
            assert!(!text.contains("secret"), "{text}");
        }
    }
}

fn impatient() -> Client {
    Client::new(&ClientConfig {
        stall_timeout: Duration::from_millis(50),
        ..ClientConfig::for_tests()
    })
    .unwrap()
}

#[tokio::test]
async fn a_request_says_what_it_should() {
    let server = ScriptedServer::start(|_: &Seen| script("200 OK", &[], "", Then::Close)).await;
    send(&client(), &server).await.unwrap();
    let seen = &server.seen()[0];
    assert_eq!(seen.field("accept-encoding"), Some("identity"));
    assert!(seen.field("user-agent").unwrap().starts_with("partwise/"));
    assert_eq!(seen.field("authorization"), None);
}

#[tokio::test]
async fn a_connection_that_was_opened_tells_how_near_the_server_is() {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    let server = ScriptedServer::start(|_: &Seen| script("200 OK", &[], "", Then::Close)).await;
    let to = Location::parse(&server.url("/")).unwrap();
    let client = client();
    assert_eq!(client.handshakes().round_trip(&to, CENTURY), CENTURY);
    send(&client, &server).await.unwrap();
    assert!(client.handshakes().round_trip(&to, CENTURY) < CENTURY);
}

#[tokio::test]
async fn broken_heads_have_their_kinds() {
    let none = || Script(Vec::new(), Then::Close);
    let junk = || Script(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec(), Then::Close);
    let lengths = || {
        script(
            "200 OK",
            &["Content-Length: 1", "Content-Length: 2"],
            "",
            Then::Close,
        )
    };
    type ScriptFn = fn() -> Script;
    type IsExpected = fn(&HttpErrorKind) -> bool;
    let cases: [(ScriptFn, IsExpected); 3] = [
        (none, |kind| *kind == HttpErrorKind::Closed),
        (junk, |kind| {
            *kind == HttpErrorKind::Unreadable { line: false }
        }),
        (lengths, |kind| {
            *kind == HttpErrorKind::Unreadable { line: false }
        }),
    ];
    for (position, (answer, is_expected)) in cases.into_iter().enumerate() {
        let server = ScriptedServer::start(move |_: &Seen| answer()).await;
        let error = send(&client(), &server).await.unwrap_err();
        assert!(is_expected(error.kind()), "{position}: {error:?}");
        assert_no_secret(&error);
        assert_eq!(
            server.asked().len(),
            1,
            "a fresh connection is no reason to ask again"
        );
    }
}

#[tokio::test]
async fn informational_replies_and_many_headers_are_taken() {
    let many: Vec<String> = (0..200).map(|n| format!("X-{n}: {n}")).collect();
    let server = ScriptedServer::start(move |_: &Seen| {
        let fields: Vec<&str> = many.iter().map(String::as_str).collect();
        let Script(last, then) = script("200 OK", &fields, "", Then::Close);
        let first = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";
        Script([&first[..], &last].concat(), then)
    })
    .await;
    let response = send(&client(), &server).await.unwrap();
    assert_eq!(response.headers().len(), 200);
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_no_error() {
    let server =
        ScriptedServer::start(
            |seen: &Seen| match (seen.connection, seen.target.as_str()) {
                // Promises to stay open, and closes on the second request.
                (0, _) if seen.field("x-second").is_some() => Script(Vec::new(), Then::Close),
                _ => script("200 OK", &["Content-Length: 0"], "", Then::KeepOpen),
            },
        )
        .await;
    let client = client();
    drop(send(&client, &server).await.unwrap());
    let to = Location::parse(&server.url("/x")).unwrap();
    let fields = HeaderMap::from_iter([(
        hyper::header::HeaderName::from_static("x-second"),
        HeaderValue::from_static("1"),
    )]);
    let hop = Hop {
        method: &Method::GET,
        to: &to,
        fields: &fields,
        permit: Permit::default(),
        stall: Duration::from_secs(5),
    };
    client.send(&hop).await.unwrap();
    let connections: Vec<_> = server.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 0, 1]);
}

#[tokio::test]
async fn what_is_left_of_an_earlier_reply_is_no_reply() {
    for left in [
        "<html>",
        "HTTP/1.1 200 OK\r\nX Y: z\r\n\r\n",
        "\r\n\r\n<html>",
    ] {
        let asked = AtomicUsize::new(0);
        let server = ScriptedServer::start(move |_: &Seen| {
            let Script(reply, then) = script("200 OK", &["Content-Length: 0"], "", Then::KeepOpen);
            match asked.fetch_add(1, Ordering::Relaxed) {
                1 => Script([left.as_bytes(), &reply].concat(), then),
                _ => Script(reply, then),
            }
        })
        .await;
        let client = client();
        for _ in 0..3 {
            send(&client, &server).await.unwrap();
        }
        let connections: Vec<_> = server.seen().iter().map(|seen| seen.connection).collect();
        assert_eq!(connections, [0, 0, 1, 1], "{left}");
    }
}

/// A reply, read to its end as a checked body.
async fn read(client: &Client, server: &ScriptedServer) {
    let reply = FinalReply {
        response: send(client, server).await.unwrap(),
        first_byte: Duration::ZERO,
        round_trip: Duration::ZERO,
        explanation: None,
        generation: Generation::default(),
        origin: None,
    };
    let mut body = Body::new(reply, None, client);
    while body.chunk().await.unwrap().is_some() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_connection_is_opened_while_one_returns() {
    let bytes = vec![7; 100_000];
    let server = ScriptedServer::start(move |_: &Seen| {
        script(
            "200 OK",
            &["Content-Length: 100000"],
            &bytes,
            Then::KeepOpen,
        )
    })
    .await;
    let mut client = client();
    Arc::get_mut(&mut client.inner).unwrap().returns = Returns::new(Duration::from_secs(60));
    for _ in 0..500 {
        read(&client, &server).await;
    }
    assert_eq!(server.seen().len(), 500);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_does_not_return_is_replaced() {
    // None of its replies says that it closes.
    let server = ScriptedServer::start(|_: &Seen| {
        script("200 OK", &["Content-Length: 1"], "x", Then::Close)
    })
    .await;
    let client = client();
    for _ in 0..3 {
        read(&client, &server).await;
    }
    let connections: Vec<_> = server.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 1, 2]);
}

#[tokio::test]
async fn a_missing_head_is_a_stall_before_the_connect_timeout() {
    let server =
        ScriptedServer::start(|_: &Seen| Script(b"HTTP/1.1 200".to_vec(), Then::Stall)).await;
    let begun = Instant::now();
    let error = send(&impatient(), &server).await.unwrap_err();
    assert_eq!(error.kind(), &HttpErrorKind::Stalled);
    assert_eq!(error.to_string(), "no byte came for 0.05 s");
    assert!(begun.elapsed() < ClientConfig::for_tests().connect_timeout);
}

#[tokio::test]
async fn a_refused_connection_is_told_once() {
    let server = ScriptedServer::start(|_: &Seen| unreachable!()).await;
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x?sig=secret", dead.local_addr().unwrap());
    drop((dead, server));
    let to = Location::parse(&url).unwrap();
    let hop = Hop {
        method: &Method::GET,
        to: &to,
        fields: &HeaderMap::new(),
        permit: Permit::default(),
        stall: Duration::from_secs(5),
    };
    let error = client().send(&hop).await.unwrap_err();
    assert_eq!(error.kind(), &HttpErrorKind::Connect);
    assert_eq!(io_kind(&error), Some(io::ErrorKind::ConnectionRefused));
    let text = error.to_string();
    assert_eq!(text.matches("refused").count(), 1, "{text}");
    assert_no_secret(&error);
}

#[tokio::test]
async fn a_tls_handshake_that_never_ends_is_a_connect_timeout() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = Location::parse(&format!("https://{}/x", listener.local_addr().unwrap())).unwrap();
    let client = Client::new(&ClientConfig {
        connect_timeout: Duration::from_millis(50),
        ..ClientConfig::for_tests()
    })
    .unwrap();
    let hop = Hop {
        method: &Method::GET,
        to: &to,
        fields: &HeaderMap::new(),
        permit: Permit::default(),
        stall: Duration::from_secs(60),
    };
    let error = client.send(&hop).await.unwrap_err();
    assert_eq!(error.kind(), &HttpErrorKind::Timeout, "{error}");
}

#[test]
fn unusable_settings_are_named_without_their_secrets() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let empty = || Some(file.path().to_owned());
    let missing = || Some(PathBuf::from("/nonexistent/x.pem"));
    let base = ClientConfig::for_tests;
    let cases = [
        (
            ClientConfig {
                ca_certificate: empty(),
                ..base()
            },
            "no certificates in",
        ),
        (
            ClientConfig {
                ca_certificate: missing(),
                ..base()
            },
            "cannot read /nonexistent/x.pem",
        ),
        (
            ClientConfig {
                client_certificate: empty(),
                ..base()
            },
            "no certificates in",
        ),
        (
            ClientConfig {
                client_key: empty(),
                ..base()
            },
            "needs a client certificate",
        ),
        (
            ClientConfig {
                user_agent: Some("a\nb".to_owned()),
                ..base()
            },
            "the user agent",
        ),
        (
            ClientConfig {
                proxy: Some("ftp://u:secret@h".to_owned()),
                no_proxy: false,
                ..base()
            },
            "the proxy's URL",
        ),
        (
            ClientConfig {
                proxy: Some("http://u:secret@:x".to_owned()),
                no_proxy: false,
                ..base()
            },
            "the proxy's URL",
        ),
    ];
    for (config, expected) in cases {
        let error = Client::new(&config).unwrap_err();
        assert_eq!(error.kind(), &HttpErrorKind::Configuration);
        let text = error.to_string();
        assert!(
            text.contains(expected) && !text.contains("secret"),
            "{text}"
        );
    }
}
