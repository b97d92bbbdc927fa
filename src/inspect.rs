//! What a checkpoint holds, without the network.

use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::checkpoint::{self, Checkpoint, CheckpointError, Standing};
use crate::object::{PartIndex, PlanError};
use crate::storage::Folder;
use crate::{Error, ErrorKind};

/// What a checkpoint says of an interrupted download. Serialises to the object that the command's
/// `inspect` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Inspection {
    /// Version of the checkpoint's format.
    pub format: u32,
    /// The object's entity tag as the server sent it. `None` where it sent none.
    pub etag: Option<String>,
    /// The object's modification date as the server sent it. `None` where it sent none.
    pub last_modified: Option<String>,
    /// Length of the object, or of the selected ranges, in bytes.
    pub length: u64,
    /// Bytes that one bit of the bitmap stands for.
    pub part_size: u64,
    /// Number of parts.
    pub parts: u32,
    /// Number of completed parts.
    pub completed_parts: u32,
    /// Bytes of the completed parts.
    pub completed_bytes: u64,
    /// Bytes of the other parts: first and last position in the file, both inclusive, merged, in
    /// order.
    pub missing: Vec<(u64, u64)>,
}

/// Reads the checkpoint at `path`, or the one beside the download `path`: `X.part.ckpt` for `X` and
/// for `X.part`.
///
/// Sends no request and takes no lock: a download may be running meanwhile. Blocks while it reads
/// the file.
///
/// # Errors
///
/// [`ErrorKind::File`] where there is no checkpoint, it can't be read or is damaged, or it is for an
/// object of unknown length, which can't be resumed.
pub fn inspect(path: impl AsRef<Path>) -> Result<Inspection, Error> {
    let path = locate(path.as_ref())?;
    let checkpoint = load(&path)?;
    if checkpoint.length == 0 && checkpoint.standing == Standing::Claimed {
        let why =
            "it has no parts: the length of the object is not known, so nothing can be resumed";
        return Err(unusable(&path, why));
    }
    describe(&checkpoint).map_err(|error| unusable(&path, error))
}

/// The checkpoint at exactly this path.
pub(crate) fn load(path: &Path) -> Result<Checkpoint, Error> {
    let folder = Folder::open(path.parent().unwrap_or(Path::new("")))?;
    let name = path.file_name().unwrap_or_default();
    match checkpoint::read(&folder, name) {
        Ok(Some(checkpoint)) => Ok(checkpoint),
        Ok(None) => Err(unusable(path, "there is no such file")),
        Err(error @ (CheckpointError::Storage(_) | CheckpointError::Newer { .. })) => {
            Err(error.into())
        }
        Err(error) => Err(unusable(path, error)),
    }
}

fn unusable(path: &Path, why: impl std::fmt::Display) -> Error {
    let what = format!("can't read the checkpoint {}", path.display());
    Error::new(ErrorKind::File, what, why)
}

fn describe(checkpoint: &Checkpoint) -> Result<Inspection, PlanError> {
    let plan = checkpoint.plan()?;
    let bytes = |run: Range<u32>| plan.run(PartIndex(run.start), run.end);
    let missing: Vec<_> = checkpoint.completed.missing_runs().map(bytes).collect();
    let identity = &checkpoint.identity;
    Ok(Inspection {
        format: checkpoint.format,
        etag: identity.tag.as_ref().map(ToString::to_string),
        last_modified: identity.date.as_ref().map(ToString::to_string),
        length: plan.length(),
        part_size: plan.part_size(),
        parts: plan.parts(),
        completed_parts: checkpoint.completed.count(),
        completed_bytes: checkpoint
            .completed
            .runs()
            .map(|run| bytes(run).len())
            .sum(),
        missing: missing
            .into_iter()
            .map(|range| (range.start(), range.end() - 1))
            .collect(),
    })
}

/// The first of the names that a checkpoint may have, seen from `path`, at which something stands.
fn locate(path: &Path) -> Result<PathBuf, Error> {
    let candidates = candidates(path);
    match candidates.iter().find(|candidate| candidate.exists()) {
        Some(found) => Ok(found.clone()),
        None => {
            let names: Vec<_> = candidates
                .iter()
                .map(|candidate| candidate.display().to_string())
                .collect();
            let what = format!("inspect {}", path.display());
            let why = format!(
                "no checkpoint: expected {}, found nothing",
                names.join(" or ")
            );
            Err(Error::new(ErrorKind::File, what, why))
        }
    }
}

fn candidates(path: &Path) -> Vec<PathBuf> {
    let with = |suffix: &str| {
        let mut name = OsString::from(path);
        name.push(suffix);
        PathBuf::from(name)
    };
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("ckpt") => vec![path.to_owned()],
        Some("part") => vec![with(".ckpt"), with(".part.ckpt")],
        _ => vec![with(".part.ckpt")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_found_by_any_of_its_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let checkpoint = folder.path().join("v.mp4.part.ckpt");
        std::fs::write(&checkpoint, b"").expect("written");
        for name in ["v.mp4", "v.mp4.part", "v.mp4.part.ckpt"] {
            assert_eq!(locate(&folder.path().join(name)).expect(name), checkpoint);
        }
    }

    #[test]
    fn where_there_is_none_every_name_is_told() {
        let error = locate(Path::new("/nonexistent/v.part")).expect_err("nothing there");
        assert_eq!(error.kind(), ErrorKind::File);
        assert_eq!(
            error.to_string(),
            "inspect /nonexistent/v.part: no checkpoint: expected /nonexistent/v.part.ckpt or \
             /nonexistent/v.part.part.ckpt, found nothing"
        );
    }
}
