//! What the micro-benchmarks in `benches/` measure. It is not part of the public interface, and may
//! change in every version.

use std::error::Error;
use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use crate::checkpoint;
use crate::engine::internals::{CompletedParts, LinkEstimate, Observed, PartAssembler, Scheduler};
use crate::integrity::{Crc64, combine_parts};
use crate::object::{BlockBitmap, BlockIndex, Identity, PartBitmap, PartIndex, Plan, Tag};
use crate::options::Writer;
use crate::storage::{self, Durability, Folder, Names, Sink};

/// The result of a measured function.
type BenchResult<T> = Result<T, Box<dyn Error>>;

/// The plan of an object of which every other part is completed.
#[derive(Debug)]
pub struct HalfDone {
    plan: Plan,
    completed: PartBitmap,
}

impl HalfDone {
    /// Plans an object of `length` bytes, with parts of the automatic size.
    #[must_use]
    pub fn of(length: u64) -> Self {
        let plan = Plan::auto(length);
        Self::with(plan)
    }

    /// Plans an object of so many parts of 64 KiB.
    #[must_use]
    pub fn of_parts(parts: u32) -> Self {
        let block = 64 << 10;
        Self::with(Plan::new(u64::from(parts) * block, block).unwrap_or(Plan::auto(0)))
    }

    fn with(plan: Plan) -> Self {
        let mut completed = PartBitmap::new(plan.parts());
        for part in (0..plan.parts()).step_by(2) {
            completed.insert(PartIndex(part));
        }
        Self { plan, completed }
    }

    /// The number of parts.
    #[must_use]
    pub fn parts(&self) -> u32 {
        self.plan.parts()
    }

    /// Looks every part up by its last byte, and returns how many were found.
    #[must_use]
    pub fn look_up(&self) -> usize {
        let ends = (0..self.plan.parts()).map(|part| self.plan.range(PartIndex(part)).end() - 1);
        ends.filter_map(|last| self.plan.part_at(last)).count()
    }

    /// Iterates over the runs of missing parts, and returns how many there are.
    #[must_use]
    pub fn missing_runs(&self) -> usize {
        self.completed.missing_runs().count()
    }

    /// Leases, completes and releases every missing part over so many connections, and returns the
    /// number of leases.
    #[must_use]
    pub fn schedule(&self, connections: u32) -> u64 {
        let blocks = self.plan.one_block_a_part();
        let mut completed = BlockBitmap::new(blocks.blocks());
        for part in self.completed.iter() {
            completed.insert(BlockIndex(part.0));
        }
        let mut scheduler = Scheduler::new(blocks, completed);
        let link = LinkEstimate {
            connections,
            rate: 10e6,
            own: None,
            first_byte: Duration::from_millis(20),
        };
        let mut leases = 0;
        let mut held = Vec::new();
        loop {
            while held.len() < connections as usize {
                let Some(grant) = scheduler.lease(&link, u32::MAX, |_| Observed::default()) else {
                    break;
                };
                leases += 1;
                held.push(grant);
            }
            if held.is_empty() {
                return leases;
            }
            for grant in held.drain(..) {
                for block in grant.blocks.clone() {
                    scheduler.complete(grant.id, BlockIndex(block));
                }
                let end = blocks.run(BlockIndex(0), grant.blocks.end).end();
                scheduler.release(grant.id, end);
            }
        }
    }

    /// Assembles all parts from blocks of 64 KiB, and returns how many are completed.
    #[must_use]
    pub fn assemble(&self) -> u32 {
        let blocks = self.plan.in_blocks(64 << 10);
        let nothing = CompletedParts {
            completed: PartBitmap::new(self.plan.parts()),
            crcs: Vec::new(),
        };
        let mut parts = PartAssembler::new(self.plan, blocks, nothing);
        for block in 0..blocks.blocks() {
            parts.add(BlockIndex(block), u64::from(block));
        }
        parts.completed().count()
    }

    /// Creates a checkpoint of the completed parts.
    #[must_use]
    pub fn checkpoint(&self) -> Commit {
        let tag = Tag::of_text("\"0123456789abcdef0123456789abcdef\"");
        Commit(checkpoint::Checkpoint {
            format: checkpoint::FORMAT_VERSION,
            generation: 1,
            length: self.plan.length(),
            part_size: self.plan.part_size(),
            selection: Vec::new(),
            identity: Identity::of(Some(tag), None),
            media: None,
            origin: "https://example.org".to_owned(),
            path: "/v.mp4".to_owned(),
            url_key: [1; 16],
            url_hash: [2; 32],
            query_hash: None,
            coding: None,
            crcs: (0..u64::from(self.completed.count())).collect(),
            completed: self.completed.clone(),
            boot_id: None,
            clean: false,
            standing: checkpoint::Standing::Partial,
            file: None,
        })
    }
}

/// A checkpoint that can be encoded and committed.
#[derive(Debug)]
pub struct Commit(checkpoint::Checkpoint);

impl Commit {
    /// Encodes the checkpoint.
    ///
    /// # Errors
    ///
    /// Fails where the checkpoint is too large for the format.
    pub fn encode(&self) -> BenchResult<Vec<u8>> {
        Ok(checkpoint::encode(&self.0)?)
    }

    /// Replaces the checkpoint in `folder`, and syncs the file and the folder.
    ///
    /// # Errors
    ///
    /// Fails where the folder can't be opened, written or synced.
    pub fn commit(&self, folder: &Path) -> BenchResult<()> {
        let folder = Folder::open_or_create(folder, Durability::Synced)?;
        let names = Names::new(OsStr::new("bench"))?;
        Ok(checkpoint::save(
            &folder,
            &names,
            &self.0,
            Durability::Synced,
        )?)
    }
}

/// Computes the CRC-64/XZ of `bytes`.
#[must_use]
pub fn crc64(bytes: &[u8]) -> u64 {
    Crc64::of(bytes)
}

/// Combines the CRCs of so many parts of 256 KiB.
#[must_use]
pub fn combine(parts: u64) -> u64 {
    combine_parts((0..parts).map(|part| (part, 256 << 10)))
}

/// Fills a new file of `length` bytes with repetitions of `bytes`, through windows of 2 MiB,
/// without a sync. Removes the file afterwards.
///
/// # Errors
///
/// Fails where the file can't be written, or where `mapped` is set and the file can't be mapped
/// safely.
pub fn write(folder: &Path, mapped: bool, bytes: &[u8], length: u64) -> BenchResult<()> {
    /// Length of a window, in bytes.
    const WINDOW: u64 = 2 << 20;
    let volume = Folder::open_or_create(folder, Durability::Unsynced)?;
    let names = Names::new(OsStr::new("bench"))?;
    let choice = if mapped { Writer::Mmap } else { Writer::Pwrite };
    let file = storage::create_locked(&volume, names.part())?.ok_or("the name is taken")?;
    let durability = Durability::Unsynced;
    let reserved = storage::reserve(&volume, names.part(), &file, length, choice, durability)?;
    let path = folder.join(names.part());
    let sink = Sink::new(file, path, reserved.kind, length, choice)?;
    let mut position = 0;
    while position < length {
        let range = crate::object::ByteRange::new(position, length.min(position + WINDOW));
        let mut window = sink.window(range.ok_or("an empty window")?)?;
        while position < window.range().end() {
            let left = usize::try_from(window.range().end() - position)?;
            let now = &bytes[..left.min(bytes.len())];
            window.write(position, now)?;
            position += now.len() as u64;
        }
    }
    storage::remove_partial(&volume, &names)?;
    Ok(())
}
