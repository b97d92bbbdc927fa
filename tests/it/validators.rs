//! What tells one version of the object from another: what is sent, and what happens when it
//! changes in mid-run.

use std::fs;

use partwise::PartSize;
use partwise::origin::{Builder, Etag, Logged, Object, Origin};

use crate::support::fixture::Fixture;
use crate::support::{connections, soon};

const PART: u64 = 64 << 10;
const LENGTH: u64 = 40 * PART;
const HALF: u64 = 20 * PART;
/// The honest origin's first modification date.
const DATE: &str = "Mon, 01 Jan 2024 00:00:00 GMT";

/// The requests for ranges that a whole download makes.
async fn requests_for_ranges(kind: impl Fn(Builder) -> Builder) -> (Vec<Logged>, Option<String>) {
    let object = Object::new(1, LENGTH);
    let origin = kind(Origin::builder(object.clone())).start().await.unwrap();
    let fixture = Fixture::new();
    let download = fixture
        .download(origin.url("x"))
        .connections(connections(4))
        .part_size(PartSize::Bytes(PART));
    soon(download.build().unwrap().start().finish())
        .await
        .unwrap();
    fixture.file("x").is(&object);
    let mut log = origin.requests();
    log.retain(|request| request.method == "GET");
    assert!(!log.is_empty());
    (log, origin.etag())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strong_tag_goes_with_every_range() {
    let (log, etag) = requests_for_ranges(|origin| origin).await;
    for request in log {
        assert_eq!(request.if_match, etag, "{request:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weak_tag_is_never_sent_and_the_date_is() {
    let (log, _) = requests_for_ranges(|origin| origin.etag(Etag::Weak)).await;
    for request in log {
        assert_eq!(request.if_match, None, "{request:#?}");
        assert_eq!(
            request.if_unmodified_since.as_deref(),
            Some(DATE),
            "{request:#?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weak_tag_without_a_date_sends_nothing() {
    let (log, _) = requests_for_ranges(|origin| origin.etag(Etag::Weak).last_modified(None)).await;
    for request in log {
        assert_eq!(
            (request.if_match, request.if_unmodified_since),
            (None, None)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_date_alone_goes_with_every_range() {
    let (log, _) = requests_for_ranges(|origin| origin.etag(Etag::None)).await;
    for request in log {
        assert_eq!(request.if_match, None);
        assert_eq!(
            request.if_unmodified_since.as_deref(),
            Some(DATE),
            "{request:#?}"
        );
    }
}

/// Replaces the object while half of it is on its way, with an older file at the final name.
async fn changes_half_way(
    kind: impl Fn(Builder) -> Builder,
    new: &Object,
    on_change: &str,
    code: i32,
) -> Fixture {
    let old = Object::new(1, LENGTH);
    let origin = kind(Origin::builder(old).hold_after(HALF))
        .start()
        .await
        .unwrap();
    let fixture = Fixture::new();
    fs::write(fixture.path("x"), "precious").unwrap();
    let (url, part) = (origin.url("x"), PART.to_string());
    let arguments = [
        "get",
        "-c",
        "4",
        "-p",
        &part,
        "--overwrite",
        "--on-change",
        on_change,
        "--progress",
        "json",
        &url,
    ];
    let running = fixture.partwise(arguments).spawn();
    soon(origin.wait_for_bytes(HALF)).await;
    // More than four parts that are coming in: one is there.
    running.wait_for_event(|event| event["completed_bytes"].as_u64() > Some(4 * PART));
    fixture.file("x").is_text("precious");

    origin.replace(new.clone());
    // What is on its way would go on with the old bytes: it must be asked for again.
    origin.hang_up();
    origin.release();
    running.exit_code(code);
    fixture
}

async fn assert_change_is_noticed(kind: impl Fn(Builder) -> Builder, new: Object) {
    let fixture = changes_half_way(&kind, &new, "fail", 4).await;
    fixture.file("x").is_text("precious");

    let fixture = changes_half_way(&kind, &new, "restart", 0).await;
    fixture.file("x").is(&new);
    fixture.assert_holds_only(["x"]);
}

fn same_length() -> Object {
    Object::new(2, LENGTH)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_under_a_strong_tag() {
    assert_change_is_noticed(|origin| origin, same_length()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_under_a_weak_tag_with_a_date() {
    assert_change_is_noticed(|origin| origin.etag(Etag::Weak), same_length()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_under_a_weak_tag_alone() {
    assert_change_is_noticed(
        |origin| origin.etag(Etag::Weak).last_modified(None),
        same_length(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_under_a_date_alone() {
    assert_change_is_noticed(|origin| origin.etag(Etag::None), same_length()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_length_without_any_validator() {
    let new = Object::new(2, LENGTH + 1);
    assert_change_is_noticed(|origin| origin.etag(Etag::None).last_modified(None), new).await;
}

/// A condition on the whole download that does not hold: nothing is fetched, nothing is left.
#[tokio::test(flavor = "multi_thread")]
async fn a_demand_for_another_version() {
    let origin = Origin::start(Object::new(1, LENGTH)).await.unwrap();
    let url = origin.url("x");
    for condition in [
        ["--if-match", "\"other\""],
        ["--if-unmodified-since", "Sun, 31 Dec 2023 00:00:00 GMT"],
    ] {
        let fixture = Fixture::new();
        fixture
            .partwise(["get", condition[0], condition[1], &url])
            .exit_code(4);
        fixture.assert_holds_only([]);
    }
    for condition in [
        ["--if-none-match", &origin.etag().unwrap()],
        ["--if-modified-since", DATE],
    ] {
        let fixture = Fixture::new();
        fixture
            .partwise(["get", condition[0], condition[1], &url])
            .exit_code(0);
        fixture.assert_holds_only([]);
    }
    assert_eq!(origin.served_bytes(), 0);
}
