//! A range that fails for good beside others that come.

use std::time::Duration;

use super::life::Scene;
use super::oracle::{self, Final};
use super::power_cuts::BOOT;
use super::remote::{Happening, Weather};
use super::world::{World, job};
use crate::engine::job::Job;
use crate::http::HttpErrorKind;
use crate::storage::fake::FakeDisk;

const PART: u64 = 4000;

/// As often as it is allowed to, however long the others go on and however slow it looks beside
/// them.
#[test]
fn a_range_that_breaks_is_tried_as_often_as_it_may_and_then_the_run_ends() {
    for seed in 0..10 {
        is_tried_six_times(seed, false);
    }
}

#[test]
fn a_range_that_hangs_is_tried_as_often_as_it_may_and_then_the_run_ends() {
    for seed in 0..10 {
        is_tried_six_times(seed, true);
    }
}

fn is_tried_six_times(seed: u64, hangs: bool) {
    // Enough for the others to go on past the last attempt.
    let world = World::new(seed, &[300 * PART]);
    let broken_at = 2 * PART + seed * 100;
    let weather = Weather {
        wait: Duration::from_millis(400),
        longest_chunk: 400,
        broken_at: Some(broken_at),
        hangs,
        ..Weather::fair()
    };
    let job = Job {
        retries: 5,
        ..job(&world, PART)
    };
    let scene = Scene {
        world: &world,
        version: 0,
        weather: &weather,
        job: &job,
        acts: &[],
        boot: BOOT,
    };
    let disk = FakeDisk::default();
    let played = scene.play(&disk, seed);
    let error = played.outcome.as_ref().expect_err("it never comes");
    assert!(
        error.to_string().contains("6 attempts"),
        "seed {seed}: {error}"
    );
    let kind = if hangs {
        HttpErrorKind::Stalled
    } else {
        HttpErrorKind::Transport
    };
    let broken = Happening::Failed(kind);
    let failures = played.happenings().filter(|what| **what == broken).count();
    // The one that brought bytes up to there counts for nothing.
    assert!(
        (6..=7).contains(&failures),
        "seed {seed}: {failures} failures"
    );
    let there = broken_at - broken_at % PART..=broken_at;
    let asked = played.happenings().filter(
        |what| matches!(what, Happening::Asked { range, .. } if there.contains(&range.start())),
    );
    let asked = asked.count();
    // More than once where somebody came further, or brought it a second time.
    assert!(
        (5..=12).contains(&asked),
        "seed {seed}: asked {asked} times"
    );
    assert_eq!(oracle::laws_hold(&world, &disk), Final::Untouched);
}
