//! Networks that come and go, and servers that are away for a while. The clock is simulated, so
//! times can be held exactly.

use std::num::NonZeroU32;
use std::time::Duration;

use super::line::{Line, LineOutage, Shows};
use super::oracle::{self, Final};
use super::remote::{Ranges, ServerEvent, Weather};
use super::scenario::{Played, Scenario};
use super::world::{World, job};
use crate::engine::job::{Job, LowestSpeed};
use crate::error::ErrorKind;
use crate::event::Event;
use crate::options::Connections;
use crate::storage::fake::FakeDisk;

/// Size of a part, in bytes.
const PART: u64 = 4000;
/// When the line goes down.
const FROM: Duration = Duration::from_secs(5);
const SEEDS: u64 = 12;

/// Options under which the run survives an outage.
#[derive(Clone, Copy)]
struct Options {
    /// `None` for as many as suit.
    connections: Option<u32>,
    retries: u32,
    wait_online: u64,
}

const USUAL: Options = Options {
    connections: Some(8),
    retries: 8,
    wait_online: 600,
};

/// Plays a run in which the line is down for so many seconds.
fn play(seed: u64, seconds: u64, shows: Shows, options: Options) -> (Played, FakeDisk, World) {
    let outage = LineOutage {
        from: FROM,
        until: FROM + Duration::from_secs(seconds),
        shows,
    };
    play_over(seed, outage, options)
}

/// Plays a run over a line with this outage.
fn play_over(seed: u64, outage: LineOutage, options: Options) -> (Played, FakeDisk, World) {
    let world = World::new(seed, &[200 * PART]);
    let weather = Weather {
        wait: Duration::from_millis(80),
        longest_chunk: 400,
        line: Line(vec![outage]),
        ..Weather::fair()
    };
    let fixed = |count| Connections::Fixed(NonZeroU32::new(count).unwrap());
    let job = Job {
        connections: options.connections.map_or(Connections::Auto, fixed),
        retries: options.retries,
        wait_online: Duration::from_secs(options.wait_online),
        ..job(&world, PART)
    };
    let scenario = Scenario::undisturbed(&world, &weather, &job);
    let disk = FakeDisk::default();
    (scenario.play(&disk, seed), disk, world)
}

/// Plays the run for several seeds, holds that each ends well, and returns the longest time between
/// the return of the line and the next byte.
fn survives(seconds: u64, shows: Shows, options: Options) -> Duration {
    let back = FROM + Duration::from_secs(seconds);
    let mut longest = Duration::ZERO;
    for seed in 0..SEEDS {
        let (played, disk, world) = play(seed, seconds, shows, options);
        if let Err(error) = &played.outcome {
            panic!("seed {seed}: {error}");
        }
        assert_eq!(
            oracle::laws_hold(&world, &disk),
            Final::Whole(0),
            "seed {seed}"
        );
        let is_sent = |what: &ServerEvent| matches!(what, ServerEvent::Sent { .. });
        let sent = played.log.iter().filter(|(_, what)| is_sent(what));
        let next = sent.map(|(at, _)| *at).find(|at| *at > back);
        longest = longest.max(next.map_or(Duration::ZERO, |at| at - back));
    }
    longest
}

#[test]
fn an_address_that_changes_costs_two_seconds_at_most() {
    for connections in [Some(8), None] {
        let options = Options {
            connections,
            ..USUAL
        };
        let lost = survives(0, Shows::Nothing, options);
        assert!(lost < Duration::from_secs(2), "{connections:?}: {lost:?}");
    }
}

/// The number of connections may be about to change.
#[test]
fn an_address_may_change_at_any_time() {
    let options = Options {
        connections: None,
        ..USUAL
    };
    for quarter in 8..64 {
        let from = Duration::from_millis(250) * quarter;
        let outage = LineOutage {
            from,
            until: from,
            shows: Shows::Nothing,
        };
        let (played, ..) = play_over(3, outage, options);
        assert!(played.outcome.is_ok(), "{from:?}");
        let lost = longest_silence(&played);
        assert!(lost < Duration::from_secs(3), "{from:?}: {lost:?}");
    }
}

/// The longest time between two bytes.
fn longest_silence(played: &Played) -> Duration {
    let is_sent = |what: &ServerEvent| matches!(what, ServerEvent::Sent { .. });
    let sent = played.log.iter().filter(|(_, what)| is_sent(what));
    let times: Vec<Duration> = sent.map(|(at, _)| *at).collect();
    let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
    gaps.max().unwrap_or_default()
}

#[test]
fn a_trickle_is_too_slow_however_often_it_falls_silent() {
    let world = World::new(1, &[200 * PART]);
    let weather = Weather {
        wait: Duration::from_secs(8),
        longest_chunk: 1,
        ..Weather::fair()
    };
    let job = Job {
        lowest_speed: Some(LowestSpeed {
            bytes_per_second: 1000,
            span: Duration::from_secs(5),
        }),
        ..job(&world, PART)
    };
    let scenario = Scenario::undisturbed(&world, &weather, &job);
    let played = scenario.play(&FakeDisk::default(), 1);
    let error = played.outcome.unwrap_err();
    assert!(error.to_string().contains("slower than"), "{error}");
    let (at, _) = played.log.last().unwrap();
    assert!(*at < Duration::from_secs(15), "{at:?}");
}

/// Nothing could take the place of its one reply.
#[test]
fn a_server_without_ranges_may_pause() {
    for seed in 0..SEEDS {
        let world = World::new(seed, &[2 * PART]);
        let weather = Weather {
            ranges: Ranges::Denied,
            wait: Duration::from_secs(12),
            longest_chunk: 400,
            ..Weather::fair()
        };
        let job = job(&world, PART);
        let scenario = Scenario::undisturbed(&world, &weather, &job);
        let played = scenario.play(&FakeDisk::default(), seed);
        assert!(played.outcome.is_ok(), "seed {seed}");
        let is_asked = |what: &&ServerEvent| matches!(what, ServerEvent::Asked { .. });
        let asked = played.log.iter().filter(|(_, what)| is_asked(&what));
        assert_eq!(asked.count(), 1, "seed {seed}");
    }
}

#[test]
fn the_run_goes_on_soon_after_the_line_is_back() {
    for seconds in [20, 40, 90] {
        for shows in [Shows::Nothing, Shows::NoRoute] {
            let lost = survives(seconds, shows, USUAL);
            assert!(
                lost < Duration::from_secs(3),
                "{seconds} s, {shows:?}: {lost:?}"
            );
        }
    }
}

#[test]
fn a_network_that_is_gone_uses_up_no_retry() {
    for retries in [0, 2] {
        for shows in [Shows::Nothing, Shows::NoRoute] {
            survives(300, shows, Options { retries, ..USUAL });
        }
    }
}

#[test]
fn a_server_that_restarts_is_waited_for_by_any_number_of_connections() {
    for seconds in [15, 25, 40, 100] {
        for connections in [Some(1), Some(8), None] {
            let options = Options {
                connections,
                ..USUAL
            };
            let lost = survives(seconds, Shows::Refusals, options);
            assert!(lost < Duration::from_secs(6), "{seconds} s: {lost:?}");
        }
    }
}

#[test]
fn a_server_that_stays_away_ends_the_run_after_attempts_and_time() {
    let (played, ..) = play(1, 100_000, Shows::Refusals, USUAL);
    let error = played.outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network);
    let (at, _) = played.log.last().unwrap();
    let tried = *at - FROM;
    let two_minutes = Duration::from_secs(120);
    assert!(tried >= two_minutes && tried < two_minutes * 2, "{tried:?}");
    let at_once = Options {
        retries: 0,
        ..USUAL
    };
    let (played, ..) = play(1, 100_000, Shows::Refusals, at_once);
    assert!(played.outcome.is_err());
    let (at, _) = played.log.last().unwrap();
    assert!(*at - FROM < Duration::from_secs(2), "{at:?}");
}

#[test]
fn the_wait_for_the_network_is_announced_and_bounded() {
    let options = Options {
        wait_online: 30,
        ..USUAL
    };
    for shows in [Shows::Nothing, Shows::NoRoute] {
        let (played, ..) = play(1, 20, shows, options);
        assert!(played.outcome.is_ok());
        let told = played.network_events();
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told[0], Event::Offline);
        assert!(matches!(told[1], Event::Online { gone } if gone.as_secs() < 22));

        let (played, ..) = play(1, 100_000, shows, options);
        let error = played.outcome.as_ref().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Network);
        assert_eq!(played.network_events(), [Event::Offline]);
        let (at, _) = played.log.last().unwrap();
        let waited = *at - FROM;
        assert!(
            waited > Duration::from_secs(30) && waited < Duration::from_secs(40),
            "{waited:?}"
        );
    }
}
