//! Controlling a running download, and the events that it tells.

use futures::StreamExt;
use partwise::origin::{Object, Origin};
use partwise::{Download, DownloadBuilder, DownloadHandle, ErrorKind, Event, PartSize, Remedy};

use crate::support::fixture::Fixture;
use crate::support::requests::{assert_covers_exactly, volume};
use crate::support::{connections, progressed, soon};

const PART: u64 = 64 << 10;
const LENGTH: u64 = 40 * PART + 5;
const HALF: u64 = 20 * PART;
/// What is sure to have come by then: parts may be unfinished on each connection, and a tail that
/// one connection takes from another may have been on its way already.
const ENOUGH: u64 = HALF / 2;

fn download(fixture: &Fixture, origin: &Origin) -> DownloadBuilder {
    fixture
        .download(origin.url("x"))
        .connections(connections(4))
        .part_size(PartSize::Bytes(PART))
}

fn start(fixture: &Fixture, origin: &Origin) -> DownloadHandle {
    download(fixture, origin).build().unwrap().start()
}

/// A download of which [`ENOUGH`] bytes have come.
async fn under_way(fixture: &Fixture, origin: &Origin) -> DownloadHandle {
    let handle = start(fixture, origin);
    progressed(&mut handle.events(), ENOUGH).await;
    handle
}

async fn origin(object: &Object) -> Origin {
    Origin::builder(object.clone())
        .hold_after(HALF)
        .start()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_is_quiet_and_committed_and_can_be_ended() {
    let object = Object::new(1, LENGTH);
    let origin = origin(&object).await;
    let fixture = Fixture::new();
    let handle = start(&fixture, &origin);
    let mut events = handle.events();
    progressed(&mut events, ENOUGH).await;

    soon(handle.pause()).await.unwrap();
    let missing = fixture.missing("x");
    let completed = LENGTH - volume(&missing);
    assert!(
        (ENOUGH / 2..=HALF).contains(&completed),
        "{completed} bytes committed"
    );
    let asked_before = origin.requests().len();
    // Whatever were still under way would now come in, and then not be asked for again.
    origin.release();

    handle.resume().unwrap();
    let (report, events) =
        soon(async { tokio::join!(handle.finish(), events.collect::<Vec<_>>()) }).await;
    assert_covers_exactly(&origin.requests()[asked_before..], &missing);
    fixture.file("x").is(&object);
    fixture.assert_holds_only(["x"]);
    assert_eq!(report.unwrap().bytes, LENGTH);

    // The last part, which may be there as well, is short.
    let parts = u32::try_from(completed.div_ceil(PART)).unwrap();
    let paused = events
        .iter()
        .position(|event| *event == Event::Paused)
        .expect("a pause");
    let committed = events[..paused].iter().rev().find_map(|event| match event {
        Event::Committed { parts } => Some(*parts),
        _ => None,
    });
    assert_eq!(committed, Some(parts), "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_download_leaves_nothing() {
    let object = Object::new(1, LENGTH);
    let origin = origin(&object).await;
    let fixture = Fixture::new();
    let handle = start(&fixture, &origin);
    let mut events = handle.events();
    progressed(&mut events, ENOUGH).await;
    soon(handle.cancel()).await.unwrap();
    fixture.assert_holds_only([]);
    let rest = soon(events.collect::<Vec<_>>()).await;
    assert!(
        !rest.iter().any(|event| matches!(event, Event::Finished(_))),
        "{rest:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_download_can_be_cancelled() {
    let object = Object::new(1, LENGTH);
    let origin = origin(&object).await;
    let fixture = Fixture::new();
    let handle = start(&fixture, &origin);
    let mut events = handle.events();
    progressed(&mut events, ENOUGH).await;
    soon(handle.pause()).await.unwrap();
    soon(handle.cancel()).await.unwrap();
    fixture.assert_holds_only([]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_before_anything_came_takes_what_an_earlier_run_left() {
    let object = Object::new(1, LENGTH);
    let origin = origin(&object).await;
    let fixture = Fixture::new();
    let handle = under_way(&fixture, &origin).await;
    soon(handle.stop()).await;
    assert!(soon(handle.finish()).await.is_err());
    let handle = start(&fixture, &origin);
    soon(handle.cancel()).await.unwrap();
    fixture.assert_holds_only([]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_before_anything_came_takes_a_copy_and_leaves_what_is_not_ours() {
    let object = Object::new(1, LENGTH);
    let origin = origin(&object).await;
    let first = Fixture::new();
    let handle = under_way(&first, &origin).await;
    soon(handle.stop()).await;
    assert!(soon(handle.finish()).await.is_err());
    let left = ["x.part", "x.part.ckpt"].map(|name| std::fs::read(first.path(name)).unwrap());
    let mut newer = left[1].clone();
    newer[8] += 1;
    let (all, crc) = newer.split_last_chunk_mut::<8>().unwrap();
    *crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Xz, all).to_le_bytes();
    let foreign = vec![7; left[0].len()];
    let text = b"a text of another program".to_vec();
    for (part, checkpoint, stays) in [
        (&left[0], &left[1], false),
        (&left[0], &newer, true),
        (&foreign, &left[1], true),
        (&foreign, &text, true),
    ] {
        let fixture = Fixture::new();
        std::fs::write(fixture.path("x.part"), part).unwrap();
        std::fs::write(fixture.path("x.part.ckpt"), checkpoint).unwrap();
        let handle = start(&fixture, &origin);
        let cancelled = soon(handle.cancel()).await;
        // It may have found what is not its own before it was cancelled.
        let is_found = |error: &partwise::Error| error.kind() == ErrorKind::File;
        assert!(
            cancelled.is_ok() || stays && cancelled.as_ref().is_err_and(is_found),
            "{cancelled:?}"
        );
        match stays {
            true => fixture.assert_holds_only(["x.part", "x.part.ckpt"]),
            false => fixture.assert_holds_only([]),
        };
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_before_anything_came_tells_what_an_earlier_run_left() {
    let object = Object::new(1, LENGTH);
    let origin = origin(&object).await;
    let fixture = Fixture::new();
    let handle = under_way(&fixture, &origin).await;
    soon(handle.stop()).await;
    let first = soon(handle.finish()).await.unwrap_err();
    let handle = start(&fixture, &origin);
    soon(handle.stop()).await;
    let second = soon(handle.finish()).await.unwrap_err();
    assert!(first.checkpoint().is_some_and(std::path::Path::exists));
    assert_eq!(second.checkpoint(), first.checkpoint());
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_in_order_and_progress_adds_up() {
    let object = Object::new(1, LENGTH);
    let origin = Origin::builder(object).rate(8 << 20).start().await.unwrap();
    let fixture = Fixture::new();
    let handle = start(&fixture, &origin);
    let events = handle.events();
    let (report, events) =
        soon(async { tokio::join!(handle.finish(), events.collect::<Vec<_>>()) }).await;
    let report = report.unwrap();

    let Some(Event::Probed {
        length,
        part_size,
        parts,
        ranges,
        ..
    }) = events.first()
    else {
        panic!("the first event is not the probe's: {events:?}");
    };
    assert_eq!(
        (*length, *part_size, *parts, *ranges),
        (Some(LENGTH), PART, 41, true)
    );
    assert_eq!(events.last(), Some(&Event::Finished(Box::new(report))));
    let count = |wanted: fn(&Event) -> bool| events.iter().filter(|event| wanted(event)).count();
    assert_eq!(count(|event| matches!(event, Event::Probed { .. })), 1);
    assert_eq!(count(|event| matches!(event, Event::Finished(_))), 1);
    assert_eq!(
        count(|event| matches!(event, Event::Resumed { .. } | Event::Restarted { .. })),
        0
    );

    let progress = events.iter().filter_map(|event| match event {
        Event::Progress(progress) => Some(progress),
        _ => None,
    });
    let progress: Vec<_> = progress.collect();
    assert!(
        progress.is_sorted_by_key(|progress| progress.completed_bytes),
        "{progress:?}"
    );
    assert!(
        progress
            .iter()
            .all(|progress| progress.total_bytes == Some(LENGTH))
    );
    assert!(progress.iter().all(|progress| progress.connections <= 4));
    assert_eq!(
        progress.last().expect("some progress").completed_bytes,
        LENGTH
    );
    assert_eq!(
        progress
            .iter()
            .map(|progress| progress.new_bytes)
            .sum::<u64>(),
        LENGTH
    );

    let committed = events.iter().filter_map(|event| match event {
        Event::Committed { parts } => Some(*parts),
        _ => None,
    });
    assert!(committed.is_sorted());
}

#[test]
fn a_handle_goes_from_task_to_task() {
    fn is_shared<T: Clone + Send + Sync + 'static>() {}
    is_shared::<DownloadHandle>();
    is_shared::<DownloadBuilder>();
    is_shared::<partwise::Error>();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_task_pauses_while_others_await_the_end() {
    let object = Object::new(1, LENGTH);
    let origin = origin(&object).await;
    let fixture = Fixture::new();
    let handle = start(&fixture, &origin);
    let waiting: Vec<_> = std::iter::repeat_n(handle.clone(), 2)
        .map(|handle| tokio::spawn(async move { handle.finish().await }))
        .collect();
    progressed(&mut handle.events(), ENOUGH).await;
    soon(handle.pause()).await.unwrap();
    origin.release();
    handle.resume().unwrap();
    let report = soon(handle.finish()).await.unwrap();
    for waiting in waiting {
        assert_eq!(soon(waiting).await.unwrap().as_ref(), Ok(&report));
    }
    assert_eq!(soon(handle.finish()).await.as_ref(), Ok(&report));
    let error = soon(handle.cancel()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unexpected);
    fixture.file("x").is(&object);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_handle_stops_the_download_when_it_is_dropped() {
    let object = Object::new(1, LENGTH);
    let origin = origin(&object).await;
    let fixture = Fixture::new();
    let handle = start(&fixture, &origin);
    let mut events = handle.events();
    let clone = handle.clone();
    drop(handle);
    progressed(&mut events, ENOUGH).await;
    drop(clone);
    let rest = soon(events.collect::<Vec<_>>()).await;
    let is_end = |event: &Event| matches!(event, Event::Finished(_) | Event::Failed(_));
    assert!(!rest.iter().any(is_end), "{rest:?}");
    assert!(volume(&fixture.missing("x")) < LENGTH);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_after_the_stop_removes_the_files() {
    let object = Object::new(1, LENGTH);
    let origin = origin(&object).await;
    let fixture = Fixture::new();
    let handle = under_way(&fixture, &origin).await;
    soon(handle.stop()).await;
    fixture.assert_holds_only(["x.part", "x.part.ckpt"]);
    soon(handle.cancel()).await.unwrap();
    fixture.assert_holds_only([]);
    soon(handle.cancel()).await.unwrap();
    let error = soon(handle.finish()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stopped);
    assert_eq!(error.remedy(), Some(&Remedy::StartAgain));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_after_the_stop_leaves_what_another_run_goes_on_with() {
    let object = Object::new(1, LENGTH);
    let origin = origin(&object).await;
    let fixture = Fixture::new();
    let stopped = under_way(&fixture, &origin).await;
    soon(stopped.stop()).await;

    let next = start(&fixture, &origin);
    let mut events = next.events();
    while !matches!(soon(events.next()).await, Some(Event::Resumed { .. })) {}
    let error = soon(stopped.cancel()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::File);
    assert_eq!(error.remedy(), Some(&Remedy::AwaitOtherRun));
    origin.release();
    soon(next.finish()).await.unwrap();
    soon(stopped.cancel()).await.unwrap();
    fixture.file("x").is(&object);
    fixture.assert_holds_only(["x"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_the_last_event() {
    let fixture = Fixture::new();
    // A port at which nothing listens. One that was just given back may be another test's by now.
    let builder = Download::builder("http://127.0.0.1:1/x").dir(fixture.folder());
    let handle = builder.retries(1).build().unwrap().start();
    let events = soon(handle.events().collect::<Vec<_>>()).await;
    let error = soon(handle.finish()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network);
    assert_eq!(events.last(), Some(&Event::Failed(error.clone())));
    let serialised = serde_json::to_value(events.last()).unwrap();
    let expected = serde_json::json!({
        "event": "failed",
        "kind": "network",
        "error": error.to_string(),
        "status": null,
        "remedy": "start-again",
        "checkpoint": null,
        "is_checkpoint_behind": false,
    });
    assert_eq!(serialised, expected);
}
