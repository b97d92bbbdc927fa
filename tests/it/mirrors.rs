//! Several sources of one object.

use std::net::SocketAddr;

use partwise::origin::{Object, Origin};
use partwise::{ErrorKind, PartSize, Remedy};
use tokio::net::TcpListener;

use crate::support::fixture::Fixture;
use crate::support::requests::volume;
use crate::support::{connections, progressed, soon};

const PART: u64 = 64 << 10;
const LENGTH: u64 = 64 * PART + 7;

fn requests_for_bytes(origin: &Origin) -> usize {
    let requests = origin.requests();
    requests.iter().filter(|r| r.method == "GET").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_with_the_same_tag_takes_its_share() {
    let object = Object::new(1, LENGTH);
    let primary = Origin::start(object.clone()).await.unwrap();
    let mirror = Origin::start(object.clone()).await.unwrap();
    let fixture = Fixture::new();
    let download = fixture
        .download(primary.url("x"))
        .mirror(mirror.url("somewhere/else"))
        .connections(connections(4))
        .part_size(PartSize::Bytes(PART));
    soon(download.build().unwrap().start().finish())
        .await
        .unwrap();
    fixture.file("x").is(&object);
    assert!(requests_for_bytes(&primary) > 0);
    assert!(requests_for_bytes(&mirror) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_with_another_object_gives_no_byte() {
    let object = Object::new(1, LENGTH);
    let primary = Origin::start(object.clone()).await.unwrap();
    let mirror = Origin::builder(Object::new(2, LENGTH))
        .last_modified(None)
        .start()
        .await
        .unwrap();
    let fixture = Fixture::new();
    let outcome = fixture
        .partwise(["get", "--mirror", &mirror.url("x"), &primary.url("x")])
        .exit_code(0);
    outcome.stderr_has("is left out");
    fixture.file("x").is(&object);
    assert_eq!(requests_for_bytes(&mirror), 0);
}

/// The address of a server that closes every connection without a word.
async fn mute() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            drop(listener.accept().await.unwrap());
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_does_not_answer_is_named_without_its_secrets() {
    let object = Object::new(1, LENGTH);
    let primary = Origin::start(object.clone()).await.unwrap();
    let mirror = format!("http://user:secret@{}/x?secret#secret", mute().await);
    let fixture = Fixture::new();
    let outcome = fixture
        .partwise(["get", "--mirror", &mirror, &primary.url("x")])
        .exit_code(0);
    outcome.stderr_has("/x is left out: ");
    outcome.assert_no_secret("secret");
    fixture.file("x").is(&object);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_stands_in_for_a_source_that_does_not_answer() {
    let object = Object::new(1, LENGTH);
    let mirror = Origin::start(object.clone()).await.unwrap();
    let fixture = Fixture::new();
    let url = format!("http://{}/x", mute().await);
    let outcome = fixture
        .partwise(["get", "--mirror", &mirror.url("y"), &url])
        .exit_code(0);
    outcome.stderr_has("continuing with the mirror");
    fixture.file("x").is(&object);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_is_kept_from_a_mirror_that_has_another_version() {
    let object = Object::new(1, LENGTH);
    let fixture = Fixture::new();
    let primary = Origin::builder(object.clone())
        .hold_after(LENGTH / 2)
        .start()
        .await
        .unwrap();
    let download = |url: String| {
        let download = fixture.download(url).connections(connections(4));
        download.part_size(PartSize::Bytes(PART)).output("x")
    };
    let handle = download(primary.url("x")).build().unwrap().start();
    progressed(&mut handle.events(), LENGTH / 4).await;
    soon(handle.stop()).await;
    soon(handle.finish()).await.unwrap_err();
    let missing = fixture.missing("x");
    assert!(volume(&missing) < LENGTH);

    let url = format!("http://{}/x", mute().await);
    let other = Origin::start(Object::new(2, LENGTH)).await.unwrap();
    let run = download(url.clone())
        .mirror(other.url("x"))
        .build()
        .unwrap();
    let error = soon(run.start().finish()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network);
    assert_eq!(error.remedy(), Some(&Remedy::AwaitSource));
    assert_eq!(fixture.missing("x"), missing);
    assert_eq!(requests_for_bytes(&other), 0);

    let same = Origin::start(object.clone()).await.unwrap();
    let run = download(url).mirror(same.url("x")).build().unwrap();
    let report = soon(run.start().finish()).await.unwrap();
    assert_eq!(report.resumed_bytes, LENGTH - volume(&missing));
    fixture.file("x").is(&object);
}

/// Of two connections that bring the same part the slower may be the last to write, and a mirror's
/// bytes may differ.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_with_a_mirrors_help_is_read_back() {
    let object = Object::new(1, LENGTH);
    let primary = Origin::builder(object.clone()).hold_after(LENGTH / 2);
    let primary = primary.start().await.unwrap();
    let mirror = Origin::builder(object.clone()).hold_after(LENGTH / 2);
    let mirror = mirror.start().await.unwrap();
    let fixture = Fixture::new();
    let download = || {
        let download = fixture.download(primary.url("x")).output("x");
        download
            .connections(connections(4))
            .part_size(PartSize::Bytes(PART))
    };
    let run = download().mirror(mirror.url("x")).build().unwrap();
    let handle = run.start();
    progressed(&mut handle.events(), LENGTH / 4).await;
    soon(handle.stop()).await;
    soon(handle.finish()).await.unwrap_err();
    fixture.damage_a_part("x", &object, PART);
    primary.release();
    let report = soon(download().build().unwrap().start().finish())
        .await
        .unwrap();
    assert_eq!(report.damaged_parts, 1);
    fixture.file("x").is(&object);
}
