//! A download as it was asked for, every option checked.

use std::path::PathBuf;
use std::time::Duration;

use crate::http::{Client, Conditions, HttpError, Source};
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
    pub(crate) lowest_speed: Option<LowestSpeed>,
    pub(crate) retries: u32,
    /// How long to wait for a network that is gone.
    pub(crate) wait_online: Duration,
    pub(crate) fresh: bool,
    pub(crate) overwrite: bool,
    pub(crate) durability: Durability,
    pub(crate) writer: Writer,
    pub(crate) verify: Verify,
    pub(crate) on_change: OnChange,
    pub(crate) refresh: Option<Refresh>,
}

/// The least rate that the caller puts up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LowestSpeed {
    pub(crate) bytes_per_second: u64,
    /// How long a transfer may be slower.
    pub(crate) span: Duration,
}

impl LowestSpeed {
    /// How long the whole download may be slower. The transfers that are replaced after one span
    /// get another one.
    pub(crate) fn longest(self) -> Duration {
        self.span.saturating_mul(2)
    }

    /// The failure of a download that was slower for that long.
    pub(crate) fn missed(self) -> HttpError {
        HttpError::too_slow(self.bytes_per_second, self.longest())
    }
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
