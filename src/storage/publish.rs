//! Publishes the finished file: gives it its final name and removes the checkpoint.

use std::ffi::OsStr;
use std::io;

use super::Names;
use super::error::{Cause, Operation, StorageError, StorageErrorKind};
use super::lock::{is_named, open_locked};
use super::volume::{Collision, Durability, PartFile, Volume};

/// How a file was published.
#[derive(Debug)]
pub(crate) enum Published {
    /// The file has its final name, and nothing else is left.
    Clean,
    /// The file has its final name and is durable, but its permissions could not be narrowed, or
    /// the checkpoint could not be removed. Worth a warning, not a failure.
    Leftover(StorageError),
}

/// The permissions that the owner of a part file needs to resume it.
const OWNER: u32 = 0o600;

/// Publishes a part file that is whole and verified, and whose windows are all dropped.
///
/// Syncs its bytes, sets its permissions, renames it, syncs the folder, removes the checkpoint and
/// syncs the folder again, in this order. The permissions are those of the file that it replaces,
/// or as the umask has them.
///
/// After a crash at any step, the final name refers to the earlier file or to the whole new one.
/// Until it refers to the new one, part file and checkpoint exist, and the download can resume.
///
/// # Errors
///
/// [`Exists`](super::error::StorageErrorKind::Exists) if the name is taken and may not be replaced;
/// [`Tampered`](super::error::StorageErrorKind::Tampered) if the part file is not the one that was
/// written. The final name is unchanged, unless syncing the folder right after the rename failed.
pub(crate) fn publish<V: Volume>(
    volume: &V,
    names: &Names,
    file: &V::File,
    length: u64,
    collision: Collision,
    durability: Durability,
) -> Result<Published, StorageError> {
    let part = || volume.path(names.part());
    let failed = |operation| move |error| StorageError::io(operation, part(), error);
    check_untouched(volume, names.part(), file, length)?;
    if durability == Durability::Synced {
        file.sync_all().map_err(failed(Operation::Sync))?;
    }
    let mode = mode_of_output(volume, names, collision)?;
    file.set_mode(mode | OWNER)
        .map_err(failed(Operation::Permit))?;
    let output = || volume.path(names.output());
    volume
        .rename(names.part(), names.output(), collision)
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                StorageError::new(Operation::Rename, output(), Cause::Exists)
            }
            _ => StorageError::io(Operation::Rename, output(), error),
        })?;
    // Not before: a crash must leave a part file that its owner can open.
    let narrowed = match mode | OWNER == mode {
        true => Ok(()),
        false => file
            .set_mode(mode)
            .map_err(|error| StorageError::io(Operation::Permit, output(), error)),
    };
    if durability == Durability::Synced {
        volume
            .sync()
            .map_err(|error| StorageError::io(Operation::Sync, output(), error))?;
    }
    let removed = remove_checkpoint(volume, names, durability);
    Ok(match narrowed.and(removed) {
        Ok(()) => Published::Clean,
        Err(error) => Published::Leftover(error),
    })
}

/// What stands at the final name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtOutput {
    Nothing,
    /// Something that is not a regular file: a folder, a FIFO, a device.
    Immovable,
    /// A file. A partial file of another run may be beside it.
    File,
    /// A file without a partial file beside it, of this length in bytes. It may have been published
    /// by a run that ended before it removed its checkpoint.
    Alone(u64),
}

/// What stands at the final name. Removes the part name where it is a second name of that file.
///
/// Call it with no lock held and before the part file is opened.
pub(crate) fn at_output<V: Volume>(volume: &V, names: &Names) -> Result<AtOutput, StorageError> {
    let inspected =
        |name: &OsStr, error| StorageError::io(Operation::Inspect, volume.path(name), error);
    let identity = |name: &OsStr| {
        volume
            .identity(name)
            .map_err(|error| inspected(name, error))
    };
    let (output, part) = (identity(names.output())?, identity(names.part())?);
    if output.is_none() {
        return Ok(AtOutput::Nothing);
    }
    let is_replaceable = volume.is_replaceable(names.output());
    if !is_replaceable.map_err(|error| inspected(names.output(), error))? {
        return Ok(AtOutput::Immovable);
    }
    if output == part {
        remove(volume, names.part())?;
    } else if part.is_some() {
        return Ok(AtOutput::File);
    }
    Ok(match volume.length(names.output()) {
        Ok(Some(length)) => AtOutput::Alone(length),
        _ => AtOutput::File,
    })
}

/// Removes the part file and its checkpoint, if they exist. A part file that another run has locked
/// stays. The checkpoint is removed last: a part file without one is another program's.
///
/// Call it with no lock held.
pub(crate) fn remove_partial<V: Volume>(volume: &V, names: &Names) -> Result<(), StorageError> {
    let _lock = match open_locked(volume, names.part()) {
        Err(error) if error.kind() == StorageErrorKind::Locked => return Ok(()),
        opened => opened?,
    };
    remove(volume, names.part())?;
    remove_checkpoint(volume, names, Durability::Unsynced)
}

/// Removes a part file that this run holds locked, or has no use for.
pub(crate) fn remove_part<V: Volume>(volume: &V, names: &Names) -> Result<(), StorageError> {
    remove(volume, names.part()).map(|_| ())
}

/// Whether the name still refers to this file, and the file has the expected length.
pub(crate) fn is_untouched<V: Volume>(
    volume: &V,
    name: &OsStr,
    file: &V::File,
    expected: u64,
) -> bool {
    check_untouched(volume, name, file, expected).is_ok()
}

/// Refuses a part file that another process truncated, removed or replaced: it is not the one that
/// was verified.
fn check_untouched<V: Volume>(
    volume: &V,
    name: &OsStr,
    file: &V::File,
    expected: u64,
) -> Result<(), StorageError> {
    let inspected = |error| StorageError::io(Operation::Inspect, volume.path(name), error);
    let found = file.len().map_err(inspected)?;
    let cause = if found != expected {
        Cause::Truncated { expected, found }
    } else if !is_named(volume, name, file).map_err(inspected)? {
        Cause::Replaced
    } else {
        return Ok(());
    };
    Err(StorageError::new(
        Operation::Rename,
        volume.path(name),
        cause,
    ))
}

/// Removes the checkpoint, and a temporary one that a crash or a failure left.
pub(crate) fn remove_checkpoint<V: Volume>(
    volume: &V,
    names: &Names,
    durability: Durability,
) -> Result<(), StorageError> {
    // The second goes even if the first has to stay.
    let [temporary, checkpoint] =
        [names.temporary(), names.checkpoint()].map(|name| remove(volume, name));
    let removed = temporary? | checkpoint?;
    if removed && durability == Durability::Synced {
        volume.sync().map_err(|error| {
            StorageError::io(Operation::Sync, volume.path(names.checkpoint()), error)
        })?;
    }
    Ok(())
}

fn remove<V: Volume>(volume: &V, name: &OsStr) -> Result<bool, StorageError> {
    match volume.remove(name) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StorageError::io(
            Operation::Remove,
            volume.path(name),
            error,
        )),
    }
}

/// The permissions of the published file: those of the file that it replaces, if there is one.
fn mode_of_output<V: Volume>(
    volume: &V,
    names: &Names,
    collision: Collision,
) -> Result<u32, StorageError> {
    let replaced = match collision {
        Collision::Refuse => None,
        Collision::Replace => volume.mode(names.output()).map_err(|error| {
            StorageError::io(Operation::Inspect, volume.path(names.output()), error)
        })?,
    };
    Ok(replaced.unwrap_or_else(|| mode_of_new_file(volume, names)))
}

/// The permissions that the umask gives. Where nothing tells the umask, they are the owner's alone:
/// a file that should be private must not become public.
fn mode_of_new_file<V: Volume>(volume: &V, names: &Names) -> u32 {
    match volume.umask() {
        Some(umask) => 0o666 & !umask,
        None => probed_mode(volume, names).unwrap_or(OWNER),
    }
}

/// The mode that an empty file for all gets, which is made under the temporary name.
fn probed_mode<V: Volume>(volume: &V, names: &Names) -> Option<u32> {
    let name = names.temporary();
    // What an earlier checkpoint or a crash left there is of no use.
    remove(volume, name).ok()?;
    volume.create_for_all(name).ok()?;
    let mode = volume.mode(name);
    // If the file stays, it is removed with the checkpoint.
    let _ = volume.remove(name);
    mode.ok()?
}

#[cfg(test)]
mod tests;
