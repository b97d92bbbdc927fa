//! Checks that a run ended as it must, given what was done to it.

use super::oracle::{self, Final};
use super::remote::{ServerEvent, Weather};
use super::scenario::{Act, Played};
use super::world::World;
use crate::engine::control::Intent;
use crate::engine::job::Job;
use crate::error::{Error, ErrorKind};
use crate::options::OnChange;
use crate::report::Report;
use crate::storage::fake::FakeDisk;

/// A run that has ended, and everything that explains how.
pub(super) struct Trial<'a> {
    pub(super) world: &'a World,
    pub(super) disk: &'a FakeDisk,
    pub(super) job: &'a Job,
    pub(super) weather: &'a Weather,
    pub(super) acts: &'a [(std::time::Duration, Act)],
    /// Whether a step of the disk may have failed, or the disk may have ended the run.
    pub(super) has_disk_fault: bool,
    /// Whether a disk fault explains a file error. One that hits a checkpoint alone does not: a
    /// checkpoint that can't be written is a warning.
    pub(super) fault_ends_runs: bool,
    /// Whether the laws do not bind this disk: the power was cut while syncs were off.
    pub(super) laws_are_waived: bool,
    /// The final name before the run.
    pub(super) before: Final,
    pub(super) played: &'a Played,
}

impl Trial<'_> {
    /// Panics where the run ended otherwise.
    #[track_caller]
    pub(super) fn judge(&self) {
        let after = oracle::final_name(self.world, self.disk);
        if !self.laws_are_waived {
            oracle::laws_hold(self.world, self.disk);
        }
        match &self.played.outcome {
            Ok(report) => self.check_success(report, after),
            Err(error) => {
                self.check_error_is_explained(error);
                self.check_what_is_left(error, after);
            }
        }
    }

    fn check_success(&self, report: &Report, after: Final) {
        let Final::Whole(version) = after else {
            panic!("success, and the final name is {after:?}");
        };
        let length = self.world.content(version).len() as u64;
        assert_eq!(report.bytes, length);
        let mut versions = self.versions_found();
        if versions.is_empty() {
            // An earlier run finished all but its last step.
            assert_eq!(after, self.before);
            assert_eq!(report.resumed_bytes, length);
        } else {
            assert!(
                versions.contains(&version),
                "no probe found version {version}"
            );
            versions.dedup();
            let useful = report.fetched_bytes - report.wasted_bytes;
            if versions.len() == 1 && !self.has_changed() {
                assert_eq!(report.resumed_bytes + useful, length, "{report:?}");
            }
        }
        if !self.has_disk_fault {
            self.check_nothing_is_left();
        }
    }

    /// Something that was done to the run explains the error.
    fn check_error_is_explained(&self, error: &Error) {
        let is_in_the_way = self.before != Final::Untouched && !self.job.overwrite;
        let is_explained = match error.kind() {
            ErrorKind::Stopped => self.is_asked_for(Intent::Stop),
            ErrorKind::Cancelled => self.is_asked_for(Intent::Cancel),
            ErrorKind::File => self.fault_ends_runs || is_in_the_way,
            ErrorKind::Network => self.has_failed(),
            ErrorKind::Refused => self.weather.fatal && self.has_failed(),
            ErrorKind::Changed => self.has_changed() && self.job.on_change == OnChange::Fail,
            ErrorKind::Usage
            | ErrorKind::Checksum
            | ErrorKind::ReaderGone
            | ErrorKind::Unexpected => false,
        };
        assert!(is_explained, "nothing explains the error: {error}");
    }

    /// A failed run leaves the final name as it was, and what it fetched in a checkpoint.
    fn check_what_is_left(&self, error: &Error, after: Final) {
        if self.has_disk_fault {
            return;
        }
        assert_eq!(after, self.before, "the final name, after {error}");
        match error.kind() {
            ErrorKind::Cancelled => self.check_nothing_is_left(),
            ErrorKind::File => {}
            _ => {
                self.check_all_is_committed();
                let exists = oracle::checkpoint_on(self.disk).is_some();
                assert_eq!(
                    error.checkpoint().is_some(),
                    exists,
                    "the checkpoint, after {error}"
                );
            }
        }
    }

    fn check_nothing_is_left(&self) {
        for name in ["v.part", "v.part.ckpt", "v.part.ckpt.tmp"] {
            assert_eq!(self.disk.contents(name), None, "{name} is left");
        }
    }

    /// Every block that the transfer completed is in the checkpoint.
    fn check_all_is_committed(&self) {
        let has_started = !self.played.shared.coverage(1).is_empty();
        if has_started && oracle::checkpoint_on(self.disk).is_some() {
            oracle::all_is_committed(self.disk, &self.played.shared);
        }
    }

    fn versions_found(&self) -> Vec<usize> {
        let found = self.played.events().filter_map(|what| match what {
            ServerEvent::Probed { version } => Some(*version),
            _ => None,
        });
        found.collect()
    }

    fn is_asked_for(&self, intent: Intent) -> bool {
        self.acts.iter().any(|(_, act)| match act {
            Act::Stop => intent == Intent::Stop,
            Act::Cancel => intent == Intent::Cancel,
            Act::EndQuiet(asked) => *asked == intent,
            Act::Pause(_) | Act::Flicker | Act::Change => false,
        })
    }

    fn has_changed(&self) -> bool {
        self.played
            .events()
            .any(|what| *what == ServerEvent::Changed)
    }

    fn has_failed(&self) -> bool {
        let failed = |what: &ServerEvent| matches!(what, ServerEvent::Failed(_));
        self.played.events().any(failed)
    }
}
