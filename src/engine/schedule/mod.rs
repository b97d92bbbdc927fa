//! Decides which bytes to request next, and over how many connections. Does no I/O.

pub(crate) mod attempts;
pub(crate) mod dispatcher;
pub(crate) mod first_byte;
pub(crate) mod lease;
pub(crate) mod parts;
pub(crate) mod scheduler;
pub(crate) mod silence;
pub(crate) mod slowness;
pub(crate) mod stragglers;
pub(crate) mod tuner;
