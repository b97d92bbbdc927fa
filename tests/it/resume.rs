//! Going on from what an earlier run left.

use futures::StreamExt;
use partwise::origin::{Object, Origin};
use partwise::{Download, DownloadBuilder, ErrorKind, Event, PartSize, Remedy, Report};

use crate::support::fixture::Fixture;
use partwise::origin::Logged;

use crate::support::requests::{
    Stretch, assert_covers_after_spot_checks, assert_covers_exactly, volume,
};
use crate::support::{connections, progressed, soon};

const PART: u64 = 64 << 10;
const LENGTH: u64 = 40 * PART + 5;
/// Where the origin stops, in bytes over all connections.
const HALF: u64 = 20 * PART;
const CONNECTIONS: u32 = 4;
/// What is sure to have come by then: parts may be unfinished on each connection, and a tail that
/// one connection takes from another may have been on its way already.
const ENOUGH: u64 = HALF / 2;

fn download(fixture: &Fixture, url: String) -> DownloadBuilder {
    fixture
        .download(url)
        .connections(connections(CONNECTIONS))
        .part_size(PartSize::Bytes(PART))
}

/// An origin that will stop half-way.
async fn origin(object: &Object) -> Origin {
    Origin::builder(object.clone())
        .hold_after(HALF)
        .start()
        .await
        .unwrap()
}

/// Downloads as much as the origin lets pass and stops cleanly; returns what is missing then.
async fn stopped_half_way(fixture: &Fixture, origin: &Origin) -> Vec<Stretch> {
    let handle = download(fixture, origin.url("x?signature=first"))
        .build()
        .unwrap()
        .start();
    let mut events = handle.events();
    progressed(&mut events, ENOUGH).await;
    soon(handle.stop()).await;
    let error = soon(handle.finish()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stopped);
    assert_eq!(
        error.checkpoint(),
        Some(fixture.path("x.part.ckpt").as_path())
    );
    fixture.file("x").is_absent();
    origin.release();

    let missing = fixture.missing("x");
    let completed = LENGTH - volume(&missing);
    assert!(completed <= HALF, "{completed} bytes completed");
    assert!(completed >= ENOUGH / 2, "only {completed} bytes completed");
    missing
}

/// Downloads the rest; returns the report and the events.
async fn go_on(download: DownloadBuilder) -> (Report, Vec<Event>) {
    let handle = download.build().unwrap().start();
    let events = handle.events();
    let (report, events) = soon(async { tokio::join!(handle.finish(), events.collect()) }).await;
    (report.unwrap(), events)
}

fn resumed(events: &[Event]) -> Option<(u64, u32)> {
    events.iter().find_map(|event| match event {
        Event::Resumed { bytes, parts } => Some((*bytes, *parts)),
        _ => None,
    })
}

fn restarted(events: &[Event]) -> bool {
    events
        .iter()
        .any(|event| matches!(event, Event::Restarted { .. }))
}

/// Goes on after a clean stop and holds that nothing but the missing bytes is asked for.
async fn assert_resumes_from(second_name: &str, covers: fn(&[Logged], &[Stretch])) {
    let object = Object::new(1, LENGTH);
    let origin = origin(&object).await;
    let fixture = Fixture::new();
    let missing = stopped_half_way(&fixture, &origin).await;
    let asked_before = origin.requests().len();

    let (report, events) = go_on(download(&fixture, origin.url(second_name))).await;

    covers(&origin.requests()[asked_before..], &missing);
    fixture.file("x").is(&object);
    fixture.assert_holds_only(["x"]);
    let there = LENGTH - volume(&missing);
    assert_eq!(report.resumed_bytes, there);
    assert_eq!(report.fetched_bytes - report.wasted_bytes, volume(&missing));
    assert_eq!(
        resumed(&events),
        Some((there, u32::try_from(there.div_ceil(PART)).unwrap()))
    );
    assert!(!restarted(&events));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_missing_parts_are_requested() {
    assert_resumes_from("x?signature=first", assert_covers_exactly).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_url_of_the_same_object_resumes() {
    assert_resumes_from(
        "elsewhere/y?signature=second",
        assert_covers_after_spot_checks,
    )
    .await;
}

/// Replaces the object between two runs and holds that the second one starts over.
async fn assert_starts_over(new: Object) {
    let old = Object::new(1, LENGTH);
    let origin = origin(&old).await;
    let fixture = Fixture::new();
    stopped_half_way(&fixture, &origin).await;
    origin.replace(new.clone());
    let asked_before = origin.requests().len();

    let (report, events) = go_on(download(&fixture, origin.url("x"))).await;

    let log = &origin.requests()[asked_before..];
    assert_covers_exactly(log, &[(0, new.length())]);
    assert!(
        log.iter()
            .all(|request| request.if_match.is_none() || request.if_match == origin.etag())
    );
    fixture.file("x").is(&new);
    fixture.assert_holds_only(["x"]);
    assert_eq!(report.resumed_bytes, 0);
    assert!(restarted(&events), "{events:?}");
    assert_eq!(resumed(&events), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_entity_tag_starts_over() {
    assert_starts_over(Object::new(2, LENGTH)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_longer_object_starts_over() {
    assert_starts_over(Object::new(1, LENGTH + PART)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shorter_object_starts_over() {
    assert_starts_over(Object::new(1, PART + 1)).await;
}

/// Without a tag and a date only the length is left to tell two objects apart.
#[tokio::test(flavor = "multi_thread")]
async fn another_length_alone_starts_over() {
    let old = Object::new(1, LENGTH);
    let origin = Origin::builder(old)
        .etag(partwise::origin::Etag::None)
        .last_modified(None)
        .hold_after(HALF)
        .start()
        .await
        .unwrap();
    let fixture = Fixture::new();
    stopped_half_way(&fixture, &origin).await;
    let new = Object::new(2, LENGTH - 1);
    origin.replace(new.clone());
    let (_, events) = go_on(download(&fixture, origin.url("x"))).await;
    fixture.file("x").is(&new);
    assert!(restarted(&events), "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fresh_asks_for_everything() {
    let object = Object::new(1, LENGTH);
    let origin = origin(&object).await;
    let fixture = Fixture::new();
    stopped_half_way(&fixture, &origin).await;
    let asked_before = origin.requests().len();
    let (report, _) = go_on(download(&fixture, origin.url("x")).fresh(true)).await;
    assert_covers_exactly(&origin.requests()[asked_before..], &[(0, LENGTH)]);
    fixture.file("x").is(&object);
    assert_eq!(report.resumed_bytes, 0);
}

/// After a kill the completed parts are read back: a part that is not what it was is fetched again,
/// the others are not.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_part_is_fetched_again_after_an_unclean_end() {
    let object = Object::new(1, LENGTH);
    let origin = origin(&object).await;
    let fixture = Fixture::new();
    let (url, part) = (origin.url("x"), PART.to_string());
    let get = [
        "get",
        "-c",
        "4",
        "-p",
        &part,
        "--progress",
        "json",
        "--json",
        &url,
    ];
    let running = fixture.partwise(get).spawn();
    running.wait_for_commit((ENOUGH) / PART);
    running.kill();
    fixture.file("x").is_absent();
    origin.release();

    let missing = fixture.missing("x");
    let damaged = fixture.damage_a_part("x", &object, PART);
    let asked_before = origin.requests().len();

    let report = fixture.partwise(get).exit_code(0).json();

    let mut expected = missing;
    expected.push(damaged);
    assert_covers_exactly(&origin.requests()[asked_before..], &expected);
    assert_eq!(report["damaged_parts"], 1);
    assert_eq!(report["resumed_bytes"], LENGTH - volume(&expected));
    fixture.file("x").is(&object);
    fixture.assert_holds_only(["x"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_resumes_from_the_checkpoint_that_its_error_named() {
    let object = Object::new(1, LENGTH);
    let origin = origin(&object).await;
    let fixture = Fixture::new();
    let missing = stopped_half_way(&fixture, &origin).await;
    let asked_before = origin.requests().len();
    let checkpoint = fixture.path("x.part.ckpt");
    let again = Download::builder(origin.url("another")).resume_from(&checkpoint);
    let (report, _) = go_on(again.connections(connections(CONNECTIONS))).await;
    assert_covers_after_spot_checks(&origin.requests()[asked_before..], &missing);
    assert_eq!(report.spot_checks, 3);
    assert_eq!(report.resumed_bytes, LENGTH - volume(&missing));
    assert_eq!(report.output, fixture.path("x"));
    fixture.file("x").is(&object);
    fixture.assert_holds_only(["x"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resume_from_a_checkpoint_keeps_to_its_ranges() {
    let object = Object::new(1, 2 * LENGTH);
    let origin = origin(&object).await;
    let fixture = Fixture::new();
    let ranges = format!("{LENGTH}-,0-99").parse().unwrap();
    let handle = download(&fixture, origin.url("x")).ranges(ranges);
    let handle = handle.build().unwrap().start();
    progressed(&mut handle.events(), ENOUGH).await;
    soon(handle.stop()).await;
    let error = soon(handle.finish()).await.unwrap_err();
    let there = LENGTH + 100 - volume(&fixture.missing("x"));
    origin.release();
    let again = Download::builder(origin.url("x")).resume_from(error.checkpoint().unwrap());
    let (report, events) = go_on(again).await;
    assert!(!restarted(&events), "{events:?}");
    assert_eq!((report.bytes, report.resumed_bytes), (LENGTH + 100, there));
    fixture
        .file("x")
        .is_stretches(&object, &[LENGTH..2 * LENGTH, 0..100]);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_resume_from_what_is_gone() {
    let object = Object::new(1, LENGTH);
    let origin = origin(&object).await;
    let fixture = Fixture::new();
    stopped_half_way(&fixture, &origin).await;
    let (checkpoint, partial) = (fixture.path("x.part.ckpt"), fixture.path("x.part"));
    let again = || Download::builder(origin.url("x")).resume_from(&checkpoint);
    let error = again().fresh(true).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    std::fs::rename(&partial, fixture.path("elsewhere")).unwrap();
    let lost = again().build().unwrap_err();
    std::fs::rename(fixture.path("elsewhere"), &partial).unwrap();
    std::fs::remove_file(&checkpoint).unwrap();
    let gone = again().build().unwrap_err();
    for (error, name) in [(lost, &partial), (gone, &checkpoint)] {
        assert_eq!(error.kind(), ErrorKind::File);
        assert_eq!(error.remedy(), Some(&Remedy::StartWithoutCheckpoint));
        let text = error.to_string();
        assert!(text.contains(name.to_str().unwrap()), "{text}");
        assert!(text.ends_with("no such file"), "{text}");
    }
}
