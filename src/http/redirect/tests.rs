use super::*;
use crate::http::config::ClientConfig;
use crate::http::head::header_map;
use crate::http::testing::{Script, ScriptedServer, Seen, Then, client, script};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn ask() -> Ask {
    Ask {
        method: Method::GET,
        endpoint: Endpoint::Object,
        fields: HeaderMap::new(),
        stall: Duration::from_secs(5),
    }
}

fn moved(to: &str) -> Script {
    let location = format!("Location: {to}");
    script(
        "302 Found",
        &[&location, "Content-Length: 0"],
        "",
        Then::KeepOpen,
    )
}

fn ok() -> Script {
    script("200 OK", &["Content-Length: 2"], "ok", Then::KeepOpen)
}

#[test]
fn next_hop_table() {
    let cases: [(&str, &str, Result<&str, &str>); 14] = [
        ("http://a/x/y", "z?q#f", Ok("http://a/x/z?q")),
        ("http://a/x", "//b/z", Ok("http://b/z")),
        ("http://a/x", "https://b/", Ok("https://b/")),
        ("https://a/x", "/z", Ok("https://a/z")),
        ("https://a/x", "https://b:8443/z", Ok("https://b:8443/z")),
        ("http://a/x", "", Ok("http://a/x")),
        ("https://a/x", "http://a/x", Err("from https to http")),
        ("http://a/x", "file:///etc/passwd", Err("scheme `file`")),
        ("http://a/x", "FTP://a/x", Err("scheme `ftp`")),
        (
            "http://a/x",
            "javascript:alert(1)",
            Err("scheme `javascript`"),
        ),
        ("http://a/x", "data:,x", Err("scheme `data`")),
        ("http://a/x", "http://", Err("no URL")),
        ("http://a/x", "http://b:99999/", Err("no URL")),
        ("http://a/x", "\u{ff}", Ok("http://a/%C3%BF")),
    ];
    for (from, to, expected) in cases {
        let from = Location::parse(from).unwrap();
        let headers = header_map(&[("location", to)]);
        let found = next_hop(&from, StatusCode::FOUND, &headers);
        match expected {
            Ok(url) => assert_eq!(found.unwrap().unwrap().url().as_str(), url),
            Err(why) => {
                let error = found.unwrap_err();
                assert!(matches!(error.kind(), HttpErrorKind::Redirect(_)));
                assert!(error.to_string().contains(why), "{error}");
            }
        }
    }
}

#[test]
fn only_five_statuses_are_redirects() {
    let from = Location::parse("http://a/").unwrap();
    let headers = header_map(&[("location", "http://b/")]);
    for code in 100..600 {
        let status = StatusCode::from_u16(code).unwrap();
        let found = next_hop(&from, status, &headers).unwrap();
        assert_eq!(
            found.is_some(),
            [301, 302, 303, 307, 308].contains(&code),
            "{code}"
        );
    }
    let nowhere = next_hop(&from, StatusCode::FOUND, &HeaderMap::new());
    assert!(nowhere.unwrap_err().to_string().contains("no Location"));
}

#[tokio::test]
async fn ten_redirects_are_followed_and_no_more() {
    let server = ScriptedServer::start(|seen: &Seen| match seen.target[1..].parse::<u32>() {
        Ok(0) => ok(),
        Ok(left) => moved(&format!("/{}", left - 1)),
        Err(_) => moved(&seen.target),
    })
    .await;
    let client = client();
    let answer = follow(&client, &server.source("/10"), &ask())
        .await
        .unwrap();
    assert_eq!(answer.response.status(), StatusCode::OK);
    assert_eq!(answer.origin, None);
    for (path, why) in [("/11", "more than 10"), ("/loop", "circle")] {
        let error = follow(&client, &server.source(path), &ask())
            .await
            .err()
            .unwrap();
        assert!(matches!(error.kind(), HttpErrorKind::Redirect(_)));
        assert!(error.to_string().contains(why), "{error}");
    }
}

/// Home redirects to another origin, which redirects to itself and then back. The other origin
/// receives no secret.
#[tokio::test]
async fn another_origin_is_told_no_secret_on_any_hop() {
    let foreign = Arc::new(std::sync::OnceLock::<String>::new());
    let foreign_url = Arc::clone(&foreign);
    let home = ScriptedServer::start(move |seen: &Seen| match seen.target.as_str() {
        "/start" => moved(foreign_url.get().unwrap()),
        _ => ok(),
    })
    .await;
    let back = home.url("/back");
    let stranger = ScriptedServer::start(move |seen: &Seen| match seen.target.as_str() {
        "/1" => moved("/2"),
        _ => moved(&back),
    })
    .await;
    foreign.set(stranger.url("/1")).unwrap();
    let secrets = [
        ("Authorization", "Own secret"),
        ("Cookie", "secret"),
        ("X-Api-Key", "secret"),
    ];
    let config = ClientConfig {
        headers: secrets.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec(),
        ..ClientConfig::for_tests()
    };
    let client = Client::new(&config).unwrap();
    follow(&client, &home.source("/start"), &ask())
        .await
        .unwrap();
    assert_eq!(home.asked(), ["GET /start", "GET /back"]);
    assert_eq!(stranger.asked(), ["GET /1", "GET /2"]);
    for (name, value) in secrets {
        assert!(
            home.seen()
                .iter()
                .all(|seen| seen.field(name) == Some(value)),
            "{name}"
        );
        assert!(
            stranger
                .seen()
                .iter()
                .all(|seen| seen.field(name).is_none()),
            "{name}"
        );
    }
    assert!(
        stranger
            .seen()
            .iter()
            .all(|seen| seen.field("referer").is_none())
    );
}

#[tokio::test]
async fn the_urls_user_is_sent_as_basic_and_never_shown() {
    let server = ScriptedServer::start(|_: &Seen| moved("file:///x")).await;
    let url = server.url("/x").replace("http://", "http://us%65r:p%40ss@");
    let source = Source::new(&url, None).unwrap();
    let error = follow(&client(), &source, &ask()).await.err().unwrap();
    assert!(!error.to_string().contains("p@ss"), "{error}");
    assert_eq!(
        server.seen()[0].field("authorization"),
        Some("Basic dXNlcjpwQHNz")
    );
    assert_eq!(server.seen()[0].target, "/x");
}

#[tokio::test]
async fn a_target_is_kept_and_resolved_once_more_when_it_expires() {
    let is_expired = Arc::new(AtomicBool::new(false));
    let expired = Arc::clone(&is_expired);
    let server = ScriptedServer::start(move |seen: &Seen| {
        let is_expired = expired.load(Ordering::SeqCst);
        match seen.target.as_str() {
            "/x" if is_expired => moved("/fresh"),
            "/x" => moved("/old"),
            "/old" if is_expired => {
                script("403 Forbidden", &["Content-Length: 0"], "", Then::KeepOpen)
            }
            _ => ok(),
        }
    })
    .await;
    let (client, source) = (client(), server.source("/x"));
    for _ in 0..2 {
        follow(&client, &source, &ask()).await.unwrap();
    }
    is_expired.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let answer = follow(&client, &source, &ask()).await.unwrap();
        assert_eq!(answer.response.status(), StatusCode::OK);
    }
    let expected = ["/x", "/old", "/old", "/old", "/x", "/fresh", "/fresh"];
    assert_eq!(server.asked(), expected.map(|path| format!("GET {path}")));
}

#[tokio::test]
async fn what_stays_refused_is_asked_twice_at_most() {
    let is_expired = Arc::new(AtomicBool::new(false));
    let expired = Arc::clone(&is_expired);
    let server = ScriptedServer::start(move |seen: &Seen| match seen.target.as_str() {
        "/x" => moved("/old"),
        _ if expired.load(Ordering::SeqCst) => {
            script("410 Gone", &["Content-Length: 0"], "", Then::KeepOpen)
        }
        _ => ok(),
    })
    .await;
    let (client, source) = (client(), server.source("/x"));
    follow(&client, &source, &ask()).await.unwrap();
    is_expired.store(true, Ordering::SeqCst);
    let answer = follow(&client, &source, &ask()).await.unwrap();
    assert_eq!(answer.response.status(), StatusCode::GONE);
    assert_eq!(server.asked().len(), 2 + 3);
    assert!(source.start(Endpoint::Object).target.is_none());
}

#[tokio::test]
async fn an_unreachable_target_is_forgotten() {
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("http://{}/x?secret", dead.local_addr().unwrap());
    drop(dead);
    let server = ScriptedServer::start(|_: &Seen| ok()).await;
    let source = server.source("/x");
    let given = source.start(Endpoint::Object).given;
    source.remember_target(&given, Location::parse(&target).unwrap());
    let error = follow(&client(), &source, &ask()).await.err().unwrap();
    assert_eq!(error.kind(), &HttpErrorKind::Connect);
    let text = error.to_string();
    assert!(
        text.contains("redirected to http://127.0.0.1:") && !text.contains("secret"),
        "{text}"
    );
    follow(&client(), &source, &ask()).await.unwrap();
}
