//! What the tests stand on: servers, a folder with the command in it, and how to read a log.

pub(crate) mod fault;
pub(crate) mod fixture;
pub(crate) mod requests;
pub(crate) mod servers;
