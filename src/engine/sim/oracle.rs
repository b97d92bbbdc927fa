//! Checks the laws that hold for a disk after any run, fault or power cut.

use super::remote::ServerEvent;
use super::world::{World, names};
use crate::checkpoint::{self, Checkpoint};
use crate::engine::control::shared::Shared;
use crate::engine::job::Job;
use crate::engine::output::file::restore;
use crate::integrity::Crc64;
use crate::object::{ByteRange, PartIndex, Plan};
use crate::storage::Durability;
use crate::storage::fake::FakeDisk;

/// The content of the final name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Final {
    /// The older file, or no file where none existed.
    Untouched,
    /// The whole file of this version.
    Whole(usize),
    /// Anything else.
    Wrong,
}

/// Finds what the final name holds.
pub(super) fn final_name(world: &World, disk: &FakeDisk) -> Final {
    let found = disk.contents("v");
    match found {
        found if found == world.old => Final::Untouched,
        Some(bytes) => world.version_of(&bytes).map_or(Final::Wrong, Final::Whole),
        None => Final::Wrong,
    }
}

/// Checks laws 1 and 3. The final name holds the older file or a whole one, and every bit of a
/// checkpoint refers to the right bytes. Returns what the final name holds.
#[track_caller]
pub(super) fn laws_hold(world: &World, disk: &FakeDisk) -> Final {
    let found = final_name(world, disk);
    assert_ne!(
        found,
        Final::Wrong,
        "the final name holds {:?}",
        disk.contents("v")
    );
    if let Some(checkpoint) = checkpoint_on(disk) {
        every_bit_is_right(world, disk, &checkpoint);
    }
    found
}

#[track_caller]
fn every_bit_is_right(world: &World, disk: &FakeDisk, checkpoint: &Checkpoint) {
    let version = world.version_in(checkpoint);
    let right = world.content(version);
    // The checkpoint is removed last, once the file has its final name.
    let bytes = disk.contents("v.part").or_else(|| disk.contents("v"));
    let bytes = bytes.unwrap_or_default();
    let plan = checkpoint.plan().unwrap();
    if bytes.len() as u64 != plan.length() {
        // A restore requires a file of the right length.
        return;
    }
    for (part, crc) in checkpoint.completed.iter().zip(&checkpoint.crcs) {
        let found = part_of(&bytes, &plan, part);
        assert_eq!(
            found,
            part_of(&right, &plan, part),
            "part {} of version {version} counts as completed",
            part.0
        );
        assert_eq!(
            found.map(Crc64::of),
            Some(*crc),
            "the CRC of part {}",
            part.0
        );
    }
}

fn part_of<'a>(bytes: &'a [u8], plan: &Plan, part: PartIndex) -> Option<&'a [u8]> {
    let range = plan.range(part);
    let (start, end) = (
        usize::try_from(range.start()).unwrap(),
        usize::try_from(range.end()).unwrap(),
    );
    bytes.get(start..end)
}

/// Whether this step writes a checkpoint: up to its rename by the temporary name, after it by the
/// sync of the folder. Its first step, which removes a leftover, is told by the one that follows.
pub(super) fn is_of_a_checkpoint(steps: &[String], step: usize) -> bool {
    let Some(name) = steps.get(step) else {
        return false;
    };
    match name.split_once(' ') {
        Some(("remove", "v.part.ckpt.tmp")) => {
            let next = steps.get(step + 1);
            next.is_some_and(|next| next == "create v.part.ckpt.tmp")
        }
        Some((_, "v.part.ckpt.tmp")) => true,
        _ => name == "sync folder" && step > 0 && steps[step - 1] == "rename v.part.ckpt.tmp",
    }
}

/// Loads the checkpoint, if there is one that can be read.
pub(super) fn checkpoint_on(disk: &FakeDisk) -> Option<Checkpoint> {
    checkpoint::load(disk, &names()).ok().flatten()
}

/// Checks that the checkpoint is clean and has every completed part, as in a quiet phase.
#[track_caller]
pub(super) fn all_is_committed(disk: &FakeDisk, shared: &Shared) {
    let checkpoint = checkpoint_on(disk).expect("a pause leaves a checkpoint");
    assert!(checkpoint.clean, "a pause leaves a clean checkpoint");
    let (committed, completed) = parts_of(&checkpoint, shared);
    assert_eq!(committed, completed, "a pause commits everything");
}

/// Whether there is no checkpoint, or one that lacks a completed part.
pub(super) fn lacks_parts(disk: &FakeDisk, shared: &Shared) -> bool {
    checkpoint_on(disk).is_none_or(|checkpoint| {
        let (committed, completed) = parts_of(&checkpoint, shared);
        committed != completed
    })
}

/// Which parts a checkpoint names, and which are completed.
fn parts_of(checkpoint: &Checkpoint, shared: &Shared) -> (Vec<bool>, Vec<bool>) {
    let parts = checkpoint.completed.parts();
    let coverage = shared.coverage(parts as usize);
    let completed = coverage.iter().map(|percent| *percent == 100).collect();
    let committed = (0..parts)
        .map(|part| checkpoint.completed.contains(PartIndex(part)))
        .collect();
    (committed, completed)
}

/// The ranges of the object that a run of `job` on `disk` must not request, because it must trust
/// the parts that hold them.
pub(super) fn trusted(
    world: &World,
    disk: &FakeDisk,
    job: &Job,
    boot: [u8; 16],
    version: usize,
) -> Vec<ByteRange> {
    let selection = world.selection.resolve(world.lengths[version]).unwrap();
    let usable = checkpoint_on(disk).filter(|checkpoint| {
        let bytes = disk.contents("v.part").unwrap_or_default();
        !job.fresh
            && world.version_in(checkpoint) == version
            && bytes.len() as u64 == selection.length()
            && final_name(world, disk) == Final::Untouched
    });
    let Some(checkpoint) = usable else {
        return Vec::new();
    };
    if overlap(selection.extents()) {
        // A byte of the object may be in a completed part and in a missing one.
        return Vec::new();
    }
    let bytes = disk.contents("v.part").unwrap_or_default();
    let verified = restore::must_verify(job.verify, &checkpoint, Some(boot));
    let plan = checkpoint.plan().unwrap();
    let parts = checkpoint.completed.iter().zip(&checkpoint.crcs);
    let good = parts.filter(|(part, crc)| {
        !verified || part_of(&bytes, &plan, *part).map(Crc64::of) == Some(**crc)
    });
    let mut ranges = Vec::new();
    for (part, _) in good {
        let mut left = plan.range(part);
        while let Some(range) = selection.locate(left) {
            ranges.push(range);
            left = ByteRange::new(left.start() + range.len(), left.end()).unwrap();
        }
    }
    ranges
}

fn overlap(extents: &[ByteRange]) -> bool {
    let mut extents = extents.to_vec();
    extents.sort_by_key(|extent| extent.start());
    extents.windows(2).any(|two| two[0].end() > two[1].start())
}

/// Checks law 5 up to the first change of the object: no trusted byte is requested.
#[track_caller]
pub(super) fn nothing_is_fetched_again<'a>(
    trusted: &[ByteRange],
    events: impl Iterator<Item = &'a ServerEvent>,
) {
    let same_version = events.take_while(|what| **what != ServerEvent::Changed);
    for what in same_version {
        let ServerEvent::Asked { range, .. } = what else {
            continue;
        };
        let again = trusted
            .iter()
            .find(|held| held.start() < range.end() && range.start() < held.end());
        assert_eq!(
            again, None,
            "{range} was requested, of which this is trusted"
        );
    }
}

/// Whether the laws hold after a power cut. They do not where syncs are off.
pub(super) fn is_bound(job: &Job) -> bool {
    job.durability == Durability::Synced
}
