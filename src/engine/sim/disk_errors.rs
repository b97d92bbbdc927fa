//! Fails every step of the disk with EIO in turn. A sync that fails drops the data that it was to
//! make durable.

use super::oracle::{self, Final};
use super::power_cuts::{BOOT, Case, cases, images};
use super::scenario::Played;
use crate::error::ErrorKind;
use crate::storage::fake::FakeDisk;

/// The seed of every run that fails.
const SEED: u64 = 7;

/// Plays each case once for each step of its disk, which then fails. Passes on the case, the disk,
/// the failed step with its name, and what came of it.
fn for_each_error(mut check: impl FnMut(&Case, &FakeDisk, (usize, &str), Played)) {
    for case in cases() {
        let whole_run = case.start.after_exit();
        case.scenario(BOOT).play(&whole_run, SEED).outcome.ok();
        for (step, name) in whole_run.steps().iter().enumerate() {
            let disk = case.start.after_exit();
            disk.fail_at(step);
            let played = case.scenario(BOOT).play(&disk, SEED);
            check(&case, &disk, (step, name), played);
        }
    }
}

#[test]
fn a_disk_error_at_any_step_ends_the_run_and_the_next_run_succeeds() {
    let (mut errors, mut writes, mut syncs, mut runs) = (0, 0, 0, 0);
    for_each_error(|case, disk, (step, name), played| {
        let place = format!("{}: step {step}, {name}", case.name);
        oracle::laws_hold(&case.world, disk);
        ends_as_it_must(case, &played, &place);
        if name == "write v.part" {
            let left = oracle::checkpoint_on(disk);
            let is_failed = played.outcome.is_err();
            assert!(!is_failed || left.is_none_or(|left| !left.clean), "{place}");
            writes += u32::from(is_failed);
        }
        if name.starts_with("sync") {
            nothing_is_committed_after(step, &disk.steps(), &place);
            syncs += 1;
        }
        errors += 1;
        for (image, boot) in images(disk, step as u64).take(3) {
            if boot == BOOT || oracle::is_bound(&case.job) {
                oracle::laws_hold(&case.world, &image);
            }
            case.resumes(&image, boot, played.version, &place);
            runs += 1;
        }
    });
    println!(
        "{errors} errors, {writes} of them at a write, {syncs} at a sync, {runs} runs after them"
    );
    assert!(errors > 900 && writes > 100 && syncs > 150);
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

/// After a failed sync, no checkpoint is replaced and no file gets its final name.
fn nothing_is_committed_after(step: usize, steps: &[String], place: &str) {
    let mut later = steps[step + 1..].iter();
    let published = steps[..step].iter().any(|step| step == "rename v.part");
    let renamed = later.find(|step| step.starts_with("rename"));
    assert!(published || renamed.is_none(), "{place}: then {renamed:?}");
}

#[test]
fn a_run_that_succeeds_in_spite_of_a_disk_error_left_the_whole_file() {
    let mut successes = 0;
    for_each_error(|case, disk, (step, _), played| {
        if played.outcome.is_ok() {
            let found = oracle::final_name(&case.world, disk);
            assert!(matches!(found, Final::Whole(_)), "{}: {step}", case.name);
            successes += 1;
        }
    });
    assert!(successes > 0);
}
