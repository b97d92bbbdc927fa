//! Draws the inputs of a schedule from a seed: world, weather, acts, and faults of the disk.

use std::num::NonZeroU32;
use std::time::Duration;

use fastrand::Rng;

use super::line::{Line, LineOutage, Shows};
use super::remote::{Ranges, Weather};
use super::scenario::Act;
use super::world::{Lies, Tags, World, job};
use crate::engine::control::Intent;
use crate::engine::job::Job;
use crate::object::SelectionSpec;
use crate::options::Writer;
use crate::options::{Connections, OnChange, Verify};
use crate::storage::Durability;

/// The greatest length of a version, in bytes.
const LONGEST: u64 = 500;
/// The most parts of a version.
const MOST_PARTS: u64 = 40;

/// What all runs of a schedule have in common.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) world: World,
    pub(super) part_size: u64,
    pub(super) durability: Durability,
    pub(super) overwrite: bool,
    /// Whether the disk can reserve space.
    pub(super) reserves: bool,
}

/// What happens to the process or the disk during a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing.
    None,
    /// The process is killed before this step of the disk. The next one runs in the same boot.
    Kill(usize),
    /// The power is cut before this step, or after the run where it has fewer steps.
    PowerCut(usize),
    /// This step fails with EIO.
    Error(usize),
    /// The disk is full from this step on.
    Full(usize),
    /// No file can be created from this step on.
    NoInodes(usize),
    /// The disk has this many free bytes at the start.
    NoRoom(u64),
}

/// Draws one of `choices`.
fn any<T: Clone>(rng: &mut Rng, choices: &[T]) -> T {
    choices[rng.usize(0..choices.len())].clone()
}

/// Draws true with a probability of one in `times`.
fn once_in(rng: &mut Rng, times: u32) -> bool {
    rng.u32(0..times) == 0
}

/// Draws what all runs of a schedule have in common.
pub(super) fn setting(rng: &mut Rng) -> Setting {
    let world = world(rng);
    let longest = world.lengths.iter().copied().max().unwrap_or(0);
    let part_size = match rng.u8(0..6) {
        // A single part, and a part that lacks one byte of the object.
        0 => longest + 1,
        1 => longest.saturating_sub(1).max(1),
        _ => rng.u64(1..=100),
    };
    Setting {
        part_size: part_size.max(longest.div_ceil(MOST_PARTS)),
        durability: if once_in(rng, 5) {
            Durability::Unsynced
        } else {
            Durability::Synced
        },
        overwrite: world.old.is_some() || once_in(rng, 4),
        reserves: !once_in(rng, 6),
        world,
    }
}

fn world(rng: &mut Rng) -> World {
    let versions = any(rng, &[1, 2, 3, 3]);
    let mut lengths: Vec<u64> = (0..versions).map(|_| rng.u64(1..=LONGEST)).collect();
    match rng.u8(0..9) {
        // The checks tell versions apart by their bytes, so at most one version may be empty.
        0 => lengths[0] = 0,
        // Versions of the same length.
        1..=4 => lengths = vec![lengths[0]; versions],
        _ => {}
    }
    let mut world = World::new(rng.u64(..), &lengths);
    world.tags = any(rng, &[Tags::Strong, Tags::Strong, Tags::Weak, Tags::Date]);
    if once_in(rng, 3) {
        lie(rng, &mut world);
    }
    if once_in(rng, 4) {
        world.old = Some(b"an older file, replaced".to_vec());
    }
    if once_in(rng, 4) {
        select(rng, &mut world);
    }
    world
}

/// Lets the server say too little of its versions.
fn lie(rng: &mut Rng, world: &mut World) {
    let tags = [
        Tags::Strong,
        Tags::Weak,
        Tags::Date,
        Tags::Both,
        Tags::Malformed,
        Tags::Same,
        Tags::None,
    ];
    world.tags = any(rng, &tags);
    world.lies = Lies {
        omits: any(rng, &[0.0, 0.0, 0.2, 0.9]),
        probe_omits: once_in(rng, 3),
        overwrites: once_in(rng, 3),
    };
}

/// Selects ranges that every version has, unless two versions give the same file for them.
fn select(rng: &mut Rng, world: &mut World) {
    let shortest = world.lengths.iter().copied().min().unwrap_or(0);
    if shortest == 0 {
        return;
    }
    let ranges: Vec<String> = (0..rng.usize(1..=3))
        .map(|_| {
            let first = rng.u64(0..shortest);
            match rng.u8(0..4) {
                0 => format!("{first}-"),
                1 => format!("-{}", first + 1),
                _ => format!("{first}-{}", rng.u64(first..=LONGEST)),
            }
        })
        .collect();
    world.selection = SelectionSpec::parse(&ranges.join(",")).unwrap();
    let versions = 0..world.lengths.len();
    let contents: Vec<_> = versions.map(|version| world.content(version)).collect();
    let mut rest = &contents[..];
    while let Some((one, others)) = rest.split_first() {
        if others.contains(one) || world.old.as_ref() == Some(one) {
            world.selection = SelectionSpec::default();
        }
        rest = others;
    }
}

/// Draws weather in which nothing fails, though the server may have no ranges.
pub(super) fn fair(rng: &mut Rng) -> Weather {
    Weather {
        ranges: ranges(rng),
        ..Weather::fair()
    }
}

fn ranges(rng: &mut Rng) -> Ranges {
    match rng.u8(0..10) {
        0 => Ranges::Denied,
        1 => Ranges::Ignored,
        _ => Ranges::Served,
    }
}

/// Draws any weather.
pub(super) fn weather(rng: &mut Rng) -> Weather {
    Weather {
        refuse: any(rng, &[0.0, 0.0, 0.05, 0.2, 0.6]),
        tear: any(rng, &[0.0, 0.0, 0.02, 0.1, 0.4]),
        shorten: any(rng, &[0.0, 0.1, 0.5]),
        fatal: once_in(rng, 6),
        wait: Duration::from_millis(any(rng, &[0, 20, 300, 3000])),
        longest_chunk: any(rng, &[1, 7, 24, 64, LONGEST]),
        broken_at: None,
        hangs: false,
        ranges: ranges(rng),
        uses: None,
        line: line(rng),
    }
}

fn line(rng: &mut Rng) -> Line {
    if !once_in(rng, 4) {
        return Line::default();
    }
    let outages = (0..rng.usize(1..=3)).map(|_| {
        let from = moment(rng);
        let seconds = any(rng, &[0, 1, 5, 20, 90]);
        LineOutage {
            from,
            until: from + Duration::from_secs(seconds),
            shows: any(rng, &[Shows::Refusals, Shows::NoRoute, Shows::Nothing]),
        }
    });
    Line(outages.collect())
}

/// Draws what the caller and the server do during a run, each after a wait.
pub(super) fn acts(rng: &mut Rng) -> Vec<(Duration, Act)> {
    let number = any(rng, &[0, 0, 1, 2, 3, 4]);
    (0..number).map(|_| (moment(rng), act(rng))).collect()
}

fn act(rng: &mut Rng) -> Act {
    match rng.u8(0..12) {
        0..=2 => Act::Pause(moment(rng)),
        3 => Act::Flicker,
        4..=6 => Act::Stop,
        7 => Act::EndQuiet(Intent::Stop),
        8 => any(rng, &[Act::Cancel, Act::EndQuiet(Intent::Cancel)]),
        _ => Act::Change,
    }
}

fn moment(rng: &mut Rng) -> Duration {
    let longest = any(rng, &[0, 30, 1000, 4000, 20_000]);
    Duration::from_millis(rng.u64(0..=longest))
}

/// Draws what happens to the process or the disk during a run.
pub(super) fn fault(rng: &mut Rng) -> Fault {
    // A run takes a few dozen steps. Most are writes; the first ones create the files.
    let most = any(rng, &[15, 60, 100, 200]);
    let step = rng.usize(0..most);
    match rng.u8(0..22) {
        0..=7 => Fault::None,
        8..=11 => Fault::Kill(step),
        12..=15 => Fault::PowerCut(step),
        16 | 17 => Fault::Error(step),
        18 => Fault::Full(step),
        19 | 20 => Fault::NoInodes(step),
        _ => Fault::NoRoom(rng.u64(0..LONGEST)),
    }
}

/// The options of the last run of a schedule, in which nothing fails.
pub(super) fn plain_job(setting: &Setting) -> Job {
    Job {
        durability: setting.durability,
        overwrite: setting.overwrite,
        ..job(&setting.world, setting.part_size)
    }
}

/// Draws the options of a run.
pub(super) fn any_job(rng: &mut Rng, setting: &Setting) -> Job {
    let part_size = if once_in(rng, 10) {
        rng.u64(setting.part_size..=2 * setting.part_size)
    } else {
        setting.part_size
    };
    Job {
        part_size: Some(part_size),
        connections: match rng.u32(0..6) {
            0 => Connections::Auto,
            number => Connections::Fixed(NonZeroU32::new(number).unwrap()),
        },
        max_connections: rng.u32(1..=8),
        limit_rate: once_in(rng, 8).then(|| rng.u64(20..2000)),
        lowest_speed: None,
        retries: any(rng, &[0, 2, 8, 8]),
        wait_online: Duration::from_secs(600),
        fresh: once_in(rng, 15),
        writer: any(rng, &[Writer::Auto, Writer::Pwrite]),
        verify: any(rng, &[Verify::Auto, Verify::Auto, Verify::Always]),
        on_change: any(rng, &[OnChange::Restart, OnChange::Restart, OnChange::Fail]),
        ..plain_job(setting)
    }
}
