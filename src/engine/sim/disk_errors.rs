//! Fails every step of the disk with EIO in turn. A sync that fails drops the data that it was to
//! make durable.

use super::oracle::{self, Final};
use super::power_cuts::{Case, cases, images};
use super::scenario::Played;
use super::world::BOOT;
use crate::error::{Error, ErrorKind};
use crate::report::Report;
use crate::storage::fake::FakeDisk;

/// The seed of every run that fails.
const SEED: u64 = 7;

/// A case whose disk does not fail.
struct WholeRun {
    case: Case,
    steps: Vec<String>,
    /// How it ends.
    end: Result<(), ErrorKind>,
}

impl WholeRun {
    fn of(case: Case) -> Self {
        let disk = case.start.after_exit();
        let outcome = case.scenario(BOOT).play(&disk, SEED).outcome;
        Self {
            case,
            steps: disk.steps(),
            end: end_of(&outcome),
        }
    }

    /// Plays the case again, on a disk that fails so.
    fn with(&self, fails: impl FnOnce(&FakeDisk)) -> (FakeDisk, Played) {
        let disk = self.case.start.after_exit();
        fails(&disk);
        let played = self.case.scenario(BOOT).play(&disk, SEED);
        (disk, played)
    }
}

fn end_of(outcome: &Result<Report, Error>) -> Result<(), ErrorKind> {
    outcome.as_ref().map(drop).map_err(Error::kind)
}

/// Plays each case once for each step of its disk, which then fails. Passes on the case, the disk,
/// the failed step, and what came of it.
fn for_each_error(mut check: impl FnMut(&WholeRun, &FakeDisk, usize, Played)) {
    for whole_run in cases().into_iter().map(WholeRun::of) {
        for step in 0..whole_run.steps.len() {
            let (disk, played) = whole_run.with(|disk| disk.fail_at(step));
            check(&whole_run, &disk, step, played);
        }
    }
}

#[test]
fn a_disk_error_ends_the_run_unless_it_hits_a_checkpoint_and_the_next_run_succeeds() {
    let (mut errors, mut writes, mut syncs, mut runs) = (0, 0, 0, 0);
    let (mut checkpoints, mut warnings) = (0, 0);
    for_each_error(|whole_run, disk, step, played| {
        let (case, name) = (&whole_run.case, whole_run.steps[step].as_str());
        let place = format!("{}: step {step}, {name}", case.name);
        oracle::laws_hold(&case.world, disk);
        if oracle::is_of_a_checkpoint(&whole_run.steps, step) {
            goes_on(whole_run, disk, &played, &place);
            checkpoints += 1;
            warnings += played.checkpoint_warnings();
        } else {
            ends_as_it_must(case, &played, &place);
            if name.starts_with("sync") {
                nothing_is_committed_after(step, &disk.steps(), &place);
                syncs += 1;
            }
        }
        if name == "write v.part" {
            let left = oracle::checkpoint_on(disk);
            let is_failed = played.outcome.is_err();
            assert!(!is_failed || left.is_none_or(|left| !left.clean), "{place}");
            writes += u32::from(is_failed);
        }
        errors += 1;
        runs += next_runs_succeed(case, disk, step, &played, &place);
    });
    println!(
        "{errors} errors, {writes} of them at a write, {syncs} at a sync, {checkpoints} at a \
         checkpoint, {runs} runs after them"
    );
    assert!(errors > 900 && writes > 100 && syncs > 100 && checkpoints > 200);
    // The two steps that learn the umask look the same, and warn of nothing.
    assert_eq!(warnings, checkpoints - 2);
}

/// Resumes from what the run left, and returns from how many images of the disk.
fn next_runs_succeed(
    case: &Case,
    disk: &FakeDisk,
    seed: usize,
    played: &Played,
    place: &str,
) -> u32 {
    let mut runs = 0;
    for (image, boot) in images(disk, seed as u64).take(3) {
        if boot == BOOT || oracle::is_bound(&case.job) {
            oracle::laws_hold(&case.world, &image);
        }
        case.resumes(&image, boot, played.version, place);
        runs += 1;
    }
    runs
}

/// No file can be created from some step on: a run that has its partial file needs no other.
#[test]
fn a_run_without_a_checkpoint_ends_as_it_would_with_one() {
    let mut runs = 0;
    for whole_run in cases().into_iter().map(WholeRun::of) {
        let steps = whole_run.steps.iter().enumerate();
        let creations = steps.filter(|(_, name)| *name == "create v.part.ckpt.tmp");
        for (step, _) in creations {
            let later = &whole_run.steps[step..];
            if later.iter().any(|name| name == "create v.part") {
                continue;
            }
            let place = format!("{}: no file from step {step}", whole_run.case.name);
            let (disk, played) = whole_run.with(|disk| disk.no_inodes_at(step));
            oracle::laws_hold(&whole_run.case.world, &disk);
            goes_on(&whole_run, &disk, &played, &place);
            // A change of the object begins a second file.
            let warnings = played.checkpoint_warnings();
            assert!(warnings <= 2, "{place}: {warnings} warnings");
            next_runs_succeed(&whole_run.case, &disk, step, &played, &place);
            runs += 1;
        }
    }
    assert!(runs > 30, "{runs}");
}

/// The run ends as it does without the error, and leaves nothing that must not be there.
fn goes_on(whole_run: &WholeRun, disk: &FakeDisk, played: &Played, place: &str) {
    assert_eq!(end_of(&played.outcome), whole_run.end, "{place}");
    match &played.outcome {
        Ok(_) => {
            for name in ["v.part", "v.part.ckpt", "v.part.ckpt.tmp"] {
                assert_eq!(disk.contents(name), None, "{place}: {name} is left");
            }
        }
        Err(error) if error.kind() == ErrorKind::Stopped => {
            let found = oracle::lacks_parts(disk, &played.shared);
            assert!(
                !found || error.is_checkpoint_behind(),
                "{place}: parts are missing"
            );
        }
        Err(_) => {}
    }
}

/// The run fails with a file error, unless it was complete or was stopped or cancelled.
fn ends_as_it_must(case: &Case, played: &Played, place: &str) {
    match &played.outcome {
        Ok(_) => {}
        Err(error) => {
            let kinds = [ErrorKind::File, ErrorKind::Stopped, ErrorKind::Cancelled];
            let asked_for = case.scenario(BOOT).acts.len();
            let allowed = if asked_for == 0 {
                &kinds[..1]
            } else {
                &kinds[..]
            };
            assert!(allowed.contains(&error.kind()), "{place}: {error}");
        }
    }
}

/// After a failed sync of the data, no checkpoint is replaced and no file gets its final name.
fn nothing_is_committed_after(step: usize, steps: &[String], place: &str) {
    let mut later = steps[step + 1..].iter();
    let published = steps[..step].iter().any(|step| step == "rename v.part");
    let renamed = later.find(|step| step.starts_with("rename"));
    assert!(published || renamed.is_none(), "{place}: then {renamed:?}");
}

#[test]
fn a_run_that_succeeds_in_spite_of_a_disk_error_left_the_whole_file() {
    let mut successes = 0;
    for_each_error(|whole_run, disk, step, played| {
        let case = &whole_run.case;
        if played.outcome.is_ok() {
            let found = oracle::final_name(&case.world, disk);
            assert!(matches!(found, Final::Whole(_)), "{}: {step}", case.name);
            successes += 1;
        }
    });
    assert!(successes > 0);
}
