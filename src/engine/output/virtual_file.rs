//! A write-only substitute for a file.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::engine::transfer::window::{WriteTarget, WriteWindow};
use crate::object::ByteRange;
use crate::storage::{Operation, StorageError};

/// Takes bytes at positions.
pub(crate) trait WriteAt: Send + Sync + 'static {
    /// Takes the bytes that belong at `position`. Does not block for long.
    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()>;
}

/// The target of a transfer whose bytes go to a [`WriteAt`]. Cloning shares it.
pub(crate) struct VirtualFile<B> {
    bytes: Arc<B>,
    /// What stands for the file in messages.
    name: &'static str,
}

// A derived implementation would demand `B: Clone`.
impl<B> Clone for VirtualFile<B> {
    fn clone(&self) -> Self {
        Self {
            bytes: Arc::clone(&self.bytes),
            name: self.name,
        }
    }
}

impl<B: WriteAt> VirtualFile<B> {
    pub(crate) fn new(bytes: Arc<B>, name: &'static str) -> Self {
        Self { bytes, name }
    }
}

impl<B: WriteAt> WriteTarget for VirtualFile<B> {
    type Window = VirtualWindow<B>;

    fn is_mapped(&self) -> bool {
        false
    }

    fn window(&self, range: ByteRange) -> Result<VirtualWindow<B>, StorageError> {
        Ok(VirtualWindow {
            file: self.clone(),
            range,
        })
    }

    fn start_writeback(&self, _range: ByteRange) {}
}

/// A stretch of a [`VirtualFile`].
pub(crate) struct VirtualWindow<B> {
    file: VirtualFile<B>,
    range: ByteRange,
}

impl<B: WriteAt> WriteWindow for VirtualWindow<B> {
    fn range(&self) -> ByteRange {
        self.range
    }

    fn write(&mut self, position: u64, bytes: &[u8]) -> Result<(), StorageError> {
        let VirtualFile { bytes: taker, name } = &self.file;
        taker
            .write_at(position, bytes)
            .map_err(|error| StorageError::io(Operation::Write, PathBuf::from(name), error))
    }
}
