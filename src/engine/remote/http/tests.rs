use super::*;
use crate::engine::control::events::{EventBus, Subscription};
use crate::event::Event;
use crate::http::testing::{Script, ScriptedServer, Seen, Then, client, script};
use crate::http::{HttpErrorKind, Pinned, Source};
use crate::object::{Identity, Tag};

const LENGTH: u64 = 100;

/// What the object holds: every byte is its position.
fn bytes(range: std::ops::Range<u64>) -> Vec<u8> {
    range.map(|at| u8::try_from(at).unwrap()).collect()
}

/// The range that was asked for.
fn asked(seen: &Seen) -> std::ops::Range<u64> {
    let (first, last) = seen.field("range").unwrap()["bytes=".len()..]
        .split_once('-')
        .unwrap();
    first.parse().unwrap()..last.parse::<u64>().unwrap() + 1
}

fn part(seen: &Seen, tag: &str) -> Script {
    let range = asked(seen);
    let content_range = format!(
        "Content-Range: bytes {}-{}/{LENGTH}",
        range.start,
        range.end - 1
    );
    let length = format!("Content-Length: {}", range.end - range.start);
    let tag = format!("ETag: \"{tag}\"");
    let fields = [content_range.as_str(), &length, &tag];
    script("206 Partial Content", &fields, bytes(range), Then::KeepOpen)
}

fn good(seen: &Seen) -> Script {
    part(seen, "a")
}

fn whole(_: &Seen) -> Script {
    let fields = ["Content-Length: 100", "ETag: \"a\""];
    script("200 OK", &fields, bytes(0..LENGTH), Then::KeepOpen)
}

fn gone(_: &Seen) -> Script {
    script("404 Not Found", &["Content-Length: 0"], "", Then::KeepOpen)
}

fn busy(_: &Seen) -> Script {
    let fields = ["Content-Length: 0"];
    script("503 Service Unavailable", &fields, "", Then::KeepOpen)
}

/// Promises a range and does not keep it: a chunk that is none.
fn liar(seen: &Seen) -> Script {
    let range = asked(seen);
    let content_range = format!(
        "Content-Range: bytes {}-{}/{LENGTH}",
        range.start,
        range.end - 1
    );
    let fields = [content_range.as_str(), "Transfer-Encoding: chunked"];
    script("206 Partial Content", &fields, "zz\r\n", Then::Close)
}

fn pinned(source: Source, tag: &str) -> Server {
    let tag = Tag::of_text(&format!("\"{tag}\""));
    let pinned = Pinned::new(LENGTH, Identity::of(Some(tag), None));
    Server::new(source, pinned)
}

/// The object at these servers, the first one first, and the events.
fn remote(servers: &[&ScriptedServer]) -> (HttpRemote, Subscription) {
    let bus = Arc::new(EventBus::default());
    let events = bus.subscribe();
    let pool = servers
        .iter()
        .map(|server| pinned(server.source("/x?sig=secret"), "a"));
    let mut pool: Vec<_> = pool.collect();
    let first = pool.remove(0);
    let pool = ServerPool::new(first, pool, bus);
    (HttpRemote::new(client(), pool), events)
}

fn range(start: u64, end: u64) -> ByteRange {
    ByteRange::new(start, end).unwrap()
}

async fn read(body: &mut Stream) -> Result<Vec<u8>, HttpError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.chunk().await? {
        bytes.extend(&chunk);
    }
    Ok(bytes)
}

async fn fetch(remote: &HttpRemote, range: ByteRange) -> Result<Vec<u8>, HttpError> {
    match remote.fetch(range).await {
        Ok(mut body) => read(&mut body).await,
        Err(FetchError::Http(error)) => Err(error),
        Err(FetchError::RangesIgnored) => panic!("ranges were not ignored"),
    }
}

/// What was warned of. The remote is given up, so that there is an end.
async fn warnings(remote: HttpRemote, mut events: Subscription) -> Vec<String> {
    drop(remote);
    let mut warnings = Vec::new();
    while let Some(event) = std::future::poll_fn(|cx| events.poll_next(cx)).await {
        match event {
            Event::Warning { message } => warnings.push(message),
            other => panic!("{other:?}"),
        }
    }
    warnings
}

#[tokio::test]
async fn fetches_are_spread_over_the_supplies() {
    let (one, other) = (
        ScriptedServer::start(good).await,
        ScriptedServer::start(good).await,
    );
    let (remote, _) = remote(&[&one, &other]);
    let mut bodies = Vec::new();
    for start in 0..4 {
        bodies.push(
            remote
                .fetch(range(start * 10, start * 10 + 10))
                .await
                .unwrap(),
        );
    }
    assert_eq!((one.seen().len(), other.seen().len()), (2, 2));
    let last = read(bodies.last_mut().unwrap()).await.unwrap();
    assert_eq!(last, bytes(30..40));
}

#[tokio::test]
async fn each_supply_is_asked_for_its_own_version() {
    let one = ScriptedServer::start(busy).await;
    let other = ScriptedServer::start(|seen: &Seen| part(seen, "b")).await;
    let pool = ServerPool::new(
        pinned(one.source("/x"), "a"),
        vec![pinned(other.source("/y"), "b")],
        Arc::default(),
    );
    let remote = HttpRemote::new(client(), pool);
    assert_eq!(fetch(&remote, range(5, 9)).await.unwrap(), bytes(5..9));
    assert_eq!(one.seen()[0].field("if-match"), Some("\"a\""));
    assert_eq!(other.seen()[0].field("if-match"), Some("\"b\""));
}

#[tokio::test]
async fn a_supply_that_can_not_help_is_told_and_left_out() {
    for bad in [gone as fn(&Seen) -> Script, whole, |seen| part(seen, "new")] {
        let (one, other) = (
            ScriptedServer::start(good).await,
            ScriptedServer::start(bad).await,
        );
        let (remote, events) = remote(&[&one, &other]);
        let _held = remote.fetch(range(0, 10)).await.unwrap();
        for _ in 0..3 {
            assert_eq!(fetch(&remote, range(5, 9)).await.unwrap(), bytes(5..9));
        }
        assert!(!remote.is_whole());
        assert_eq!(other.seen().len(), 1);
        drop(_held);
        let warnings = warnings(remote, events).await;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].starts_with(&format!("continuing without {}:", other.url("/x"))));
    }
}

#[tokio::test]
async fn a_supply_that_is_busy_costs_no_attempt_while_another_answers() {
    let (one, other) = (
        ScriptedServer::start(busy).await,
        ScriptedServer::start(good).await,
    );
    let (remote, events) = remote(&[&one, &other]);
    for _ in 0..10 {
        assert_eq!(fetch(&remote, range(5, 9)).await.unwrap(), bytes(5..9));
    }
    assert!(one.seen().len() <= 3, "{}", one.seen().len());
    assert!(warnings(remote, events).await.len() <= 1);
}

#[tokio::test]
async fn the_error_of_the_last_supply_is_told() {
    let (one, other) = (
        ScriptedServer::start(gone).await,
        ScriptedServer::start(busy).await,
    );
    let (remote, _) = remote(&[&one, &other]);
    for _ in 0..3 {
        let error = fetch(&remote, range(5, 9)).await.unwrap_err();
        assert!(error.to_string().contains("503"), "{error}");
    }
    assert_eq!(one.seen().len(), 1);
}

#[tokio::test]
async fn a_body_that_lies_can_be_fetched_elsewhere() {
    let (one, other) = (
        ScriptedServer::start(liar).await,
        ScriptedServer::start(good).await,
    );
    let (both, events) = remote(&[&one, &other]);
    let error = fetch(&both, range(5, 9)).await.unwrap_err();
    assert_eq!(error.kind(), &HttpErrorKind::Transport, "{error}");
    assert_eq!(fetch(&both, range(5, 9)).await.unwrap(), bytes(5..9));
    assert_eq!(one.seen().len(), 1);
    assert_eq!(warnings(both, events).await.len(), 1);
    let (alone, _) = remote(&[&one]);
    let error = fetch(&alone, range(5, 9)).await.unwrap_err();
    assert!(
        matches!(error.kind(), HttpErrorKind::Protocol(_)),
        "{error}"
    );
}

#[tokio::test]
async fn one_server_without_ranges_is_one_stream() {
    let server = ScriptedServer::start(whole).await;
    let (remote, _) = remote(&[&server]);
    let outcome = remote.fetch(range(5, 9)).await;
    assert!(matches!(outcome, Err(FetchError::RangesIgnored)));
    assert!(remote.is_whole());
    let all = fetch(&remote, range(0, LENGTH)).await.unwrap();
    assert_eq!(all, bytes(0..LENGTH));
    assert_eq!(server.seen().len(), 1, "the reply that came is the stream");
}
