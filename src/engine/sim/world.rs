//! The versions of the simulated object, and the options of a run.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use crate::checkpoint::Checkpoint;
use crate::engine::job::{Destination, Job};
use crate::http::testing::client;
use crate::http::{Client, Conditions, Metadata, RangeSupport, Source};
use crate::object::{Date, Identity, SelectionSpec, Tag};
use crate::options::Writer;
use crate::options::{Connections, OnChange, Verify};
use crate::storage::{Durability, Names};

/// The validator that the server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tags {
    /// A strong entity tag.
    Strong,
    /// A weak entity tag.
    Weak,
    /// The modification date.
    Date,
    /// A weak entity tag and the modification date.
    Both,
    /// An entity tag that is not well formed.
    Malformed,
    /// A strong entity tag that all versions share, as nginx gives to files of one size and date.
    Same,
    /// Nothing.
    None,
}

/// What a server leaves out or gets wrong, during all runs of a schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Lies {
    /// The probability that a reply lacks a field of its version.
    pub(super) omits: f64,
    /// Whether the probe finds no version.
    pub(super) probe_omits: bool,
    /// Whether a reply under way goes on with the bytes of a version that replaces its own.
    pub(super) overwrites: bool,
}

/// The versions of one object, in the order in which they replace each other.
///
/// No two versions have the same byte at the same position.
#[derive(Clone, Debug)]
pub(super) struct World {
    seed: u64,
    /// The length of each version, in bytes.
    pub(super) lengths: Vec<u64>,
    pub(super) tags: Tags,
    pub(super) lies: Lies,
    pub(super) selection: SelectionSpec,
    /// The older file at the final name, if there is one.
    pub(super) old: Option<Vec<u8>>,
}

impl World {
    /// Creates the versions of an object, of these lengths, with strong entity tags.
    pub(super) fn new(seed: u64, lengths: &[u64]) -> Self {
        Self {
            seed,
            lengths: lengths.to_vec(),
            tags: Tags::Strong,
            lies: Lies::default(),
            selection: SelectionSpec::default(),
            old: None,
        }
    }

    /// The byte of a version at a position.
    pub(super) fn byte(&self, version: usize, position: u64) -> u8 {
        let mut x = self.seed ^ position.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let base = (x ^ (x >> 31)).to_le_bytes()[0];
        base.wrapping_add(u8::try_from(version).unwrap().wrapping_mul(101))
    }

    /// The file that a download of this version publishes.
    pub(super) fn content(&self, version: usize) -> Vec<u8> {
        let selection = self.selection.resolve(self.lengths[version]).unwrap();
        let extents = selection.extents().iter();
        let positions = extents.flat_map(|extent| extent.start()..extent.end());
        positions
            .map(|position| self.byte(version, position))
            .collect()
    }

    /// The version whose whole file is `bytes`.
    pub(super) fn version_of(&self, bytes: &[u8]) -> Option<usize> {
        (0..self.lengths.len()).find(|version| self.content(*version) == bytes)
    }

    /// The version that a checkpoint belongs to.
    pub(super) fn version_in(&self, checkpoint: &Checkpoint) -> usize {
        let mut versions = 0..self.lengths.len();
        let found = versions.find(|version| self.identity(*version) == checkpoint.identity);
        found.expect("every checkpoint names a version that the server had")
    }

    /// The fields of a version.
    pub(super) fn identity(&self, version: usize) -> Identity {
        let tag = |text: String| Identity::of(Some(Tag::of_text(&text)), None);
        match self.tags {
            Tags::Strong => tag(format!("\"v{version}\"")),
            Tags::Weak => tag(format!("W/\"v{version}\"")),
            Tags::Date => Identity::of(None, Some(self.date(version))),
            Tags::Both => Identity {
                date: Some(self.date(version)),
                ..tag(format!("W/\"v{version}\""))
            },
            Tags::Malformed => tag(format!("v{version}")),
            Tags::Same => tag("\"v\"".to_owned()),
            Tags::None => Identity::default(),
        }
    }

    /// Whether every reply tells its version, and keeps to it.
    pub(super) fn is_honest(&self) -> bool {
        self.lies == Lies::default() && self.names_versions()
    }

    /// Whether the fields of a version differ from those of the others.
    pub(super) fn names_versions(&self) -> bool {
        !matches!(self.tags, Tags::Same | Tags::None)
    }

    /// Whether each byte is that of some version at its place in the output.
    pub(super) fn is_mixture(&self, bytes: &[u8]) -> bool {
        let versions: Vec<_> = (0..self.lengths.len())
            .map(|version| self.content(version))
            .filter(|content| content.len() == bytes.len())
            .collect();
        let is_of_one = |(at, byte): (usize, &u8)| versions.iter().any(|one| one[at] == *byte);
        !versions.is_empty() && bytes.iter().enumerate().all(is_of_one)
    }

    fn date(&self, version: usize) -> Date {
        let seconds = 1_700_000_000 + (self.seed % 1000 + version as u64) * 1000;
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        Date::of_text(&httpdate::fmt_http_date(date))
    }

    /// What a probe of this version finds.
    pub(super) fn metadata(&self, version: usize, ranges: RangeSupport) -> Metadata {
        Metadata {
            length: Some(self.lengths[version]),
            identity: if self.lies.probe_omits {
                Identity::default()
            } else {
                self.identity(version)
            },
            is_young: false,
            media: None,
            coding: None,
            ranges,
            fields: Vec::new(),
            first_byte: Duration::from_millis(20),
            round_trip: Duration::from_millis(20),
        }
    }
}

/// The boot ID of the first run.
pub(super) const BOOT: [u8; 16] = [1; 16];

/// The file names of every simulated download.
pub(super) fn names() -> Names {
    Names::new(OsStr::new("v")).unwrap()
}

/// The usual options of a simulated run.
pub(super) fn job(world: &World, part_size: u64) -> Job {
    // A client takes milliseconds to build, and no simulation uses it.
    static CLIENT: LazyLock<Client> = LazyLock::new(client);
    Job {
        client: CLIENT.clone(),
        source: Source::new("http://h/v", None).unwrap(),
        conditions: Conditions::default(),
        destination: Destination::File {
            folder: PathBuf::from("."),
            names: names(),
        },
        selection: world.selection.clone(),
        checksums: Vec::new(),
        connections: Connections::Auto,
        max_connections: 8,
        part_size: Some(part_size),
        // A part of an odd size is one block.
        block_size: part_size / 2,
        limit_rate: None,
        lowest_speed: None,
        retries: 8,
        wait_online: Duration::from_secs(600),
        fresh: false,
        overwrite: world.old.is_some(),
        durability: Durability::Synced,
        writer: Writer::Auto,
        verify: Verify::Auto,
        on_change: OnChange::Restart,
        mirrors: Vec::new(),
        trust_mirrors: false,
        refresh: None,
    }
}
