//! A download as it was asked for, every option checked.

use std::path::PathBuf;

use crate::http::{Client, Conditions, Source};
use crate::integrity::Digest;
use crate::object::SelectionSpec;
use crate::options::Writer;
use crate::options::{Connections, OnChange, Refresh, Verify};
use crate::storage::{Durability, Names};

/// What to download, where to, and how.
pub(crate) struct Job {
    pub(crate) client: Client,
    pub(crate) source: Source,
    pub(crate) mirrors: Vec<Source>,
    /// Whether mirrors are taken on their lengths alone.
    pub(crate) trust_mirrors: bool,
    pub(crate) conditions: Conditions,
    pub(crate) destination: Destination,
    pub(crate) selection: SelectionSpec,
    pub(crate) checksums: Vec<Digest>,
    pub(crate) connections: Connections,
    pub(crate) max_connections: u32,
    /// `None` for a size that suits the object.
    pub(crate) part_size: Option<u64>,
    /// What leases are cut at, in bytes.
    pub(crate) block_size: u64,
    pub(crate) limit_rate: Option<u64>,
    pub(crate) retries: u32,
    pub(crate) fresh: bool,
    pub(crate) overwrite: bool,
    pub(crate) durability: Durability,
    pub(crate) writer: Writer,
    pub(crate) verify: Verify,
    pub(crate) on_change: OnChange,
    pub(crate) refresh: Option<Refresh>,
}

/// Where the bytes go.
#[derive(Clone, Debug)]
pub(crate) enum Destination {
    File {
        folder: PathBuf,
        names: Names,
    },
    Stdout,
    /// Nowhere: every byte is fetched and checked, and none is kept.
    Discard,
    /// Memory of this process, given back at the end.
    Memory,
}
