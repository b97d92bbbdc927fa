//! A new URL for one that has expired, by a function of the caller's.

use std::error::Error as _;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use futures::StreamExt;
use partwise::origin::{Object, Origin};
use partwise::{DownloadBuilder, ErrorKind, Event, PartSize};

use crate::support::fault::{FaultOrigin, Reply, honest};
use crate::support::fixture::Fixture;
use crate::support::{connections, soon};

const PART: u64 = 64 << 10;
const LENGTH: u64 = 10 * PART;

/// A server that sends the first part alone, and refuses the others, unless the URL's query says
/// `fresh`.
fn origin(object: &Object) -> FaultOrigin {
    let object = object.clone();
    FaultOrigin::new(move |asked| match asked.range(LENGTH) {
        Some(_) if asked.target.contains("fresh") => honest(&object, asked),
        Some((0, _)) => honest(&object, asked)
            .header("Content-Range", format!("bytes 0-{}/{LENGTH}", PART - 1))
            .body(&object, 0..PART),
        Some(_) => Reply::status(403),
        None => honest(&object, asked),
    })
}

fn download(fixture: &Fixture, url: String) -> DownloadBuilder {
    let download = fixture.download(url).connections(connections(2));
    download.part_size(PartSize::Bytes(PART))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_gives_the_new_url() {
    let object = Object::new(1, LENGTH);
    let (origin, fixture) = (origin(&object), Fixture::new());
    let old = origin.url("x?signature=old");
    let new = origin.url("x?signature=fresh");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let asked = Arc::clone(&seen);
    let download = download(&fixture, old.clone()).refresh_with(move |old| {
        asked.lock().unwrap().push(old);
        let new = new.clone();
        async move { Ok(new) }
    });
    let report = soon(download.build().unwrap().start().finish()).await;
    let report = report.unwrap();
    assert_eq!((report.bytes, report.resumed_bytes), (LENGTH, 0));
    assert_eq!(report.fetched_bytes - report.wasted_bytes, LENGTH);
    assert_eq!(*seen.lock().unwrap(), [old]);
    fixture.file("x").is(&object);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_knows_no_better_url_is_asked_three_times() {
    let (origin, fixture) = (FaultOrigin::new(|_| Reply::status(403)), Fixture::new());
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let download = download(&fixture, origin.url("x")).refresh_with(move |old| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Ok(old) }
    });
    let error = soon(download.build().unwrap().start().finish()).await;
    let error = error.unwrap_err();
    assert_eq!(
        (error.kind(), error.status()),
        (ErrorKind::Refused, Some(403))
    );
    assert_eq!(calls.load(Ordering::Relaxed), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_function_s_own_error_is_the_source() {
    let object = Object::new(1, LENGTH);
    let (origin, fixture) = (origin(&object), Fixture::new());
    let failing = |_| async { Err(io::Error::other("http://h/?SECRET").into()) };
    let download = download(&fixture, origin.url("x")).refresh_with(failing);
    let error = soon(download.build().unwrap().start().finish()).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(
        error.to_string(),
        "the refresh function gave no URL: it returned an error"
    );
    let source = error
        .source()
        .expect("a source")
        .downcast_ref::<io::Error>();
    assert_eq!(
        source.map(ToString::to_string).as_deref(),
        Some("http://h/?SECRET")
    );
    assert!(error.checkpoint().is_some_and(std::path::Path::exists));
}

/// A URL that expires in the seconds to come.
fn expiring(origin: &Origin, seconds: u64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let expiry = now.unwrap().as_secs() + seconds;
    origin.url(&format!("x?Expires={expiry}&Signature=s"))
}

/// The server sends no more than half of the object before the URL is replaced, and refuses
/// nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_url_is_replaced_before_it_expires() {
    let object = Object::new(1, LENGTH);
    let origin = Origin::builder(object.clone()).hold_after(LENGTH / 2);
    let (origin, fixture) = (Arc::new(origin.start().await.unwrap()), Fixture::new());
    let calls = Arc::new(AtomicU32::new(0));
    let (counted, held) = (Arc::clone(&calls), Arc::clone(&origin));
    let download = download(&fixture, expiring(&origin, 5)).refresh_with(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        let held = Arc::clone(&held);
        async move { Ok(expiring(&held, 3600) + "&fresh") }
    });
    let handle = download.build().unwrap().start();
    let mut events = handle.events();
    while soon(events.next()).await.unwrap() != Event::Refreshed {}
    origin.hang_up();
    origin.release();
    let report = soon(handle.finish()).await.unwrap();
    assert_eq!(report.fetched_bytes - report.wasted_bytes, LENGTH);
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    let requests = origin.requests();
    assert!(requests.iter().all(|request| request.status < 300));
    let last = requests.iter().rfind(|request| request.method == "GET");
    assert!(last.unwrap().path.ends_with("&fresh"));
    fixture.file("x").is(&object);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_a_function_that_never_returns() {
    let object = Object::new(1, LENGTH);
    let (origin, fixture) = (origin(&object), Fixture::new());
    let (entered, mut entries) = tokio::sync::mpsc::unbounded_channel();
    let waiting = move |_| {
        entered.send(()).unwrap();
        std::future::pending()
    };
    let download = download(&fixture, origin.url("x")).refresh_with(waiting);
    let handle = download.build().unwrap().start();
    soon(entries.recv()).await.unwrap();
    soon(handle.stop()).await;
    let error = soon(handle.finish()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stopped);
}
