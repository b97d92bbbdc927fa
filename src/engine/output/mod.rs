//! Where the bytes of an object go: a file, standard output, memory, nowhere.

pub(crate) mod destination;
mod digests;
pub(crate) mod discard;
pub(crate) mod file;
pub(crate) mod kept_blocks;
pub(crate) mod outcome;
mod reorder_buffer;
pub(crate) mod stdout;
pub(crate) mod stream;
mod virtual_file;
