//! Whether a run of a schedule ended as it had to, by what was done to it.

use super::life::{Act, Played};
use super::oracle::{self, Final};
use super::remote::{Happening, Weather};
use super::world::World;
use crate::engine::control::Intent;
use crate::engine::job::Job;
use crate::error::{Error, ErrorKind};
use crate::options::OnChange;
use crate::report::Report;
use crate::storage::fake::FakeDisk;

/// A run that is over, and what is known of it.
pub(super) struct Trial<'a> {
    pub(super) world: &'a World,
    pub(super) disk: &'a FakeDisk,
    pub(super) job: &'a Job,
    pub(super) weather: &'a Weather,
    pub(super) acts: &'a [(std::time::Duration, Act)],
    /// Whether a step of the disk may have failed, or none have come after a certain one.
    pub(super) has_disk_fault: bool,
    pub(super) is_lawless: bool,
    /// What stood at the final name.
    pub(super) before: Final,
    pub(super) played: &'a Played,
}

impl Trial<'_> {
    #[track_caller]
    pub(super) fn judge(&self) {
        let after = oracle::final_name(self.world, self.disk);
        if !self.is_lawless {
            oracle::laws_hold(self.world, self.disk);
        }
        match &self.played.outcome {
            Ok(report) => self.ended_well(report, after),
            Err(error) => {
                self.has_a_reason(error);
                self.left_in_order(error, after);
            }
        }
    }

    fn ended_well(&self, report: &Report, after: Final) {
        let Final::Whole(version) = after else {
            panic!("done, and {after:?}");
        };
        let length = self.world.content(version).len() as u64;
        assert_eq!(report.bytes, length);
        let mut versions = self.versions_found();
        if versions.is_empty() {
            // What an earlier run had finished but for its last step.
            assert_eq!(after, self.before);
            assert_eq!(report.resumed_bytes, length);
        } else {
            assert!(versions.contains(&version), "{version} was never found");
            versions.dedup();
            let useful = report.fetched_bytes - report.wasted_bytes;
            if versions.len() == 1 && !self.has_changed() {
                assert_eq!(report.resumed_bytes + useful, length, "{report:?}");
            }
        }
        if !self.has_disk_fault {
            self.nothing_is_left();
        }
    }

    /// No error but one that something was done for.
    fn has_a_reason(&self, error: &Error) {
        let in_the_way = self.before != Final::Untouched && !self.job.overwrite;
        let is_explained = match error.kind() {
            ErrorKind::Stopped => self.is_asked_for(Intent::Stop),
            ErrorKind::Cancelled => self.is_asked_for(Intent::Cancel),
            ErrorKind::File => self.has_disk_fault || in_the_way,
            ErrorKind::Network => self.has_failed(),
            ErrorKind::Refused => self.weather.fatal && self.has_failed(),
            ErrorKind::Changed => self.has_changed() && self.job.on_change == OnChange::Fail,
            ErrorKind::Usage | ErrorKind::Checksum | ErrorKind::Unexpected => false,
        };
        assert!(is_explained, "for no reason: {error}");
    }

    fn left_in_order(&self, error: &Error, after: Final) {
        if self.has_disk_fault {
            return;
        }
        assert_eq!(after, self.before, "the final name, after {error}");
        match error.kind() {
            ErrorKind::Cancelled => self.nothing_is_left(),
            ErrorKind::File => {}
            _ => {
                self.all_is_committed();
                let is_there = oracle::checkpoint_on(self.disk).is_some();
                assert_eq!(
                    error.checkpoint().is_some(),
                    is_there,
                    "the checkpoint, after {error}"
                );
            }
        }
    }

    fn nothing_is_left(&self) {
        for name in ["v.part", "v.part.ckpt", "v.part.ckpt.tmp"] {
            assert_eq!(self.disk.contents(name), None, "{name} is left");
        }
    }

    /// Whatever ends a transfer, what came is not lost.
    fn all_is_committed(&self) {
        let is_begun = !self.played.shared.coverage(1).is_empty();
        if is_begun && oracle::checkpoint_on(self.disk).is_some() {
            oracle::all_is_committed(self.disk, &self.played.shared);
        }
    }

    fn versions_found(&self) -> Vec<usize> {
        let found = self.played.happenings().filter_map(|what| match what {
            Happening::Probed { version } => Some(*version),
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
            .happenings()
            .any(|what| *what == Happening::Changed)
    }

    fn has_failed(&self) -> bool {
        let failed = |what: &Happening| matches!(what, Happening::Failed(_));
        self.played.happenings().any(failed)
    }
}
