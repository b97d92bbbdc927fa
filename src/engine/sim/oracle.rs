//! What must hold of a disk, whatever happened to it.

use super::remote::Happening;
use super::world::{World, names};
use crate::checkpoint::{self, Checkpoint};
use crate::engine::control::shared::Shared;
use crate::engine::job::Job;
use crate::engine::output::file::restore;
use crate::integrity::Crc64;
use crate::object::{ByteRange, PartIndex, Plan};
use crate::storage::Durability;
use crate::storage::fake::FakeDisk;

/// What stands at the final name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Final {
    /// What stood there before, or nothing.
    Untouched,
    /// This version, whole.
    Whole(usize),
    /// Neither.
    Wrong,
}

pub(super) fn final_name(world: &World, disk: &FakeDisk) -> Final {
    let found = disk.contents("v");
    match found {
        found if found == world.old => Final::Untouched,
        Some(bytes) => world.version_of(&bytes).map_or(Final::Wrong, Final::Whole),
        None => Final::Wrong,
    }
}

/// Law 1, and law 3: the final name holds the old file or a whole one; every bit of a checkpoint
/// refers to right bytes.
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
    // The checkpoint is the last to go once the file has its final name.
    let bytes = disk.contents("v.part").or_else(|| disk.contents("v"));
    let bytes = bytes.unwrap_or_default();
    let plan = checkpoint.plan().unwrap();
    if bytes.len() as u64 != plan.length() {
        // A restore goes by nothing but a file of the right length.
        return;
    }
    for (part, crc) in checkpoint.completed.iter().zip(&checkpoint.crcs) {
        let found = part_of(&bytes, &plan, part);
        assert_eq!(
            found,
            part_of(&right, &plan, part),
            "part {} of version {version} counts as there",
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

/// The checkpoint, if it can be read.
pub(super) fn checkpoint_on(disk: &FakeDisk) -> Option<Checkpoint> {
    checkpoint::load(disk, &names()).ok().flatten()
}

/// A quiet engine has everything in a clean checkpoint.
#[track_caller]
pub(super) fn all_is_committed(disk: &FakeDisk, shared: &Shared) {
    let checkpoint = checkpoint_on(disk).expect("a pause leaves a checkpoint");
    assert!(checkpoint.clean, "a pause leaves a clean checkpoint");
    let parts = checkpoint.completed.parts();
    let there: Vec<bool> = shared
        .coverage(parts as usize)
        .iter()
        .map(|percent| *percent == 100)
        .collect();
    let committed: Vec<bool> = (0..parts)
        .map(|part| checkpoint.completed.contains(PartIndex(part)))
        .collect();
    assert_eq!(committed, there, "a pause commits everything");
}

/// Bytes of the object that a run of `job` on `disk` may not ask for, because it must trust the
/// parts that hold them.
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
        // The same byte of the object may be there once, and missing where the file has it again.
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

/// Law 5, as far as a run kept to the version that it found.
#[track_caller]
pub(super) fn nothing_is_fetched_again<'a>(
    trusted: &[ByteRange],
    happenings: impl Iterator<Item = &'a Happening>,
) {
    let same_version = happenings.take_while(|what| **what != Happening::Changed);
    for what in same_version {
        let Happening::Asked { range, .. } = what else {
            continue;
        };
        let again = trusted
            .iter()
            .find(|there| there.start() < range.end() && range.start() < there.end());
        assert_eq!(
            again, None,
            "{range} was asked for, of which that is there and trusted"
        );
    }
}

/// Whether a disk keeps the laws through a power cut: without syncs nothing is promised of the
/// images that it leaves.
pub(super) fn is_bound(job: &Job) -> bool {
    job.durability == Durability::Synced
}
