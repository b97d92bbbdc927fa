//! Disks that are full, read-only, or of a sort that can't do everything.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use partwise::origin::{Object, Origin};

use crate::support::file_system::{Image, Kind, Mount, can_mount};
use crate::support::fixture::{Fixture, Running};

const PART: u64 = 64 << 10;
const MIB: u64 = 1 << 20;
const LENGTH: u64 = 12 * MIB + 5;

fn start(fixture: &Fixture, url: &str) -> Running {
    let part = PART.to_string();
    let shown = ["--progress", "json", "--json"];
    let arguments = ["get", "-c", "2", "-p", &part, "-o", "x", url];
    fixture.partwise(arguments.into_iter().chain(shown)).spawn()
}

fn object() -> Object {
    Object::new(5, LENGTH)
}

/// Holds that an object that does not fit is refused before more of it is asked for than the byte
/// that proves its length.
async fn assert_too_large(mount: &Mount, length: u64) {
    let origin = Origin::start(Object::cheap(length)).await.unwrap();
    let fixture = Fixture::at(mount.point());
    let outcome = start(&fixture, &origin.url("x")).exit_code(6);
    outcome.stderr_has(&format!("{length} more bytes are needed"));
    outcome.stderr_has("hint: ");
    fixture.file("x").is_absent();
    fixture.assert_no_leftovers();
    assert_eq!(origin.served_bytes(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_does_not_fit_is_refused_at_once() {
    let kinds = [Kind::Ext2, Kind::Ext4, Kind::Xfs, Kind::Btrfs];
    if !can_mount(&kinds) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for kind in kinds {
        let file = folder.path().join(kind.name());
        let image = Image::make(kind, kind.smallest(), file);
        assert_too_large(&image.mount(""), kind.smallest() + 1).await;
    }
    let mount = Mount::tmpfs(LENGTH - MIB);
    assert_too_large(&mount, LENGTH).await;

    mount.remount(&format!("size={}", LENGTH + MIB));
    let origin = Origin::start(object()).await.unwrap();
    let fixture = Fixture::at(mount.point());
    start(&fixture, &origin.url("x")).exit_code(0);
    fixture.file("x").is(&object());
}

/// Writes until nothing more fits.
fn fill(file: &Path) {
    let mut file = File::create_new(file).unwrap();
    // Block by block to the last, and all of it on the disk.
    for block in [1 << 20, 4 << 10] {
        let zeroes = vec![0; block];
        let error = loop {
            match file.write_all(&zeroes).and_then(|()| file.sync_data()) {
                Ok(()) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }
}

/// Starts a download, and fills the disk when half of the object was sent.
async fn start_and_fill(fixture: &Fixture) -> (Running, Origin) {
    let origin = Origin::builder(object()).hold_after(LENGTH / 2);
    let origin = origin.start().await.unwrap();
    let running = start(fixture, &origin.url("x"));
    running.wait_for_commit(LENGTH / 4 / PART);
    fill(&fixture.path("filler"));
    origin.release();
    (running, origin)
}

/// Without fallocate nobody can promise the room, and somebody else may take it.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_in_mid_run_costs_nothing_that_came() {
    if !can_mount(&[Kind::Ext2]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let image = Image::make(Kind::Ext2, 32 * MIB, folder.path().join("image"));
    let mount = image.mount("");
    let fixture = Fixture::at(mount.point());
    let (running, origin) = start_and_fill(&fixture).await;
    running.exit_code(6).stderr_has("hint: ");
    fixture.file("x").is_absent();

    fs::remove_file(fixture.path("filler")).unwrap();
    let report = start(&fixture, &origin.url("x")).exit_code(0).json();
    assert!(report["resumed_bytes"].as_u64() >= Some(LENGTH / 4 / PART * PART));
    assert_eq!(report["damaged_parts"], 0);
    fixture.file("x").is(&object());
}

/// The room for the file is reserved, and somebody else takes that for the checkpoint.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_room_for_a_checkpoint_does_not_end_the_run() {
    if !can_mount(&[]) {
        return;
    }
    let mount = Mount::tmpfs(LENGTH + MIB);
    let fixture = Fixture::at(mount.point());
    let (running, _origin) = start_and_fill(&fixture).await;
    let outcome = running.exit_code(0);
    assert_eq!(outcome.json()["bytes"], LENGTH);
    outcome.stderr_has("the checkpoint can't be written: cannot write x.part.ckpt.tmp: No space");
    fixture.file("x").is(&object());
    fixture.assert_holds_only(["x", "filler"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_unknown_length_outgrows_the_disk() {
    if !can_mount(&[]) {
        return;
    }
    let mount = Mount::tmpfs(LENGTH / 2);
    let fixture = Fixture::at(mount.point());
    let origin = Origin::builder(object()).without_length();
    let origin = origin.start().await.unwrap();
    start(&fixture, &origin.url("x"))
        .exit_code(6)
        .stderr_has("hint: ");
    fixture.file("x").is_absent();

    mount.remount(&format!("size={}", LENGTH + MIB));
    start(&fixture, &origin.url("x")).exit_code(0);
    fixture.file("x").is(&object());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_file_system() {
    if !can_mount(&[]) {
        return;
    }
    let mount = Mount::tmpfs(MIB);
    mount.remount("ro");
    let fixture = Fixture::at(mount.point());
    let origin = Origin::start(object()).await.unwrap();
    let outcome = start(&fixture, &origin.url("x")).exit_code(6);
    outcome.stderr_has("Read-only file system");
    assert_eq!(origin.served_bytes(), 0);
}

/// Downloads half, is killed, and goes on; returns what wrote the bytes.
async fn writer_on(mount: &Mount) -> String {
    let fixture = Fixture::at(mount.point());
    let origin = Origin::builder(object()).hold_after(LENGTH / 2);
    let origin = origin.start().await.unwrap();
    let running = start(&fixture, &origin.url("x"));
    running.wait_for_commit(LENGTH / 4 / PART);
    running.kill();
    origin.hang_up();
    origin.release();
    let report = start(&fixture, &origin.url("x")).exit_code(0).json();
    assert!(report["resumed_bytes"].as_u64() >= Some(LENGTH / 4 / PART * PART));
    assert_eq!(report["damaged_parts"], 0);
    fixture.file("x").is(&object());
    fixture.assert_no_leftovers();
    report["writer"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_system_resumes_by_the_writer_that_is_safe_there() {
    if !can_mount(&[Kind::Ext2, Kind::Ext4, Kind::Xfs, Kind::Btrfs]) {
        return;
    }
    for (kind, options, writer) in [
        (Kind::Ext2, "", "pwrite"),
        (Kind::Ext4, "", "mmap"),
        (Kind::Xfs, "", "mmap"),
        (Kind::Btrfs, "", "pwrite"),
        (Kind::Btrfs, "compress-force=zstd", "pwrite"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let bytes = kind.smallest().max(48 * MIB);
        let image = Image::make(kind, bytes, folder.path().join("image"));
        let found = writer_on(&image.mount(options)).await;
        assert_eq!(found, writer, "{kind:?} {options}");
    }
    let below = Mount::tmpfs(48 * MIB);
    assert_eq!(writer_on(&Mount::overlay(below.point())).await, "pwrite");
    assert_eq!(writer_on(&Mount::tmpfs(48 * MIB)).await, "mmap");
}
