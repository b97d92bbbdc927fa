//! Opens and locks the part file, and proves that it still has its name. The lock admits one run at
//! a time.

use std::ffi::OsStr;
use std::fs::TryLockError;
use std::io;

use super::error::{Cause, Operation, StorageError};
use super::volume::{PartFile, Volume};

/// How often the name may change during opening before it is an error. Each change takes the start
/// or end of another run.
const TRIES: u32 = 16;

/// Whether an opened part file is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opened {
    /// The file is new and empty.
    Created,
    /// An earlier run left the file.
    Found,
}

/// Opens the file, creating it if it is missing, and takes its lock. The lock ends when the file is
/// closed, also by a crash.
///
/// # Errors
///
/// [`Locked`](super::error::StorageErrorKind::Locked) if another run holds the lock; else the error
/// of creating or opening a regular file with that name that this user owns.
pub(crate) fn open_locked<V: Volume>(
    volume: &V,
    name: &OsStr,
) -> Result<(V::File, Opened), StorageError> {
    let failed = |operation, error| StorageError::io(operation, volume.path(name), error);
    for _ in 0..TRIES {
        let (file, origin) = match volume.open(name) {
            Ok(file) => (file, Opened::Found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => match volume.create(name) {
                Ok(file) => (file, Opened::Created),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(failed(Operation::Create, error)),
            },
            Err(error) => return Err(failed(Operation::Open, error)),
        };
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                StorageError::new(Operation::Lock, volume.path(name), Cause::Locked)
            }
            TryLockError::Error(error) => failed(Operation::Lock, error),
        })?;
        // Another run may have published or removed the file between opening and locking it.
        if is_named(volume, name, &file).map_err(|error| failed(Operation::Inspect, error))? {
            return Ok((file, origin));
        }
    }
    Err(StorageError::new(
        Operation::Lock,
        volume.path(name),
        Cause::Replaced,
    ))
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
        let (first, origin) = open_locked(&folder, name).unwrap();
        assert_eq!(origin, Opened::Created);
        let mode = std::fs::metadata(dir.path().join("v.part"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let refused = open_locked(&folder, name).unwrap_err();
        assert_eq!(refused.kind(), StorageErrorKind::Locked);
        drop(first);
        let (_again, origin) = open_locked(&folder, name).unwrap();
        assert_eq!(origin, Opened::Found);
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
        let (file, _) = open_locked(&folder, OsStr::new("v.part")).unwrap();
        assert!(dir.path().join("new/v.part").exists());
        std::fs::remove_dir_all(dir.path().join("new")).unwrap();
        assert!(!is_named(&folder, OsStr::new("v.part"), &file).unwrap());
        let error = open_locked(&folder, OsStr::new("v.part")).unwrap_err();
        assert_eq!(error.kind(), StorageErrorKind::Io);
    }
}
