//! Opens and locks the part file, and proves that it still has its name. The lock admits one run at
//! a time.

use std::ffi::OsStr;
use std::fs::TryLockError;
use std::io;

use super::error::{Cause, Operation, StorageError};
use super::volume::{PartFile, Volume};

/// How often the name may change during opening before it is an error. Each change takes the start
/// or end of another run.
pub(crate) const TRIES: u32 = 16;

/// Opens an existing part file and takes its lock; `None` where the name is free. The lock ends
/// when the file is closed, also by a crash.
///
/// # Errors
///
/// [`Locked`](super::error::StorageErrorKind::Locked) if another run holds the lock; else the error
/// of opening a regular file with that name that this user owns.
pub(crate) fn open_locked<V: Volume>(
    volume: &V,
    name: &OsStr,
) -> Result<Option<V::File>, StorageError> {
    for _ in 0..TRIES {
        let file = match volume.open(name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StorageError::io(Operation::Open, volume.path(name), error)),
        };
        // Another run may have published or removed the file between opening and locking it.
        if locked(volume, name, &file)? {
            return Ok(Some(file));
        }
    }
    Err(replaced(volume, name))
}

/// The error of a part name that refers to one file after another.
pub(crate) fn replaced<V: Volume>(volume: &V, name: &OsStr) -> StorageError {
    StorageError::new(Operation::Lock, volume.path(name), Cause::Replaced)
}

/// Creates a part file and takes its lock; `None` where another run has the name meanwhile.
///
/// # Errors
///
/// The error of creating or locking it.
pub(crate) fn create_locked<V: Volume>(
    volume: &V,
    name: &OsStr,
) -> Result<Option<V::File>, StorageError> {
    let file = match volume.create(name) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        Err(error) => {
            return Err(StorageError::io(
                Operation::Create,
                volume.path(name),
                error,
            ));
        }
    };
    Ok(locked(volume, name, &file)?.then_some(file))
}

/// Locks the file, and tells whether it still has its name.
fn locked<V: Volume>(volume: &V, name: &OsStr, file: &V::File) -> Result<bool, StorageError> {
    let failed = |operation, error| StorageError::io(operation, volume.path(name), error);
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => {
            StorageError::new(Operation::Lock, volume.path(name), Cause::Locked)
        }
        TryLockError::Error(error) => failed(Operation::Lock, error),
    })?;
    is_named(volume, name, file).map_err(|error| failed(Operation::Inspect, error))
}

/// Whether the name still refers to this file.
pub(super) fn is_named<V: Volume>(volume: &V, name: &OsStr, file: &V::File) -> io::Result<bool> {
    Ok(volume.identity(name)? == Some(file.identity()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Folder, StorageErrorKind};
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn the_second_run_is_refused_until_the_first_ends() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let name = OsStr::new("v.part");
        assert!(open_locked(&folder, name).unwrap().is_none());
        let first = create_locked(&folder, name).unwrap().unwrap();
        let mode = std::fs::metadata(dir.path().join("v.part"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let refused = open_locked(&folder, name).unwrap_err();
        assert_eq!(refused.kind(), StorageErrorKind::Locked);
        assert!(create_locked(&folder, name).unwrap().is_none());
        drop(first);
        assert!(open_locked(&folder, name).unwrap().is_some());
    }

    #[test]
    fn what_is_no_file_of_ours_is_refused_without_touching_it() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let victim = dir.path().join("victim");
        std::fs::write(&victim, "precious").unwrap();
        symlink(&victim, dir.path().join("link")).unwrap();
        symlink("nowhere", dir.path().join("dangling")).unwrap();
        std::fs::hard_link(&victim, dir.path().join("hard")).unwrap();
        std::fs::create_dir(dir.path().join("folder")).unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        for (name, why) in [
            ("link", "symbolic link"),
            ("dangling", "symbolic link"),
            ("hard", "hard links"),
            ("folder", "directory"),
            ("fifo", "not a regular file"),
        ] {
            let error = open_locked(&folder, OsStr::new(name)).unwrap_err();
            assert!(error.to_string().contains(why), "{name}: {error}");
        }
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    }

    #[test]
    fn a_folder_that_is_renamed_or_removed_in_mid_run() {
        let dir = tempfile::tempdir().unwrap();
        let old = dir.path().join("old");
        let folder = Folder::open_or_create(&old, crate::storage::Durability::Synced).unwrap();
        std::fs::rename(&old, dir.path().join("new")).unwrap();
        let file = create_locked(&folder, OsStr::new("v.part")).unwrap();
        let file = file.unwrap();
        assert!(dir.path().join("new/v.part").exists());
        std::fs::remove_dir_all(dir.path().join("new")).unwrap();
        assert!(!is_named(&folder, OsStr::new("v.part"), &file).unwrap());
        let error = create_locked(&folder, OsStr::new("v.part")).unwrap_err();
        assert_eq!(error.kind(), StorageErrorKind::Io);
    }
}
