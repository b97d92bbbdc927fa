//! Checks that a run ended as it must, given what was done to it.

use std::time::Duration;

use super::oracle::{self, Final};
use super::remote::{Ranges, ServerEvent, Weather};
use super::scenario::{Act, Played};
use super::world::{Tags, World};
use crate::checkpoint::Standing;
use crate::engine::control::Intent;
use crate::engine::job::Job;
use crate::error::{Error, ErrorKind};
use crate::options::OnChange;
use crate::report::{IdentityKind, Report};
use crate::storage::fake::FakeDisk;

/// A run that has ended, and everything that explains how.
pub(super) struct Trial<'a> {
    pub(super) world: &'a World,
    pub(super) disk: &'a FakeDisk,
    pub(super) job: &'a Job,
    pub(super) weather: &'a Weather,
    pub(super) acts: &'a [(Duration, Act)],
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
        let length = match after {
            Final::Whole(version) => self.world.content(version).len() as u64,
            Final::Mixed => report.bytes,
            Final::Untouched | Final::Wrong => {
                panic!("success, and the final name is {after:?}")
            }
        };
        assert_eq!(report.bytes, length);
        let versions = self.versions_found();
        if versions.is_empty() {
            // An earlier run finished all but its last step.
            assert_eq!(after, self.before);
            assert_eq!(report.resumed_bytes, length);
        } else {
            if let Final::Whole(version) = after {
                // A reply that is overwritten at once has no byte of its own version.
                // Under one tag for all versions, what an earlier run brought can't be told from
                // what the server has now.
                let is_earlier = self.world.tags == Tags::Same && report.fetched_bytes == 0;
                let is_found = versions.contains(&version)
                    || self.has_replied(version)
                    || self.world.lies.overwrites
                    || is_earlier;
                assert!(is_found, "neither probe nor reply found version {version}");
            }
            let useful = report.fetched_bytes - report.wasted_bytes;
            assert_eq!(report.resumed_bytes + useful, length, "{report:?}");
            self.check_evidence(report, after);
        }
        if !self.has_disk_fault {
            self.check_nothing_is_left();
        }
    }

    /// Bytes of several versions are published only where no reply and no block that was compared
    /// could tell; and where the replies told nothing, blocks were compared.
    fn check_evidence(&self, report: &Report, after: Final) {
        // Those of the last pass.
        let events: Vec<_> = self.played.events().collect();
        let pass = events
            .rsplit(|what| matches!(what, ServerEvent::Probed { .. }))
            .next();
        let is_reply = |what: &&&ServerEvent| matches!(what, ServerEvent::Replied { .. });
        let replies = pass.unwrap_or_default().iter().filter(is_reply).count();
        let is_one = replies <= 1 && report.resumed_bytes == 0;
        let has_ranges = self.weather.ranges == Ranges::Served;
        if report.identity == IdentityKind::Length && has_ranges && !is_one {
            assert!(report.spot_checks > 0, "nothing was compared: {report:?}");
        }
        if after != Final::Mixed {
            return;
        }
        let lies = self.world.lies;
        assert!(!self.world.is_honest(), "an honest server, and {report:?}");
        // Of an earlier run it is not known what its replies told.
        let unnamed = |what: &&ServerEvent| {
            matches!(
                what,
                ServerEvent::Replied {
                    is_named: false,
                    ..
                }
            )
        };
        let is_told = self.played.events().find(unnamed).is_none() && report.resumed_bytes == 0;
        if self.world.names_versions() && (lies.omits == 0.0 || is_told) {
            assert!(lies.overwrites, "every reply told its version: {report:?}");
            assert!(
                self.played.unseen() < Duration::from_secs(1),
                "the object was not looked at for {:?}: {report:?}",
                self.played.unseen()
            );
        }
    }

    fn has_replied(&self, version: usize) -> bool {
        let mut events = self.played.events();
        events.any(
            |what| matches!(what, ServerEvent::Replied { version: found, .. } if *found == version),
        )
    }

    /// Something that was done to the run explains the error.
    fn check_error_is_explained(&self, error: &Error) {
        let is_in_the_way = self.before != Final::Untouched && !self.job.overwrite;
        let is_explained = match error.kind() {
            ErrorKind::Stopped => self.is_asked_for(Intent::Stop),
            ErrorKind::Cancelled => self.is_asked_for(Intent::Cancel),
            // Without syncs a power cut may keep the partial file and lose its claim.
            ErrorKind::File => self.fault_ends_runs || is_in_the_way || self.laws_are_waived,
            ErrorKind::Network => self.has_failed() || self.has_shrunk(),
            ErrorKind::Refused => self.weather.fatal && self.has_failed(),
            ErrorKind::Changed => {
                let changes = self.has_changed() || !self.world.is_honest();
                changes && self.job.on_change == OnChange::Fail
            }
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
                let found = oracle::checkpoint_on(self.disk);
                let exists = found.is_some_and(|found| found.standing != Standing::Claimed);
                assert_eq!(
                    error.checkpoint().is_some(),
                    exists,
                    "the checkpoint, after {error}"
                );
            }
        }
    }

    fn check_nothing_is_left(&self) {
        // Of another run, perhaps, as long as this one has not opened anything.
        let has_opened = !self.disk.steps().is_empty();
        let temporary = has_opened.then_some("v.part.ckpt.tmp");
        for name in ["v.part", "v.part.ckpt"].into_iter().chain(temporary) {
            assert_eq!(self.disk.contents(name), None, "{name} is left");
        }
    }

    /// Every block that the transfer completed is in the checkpoint.
    fn check_all_is_committed(&self) {
        let has_started = !self.played.shared.coverage(1).is_empty();
        let found = oracle::checkpoint_on(self.disk);
        let is_claim = found.is_none_or(|found| found.standing == Standing::Claimed);
        // What a last look finds leaves no part that a later run would trust.
        let is_doubted = self
            .played
            .events()
            .any(|what| *what == ServerEvent::LookedElse);
        if has_started && !is_claim && !is_doubted && self.world.is_honest() {
            oracle::all_is_committed(self.world, self.disk, &self.played.shared);
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

    /// Whether a version may look like a page in place of the one before it.
    fn has_shrunk(&self) -> bool {
        let lengths = &self.world.lengths;
        let (longest, shortest) = (lengths.iter().max(), lengths.iter().min());
        matches!((longest, shortest), (Some(longest), Some(shortest)) if *shortest < longest / 16)
    }

    fn has_failed(&self) -> bool {
        let failed = |what: &ServerEvent| matches!(what, ServerEvent::Failed(_));
        self.played.events().any(failed)
    }
}
