//! Writing through a shared memory map: the only unsafe code of the crate.
//!
//! The file is mapped once, over reserved blocks; the map is address space and no more. A window of it is populated for
//! writing in one call, written, and released when its bytes are there, so that resident memory stays at the windows
//! in use. Populating and releasing are advice about pages that are mapped already: they share the address space's lock,
//! where a map and an unmap for each window would take it alone and make every other connection wait.
//!
//! The one thing that could still end in SIGBUS is a page that loses its place in the file: somebody else truncates the
//! file between the caller's check of its length and the copy, or the file system shuts itself down after an error of
//! the device. The lock keeps other runs of partwise out and the window is populated, so what remains is the instant of
//! one copy, against a program that ignores the lock.

#![expect(unsafe_code, reason = "a copy into a shared map has no safe form")]

use std::fs::File;
use std::io;

use memmap2::{Advice, MmapOptions, MmapRaw, UncheckedAdvice};

use crate::object::ByteRange;

/// A file, mapped shared and for writing. Never read through, never borrowed from.
#[derive(Debug)]
pub(crate) struct FileMap {
    // INVARIANT: shared, writable; its first byte is the file's first.
    map: MmapRaw,
}

impl FileMap {
    /// Maps the first `length` bytes, at least one.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` where the file is shorter; `OutOfMemory` where the address space is too small.
    pub(super) fn new(file: &File, length: u64) -> io::Result<Self> {
        if file.metadata()?.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let length =
            usize::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        let map = MmapOptions::new().len(length).map_raw(file)?;
        // Where the file system has large folios, a window is then one fault and one page-table entry. A kernel that
        // does not know the advice goes page by page.
        let _ = map.advise(Advice::HugePage);
        Ok(Self { map })
    }

    /// Makes every page of `range` present for writing.
    ///
    /// # Errors
    ///
    /// What `madvise` reports, among it `EFAULT` where a page can't be had, which without the advice would be a SIGBUS
    /// later.
    pub(super) fn populate(&self, range: ByteRange) -> io::Result<()> {
        let (offset, length) = self.inside(range).ok_or(io::ErrorKind::InvalidInput)?;
        loop {
            match self.map.advise_range(Advice::PopulateWrite, offset, length) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Linux before 5.14 does not know the advice; pages are then faulted in one by one.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(()),
                result => return result,
            }
        }
    }

    /// Gives the pages of `range` back. What was written to them stays with the file.
    pub(super) fn release(&self, range: ByteRange) {
        let Some((offset, length)) = self.inside(range) else {
            return;
        };
        // SAFETY: the advice is dangerous for private maps, whose bytes it throws away. This map is shared: the pages go
        // out of this process's page table and stay, dirty as they are, in the file's page cache, from where a later
        // access brings them back. No reference into the map exists that could see a difference, and a neighbour's
        // window that shares a page with `range` only faults it in once more.
        let released = unsafe {
            self.map
                .unchecked_advise_range(UncheckedAdvice::DontNeed, offset, length)
        };
        // A refusal costs resident memory and nothing else.
        let _ = released;
    }

    /// Copies the bytes to their place. Returns whether they lie inside the map; where they don't, nothing is written.
    /// The caller has just seen that the file is as long as it should be.
    pub(super) fn write(&self, position: u64, bytes: &[u8]) -> bool {
        let range = u64::try_from(bytes.len())
            .ok()
            .and_then(|length| ByteRange::at(position, length));
        let Some((offset, length)) = range.and_then(|range| self.inside(range)) else {
            return false;
        };
        // SAFETY: `inside` has checked that `offset + length <= map.len()`, and `length` is `bytes.len()`, so source and
        // destination are valid for it; the map lives as long as `self`, is writable, and bytes have no alignment. They
        // do not overlap: no reference into the map is ever made, so `bytes` can't be part of it, and the kernel
        // placed the map where nothing else was. Two threads may copy at once: leases give them different bytes, but
        // for a hedge and for the last buffer of a lease whose tail was just taken, which bring bytes a second time;
        // all copies are plain stores into memory that is shared with the kernel, and nothing in this process reads it.
        unsafe {
            std::ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                self.map.as_mut_ptr().add(offset),
                length,
            );
        }
        true
    }

    /// Offset and length of `range` in the map, if all of it is there.
    fn inside(&self, range: ByteRange) -> Option<(usize, usize)> {
        let end = usize::try_from(range.end()).ok()?;
        let start = usize::try_from(range.start()).ok()?;
        (end <= self.map.len()).then_some((start, end - start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    fn file(length: u64) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(length).unwrap();
        file
    }

    #[test]
    fn bytes_reach_their_place_and_no_other() {
        let file = file(20_000);
        let map = FileMap::new(&file, 20_000).unwrap();
        for (start, end) in [(0, 10), (4095, 4097), (5000, 15_001), (19_999, 20_000)] {
            let range = ByteRange::new(start, end).unwrap();
            map.populate(range).unwrap();
            let bytes = vec![7; usize::try_from(range.len()).unwrap()];
            assert!(map.write(start, &bytes));
            map.release(range);
        }
        assert!(!map.write(20_000, b"x"));
        assert!(!map.write(19_999, b"xx"));
        assert!(!map.write(u64::MAX, b"x"));
        assert!(map.write(20_000, b""));
        let mut found = vec![0; 20_000];
        file.read_exact_at(&mut found, 0).unwrap();
        for (position, byte) in found.iter().enumerate() {
            let written = position < 10
                || (4095..4097).contains(&position)
                || (5000..15_001).contains(&position)
                || position == 19_999;
            assert_eq!(*byte == 7, written, "at {position}");
        }
    }

    #[test]
    fn a_map_past_the_end_is_an_error_and_no_signal() {
        let error = FileMap::new(&file(5000), 9000).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let map = FileMap::new(&file(5000), 5000).unwrap();
        assert!(map.populate(ByteRange::new(4000, 9000).unwrap()).is_err());
    }
}
