//! An object that is overwritten in place while its last reply is under way: the head of that reply
//! told the old version, and its body goes on with the bytes of the new one.

use std::num::NonZeroU32;
use std::time::Duration;

use fastrand::Rng;

use super::oracle::{self, Final};
use super::remote::{ServerEvent, Weather};
use super::scenario::{Act, Played, Scenario};
use super::world::{Lies, Tags, World, job};
use crate::engine::job::Job;
use crate::error::ErrorKind;
use crate::options::{Connections, OnChange};
use crate::storage::fake::FakeDisk;

const RUNS: u64 = 300;
/// The longest time between a head and the last byte in which the object need not be looked at.
const UNSEEN: Duration = Duration::from_secs(1);

#[test]
fn an_overwrite_is_noticed_unless_it_falls_into_the_last_second() {
    let (mut noticed_by_look, mut mixed, mut whole) = (0, 0, 0);
    for seed in 0..RUNS {
        let (played, found) = overwritten(seed);
        match &played.outcome {
            Ok(_) if found == Final::Mixed => {
                let unseen = played.unseen();
                assert!(unseen < UNSEEN, "seed {seed}: not looked at for {unseen:?}");
                mixed += 1;
            }
            Ok(_) => {
                assert!(matches!(found, Final::Whole(_)), "seed {seed}: {found:?}");
                whole += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Changed, "seed {seed}: {error}");
                assert_eq!(found, Final::Untouched, "seed {seed}");
                noticed_by_look += u32::from(!is_asked_after_change(&played));
            }
        }
    }
    println!("{noticed_by_look} told by the look alone, {mixed} by nothing, {whole} whole");
    assert!(noticed_by_look > 50 && whole > 10);
}

/// Plays a download over one connection whose object is overwritten at some moment.
fn overwritten(seed: u64) -> (Played, Final) {
    let mut rng = Rng::with_seed(seed);
    let mut world = World::new(seed, &[300, 300]);
    world.tags = [Tags::Strong, Tags::Weak, Tags::Date][rng.usize(..3)];
    world.lies = Lies {
        overwrites: true,
        ..Lies::default()
    };
    let slow = Weather {
        wait: Duration::from_millis(rng.u64(50..1500)),
        ..Weather::fair()
    };
    let one = NonZeroU32::new(1).expect("one is not zero");
    let job = Job {
        connections: Connections::Fixed(one),
        on_change: OnChange::Fail,
        ..job(&world, 64)
    };
    let acts = [(Duration::from_millis(rng.u64(0..15_000)), Act::Change)];
    let scenario = Scenario {
        acts: &acts,
        ..Scenario::undisturbed(&world, &slow, &job)
    };
    let disk = FakeDisk::default();
    let played = scenario.play(&disk, seed);
    let found = oracle::final_name(&world, &disk);
    (played, found)
}

fn is_asked_after_change(played: &Played) -> bool {
    let mut later = played
        .events()
        .skip_while(|what| **what != ServerEvent::Changed);
    later.any(|what| matches!(what, ServerEvent::Asked { .. }))
}
