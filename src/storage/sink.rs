//! Writes the bytes of replies to windows of the part file, through a map or positionally.

use std::path::PathBuf;
use std::sync::Arc;

use super::error::{Cause, Operation, StorageError};
use super::mmap::{FileMap, Missed};
use super::volume::PartFile;
use crate::object::ByteRange;
use crate::options::Writer;
use crate::options::WriterKind;

/// The part file, as the engine's workers write it. Cloning shares the file.
#[derive(Debug)]
pub(crate) struct Sink<F> {
    shared: Arc<Inner<F>>,
}

#[derive(Debug)]
struct Inner<F> {
    file: F,
    path: PathBuf,
    // The file's fixed length; `None` if it grows with an object of unknown length.
    length: Option<u64>,
    // INVARIANT: a map covers the whole file.
    map: Option<FileMap>,
}

impl<F> Clone for Sink<F> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<F: PartFile> Sink<F> {
    /// A sink over a file of `length` bytes, where [`reserve`](super::reserve()) chose `kind`. If
    /// mapping fails and `choice` is `Auto`, the sink writes positionally.
    ///
    /// # Errors
    ///
    /// A map is demanded, and mapping fails.
    pub(crate) fn new(
        file: F,
        path: PathBuf,
        kind: WriterKind,
        length: u64,
        choice: Writer,
    ) -> Result<Self, StorageError> {
        let map = match kind {
            WriterKind::Mmap if length > 0 => match file.map(length) {
                Ok(map) => Some(map),
                Err(_) if choice == Writer::Auto => None,
                Err(error) => return Err(StorageError::io(Operation::Map, path, error)),
            },
            WriterKind::Mmap | WriterKind::Pwrite => None,
        };
        let shared = Inner {
            file,
            path,
            length: Some(length),
            map,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// A sink over a file that grows from front to back, with positional writes.
    pub(crate) fn growing(file: F, path: PathBuf) -> Self {
        let shared = Inner {
            file,
            path,
            length: None,
            map: None,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    pub(crate) fn kind(&self) -> WriterKind {
        match self.shared.map {
            Some(_) => WriterKind::Mmap,
            None => WriterKind::Pwrite,
        }
    }

    pub(crate) fn file(&self) -> &F {
        &self.shared.file
    }

    /// Prepares these bytes for writing. Blocks: with a map, until every page of the range is
    /// present.
    ///
    /// # Errors
    ///
    /// Populating the map fails, the file is shorter than expected, or a growing file would exceed
    /// the process's file size limit.
    pub(crate) fn window(&self, range: ByteRange) -> Result<SinkWindow<F>, StorageError> {
        let shared = Arc::clone(&self.shared);
        shared.check_length(range.start())?;
        if shared.length.is_none() {
            shared.check_limit(range.end())?;
        }
        if let Some(map) = &shared.map {
            map.populate(range).map_err(|error| {
                // A truncated file has no pages to populate: report that as the cause.
                let shortened = shared.check_length(range.start()).err();
                shortened.unwrap_or_else(|| StorageError::io(Operation::Map, &shared.path, error))
            })?;
        }
        Ok(SinkWindow { shared, range })
    }

    /// Fills the buffer with the file's bytes from `position` on.
    pub(crate) fn read_at(&self, position: u64, buffer: &mut [u8]) -> Result<(), StorageError> {
        let Inner { file, path, .. } = &*self.shared;
        file.read_at(position, buffer)
            .map_err(|error| StorageError::io(Operation::Read, path, error))
    }

    /// Starts write-back of these bytes, so that the next sync is short. Does not wait for the
    /// disk. A call takes about 30 µs, so call it for some MiB at once rather than for each small
    /// part.
    pub(crate) fn start_writeback(&self, range: ByteRange) -> Result<(), StorageError> {
        let Inner { file, path, .. } = &*self.shared;
        file.start_writeback(range)
            .map_err(|error| StorageError::io(Operation::Sync, path, error))
    }

    /// Makes all bytes written so far durable, including those written through maps.
    ///
    /// # Errors
    ///
    /// After an error the kernel may have discarded the bytes: a later call that succeeds proves
    /// nothing.
    pub(crate) fn sync(&self) -> Result<(), StorageError> {
        let Inner { file, path, .. } = &*self.shared;
        file.sync_data()
            .map_err(|error| StorageError::io(Operation::Sync, path, error))
    }
}

impl<F: PartFile> Inner<F> {
    /// Fails if another process truncated the file, which lost bytes that count as written: a write
    /// past the end would hide the loss behind zeros, and a copy into a map would be lost.
    fn check_length(&self, position: u64) -> Result<(), StorageError> {
        let found = self
            .file
            .len()
            .map_err(|error| StorageError::io(Operation::Inspect, &self.path, error))?;
        let expected = self.length.unwrap_or(position);
        if found < expected {
            let cause = Cause::Truncated { expected, found };
            return Err(StorageError::new(Operation::Write, &self.path, cause));
        }
        Ok(())
    }

    fn check_limit(&self, needed: u64) -> Result<(), StorageError> {
        let space = self
            .file
            .space()
            .map_err(|error| StorageError::io(Operation::Inspect, &self.path, error))?;
        match space.file_limit {
            Some(limit) if needed > limit => {
                let cause = Cause::FileLimit { needed, limit };
                Err(StorageError::new(Operation::Write, &self.path, cause))
            }
            _ => Ok(()),
        }
    }
}

/// A range of the part file that one connection writes. Windows may overlap where two connections
/// bring the same part (a hedge, or the last buffer of a lease whose tail was taken). Dropping a
/// window releases its pages and makes nothing durable.
#[derive(Debug)]
pub(crate) struct SinkWindow<F> {
    shared: Arc<Inner<F>>,
    range: ByteRange,
}

impl<F: PartFile> SinkWindow<F> {
    pub(crate) fn range(&self) -> ByteRange {
        self.range
    }

    /// Writes the bytes at `position` of the file. Takes no lock and allocates nothing.
    ///
    /// # Errors
    ///
    /// The bytes are outside the window, the file is shorter than expected, or writing fails.
    pub(crate) fn write(&mut self, position: u64, bytes: &[u8]) -> Result<(), StorageError> {
        let outside = |window| Cause::Outside {
            window,
            position,
            length: bytes.len(),
        };
        let inside = u64::try_from(bytes.len())
            .ok()
            .and_then(|length| ByteRange::at(position, length))
            .is_some_and(|range| self.range.contains(range));
        if !inside {
            return Err(self.error(outside(self.range)));
        }
        self.shared.check_length(position)?;
        let result = match &self.shared.map {
            Some(map) => match map.write(position, bytes) {
                Ok(()) => Ok(()),
                Err(Missed::Outside) => Err(outside(self.range)),
                Err(Missed::Lost) => {
                    self.shared.check_length(position)?;
                    Err(Cause::Lost)
                }
            },
            None => self
                .shared
                .file
                .write_at(position, bytes)
                .map_err(Cause::Io),
        };
        result.map_err(|cause| self.error(cause))
    }

    fn error(&self, cause: Cause) -> StorageError {
        StorageError::new(Operation::Write, &self.shared.path, cause)
    }
}

impl<F> Drop for SinkWindow<F> {
    fn drop(&mut self) {
        if let Some(map) = &self.shared.map {
            map.release(self.range);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{DiskFile, Folder, StorageErrorKind, Volume};
    use proptest::prelude::*;
    use std::ffi::OsStr;

    fn real_file(folder: &tempfile::TempDir, length: u64) -> (DiskFile, PathBuf) {
        let file = Folder::open(folder.path())
            .unwrap()
            .create(OsStr::new("v.part"))
            .unwrap();
        file.reserve(length).unwrap();
        (file, folder.path().join("v.part"))
    }

    fn range(start: u64, end: u64) -> ByteRange {
        ByteRange::new(start, end).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn both_kinds_write_the_same_file(
            length in 1..60_000u64,
            cuts in prop::collection::vec(0..60_000u64, 0..6),
            mapped in any::<bool>(),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let (file, path) = real_file(&dir, length);
            let kind = if mapped { WriterKind::Mmap } else { WriterKind::Pwrite };
            let sink = Sink::new(file, path.clone(), kind, length, Writer::Auto).unwrap();
            let mut borders: Vec<u64> = cuts.into_iter().filter(|cut| *cut < length).collect();
            borders.extend([0, length]);
            borders.sort_unstable();
            let expected: Vec<u8> = (0..=250).cycle().take(usize::try_from(length).unwrap()).collect();
            let mut rest = &expected[..];
            for pair in borders.windows(2) {
                let mut window = sink.window(range(pair[0], pair[1])).unwrap();
                let mut position = pair[0];
                while position < pair[1] {
                    let size = 1000.min(pair[1] - position);
                    let (bytes, after) = rest.split_at(usize::try_from(size).unwrap());
                    window.write(position, bytes).unwrap();
                    rest = after;
                    position += size;
                }
                sink.start_writeback(window.range()).unwrap();
            }
            sink.sync().unwrap();
            prop_assert_eq!(std::fs::read(path).unwrap(), expected);
        }
    }

    #[test]
    fn nothing_is_written_outside_a_window() {
        for kind in [WriterKind::Mmap, WriterKind::Pwrite] {
            let dir = tempfile::tempdir().unwrap();
            let (file, path) = real_file(&dir, 100);
            let sink = Sink::new(file, path.clone(), kind, 100, Writer::Auto).unwrap();
            let mut window = sink.window(range(10, 20)).unwrap();
            for (position, bytes) in [(9, "xx"), (19, "xx"), (20, "x"), (0, "x"), (u64::MAX, "x")] {
                let error = window.write(position, bytes.as_bytes()).unwrap_err();
                assert_eq!(
                    error.kind(),
                    StorageErrorKind::Misuse,
                    "{kind:?} {position}"
                );
            }
            window.write(20, b"").unwrap();
            let mut empty = sink.window(range(100, 100)).unwrap();
            empty.write(100, b"").unwrap();
            assert_eq!(std::fs::read(path).unwrap(), vec![0; 100]);
        }
    }

    #[test]
    fn a_truncated_file_is_an_error_and_no_signal() {
        for kind in [WriterKind::Mmap, WriterKind::Pwrite] {
            let dir = tempfile::tempdir().unwrap();
            let (file, path) = real_file(&dir, 100_000);
            let sink = Sink::new(file, path.clone(), kind, 100_000, Writer::Auto).unwrap();
            let mut window = sink.window(range(50_000, 100_000)).unwrap();
            let other = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            other.set_len(10).unwrap();
            let error = window.write(90_000, b"x").unwrap_err();
            assert_eq!(error.kind(), StorageErrorKind::Tampered, "{kind:?}");
            let error = sink.window(range(0, 5)).unwrap_err();
            assert_eq!(error.kind(), StorageErrorKind::Tampered, "{kind:?}");
            assert_eq!(std::fs::metadata(&path).unwrap().len(), 10);
        }
    }

    #[test]
    fn a_growing_file_grows_from_front_to_back() {
        let dir = tempfile::tempdir().unwrap();
        let (file, path) = real_file(&dir, 0);
        let sink = Sink::growing(file, path.clone());
        assert_eq!(sink.kind(), WriterKind::Pwrite);
        let mut window = sink.window(range(0, 1 << 40)).unwrap();
        window.write(0, b"ab").unwrap();
        window.write(2, b"cd").unwrap();
        assert!(window.write(10, b"x").is_err(), "a hole");
        assert_eq!(std::fs::read(&path).unwrap(), b"abcd");
        let mut back = [0; 2];
        sink.read_at(1, &mut back).unwrap();
        assert_eq!(&back, b"bc");
        assert!(sink.read_at(3, &mut back).is_err());
    }
}
