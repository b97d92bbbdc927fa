//! What a cancel removes: during the run, and after a stop has ended it.

use std::sync::Arc;

use super::ownership;
use crate::checkpoint::{self, Checkpoint, CheckpointError};
use crate::engine::blocking;
use crate::engine::control::shared::Remove;
use crate::error::{Error, ErrorKind};
use crate::storage::{self, Durability, Names, StorageError, Volume};

/// Removes what a cancelled run leaves, and what an earlier run left that this one `has_taken` or
/// did not come to. What another program, another run or a newer partwise wrote stays.
pub(super) fn discard<V: Volume>(
    volume: &V,
    names: &Names,
    found: &Result<Option<Checkpoint>, CheckpointError>,
    has_taken: bool,
) -> Result<(), StorageError> {
    if has_taken {
        return storage::remove_partial(volume, names);
    }
    let is_readable = match found {
        Ok(found) => found.is_some(),
        Err(error) => error.is_damage(),
    };
    if !is_readable {
        return Ok(());
    }
    match storage::open_locked(volume, names.part()) {
        Ok(Some(file)) if ownership::is_ours(volume, names, found, &file) => {
            remove_both(volume, names)
        }
        Ok(None) => storage::remove_checkpoint(volume, names, Durability::Unsynced),
        _ => Ok(()),
    }
}

/// Removes what a stopped run `left`, as long as no other run has gone on with it.
pub(super) fn of_what_a_stop_left<V: Volume>(
    volume: Arc<V>,
    names: Names,
    left: Checkpoint,
) -> Remove {
    let left = Arc::new(left);
    Box::new(move || {
        let (volume, names) = (Arc::clone(&volume), names.clone());
        let left = Arc::clone(&left);
        Box::pin(blocking::run(move || remove_left(&*volume, &names, &left)))
    })
}

/// # Errors
///
/// `File` where the files can't be removed or another run holds them; `Unexpected` where they are
/// another run's or another program's by now.
fn remove_left<V: Volume>(volume: &V, names: &Names, left: &Checkpoint) -> Result<(), Error> {
    if matches!(checkpoint::load(volume, names), Ok(None)) {
        return Ok(());
    }
    // The lock comes first: a run that goes on replaces the checkpoint again and again.
    let file = storage::open_locked(volume, names.part())?;
    let found = checkpoint::load(volume, names);
    match &found {
        Ok(None) => return Ok(()),
        Ok(Some(now)) if now == left => {}
        Ok(Some(_)) => return Err(gone_on(volume, names)),
        Err(_) => return found.map(|_| ()).map_err(Error::from),
    }
    match file {
        Some(file) if ownership::is_ours(volume, names, &found, &file) => {
            Ok(remove_both(volume, names)?)
        }
        Some(_) => Err(gone_on(volume, names)),
        None => Ok(storage::remove_checkpoint(
            volume,
            names,
            Durability::Unsynced,
        )?),
    }
}

fn remove_both<V: Volume>(volume: &V, names: &Names) -> Result<(), StorageError> {
    storage::remove_part(volume, names)?;
    storage::remove_checkpoint(volume, names, Durability::Unsynced)
}

fn gone_on<V: Volume>(volume: &V, names: &Names) -> Error {
    let part = volume.path(names.part());
    Error::new(
        ErrorKind::Unexpected,
        format!("can't remove {}", part.display()),
        "it was changed since this download was stopped",
    )
}
