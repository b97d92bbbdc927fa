//! Links that may be used a few times.

use std::num::NonZeroU32;
use std::time::Duration;

use super::oracle::{self, Final};
use super::remote::Weather;
use super::scenario::Scenario;
use super::world::{World, job};
use crate::engine::job::Job;
use crate::http::Source;
use crate::options::Connections;
use crate::storage::fake::FakeDisk;

/// Size of a part, in bytes.
const PART: u64 = 4000;
const SEEDS: u64 = 6;

/// Downloads under a link that may be used so often, and holds that each ends well. Replies pause
/// for up to `wait`.
fn lasts(uses: u32, connections: Option<u32>, wait: Duration) {
    for seed in 0..SEEDS {
        let world = World::new(seed, &[40 * PART]);
        let weather = Weather {
            uses: Some(uses),
            wait,
            longest_chunk: 4000,
            ..Weather::fair()
        };
        let fixed = |count| Connections::Fixed(NonZeroU32::new(count).unwrap());
        let job = Job {
            source: Source::new("https://sim.invalid/x?signature=s", None).unwrap(),
            connections: connections.map_or(Connections::Auto, fixed),
            ..job(&world, PART)
        };
        let disk = FakeDisk::default();
        let played = Scenario::undisturbed(&world, &weather, &job).play(&disk, seed);
        let what = format!("{uses} uses, {connections:?} connections, {wait:?}, seed {seed}");
        if let Err(error) = &played.outcome {
            panic!("{what}: {error}");
        }
        assert_eq!(oracle::laws_hold(&world, &disk), Final::Whole(0), "{what}");
    }
}

#[test]
fn a_link_that_may_be_used_a_few_times_brings_the_whole_object() {
    for uses in 1..=5 {
        for connections in [Some(1), Some(2), Some(4), Some(8), None] {
            lasts(uses, connections, Duration::from_millis(100));
        }
    }
}

/// A canary would be refused, and the body that it took the place of be lost.
#[test]
fn so_it_does_where_replies_pause_for_longer_than_is_usual() {
    for uses in 1..=5 {
        for connections in [Some(1), Some(4), None] {
            lasts(uses, connections, Duration::from_secs(8));
        }
    }
}
