//! The power fails: what the device holds at any moment is enough to go on from.
//!
//! The download writes to a file system in an image file. A snapshot of that file is what a power
//! cut leaves: the kernel's caches of the mounted file system are not in it. Each snapshot is
//! mounted afterwards, which replays its journal as the next boot would, and the same command goes
//! on there.
//!
//! `PARTWISE_POWER_CUTS` sets the number of snapshots, `PARTWISE_SEED` the moments.

use std::path::Path;

use partwise::origin::{Object, Origin};
use rustix::process::Signal;

use crate::support::file_system::{Image, Kind, can_mount};
use crate::support::fixture::{Fixture, Running};
use crate::support::{seed, soon};

const PART: u64 = 256 << 10;
const LENGTH: u64 = 32 << 20;
const RATE: u64 = 10 << 20;
/// Snapshots of one download.
const CUTS: u64 = 17;
const IMAGE: u64 = 512 << 20;

/// What the snapshots of one file system came to.
#[derive(Debug, Default)]
struct Count {
    cuts: u64,
    resumed_parts: u64,
    begun_anew: u64,
}

/// A snapshot, and the parts that were told to be committed before it was taken.
struct Cut {
    image: Image,
    committed: u64,
}

fn command(fixture: &Fixture, url: &str) -> Running {
    let part = PART.to_string();
    let arguments = [
        "get",
        "-c",
        "4",
        "-p",
        &part,
        "--progress",
        "json",
        "--json",
    ];
    fixture
        .partwise(arguments.into_iter().chain(["-o", "x", url]))
        .spawn()
}

/// The newest commit that the command told of.
fn committed(running: &Running) -> u64 {
    let told = running.events("committed");
    told.last()
        .map_or(0, |event| event["parts"].as_u64().unwrap())
}

/// Downloads, with a snapshot at each of the moments (in bytes served) and one right after the end.
async fn cut_often(image: &Image, folder: &Path, origin: &Origin, moments: &[u64]) -> Vec<Cut> {
    let mount = image.mount("");
    let fixture = Fixture::at(mount.point());
    let mut running = command(&fixture, &origin.url("x"));
    let mut cuts = Vec::new();
    let mut cut = |committed| {
        let file = folder.join(format!("cut-{}", cuts.len()));
        let image = image.snapshot(file);
        cuts.push(Cut { image, committed });
    };
    for moment in moments {
        soon(origin.wait_for_bytes(*moment)).await;
        let committed = committed(&running);
        running.signal(Signal::STOP);
        cut(committed);
        running.signal(Signal::CONT);
    }
    running.exit_code(0);
    cut(LENGTH / PART);
    cuts
}

/// Mounts the snapshot, and goes on there.
fn go_on(cut: Cut, object: &Object, url: &str, place: &str, count: &mut Count) {
    let mount = cut.image.mount("");
    let fixture = Fixture::at(mount.point());
    count.cuts += 1;
    if fixture.path("x").exists() {
        fixture.file("x").is(object);
    } else {
        let outcome = command(&fixture, url).exit_code(0);
        let report = outcome.json();
        let resumed = report["resumed_bytes"].as_u64().unwrap() / PART;
        assert!(
            resumed >= cut.committed,
            "{place}: {} parts had been committed, {resumed} were there",
            cut.committed
        );
        assert_eq!(report["damaged_parts"], 0, "{place}: {}", outcome.stderr());
        fixture.file("x").is(object);
        fixture.assert_no_leftovers();
        count.resumed_parts += resumed;
        count.begun_anew += u64::from(resumed == 0);
    }
    drop(mount);
    cut.image.remove();
}

async fn survives(kind: Kind) {
    if !can_mount(&[kind, Kind::Xfs]) {
        return;
    }
    let seed = seed();
    let cuts = std::env::var("PARTWISE_POWER_CUTS").ok();
    let cuts: u64 = cuts.map_or(0, |cuts| {
        cuts.parse().expect("PARTWISE_POWER_CUTS is a number")
    });
    let downloads = cuts.div_ceil(3 * (CUTS + 1)).max(1);
    let mut random = fastrand::Rng::with_seed(seed);
    let ground = tempfile::tempdir().unwrap();
    // XFS clones a file in one step, whoever writes to it.
    let ground_image = Image::make(Kind::Xfs, 8 << 30, ground.path().join("ground"));
    let ground_mount = ground_image.mount("");
    let mut count = Count::default();
    for download in 0..downloads {
        let object = Object::new(seed.wrapping_add(download), LENGTH);
        let origin = Origin::builder(object.clone())
            .rate(RATE)
            .start()
            .await
            .unwrap();
        let mut moments: Vec<u64> = (0..CUTS).map(|_| random.u64(0..LENGTH)).collect();
        moments.sort_unstable();
        let file = ground_mount.point().join("image");
        let image = Image::make(kind, IMAGE, file);
        let cuts = cut_often(&image, ground_mount.point(), &origin, &moments).await;
        image.remove();
        drop(origin);
        let origin = Origin::start(object.clone()).await.unwrap();
        for (number, cut) in cuts.into_iter().enumerate() {
            let place = format!(
                "PARTWISE_SEED={seed}, {}, cut {download}.{number}",
                kind.name()
            );
            go_on(cut, &object, &origin.url("x"), &place, &mut count);
        }
    }
    println!("PARTWISE_SEED={seed}: {}: {count:?}", kind.name());
    assert_eq!(count.cuts, downloads * (CUTS + 1));
    assert!(count.resumed_parts > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn ext4() {
    survives(Kind::Ext4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn xfs() {
    survives(Kind::Xfs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn btrfs() {
    survives(Kind::Btrfs).await;
}
