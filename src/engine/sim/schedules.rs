//! Plays many random schedules in parallel.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::schedule::{RunLog, Schedule, Totals};

/// How many schedules are played unless `PARTWISE_SIM_RUNS` is set.
const SCHEDULES: u64 = 400;
/// How many failed schedules end the test.
const MOST_FAILURES: usize = 10;
/// When a schedule counts as stuck. A usual one takes milliseconds.
const TOO_LONG: Duration = Duration::from_secs(60);

/// Schedules that several threads play.
struct Batch {
    /// The seed of the next schedule.
    next: AtomicU64,
    /// The end of the seeds.
    end: u64,
    /// When each active schedule started, by the wall clock.
    playing: Mutex<BTreeMap<u64, Instant>>,
    /// The seeds of the failed schedules.
    failed: Mutex<Vec<u64>>,
    totals: Mutex<Totals>,
}

impl Batch {
    /// Plays one schedule after another until none is left.
    fn play(&self) {
        loop {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            if seed >= self.end || self.failed.lock().unwrap().len() >= MOST_FAILURES {
                return;
            }
            self.playing.lock().unwrap().insert(seed, Instant::now());
            let played = catch_unwind(AssertUnwindSafe(|| play(seed)));
            self.playing.lock().unwrap().remove(&seed);
            match played {
                Ok((totals, _)) => self.totals.lock().unwrap().add(totals),
                Err(_) => {
                    println!("schedule {seed} fails; {}", again(seed));
                    self.failed.lock().unwrap().push(seed);
                }
            }
        }
    }

    /// Aborts the process where a schedule is stuck: a task that never yields can't be stopped.
    fn watch(&self, is_over: &AtomicBool) {
        while !is_over.load(Ordering::Relaxed) {
            let playing = self.playing.lock().unwrap().clone();
            let stuck = playing.iter().find(|(_, begun)| begun.elapsed() > TOO_LONG);
            if let Some((seed, _)) = stuck {
                eprintln!("schedule {seed} never ends; {}", again(*seed));
                std::process::abort();
            }
            std::thread::park_timeout(TOO_LONG / 10);
        }
    }
}

/// How to play a schedule by itself.
fn again(seed: u64) -> String {
    format!(
        "to play it again:\n    \
         PARTWISE_SIM_SEED={seed} cargo test --lib sim::schedules::every -- --nocapture"
    )
}

/// The value of an environment variable, if it is set.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|error| panic!("{name}: {error}")),
    )
}

/// Whether a single schedule is played, to be inspected.
fn is_single() -> bool {
    number("PARTWISE_SIM_SEED").is_some() && number("PARTWISE_SIM_RUNS").is_none()
}

fn play(seed: u64) -> (Totals, Vec<RunLog>) {
    Schedule::new(seed, is_single()).play()
}

#[test]
fn every_schedule_ends_with_the_right_file_and_keeps_the_laws() {
    let first = number("PARTWISE_SIM_SEED");
    let default = first.map_or(SCHEDULES, |_| 1);
    let first = first.unwrap_or(0);
    let batch = Batch {
        next: AtomicU64::new(first),
        end: first + number("PARTWISE_SIM_RUNS").unwrap_or(default),
        playing: Mutex::default(),
        failed: Mutex::default(),
        totals: Mutex::default(),
    };
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| batch.watch(&is_over));
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let players: Vec<_> = (0..threads).map(|_| scope.spawn(|| batch.play())).collect();
        for player in players {
            player.join().unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        watch.thread().unpark();
    });
    let totals = *batch.totals.lock().unwrap();
    println!("seeds {first}..{}: {totals}", batch.end);
    let failed = batch.failed.lock().unwrap();
    assert!(failed.is_empty(), "the schedules {failed:?} fail");
}

#[test]
fn the_same_seed_gives_the_same_log() {
    for seed in 0..20 {
        let ((_, first), (_, second)) = (play(seed), play(seed));
        assert_eq!(first.len(), second.len());
        for (first, second) in first.iter().zip(&second) {
            assert_eq!(first, second, "seed {seed}");
        }
    }
}
