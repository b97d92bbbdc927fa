//! A disk that fails: EIO at every step, one after the other. A sync that fails has thrown away
//! what it was to make durable.

use super::life::Played;
use super::oracle::{self, Final};
use super::power_cuts::{BOOT, Case, cases, images};
use crate::error::ErrorKind;

const SEED: u64 = 7;

#[test]
fn an_error_at_any_step_ends_the_run_and_the_next_one_is_right() {
    let (mut errors, mut writes, mut syncs, mut runs) = (0, 0, 0, 0);
    for case in cases() {
        let whole_run = case.start.after_exit();
        case.scene(BOOT).play(&whole_run, SEED).outcome.ok();
        for step in 0..whole_run.steps().len() {
            let disk = case.start.after_exit();
            disk.fail_at(step);
            let played = case.scene(BOOT).play(&disk, SEED);
            let place = format!("{}: step {step}, {}", case.name, whole_run.steps()[step]);
            oracle::laws_hold(&case.world, &disk);
            ends_as_it_must(&case, &played, &place);
            if whole_run.steps()[step] == "write v.part" {
                let left = oracle::checkpoint_on(&disk);
                let is_failed = played.outcome.is_err();
                assert!(!is_failed || left.is_none_or(|left| !left.clean), "{place}");
                writes += u32::from(is_failed);
            }
            if whole_run.steps()[step].starts_with("sync") {
                nothing_is_committed_after(step, &disk.steps(), &place);
                syncs += 1;
            }
            errors += 1;
            for (image, boot) in images(&disk, step as u64).take(3) {
                if boot == BOOT || oracle::is_bound(&case.job) {
                    oracle::laws_hold(&case.world, &image);
                }
                case.goes_on(&image, boot, played.version, &place);
                runs += 1;
            }
        }
    }
    println!(
        "{errors} errors, {writes} of them at a write, {syncs} at a sync, {runs} runs after them"
    );
    assert!(errors > 900 && writes > 100 && syncs > 150);
}

/// A file error, but where the run had come to its end all the same or was to end otherwise.
fn ends_as_it_must(case: &Case, played: &Played, place: &str) {
    match &played.outcome {
        Ok(_) => {}
        Err(error) => {
            let kinds = [ErrorKind::File, ErrorKind::Stopped, ErrorKind::Cancelled];
            let asked_for = case.scene(BOOT).acts.len();
            let allowed = if asked_for == 0 {
                &kinds[..1]
            } else {
                &kinds[..]
            };
            assert!(allowed.contains(&error.kind()), "{place}: {error}");
        }
    }
}

/// No checkpoint is written on the strength of data that was not synced, and no file gets its final
/// name.
fn nothing_is_committed_after(step: usize, steps: &[String], place: &str) {
    let mut later = steps[step + 1..].iter();
    let published = steps[..step].iter().any(|step| step == "rename v.part");
    let renamed = later.find(|step| step.starts_with("rename"));
    assert!(published || renamed.is_none(), "{place}: then {renamed:?}");
}

/// Whatever it meets, a run that says that it is done is done.
#[test]
fn a_run_that_ends_well_in_spite_of_an_error_left_the_whole_file() {
    let mut well = 0;
    for case in cases() {
        let whole_run = case.start.after_exit();
        case.scene(BOOT).play(&whole_run, SEED).outcome.ok();
        for step in 0..whole_run.steps().len() {
            let disk = case.start.after_exit();
            disk.fail_at(step);
            if case.scene(BOOT).play(&disk, SEED).outcome.is_ok() {
                let found = oracle::final_name(&case.world, &disk);
                assert!(matches!(found, Final::Whole(_)), "{}: {step}", case.name);
                well += 1;
            }
        }
    }
    assert!(well > 0);
}
