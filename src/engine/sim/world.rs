//! The versions of the simulated object, and the options of a run.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use crate::checkpoint::Checkpoint;
use crate::engine::job::{Destination, Job};
use crate::http::testing::client;
use crate::http::{Client, Conditions, Metadata, RangeSupport, Source};
use crate::object::{EntityTag, Identity, SelectionSpec, Validator};
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
        let found = versions.find(|version| {
            let validator = self.validator(*version);
            let tag = validator.tag().map(ToString::to_string);
            tag == checkpoint.etag
                && (tag.is_some() || validator.if_unmodified_since() == checkpoint.last_modified)
        });
        found.expect("every checkpoint names a version that the server had")
    }

    /// The validator of a version.
    pub(super) fn validator(&self, version: usize) -> Validator {
        let tag = |text: String| EntityTag::parse(&text).ok();
        match self.tags {
            Tags::Strong => Validator::from_fields(tag(format!("\"v{version}\"")), None),
            Tags::Weak => Validator::from_fields(tag(format!("W/\"v{version}\"")), None),
            Tags::Date => Validator::from_fields(None, Some(self.date(version))),
        }
    }

    fn date(&self, version: usize) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs((self.seed % 1000 + version as u64) * 1000)
    }

    /// What a probe of this version finds.
    pub(super) fn metadata(&self, version: usize, ranges: RangeSupport) -> Metadata {
        let validator = self.validator(version);
        Metadata {
            length: Some(self.lengths[version]),
            identity: Identity::of(validator.tag().cloned(), validator.if_unmodified_since()),
            etag: validator.tag().cloned(),
            last_modified: validator.if_unmodified_since(),
            coding: None,
            ranges,
            fields: Vec::new(),
            first_byte: Duration::from_millis(20),
        }
    }
}

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
        retries: 8,
        fresh: false,
        overwrite: world.old.is_some(),
        durability: Durability::Synced,
        writer: Writer::Auto,
        verify: Verify::Auto,
        on_change: OnChange::Restart,
        mirrors: Vec::new(),
        refresh: None,
    }
}
