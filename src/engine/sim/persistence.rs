//! Checks that a range which always fails ends the run after the configured retries, while others
//! transfer.

use std::time::Duration;

use super::oracle::{self, Final};
use super::remote::{ServerEvent, Weather};
use super::scenario::Scenario;
use super::world::{World, job};
use crate::engine::job::Job;
use crate::http::HttpErrorKind;
use crate::storage::fake::FakeDisk;

/// Size of a part, in bytes.
const PART: u64 = 4000;

#[test]
fn a_run_ends_after_the_configured_attempts_at_a_range_that_breaks() {
    for seed in 0..10 {
        fails_after_six_attempts(seed, false);
    }
}

#[test]
fn a_run_ends_after_the_configured_attempts_at_a_range_that_stalls() {
    for seed in 0..10 {
        fails_after_six_attempts(seed, true);
    }
}

fn fails_after_six_attempts(seed: u64, hangs: bool) {
    // The other ranges take longer than all attempts at this one.
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
    let scenario = Scenario::undisturbed(&world, &weather, &job);
    let disk = FakeDisk::default();
    let played = scenario.play(&disk, seed);
    let error = played.outcome.as_ref().expect_err("the range always fails");
    assert!(
        error.to_string().contains("6 attempts"),
        "seed {seed}: {error}"
    );
    let kind = if hangs {
        HttpErrorKind::Stalled
    } else {
        HttpErrorKind::Transport
    };
    let broken = ServerEvent::Failed(kind);
    let failures = played.events().filter(|what| **what == broken).count();
    // The attempt that made progress up to the position does not count.
    assert!(
        (6..=7).contains(&failures),
        "seed {seed}: {failures} failures"
    );
    let in_part = broken_at - broken_at % PART..=broken_at;
    let asked = played.events().filter(
        |what| matches!(what, ServerEvent::Asked { range, .. } if in_part.contains(&range.start())),
    );
    let asked = asked.count();
    // A later attempt may get further into the part, and a hedge may request it again.
    assert!(
        (5..=12).contains(&asked),
        "seed {seed}: asked {asked} times"
    );
    assert_eq!(oracle::laws_hold(&world, &disk), Final::Untouched);
}
