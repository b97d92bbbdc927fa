//! Holds parts in memory. Connections complete them in any order, and the output takes them in
//! order.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::virtual_file::WriteAt;
use crate::object::Plan;

/// Holds the parts that have bytes and were not taken yet. It uses the memory of these parts only.
#[derive(Debug)]
pub(crate) struct ReorderBuffer {
    plan: Plan,
    // Taken once per chunk, for a copy; never across an await.
    held: Mutex<Held>,
}

/// The parts that a reorder buffer holds.
#[derive(Debug, Default)]
struct Held {
    parts: HashMap<u32, Vec<u8>>,
    /// Parts before this one were taken. Late duplicates of their bytes are dropped.
    front: u32,
}

impl ReorderBuffer {
    /// Creates an empty buffer for the parts of `plan`.
    pub(crate) fn new(plan: Plan) -> Self {
        Self {
            plan,
            held: Mutex::default(),
        }
    }

    /// Takes a part. Parts are taken in order.
    pub(crate) fn take(&self, part: u32) -> Vec<u8> {
        let mut held = self.held();
        held.front = part + 1;
        held.parts.remove(&part).unwrap_or_default()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // A part's bytes count only once it is reported as complete, so a panic elsewhere leaves
        // nothing half done.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WriteAt for ReorderBuffer {
    fn write_at(&self, mut position: u64, mut bytes: &[u8]) -> io::Result<()> {
        let mut held = self.held();
        while !bytes.is_empty() {
            let part = self.plan.part_at(position);
            let part = part.ok_or(io::ErrorKind::InvalidInput)?;
            let size = usize::try_from(part.range.len()).map_err(io::Error::other)?;
            let start = usize::try_from(position - part.range.start()).map_err(io::Error::other)?;
            let (these, rest) = bytes.split_at(bytes.len().min(size - start));
            if part.index.0 >= held.front {
                let buffer = held.parts.entry(part.index.0);
                let buffer = buffer.or_insert_with(|| vec![0; size]);
                buffer[start..start + these.len()].copy_from_slice(these);
            }
            position += these.len() as u64;
            bytes = rest;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_written_in_any_order_and_taken_whole() {
        let buffer = ReorderBuffer::new(Plan::new(10, 4).unwrap());
        buffer.write_at(6, b"678").unwrap();
        buffer.write_at(0, b"0123").unwrap();
        buffer.write_at(4, b"45").unwrap();
        buffer.write_at(9, b"9").unwrap();
        buffer.write_at(4, b"45").unwrap();
        assert_eq!(buffer.take(0), b"0123");
        assert_eq!(buffer.take(1), b"4567");
        assert_eq!(buffer.take(2), b"89");
        assert!(buffer.write_at(10, b"x").is_err());
        assert!(buffer.write_at(9, b"xy").is_err());
    }

    #[test]
    fn a_late_duplicate_takes_no_memory() {
        let buffer = ReorderBuffer::new(Plan::new(10, 4).unwrap());
        buffer.write_at(0, b"0123").unwrap();
        assert_eq!(buffer.take(0), b"0123");
        buffer.write_at(2, b"2345").unwrap();
        assert_eq!(buffer.held().parts.len(), 1);
        buffer.write_at(6, b"67").unwrap();
        assert_eq!(buffer.take(1), b"4567");
    }
}
