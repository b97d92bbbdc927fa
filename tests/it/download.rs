//! Whole downloads from an honest origin: every size, number of connections, writer and kind of
//! server.

use std::io::Write as _;

use partwise::origin::{Builder, Etag, Object, Origin};
use partwise::{DownloadBuilder, Error, ErrorKind, PartSize, Report, ValidatorKind, Writer};

use crate::support::fixture::Fixture;
use crate::support::{connections, soon};

/// A multiple of the page size.
const PART: u64 = 64 << 10;

async fn finish(download: DownloadBuilder) -> Result<Report, Error> {
    soon(download.build().unwrap().start().finish()).await
}

/// What holds for every download from nothing, by any way.
#[track_caller]
fn assert_sound(report: &Report, object: &Object, fixture: &Fixture) {
    fixture.file("x").is(object);
    fixture.assert_holds_only(["x"]);
    let length = object.length();
    assert_eq!(
        (report.bytes, report.resumed_bytes),
        (length, 0),
        "{report:?}"
    );
    assert_eq!(
        report.fetched_bytes - report.wasted_bytes,
        length,
        "{report:?}"
    );
    assert_eq!(report.output, fixture.path("x"));
}

async fn every_size(writer: Writer, part_size: u64) {
    let parts = 7;
    let around = |count: u64| {
        let edge = count * part_size;
        [edge - 1, edge, edge + 1]
    };
    let sizes = [0, 1, 2].into_iter().chain(around(1)).chain(around(parts));
    for length in sizes {
        for count in [1, 4] {
            let object = Object::new(length, length);
            let origin = Origin::start(object.clone()).await.unwrap();
            let fixture = Fixture::new();
            let download = fixture
                .download(origin.url("x"))
                .connections(connections(count))
                .part_size(PartSize::Bytes(part_size))
                .writer(writer)
                .sync(false);
            let report = match finish(download).await {
                Err(error) if writer == Writer::Mmap && error.kind() == ErrorKind::File => {
                    let required =
                        std::env::var("PARTWISE_REQUIRE").is_ok_and(|value| value == "1");
                    assert!(!required, "{error}");
                    let _ = writeln!(std::io::stderr(), "skipped: no memory map here: {error}");
                    return;
                }
                finished => finished.unwrap(),
            };
            assert_sound(&report, &object, &fixture);
            assert_eq!(
                u64::from(report.parts),
                length.div_ceil(part_size),
                "{report:?}"
            );
            assert_eq!(report.part_size, part_size);
            assert!(report.connections <= count, "{report:?}");
            assert_eq!(report.validator, ValidatorKind::StrongEtag);
            assert_eq!(report.etag, origin.etag());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_size_through_a_memory_map() {
    every_size(Writer::Mmap, PART).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_size_through_positional_writes() {
    every_size(Writer::Pwrite, PART).await;
}

/// Parts that share pages.
#[tokio::test(flavor = "multi_thread")]
async fn every_size_in_odd_parts_through_a_memory_map() {
    every_size(Writer::Mmap, 1009).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_size_in_odd_parts_through_positional_writes() {
    every_size(Writer::Pwrite, 1009).await;
}

/// Downloads ten parts and a bit from this kind of server with one and with four connections.
async fn from(kind: impl Fn(Builder) -> Builder, check: impl Fn(&Report)) {
    for count in [1, 4] {
        let object = Object::new(3, 10 * PART + 17);
        let origin = kind(Origin::builder(object.clone())).start().await.unwrap();
        let fixture = Fixture::new();
        let download = fixture
            .download(origin.url("x"))
            .connections(connections(count))
            .part_size(PartSize::Bytes(PART));
        let report = finish(download).await.unwrap();
        assert_sound(&report, &object, &fixture);
        check(&report);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_a_weak_etag() {
    from(
        |origin| origin.etag(Etag::Weak),
        |report| {
            assert_eq!(report.validator, ValidatorKind::WeakEtag);
            assert_eq!(report.etag.as_deref(), Some("W/\"3-a0011\""));
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_a_date_alone() {
    from(
        |origin| origin.etag(Etag::None),
        |report| {
            assert_eq!(report.validator, ValidatorKind::LastModified);
            assert_eq!(report.etag, None);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_any_validator() {
    from(
        |origin| origin.etag(Etag::None).last_modified(None),
        |report| assert_eq!(report.validator, ValidatorKind::None),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_ranges() {
    from(Builder::without_ranges, |report| {
        assert_eq!(report.validator, ValidatorKind::StrongEtag);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_know_the_length() {
    from(Builder::without_length, |report| {
        assert_eq!(report.parts, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_head() {
    for status in [403, 405, 501] {
        from(
            |origin| origin.refuse_head(status),
            |report| assert_eq!(report.validator, ValidatorKind::StrongEtag),
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_head_of_an_empty_object() {
    let object = Object::new(1, 0);
    let origin = Origin::builder(object.clone())
        .refuse_head(403)
        .start()
        .await
        .unwrap();
    let fixture = Fixture::new();
    let report = finish(fixture.download(origin.url("x"))).await.unwrap();
    assert_sound(&report, &object, &fixture);
}

#[tokio::test(flavor = "multi_thread")]
async fn selected_ranges_stand_end_to_end() {
    let object = Object::new(5, 1_000_000);
    let origin = Origin::start(object.clone()).await.unwrap();
    let fixture = Fixture::new();
    let download = fixture
        .download(origin.url("x"))
        .part_size(PartSize::Bytes(PART))
        .ranges("500000-799999,0-99,-1000".parse().unwrap());
    let report = finish(download).await.unwrap();
    fixture
        .file("x")
        .is_stretches(&object, &[500_000..800_000, 0..100, 999_000..1_000_000]);
    fixture.assert_holds_only(["x"]);
    assert_eq!(report.bytes, 301_100);
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_output_has_the_bytes_in_order() {
    let object = Object::new(6, 20 * PART + 1);
    let origin = Origin::start(object.clone()).await.unwrap();
    let fixture = Fixture::new();
    let (url, part) = (origin.url("x"), PART.to_string());
    let outcome = fixture
        .partwise(["get", "-c", "4", "-p", &part, "-o", "-", &url])
        .exit_code(0);
    let mut expected = vec![0; outcome.stdout().len()];
    object.read_at(0, &mut expected);
    assert_eq!(outcome.stdout().len() as u64, object.length());
    assert!(outcome.stdout() == expected, "the bytes are not in order");
    fixture.assert_holds_only([]);
}

/// Connections give way to files: 64 of them, and 64 descriptors in all, soft and hard.
#[tokio::test(flavor = "multi_thread")]
async fn few_descriptors_are_enough_for_many_connections() {
    let object = Object::new(7, 40 * PART);
    let origin = Origin::start(object.clone()).await.unwrap();
    let (fixture, part) = (Fixture::new(), PART.to_string());
    let names = ["a", "b", "c", "d"];
    let urls = names.map(|name| origin.url(name));
    let get = ["get", "-j", "4", "-c", "16", "-p", &part];
    let arguments = get.into_iter().chain(urls.iter().map(String::as_str));
    fixture.partwise(arguments).limit("-n 64").exit_code(0);
    for name in names {
        fixture.file(name).is(&object);
    }
    fixture.assert_holds_only(names);
}

/// An allocation that fails would abort the process in the middle of the run.
#[test]
fn too_little_address_space_is_told_before_anything_is_asked() {
    let fixture = Fixture::new();
    let get = fixture.partwise(["get", "http://127.0.0.1:1/x"]);
    let outcome = get.limit("-v 60000").exit_code(1);
    outcome.stderr_has("partwise: error: address space: expected a limit of at least 128");
    fixture.assert_holds_only([]);
}
