//! The destination of a download, opened.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{discard, stdout};
use crate::engine::blocking;
use crate::engine::job::{Destination, Job};
use crate::error::Error;
use crate::storage::{Folder, Names, Volume};

/// Where the bytes go, opened.
pub(crate) enum OpenDestination<V> {
    File { volume: Arc<V>, names: Names },
    Stdout(stdout::Written),
    Discard,
    Memory,
}

impl OpenDestination<Folder> {
    /// Opens the destination of `job`; the folder of a file is made where it is missing.
    ///
    /// # Errors
    ///
    /// `File` where the folder can't be opened or made.
    pub(crate) async fn open(job: &Job) -> Result<Self, Error> {
        Ok(match &job.destination {
            Destination::Stdout => Self::Stdout(stdout::Written::default()),
            Destination::Discard => Self::Discard,
            Destination::Memory => Self::Memory,
            Destination::File { folder, names } => {
                let (folder, durability) = (folder.clone(), job.durability);
                let open = move || Folder::open_or_create(&folder, durability);
                Self::File {
                    volume: Arc::new(blocking::run(open).await?),
                    names: names.clone(),
                }
            }
        })
    }
}

impl<V: Volume> OpenDestination<V> {
    /// The final name, for messages and the report.
    pub(crate) fn output(&self) -> PathBuf {
        match self {
            Self::File { volume, names } => tidy(&volume.path(names.output())),
            Self::Stdout(_) => PathBuf::from(stdout::NAME),
            Self::Discard => PathBuf::from(discard::NOWHERE),
            Self::Memory => PathBuf::from(discard::MEMORY),
        }
    }

    /// Whether another version can take the place of what was fetched so far. What went to standard
    /// output can't be taken back.
    pub(crate) fn can_start_over(&self) -> bool {
        match self {
            Self::Stdout(written) => written.is_empty(),
            Self::File { .. } | Self::Discard | Self::Memory => true,
        }
    }

    /// The path of the checkpoint; `None` for a destination that has none.
    pub(crate) fn checkpoint(&self) -> Option<PathBuf> {
        match self {
            Self::File { volume, names } => Some(tidy(&volume.path(names.checkpoint()))),
            Self::Stdout(_) | Self::Discard | Self::Memory => None,
        }
    }
}

/// The final name that a download of `job` will have, as messages and the report name it.
pub(crate) fn output_of(job: &Job) -> PathBuf {
    match &job.destination {
        Destination::File { folder, names } => tidy(&folder.join(names.output())),
        Destination::Stdout => PathBuf::from(stdout::NAME),
        Destination::Discard => PathBuf::from(discard::NOWHERE),
        Destination::Memory => PathBuf::from(discard::MEMORY),
    }
}

/// `./x` as `x`.
fn tidy(path: &Path) -> PathBuf {
    match path.strip_prefix(".") {
        Ok(rest) if rest.components().next().is_some() => rest.to_owned(),
        _ => path.to_owned(),
    }
}
