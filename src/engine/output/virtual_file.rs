//! What stands in for a file where there is none: bytes can be written to it, and that is all.

use std::fs::TryLockError;
use std::io;

use crate::object::ByteRange;
use crate::storage::{FileId, FileMap, FileSystem, PartFile, Space};

/// Where bytes go instead.
pub(crate) trait WriteAt: Send + Sync + 'static {
    /// How long the file would be.
    fn length(&self) -> u64;

    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()>;
}

/// A destination as a file. What asks for a real one answers `Unsupported`: nothing here is reserved, mapped, locked or
/// synced.
#[derive(Debug)]
pub(crate) struct VirtualFile<D>(pub(crate) D);

impl<D: WriteAt> PartFile for VirtualFile<D> {
    fn try_lock(&self) -> Result<(), TryLockError> {
        Err(TryLockError::Error(unsupported()))
    }

    fn identity(&self) -> io::Result<FileId> {
        Err(unsupported())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.length())
    }

    fn set_len(&self, _length: u64) -> io::Result<()> {
        Err(unsupported())
    }

    fn reserve(&self, _length: u64) -> io::Result<()> {
        Err(unsupported())
    }

    fn file_system(&self) -> io::Result<FileSystem> {
        Err(unsupported())
    }

    fn space(&self) -> io::Result<Space> {
        Ok(Space {
            allocated: 0,
            available: None,
            file_limit: None,
        })
    }

    fn read_at(&self, _position: u64, _buffer: &mut [u8]) -> io::Result<()> {
        Err(unsupported())
    }

    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(position, bytes)
    }

    fn map(&self, _length: u64) -> io::Result<FileMap> {
        Err(unsupported())
    }

    fn start_writeback(&self, _range: ByteRange) -> io::Result<()> {
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(unsupported())
    }

    fn sync_all(&self) -> io::Result<()> {
        Err(unsupported())
    }

    fn set_mode(&self, _mode: u32) -> io::Result<()> {
        Err(unsupported())
    }
}

fn unsupported() -> io::Error {
    io::ErrorKind::Unsupported.into()
}
