//! Writing through a shared memory map: the only unsafe code of the crate.
//!
//! A window is mapped over reserved blocks, populated for writing in one call, written, and unmapped when it is dropped.
//! The one thing that could still end in SIGBUS is a page that loses its place in the file: somebody else truncates the
//! file between the caller's check of its length and the copy, or the file system shuts itself down after an error of
//! the device. The lock keeps other runs of partwise out and the window is populated, so what remains is the instant of
//! one copy, against a program that ignores the lock.

#![expect(unsafe_code, reason = "a copy into a shared map has no safe form")]

use std::fs::File;
use std::io;

use memmap2::{Advice, MmapOptions, MmapRaw};

use crate::object::ByteRange;

/// Bytes of a file, mapped shared and for writing. Never read through, never borrowed from.
#[derive(Debug)]
pub(crate) struct MappedWindow {
    // INVARIANT: maps at least range.len() bytes, the first of which is byte range.start() of the file.
    map: MmapRaw,
    range: ByteRange,
}

impl MappedWindow {
    /// Maps `range`, which is not empty, and faults its pages in for writing. The map begins at the page that holds
    /// the first byte.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` where the file ends before the range does; what `mmap` and `madvise` report, among it
    /// `EFAULT` where a page can't be had, which without the advice would be a SIGBUS later.
    pub(super) fn new(file: &File, range: ByteRange) -> io::Result<Self> {
        if file.metadata()?.len() < range.end() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let length = usize::try_from(range.len())
            .map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        let map = MmapOptions::new()
            .offset(range.start())
            .len(length)
            .map_raw(file)?;
        populate(&map)?;
        Ok(Self { map, range })
    }

    /// Copies the bytes to their place. Returns whether they lie inside the window; where they don't, nothing is written.
    /// The caller has just seen that the file is as long as it should be.
    pub(super) fn write(&mut self, position: u64, bytes: &[u8]) -> bool {
        let Some(offset) = position
            .checked_sub(self.range.start())
            .and_then(|offset| usize::try_from(offset).ok())
        else {
            return false;
        };
        let inside = offset
            .checked_add(bytes.len())
            .is_some_and(|end| end <= self.map.len());
        if !inside {
            return false;
        }
        // SAFETY: `offset + bytes.len() <= map.len()` was just checked, so source and destination are valid for
        // `bytes.len()` bytes; the map lives as long as `self`, is writable, and bytes have no alignment. They do not
        // overlap: no reference into the map is ever made, so `bytes` can't be part of it, and the kernel placed the
        // map where nothing else was. Other maps of the same page of the file (a neighbour's window shares the page
        // at their border) have addresses of their own and write other bytes of it.
        unsafe {
            std::ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                self.map.as_mut_ptr().add(offset),
                bytes.len(),
            );
        }
        true
    }
}

fn populate(map: &MmapRaw) -> io::Result<()> {
    loop {
        match map.advise(Advice::PopulateWrite) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Linux before 5.14 does not know the advice; pages are then faulted in one by one.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(()),
            result => return result,
        }
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
        for (start, end) in [(0, 10), (4095, 4097), (5000, 15_001), (19_999, 20_000)] {
            let range = ByteRange::new(start, end).unwrap();
            let mut window = MappedWindow::new(&file, range).unwrap();
            let bytes = vec![7; usize::try_from(range.len()).unwrap()];
            assert!(window.write(start, &bytes));
            assert!(!window.write(start.wrapping_sub(1), b"x"));
            assert!(!window.write(end, b"x"));
            assert!(!window.write(end - 1, b"xx"));
            assert!(!window.write(u64::MAX, b"x"));
            assert!(window.write(end, b""));
        }
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
    fn a_window_past_the_end_is_an_error_and_no_signal() {
        let file = file(5000);
        let error = MappedWindow::new(&file, ByteRange::new(4000, 9000).unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
