//! Parts in memory, between the connections that bring them in any order and the output that takes them in order.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::fileless::Destination;
use crate::object::Plan;

/// A file that is only as large as the parts that are in it.
#[derive(Debug)]
pub(crate) struct Spool {
    plan: Plan,
    // Taken once for each chunk that comes in, for a copy; never across an await.
    parts: Mutex<HashMap<u32, Vec<u8>>>,
}

impl Spool {
    pub(crate) fn new(plan: Plan) -> Arc<Self> {
        Arc::new(Self {
            plan,
            parts: Mutex::default(),
        })
    }

    /// Takes a part out.
    pub(crate) fn take(&self, part: u32) -> Vec<u8> {
        self.parts().remove(&part).unwrap_or_default()
    }

    fn parts(&self) -> MutexGuard<'_, HashMap<u32, Vec<u8>>> {
        // A part's bytes count only once it is reported as complete, so a panic elsewhere leaves nothing half-true.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Destination for Arc<Spool> {
    fn length(&self) -> u64 {
        self.plan.length()
    }

    /// The bytes lie in one part.
    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        let out_of_place = || io::Error::from(io::ErrorKind::InvalidInput);
        let part = self.plan.part_at(position).ok_or_else(out_of_place)?;
        let size = usize::try_from(part.range.len()).map_err(io::Error::other)?;
        let start = usize::try_from(position - part.range.start()).map_err(io::Error::other)?;
        let mut parts = self.parts();
        let buffer = parts.entry(part.index.0).or_insert_with(|| vec![0; size]);
        buffer
            .get_mut(start..start + bytes.len())
            .ok_or_else(out_of_place)?
            .copy_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_in_any_order_and_leave_whole() {
        let spool = Spool::new(Plan::new(10, 4).unwrap());
        spool.write_at(6, b"67").unwrap();
        spool.write_at(4, b"45").unwrap();
        spool.write_at(8, b"89").unwrap();
        spool.write_at(4, b"45").unwrap();
        assert_eq!(spool.take(1), b"4567");
        assert_eq!(spool.take(2), b"89");
        assert_eq!(spool.take(0), b"");
        assert!(spool.write_at(10, b"x").is_err());
        assert!(spool.write_at(9, b"xy").is_err());
    }
}
