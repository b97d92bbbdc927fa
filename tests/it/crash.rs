//! kill -9 at any moment.

use std::sync::atomic::{AtomicU32, Ordering};

use partwise::origin::{Object, Origin};

use crate::support::fixture::Fixture;
use crate::support::requests::volume;
use crate::support::{seed, soon};

const PART: u64 = 256 << 10;
const LENGTH: u64 = 16 << 20;
const RATE: u64 = 4 << 20;
const CONNECTIONS: u64 = 4;
/// Of one download.
const KILLS: u32 = 4;
/// Downloads at once.
const LANES: u32 = 4;
/// What one kill may cost: a commit interval (about a second; twice that on a busy machine), and on
/// each connection a part under way and what its socket holds.
const COST: u64 = 2 * RATE + CONNECTIONS * (PART + (256 << 10));

/// How many kills, at least: `PARTWISE_KILLS`.
fn kills() -> u32 {
    let given = std::env::var("PARTWISE_KILLS").ok();
    given.map_or(KILLS, |kills| {
        kills.parse().expect("PARTWISE_KILLS is a number")
    })
}

#[test]
fn killed_at_random_moments_it_ends_with_the_right_bytes() {
    let (seed, downloads) = (seed(), kills().div_ceil(KILLS));
    println!("PARTWISE_SEED={seed}");
    let next = AtomicU32::new(0);
    let lane = || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= downloads {
                return;
            }
            runtime.block_on(killed_often(seed.wrapping_add(number.into())));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..downloads.min(LANES) {
            scope.spawn(lane);
        }
    });
    println!(
        "{} kills in {downloads} downloads, 0 wrong files",
        downloads * KILLS
    );
}

/// One download. The moments are counted in bytes served, so that they are moments of the download
/// and not of the clock.
async fn killed_often(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let object = Object::new(seed, LENGTH);
    let origin = Origin::builder(object.clone())
        .rate(RATE)
        .start()
        .await
        .unwrap();
    let fixture = Fixture::new();
    let (url, part) = (origin.url("x"), PART.to_string());
    let arguments = ["get", "-c", "4", "-p", &part, "--writer", "auto", &url];

    let mut missing = LENGTH;
    for kill in 0..KILLS {
        let before = origin.served_bytes();
        let moment = random.u64(0..missing / 2);
        let running = fixture.partwise(arguments).spawn();
        soon(origin.wait_for_bytes(before + moment)).await;
        running.kill();
        origin.hang_up();
        fixture.file("x").is_absent();

        let served = origin.served_bytes() - before;
        // Killed before its first commit it may have left no checkpoint at all.
        let left = if fixture.path("x.part.ckpt").exists() {
            volume(&fixture.missing("x"))
        } else {
            LENGTH
        };
        assert!(
            left <= missing,
            "PARTWISE_SEED={seed}, kill {kill}: {missing} bytes were missing, now {left} are"
        );
        let lost = served.saturating_sub(missing - left);
        assert!(
            lost <= COST,
            "PARTWISE_SEED={seed}, kill {kill}: {lost} of {served} bytes lost"
        );
        missing = left;
    }

    let before = origin.served_bytes();
    fixture.partwise(arguments).exit_code(0);
    fixture.file("x").is(&object);
    fixture.assert_holds_only(["x"]);
    let fetched = origin.served_bytes() - before;
    assert!(
        fetched >= missing,
        "PARTWISE_SEED={seed}: {fetched} bytes fetched, {missing} were missing"
    );
    // A hedge may cost 2 % (and a part under way on each connection).
    let most = missing + missing / 50 + CONNECTIONS * (PART + (256 << 10));
    assert!(
        fetched <= most,
        "PARTWISE_SEED={seed}: {fetched} bytes fetched, {missing} were missing"
    );
}
