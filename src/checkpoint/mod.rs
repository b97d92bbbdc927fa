//! The checkpoint: which parts of which version of an object are durable on disk.
//!
//! `src/manual/checkpoint_format.md` describes the file byte by byte.

mod format;
mod model;
mod store;

#[cfg(any(fuzzing, feature = "internals"))]
pub(crate) use format::encode;
pub(crate) use format::{CheckpointError, FORMAT_VERSION};
#[cfg(fuzzing)]
pub(crate) use format::{decode, seal};
pub(crate) use model::{Checkpoint, Standing, boot_id, hash_url};
pub(crate) use store::{claim, load, read, save};
