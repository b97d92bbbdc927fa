//! Reserves disk space for the whole file before the first byte arrives, and chooses the writer
//! that is safe on the file system.

use std::io;
use std::path::Path;

use crate::options::Writer;
use crate::options::WriterKind;

use super::FileSystem;
use super::error::{Cause, Operation, StorageError};

use super::volume::{Durability, PartFile, Space, Volume};

/// What the file system reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reservation {
    /// Every block is allocated.
    Blocks,
    /// The file has its length, but no blocks are reserved.
    None,
}

/// How a reserved file can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reserved {
    pub(crate) reservation: Reservation,
    pub(crate) file_system: FileSystem,
    pub(crate) kind: WriterKind,
}

/// Gives the locked part file its full length and, where the file system can, all its blocks; then
/// syncs file and folder, so a power cut can't undo the name or the length. Repeating it at a
/// resume is cheap.
///
/// # Errors
///
/// [`Full`](super::error::StorageErrorKind::Full), with the bytes needed and available, where the
/// file system has no room or never can have; [`Unsupported`](super::error::StorageErrorKind::Unsupported) if a map is
/// demanded and can't be made safe.
pub(crate) fn reserve<V: Volume>(
    volume: &V,
    name: &std::ffi::OsStr,
    file: &V::File,
    length: u64,
    choice: Writer,
    durability: Durability,
) -> Result<Reserved, StorageError> {
    let path = volume.path(name);
    let failed = |operation, error| StorageError::io(operation, &path, error);
    let file_system = file
        .file_system()
        .map_err(|e| failed(Operation::Inspect, e))?;
    let reservation = allocate(file, &path, length)?;
    let kind = choose(choice, file_system, reservation)
        .map_err(|why| StorageError::new(Operation::Map, &path, Cause::Unreservable(why)))?;
    if durability == Durability::Synced {
        file.sync_all().map_err(|e| failed(Operation::Sync, e))?;
        volume.sync().map_err(|e| failed(Operation::Sync, e))?;
    }
    Ok(Reserved {
        reservation,
        file_system,
        kind,
    })
}

fn allocate<F: PartFile>(file: &F, path: &Path, length: u64) -> Result<Reservation, StorageError> {
    let failed = |operation, error| StorageError::io(operation, path, error);
    let before = file.len().map_err(|e| failed(Operation::Inspect, e))?;
    let space = file.space().map_err(|e| failed(Operation::Inspect, e))?;
    check_limits(space, path, length)?;
    let result = match file.reserve(length) {
        Ok(()) => Ok(Reservation::Blocks),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(Reservation::None),
        Err(error) => {
            // A partial allocation would keep the disk full for other programs. The first error is
            // reported.
            let _ = file.set_len(before);
            Err(refused(error, path, space.needed(length), space.available))
        }
    }?;
    if file.len().map_err(|e| failed(Operation::Inspect, e))? != length {
        file.set_len(length)
            .map_err(|e| failed(Operation::Resize, e))?;
    }
    Ok(result)
}

/// Refuses what can't have room in any case. What is free at the moment is not asked: the kernel
/// may know better.
fn check_limits(space: Space, path: &Path, length: u64) -> Result<(), StorageError> {
    if let Some(limit) = space.file_limit.filter(|limit| length > *limit) {
        let cause = Cause::FileLimit {
            needed: length,
            limit,
        };
        return Err(StorageError::new(Operation::Reserve, path, cause));
    }
    match (space.total, space.available) {
        (Some(total), Some(available)) if length > total => {
            let needed = space.needed(length);
            let cause = Cause::Space { needed, available };
            Err(StorageError::new(Operation::Reserve, path, cause))
        }
        _ => Ok(()),
    }
}

/// What the kernel's refusal to reserve is due to.
fn refused(error: io::Error, path: &Path, needed: u64, available: Option<u64>) -> StorageError {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    match (error.kind(), available) {
        (StorageFull, Some(available)) if available < needed => {
            let cause = Cause::Space { needed, available };
            StorageError::new(Operation::Reserve, path, cause)
        }
        (StorageFull | QuotaExceeded | FileTooLarge, _) => {
            let cause = Cause::Quota {
                needed,
                available,
                error,
            };
            StorageError::new(Operation::Reserve, path, cause)
        }
        _ => StorageError::io(Operation::Reserve, path, error),
    }
}

fn choose(
    choice: Writer,
    file_system: FileSystem,
    reservation: Reservation,
) -> Result<WriterKind, &'static str> {
    let unsafe_because = if reservation == Reservation::None {
        Some("the file system can't reserve blocks")
    } else if !file_system.keeps_reservations() {
        Some("the file system does not promise that reserved blocks stay reserved")
    } else {
        None
    };
    match (choice, unsafe_because) {
        (Writer::Pwrite, _) | (Writer::Auto, Some(_)) => Ok(WriterKind::Pwrite),
        (Writer::Auto | Writer::Mmap, None) => Ok(WriterKind::Mmap),
        (Writer::Mmap, Some(why)) => Err(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::fake::FakeDisk;
    use crate::storage::{Folder, StorageErrorKind, create_locked, open_locked};
    use std::ffi::OsStr;
    use std::os::unix::fs::MetadataExt;

    const NAME: &str = "v.part";

    fn reserve_on<V: Volume>(
        volume: &V,
        length: u64,
        choice: Writer,
    ) -> Result<Reserved, StorageError> {
        let name = OsStr::new(NAME);
        let file = match open_locked(volume, name)? {
            Some(file) => file,
            None => create_locked(volume, name)?.expect("a free name"),
        };
        reserve(volume, name, &file, length, choice, Durability::Synced)
    }

    #[test]
    fn the_real_disk_gives_length_and_blocks() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        for length in [0, 1, 1 << 20, 10_000, 10_000] {
            let reserved = reserve_on(&folder, length, Writer::Auto).unwrap();
            let metadata = std::fs::metadata(dir.path().join(NAME)).unwrap();
            assert_eq!(metadata.len(), length);
            if reserved.reservation == Reservation::Blocks {
                assert!(metadata.blocks() * 512 >= length);
            }
        }
    }

    #[test]
    fn what_is_larger_than_the_disk_is_refused_before_anything_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let error = reserve_on(&folder, 1 << 55, Writer::Auto).unwrap_err();
        assert_eq!(error.kind(), StorageErrorKind::Full);
        assert!(
            error
                .to_string()
                .contains("36028797018963968 more bytes are needed and ")
        );
        assert_eq!(std::fs::metadata(dir.path().join(NAME)).unwrap().len(), 0);
    }

    #[test]
    fn the_kernel_decides_whether_there_is_room() {
        let disk = FakeDisk::default();
        disk.with_room(50);
        assert!(reserve_on(&disk, 40, Writer::Auto).is_ok());
        let full = reserve_on(&disk, 91, Writer::Auto).unwrap_err();
        assert_eq!(
            full.why(),
            "51 more bytes are needed and 50 are available on the disk"
        );
        assert_eq!(disk.contents(NAME).unwrap().len(), 40);
        disk.reports_room(0);
        assert!(reserve_on(&disk, 60, Writer::Auto).is_ok());
    }

    #[test]
    fn without_reservation_the_length_is_set_and_the_write_tells_of_room() {
        let disk = FakeDisk::default();
        disk.without_reservation();
        disk.reports_room(0);
        let reserved = reserve_on(&disk, 40, Writer::Auto).unwrap();
        assert_eq!(reserved.reservation, Reservation::None);
        assert_eq!(reserved.kind, WriterKind::Pwrite);
        assert_eq!(disk.contents(NAME).unwrap().len(), 40);
        let unsafe_map = reserve_on(&disk, 40, Writer::Mmap).unwrap_err();
        assert_eq!(unsafe_map.kind(), StorageErrorKind::Unsupported);
    }

    #[test]
    fn which_writer_is_chosen() {
        use FileSystem::{CopyOnWrite, InPlace, Layered, Unknown};
        for (file_system, reservation, mapped) in [
            (InPlace, Reservation::Blocks, true),
            (InPlace, Reservation::None, false),
            (CopyOnWrite, Reservation::Blocks, false),
            (Layered, Reservation::Blocks, false),
            (Unknown, Reservation::Blocks, false),
        ] {
            let auto = choose(Writer::Auto, file_system, reservation);
            let expected = if mapped {
                WriterKind::Mmap
            } else {
                WriterKind::Pwrite
            };
            assert_eq!(auto, Ok(expected), "{file_system:?} {reservation:?}");
            let demanded = choose(Writer::Mmap, file_system, reservation);
            assert_eq!(demanded.is_ok(), mapped);
            let declined = choose(Writer::Pwrite, file_system, reservation);
            assert_eq!(declined, Ok(WriterKind::Pwrite));
        }
    }

    #[test]
    fn what_can_never_have_room_is_refused_at_once() {
        let space = Space {
            allocated: 0,
            available: Some(0),
            total: Some(1000),
            file_limit: Some(100),
        };
        assert!(check_limits(space, Path::new(NAME), 100).is_ok());
        let unlimited = Space {
            file_limit: None,
            ..space
        };
        assert!(check_limits(unlimited, Path::new(NAME), 1000).is_ok());
        for (space, length) in [(space, 101), (unlimited, 1001)] {
            let error = check_limits(space, Path::new(NAME), length).unwrap_err();
            assert_eq!(error.kind(), StorageErrorKind::Full);
        }
    }
}
