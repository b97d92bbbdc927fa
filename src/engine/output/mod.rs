//! Where the bytes of an object go.

pub(crate) mod discard;
pub(crate) mod file;
pub(crate) mod reorder_buffer;
pub(crate) mod stdout;
pub(crate) mod stream;
pub(crate) mod virtual_file;
