//! Files: the folder that a download works in, its part file, and how bytes reach it. Linux only.
//!
//! Every operation that the protocols of lock, commit and publish are made of goes through [`Volume`] and
//! [`PartFile`], one primitive step a call, so that a test can stand in a disk that loses power between any two.
//! All of them block.

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
mod volume;

#[cfg(test)]
pub(crate) use error::StorageErrorKind;
pub(crate) use error::{Operation, StorageError};
pub(crate) use file_system::FileSystem;
pub(crate) use folder::{DiskFile, Folder};
pub(crate) use lock::{Opened, open_locked};
pub(crate) use names::Names;
pub(crate) use publish::{Published, empty, is_untouched, publish, remove_partial, sweep};
pub(crate) use reserve::reserve;
pub(crate) use sink::{Sink, SinkKind, SinkWindow, WriterChoice};
pub(crate) use volume::{Collision, Durability, PartFile, Volume};
#[cfg(test)]
pub(crate) use volume::{FileId, Space};
