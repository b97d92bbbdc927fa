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
    /// The file has its final name and is durable, but the checkpoint could not be removed. Worth a
    /// warning, not a failure.
    Leftover(StorageError),
}

/// Publishes a part file that is whole and verified, and whose windows are all dropped.
///
/// Syncs its bytes, sets its permissions by umask, renames it, syncs the folder, removes the
/// checkpoint and syncs the folder again, in this order.
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
    file.set_mode(0o666 & !umask())
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
    if durability == Durability::Synced {
        volume
            .sync()
            .map_err(|error| StorageError::io(Operation::Sync, output(), error))?;
    }
    Ok(match remove_checkpoint(volume, names, durability) {
        Ok(()) => Published::Clean,
        Err(error) => Published::Leftover(error),
    })
}

/// Finishes the publishing that a crash interrupted: removes a part name that is a second name of
/// the final file, and a checkpoint without a part file, from which nothing can resume. Returns
/// whether a file has the final name.
///
/// Call it with no lock held and before the part file is opened.
pub(crate) fn sweep<V: Volume>(
    volume: &V,
    names: &Names,
    durability: Durability,
) -> Result<bool, StorageError> {
    let identity = |name: &OsStr| {
        volume
            .identity(name)
            .map_err(|error| StorageError::io(Operation::Inspect, volume.path(name), error))
    };
    let output = identity(names.output())?;
    let part = identity(names.part())?;
    if output.is_some() && output == part {
        remove(volume, names.part())?;
    }
    if output.is_some() && (part.is_none() || output == part) {
        remove_checkpoint(volume, names, durability)?;
    }
    Ok(output.is_some())
}

/// Removes the part file and its checkpoint, if they exist. A part file that another run has locked
/// stays. The checkpoint is removed first: a part file without one is never resumed.
///
/// Call it with no lock held.
pub(crate) fn remove_partial<V: Volume>(volume: &V, names: &Names) -> Result<(), StorageError> {
    let inspected = |error| StorageError::io(Operation::Inspect, volume.path(names.part()), error);
    let is_there = volume.identity(names.part()).map_err(inspected)?.is_some();
    let _lock = match is_there.then(|| open_locked(volume, names.part())) {
        Some(Err(error)) if error.kind() == StorageErrorKind::Locked => return Ok(()),
        Some(opened) => Some(opened?),
        None => None,
    };
    remove_checkpoint(volume, names, Durability::Unsynced)?;
    remove(volume, names.part())?;
    Ok(())
}

/// Empties a locked part file that holds another object or version. Removes the checkpoint first,
/// durably: if it came back, it would describe bytes that no longer exist.
pub(crate) fn empty<V: Volume>(
    volume: &V,
    names: &Names,
    file: &V::File,
    durability: Durability,
) -> Result<(), StorageError> {
    remove_checkpoint(volume, names, durability)?;
    file.set_len(0)
        .map_err(|error| StorageError::io(Operation::Resize, volume.path(names.part()), error))
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

fn remove_checkpoint<V: Volume>(
    volume: &V,
    names: &Names,
    durability: Durability,
) -> Result<(), StorageError> {
    let removed = [names.temporary(), names.checkpoint()]
        .into_iter()
        .try_fold(false, |any, name| Ok(remove(volume, name)? || any))?;
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

/// The process's umask, from `/proc`: `umask(2)` returns it only by changing it, for all threads.
fn umask() -> u32 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("Umask:"))?;
            u32::from_str_radix(line.trim(), 8).ok()
        })
        .unwrap_or(0o022)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::fake::{FakeDisk, FakeFile};
    use crate::storage::{Folder, StorageErrorKind, open_locked};
    use std::os::unix::fs::PermissionsExt;

    const BYTES: &[u8] = b"the whole object, some sectors long, so that a tear shows";

    fn names() -> Names {
        Names::new(OsStr::new("v")).unwrap()
    }

    fn publish_on(disk: &FakeDisk, collision: Collision) -> Result<Published, StorageError> {
        let (file, _) = open_locked(disk, names().part())?;
        finish(disk, &file, collision)
    }

    fn finish(
        disk: &FakeDisk,
        file: &FakeFile,
        collision: Collision,
    ) -> Result<Published, StorageError> {
        let length = BYTES.len() as u64;
        publish(disk, &names(), file, length, collision, Durability::Synced)
    }

    /// A part file that is written and not synced, with its checkpoint.
    fn ready() -> FakeDisk {
        let disk = FakeDisk::default();
        disk.plant("v.part", &vec![0; BYTES.len()]);
        disk.plant("v.part.ckpt", b"checkpoint");
        let file = disk.open(OsStr::new("v.part")).unwrap();
        file.write_at(0, BYTES).unwrap();
        disk
    }

    #[test]
    fn the_steps_and_their_order() {
        let disk = ready();
        let published = publish_on(&disk, Collision::Refuse).unwrap();
        assert!(matches!(published, Published::Clean));
        let expected = [
            "write v.part",
            "sync v.part",
            "permit v.part",
            "rename v.part",
            "sync folder",
            "remove v.part.ckpt.tmp",
            "remove v.part.ckpt",
            "sync folder",
        ];
        assert_eq!(disk.steps(), expected);
    }

    #[test]
    fn a_power_cut_at_any_step_leaves_the_old_file_or_the_whole_new_one() {
        let steps = {
            let disk = ready();
            publish_on(&disk, Collision::Replace).unwrap();
            disk.steps().len()
        };
        for cut in 1..=steps {
            for seed in 0..200 {
                let disk = ready();
                disk.plant("v", b"old");
                disk.cut_at(cut);
                let result = publish_on(&disk, Collision::Replace);
                let rebooted = disk.after_power_cut(&mut fastrand::Rng::with_seed(seed));
                let found = rebooted.contents("v").unwrap();
                let whole = found == BYTES;
                assert!(whole || found == b"old", "cut {cut} seed {seed}: {found:?}");
                assert!(whole || result.is_err(), "cut {cut} seed {seed}");
                let resumable =
                    ["v.part", "v.part.ckpt"].map(|name| rebooted.contents(name).is_some());
                assert!(whole || resumable == [true, true], "cut {cut} seed {seed}");
                sweep(&rebooted, &names(), Durability::Synced).unwrap();
                let left = rebooted.contents("v.part.ckpt").is_some();
                assert_eq!(left, !whole, "cut {cut} seed {seed}");
            }
        }
    }

    #[test]
    fn an_error_at_any_step_before_the_rename_touches_nothing() {
        for (step, touched) in [(1, false), (2, false), (3, false), (4, true)] {
            let disk = ready();
            disk.fail_at(step);
            publish_on(&disk, Collision::Refuse).unwrap_err();
            assert_eq!(disk.contents("v").is_some(), touched, "step {step}");
            assert!(disk.contents("v.part.ckpt").is_some());
        }
        for step in [6, 7] {
            let disk = ready();
            disk.fail_at(step);
            let published = publish_on(&disk, Collision::Refuse).unwrap();
            assert!(matches!(published, Published::Leftover(_)), "step {step}");
            assert_eq!(disk.contents("v").unwrap(), BYTES);
        }
    }

    #[test]
    fn a_file_in_the_way_stays() {
        let disk = ready();
        disk.plant("v", b"old");
        let error = publish_on(&disk, Collision::Refuse).unwrap_err();
        assert_eq!(error.kind(), StorageErrorKind::Exists);
        assert_eq!(disk.contents("v").unwrap(), b"old");
        assert_eq!(disk.contents("v.part").unwrap(), BYTES);
    }

    #[test]
    fn a_part_file_that_was_changed_is_not_published() {
        let disk = ready();
        let (file, _) = open_locked(&disk, names().part()).unwrap();
        file.set_len(3).unwrap();
        let truncated = finish(&disk, &file, Collision::Refuse).unwrap_err();
        assert_eq!(truncated.kind(), StorageErrorKind::Tampered);
        let disk = ready();
        let (file, _) = open_locked(&disk, names().part()).unwrap();
        disk.plant("v.part", BYTES);
        let replaced = finish(&disk, &file, Collision::Refuse).unwrap_err();
        assert_eq!(replaced.kind(), StorageErrorKind::Tampered);
        assert!(disk.contents("v").is_none());
    }

    #[test]
    fn what_another_run_holds_is_not_removed() {
        let disk = ready();
        let (file, _) = open_locked(&disk, names().part()).unwrap();
        remove_partial(&disk, &names()).unwrap();
        assert_eq!(disk.listing().len(), 2);
        drop(file);
        remove_partial(&disk, &names()).unwrap();
        assert_eq!(disk.listing().len(), 0);
    }

    #[test]
    fn on_the_real_disk() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let put = |collision| {
            let (file, _) = open_locked(&folder, names().part())?;
            file.write_at(0, BYTES).unwrap();
            std::fs::write(dir.path().join("v.part.ckpt"), "x").unwrap();
            let length = BYTES.len() as u64;
            publish(
                &folder,
                &names(),
                &file,
                length,
                collision,
                Durability::Synced,
            )
        };
        assert!(matches!(put(Collision::Refuse), Ok(Published::Clean)));
        let output = dir.path().join("v");
        assert_eq!(std::fs::read(&output).unwrap(), BYTES);
        let mode = std::fs::metadata(&output).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o666 & !umask());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        let refused = put(Collision::Refuse).unwrap_err();
        assert_eq!(refused.kind(), StorageErrorKind::Exists);
        assert!(matches!(put(Collision::Replace), Ok(Published::Clean)));
        // Without RENAME_NOREPLACE, a crash may leave the file with both names.
        std::fs::hard_link(&output, dir.path().join("v.part")).unwrap();
        std::fs::write(dir.path().join("v.part.ckpt"), "x").unwrap();
        assert!(sweep(&folder, &names(), Durability::Synced).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
