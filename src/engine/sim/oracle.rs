//! Checks the laws that hold for a disk after any run, fault or power cut.

use super::remote::ServerEvent;
use super::world::{Tags, World, names};
use crate::checkpoint::{self, Checkpoint, Standing};
use crate::engine::control::shared::Shared;
use crate::engine::job::Job;
use crate::engine::output::file::read_back;
use crate::integrity::Crc64;
use crate::object::{ByteRange, PartIndex, Plan};
use crate::storage::fake::FakeDisk;
use crate::storage::{Durability, PartFile, Volume};

/// The content of the final name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Final {
    /// The older file, or no file where none existed.
    Untouched,
    /// The whole file of this version.
    Whole(usize),
    /// A whole file whose bytes are of several versions.
    Mixed,
    /// Anything else.
    Wrong,
}

/// Finds what the final name holds.
pub(super) fn final_name(world: &World, disk: &FakeDisk) -> Final {
    let found = disk.contents("v");
    match found {
        found if found == world.old => Final::Untouched,
        Some(bytes) => match world.version_of(&bytes) {
            Some(version) => Final::Whole(version),
            None if !world.is_honest() && world.is_mixture(&bytes) => Final::Mixed,
            None => Final::Wrong,
        },
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
    if let Some(checkpoint) = checkpoint_on(disk).filter(|_| world.is_honest()) {
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

/// Checks that the checkpoint is clean and has every completed part, as in a quiet phase. Where the
/// evidence is weak, nothing is committed before blocks were compared.
#[track_caller]
pub(super) fn all_is_committed(world: &World, disk: &FakeDisk, shared: &Shared) {
    if world.tags != Tags::Strong || !world.is_honest() {
        return;
    }
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
        if !world.is_honest() || checkpoint.standing == Standing::Claimed {
            return false;
        }
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
    let stamp = disk.open(names().part()).unwrap().stamp().unwrap();
    let verified = read_back::must_verify(job.verify, &checkpoint, Some(boot), stamp);
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

/// Blocks of trusted bytes that a run may compare with the server.
const SPOT_CHECKS: usize = 3;

/// Checks law 5 up to the first change of the object: no trusted byte is requested, except for spot
/// checks where the evidence is weak.
#[track_caller]
pub(super) fn nothing_is_fetched_again<'a>(
    world: &World,
    trusted: &[ByteRange],
    events: impl Iterator<Item = &'a ServerEvent>,
) {
    let same_version = events.take_while(|what| **what != ServerEvent::Changed);
    let overlaps =
        |one: &ByteRange, other: &ByteRange| one.start() < other.end() && other.start() < one.end();
    let mut again: Vec<ByteRange> = Vec::new();
    for what in same_version {
        let ServerEvent::Asked { range, .. } = what else {
            continue;
        };
        if trusted.iter().any(|held| overlaps(held, range)) {
            // A retry and what follows a short reply lie within the first request.
            again.retain(|before| {
                !overlaps(before, range) || overlaps(range, before) && before.len() > range.len()
            });
            if !again.iter().any(|before| overlaps(before, range)) {
                again.push(*range);
            }
        }
    }
    let most = if world.tags == Tags::Strong {
        0
    } else {
        SPOT_CHECKS
    };
    assert!(
        again.len() <= most,
        "{again:?} were requested, of which {trusted:?} are trusted"
    );
}

/// Whether the laws hold after a power cut. They do not where syncs are off.
pub(super) fn is_bound(job: &Job) -> bool {
    job.durability == Durability::Synced
}
