//! Version 1 of the format, which partwise reads and no longer writes.

use bincode::Decode;

/// The body of a checkpoint file of version 1. The order of the fields is the format.
#[derive(Decode)]
pub(super) struct BodyFields {
    pub(super) generation: u64,
    pub(super) length: u64,
    pub(super) part_size: u64,
    pub(super) selection: Vec<(u64, u64)>,
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<u64>,
    pub(super) origin: String,
    pub(super) path: String,
    pub(super) url_key: [u8; 16],
    pub(super) url_hash: [u8; 32],
    pub(super) completed: Vec<u8>,
    pub(super) crcs: Vec<u64>,
    pub(super) boot_id: Option<[u8; 16]>,
    pub(super) clean: bool,
}
