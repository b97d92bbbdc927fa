//! Files: the folder that a download works in, its part file, and the ways to write it. Linux only.
//!
//! The lock, commit and publish protocols use the disk only through [`Volume`] and [`PartFile`],
//! one primitive step per call, so a test can substitute a disk that loses power between any two
//! steps. All calls block.

mod error;
#[cfg(test)]
pub(crate) mod fake;
mod file_system;
mod folder;
mod lock;
mod map_registry;
mod mmap;
mod names;
mod publish;
mod reserve;
mod sink;
mod spare;
mod volume;

pub(crate) use error::{Operation, StorageError, StorageErrorKind};
pub(crate) use file_system::FileSystem;
pub(crate) use folder::{DiskFile, Folder};
pub(crate) use lock::{TRIES, create_locked, open_locked, replaced};
pub(crate) use names::Names;
pub(crate) use publish::{
    AtOutput, Published, at_output, is_untouched, publish, remove_checkpoint, remove_part,
    remove_partial,
};
pub(crate) use reserve::reserve;
pub(crate) use sink::{Sink, SinkWindow};
pub(crate) use volume::{Collision, Durability, FileStamp, FileTime, PartFile, Volume};
#[cfg(test)]
pub(crate) use volume::{FileId, Space};
