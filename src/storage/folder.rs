//! The real disk. The folder is held open, so it may be renamed while a download works in it.

use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::io::{self, Read};
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    Advice, AtFlags, FallocateFlags, FileType, MemfdFlags, Mode, OFlags, RenameFlags, Stat,
    StatxFlags, fadvise, fallocate, fchmod, fstat, fstatfs, fstatvfs, linkat, memfd_create, openat,
    renameat, renameat_with, statat, statx, unlinkat,
};
use rustix::io::Errno;
use rustix::process::{Resource, geteuid, getrlimit};

use super::FileSystem;
use super::error::{Operation, StorageError};
use super::mmap::FileMap;
use super::spare::Spare;
use super::volume::{Collision, Durability, FileId, FileStamp, FileTime, PartFile, Space, Volume};
use crate::object::ByteRange;

/// A folder of the real disk.
#[derive(Debug)]
pub(crate) struct Folder {
    handle: OwnedFd,
    path: PathBuf,
    /// Of the process when the folder was opened: later, descriptors may have run out.
    umask: Option<u32>,
    spare: Spare,
}

impl Folder {
    /// Opens an existing folder.
    pub(crate) fn open(path: &Path) -> Result<Self, StorageError> {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|error| StorageError::io(Operation::OpenFolder, path, error.into()))?;
        Ok(Self {
            path: path.to_owned(),
            umask: umask(),
            spare: Spare::of(&handle),
            handle,
        })
    }

    /// Opens a folder, creating it and its missing parents.
    pub(crate) fn open_or_create(
        path: &Path,
        durability: Durability,
    ) -> Result<Self, StorageError> {
        let missing = path
            .ancestors()
            .take_while(|ancestor| !ancestor.as_os_str().is_empty() && !ancestor.exists())
            .count();
        let failed = |error| StorageError::io(Operation::Create, path, error);
        std::fs::create_dir_all(path).map_err(failed)?;
        if durability == Durability::Synced {
            for above in path.ancestors().skip(1).take(missing) {
                Self::open(above)?.sync().map_err(failed)?;
            }
        }
        Self::open(path)
    }

    fn created(&self, name: &OsStr, mode: Mode) -> io::Result<DiskFile> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = self.openat(name, flags, mode)?;
        Ok(DiskFile(file.into()))
    }

    fn openat(&self, name: &OsStr, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let open = || openat(&self.handle, name, flags, mode);
        self.spare.open(&self.handle, open)
    }

    /// What the name itself stands for, if it is a regular file.
    fn regular_file(&self, name: &OsStr) -> io::Result<Option<Stat>> {
        match statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
                Ok(Some(stat))
            }
            Ok(_) | Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn checked(&self, name: &OsStr, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = self.openat(name, flags, Mode::empty());
        let file = opened.map_err(|errno| {
            if errno == Errno::LOOP {
                refusal("it is a symbolic link")
            } else {
                errno.into()
            }
        })?;
        let stat = fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(refusal("it is not a regular file"));
        }
        let file = File::from(file);
        if stat.st_uid != geteuid().as_raw() && file_system_of(&file)?.has_owners() {
            return Err(refusal("it belongs to another user"));
        }
        Ok(file)
    }

    /// Renames without replacing, for file systems without RENAME_NOREPLACE. A crash between the
    /// two steps leaves one file with both names, which [`at_output`](super::at_output) repairs.
    fn link_then_unlink(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        match linkat(&self.handle, from, &self.handle, to, AtFlags::empty()) {
            Ok(()) => self.remove(from),
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => {
                if self.identity(to)?.is_some() {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                Ok(renameat(&self.handle, from, &self.handle, to)?)
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Volume for Folder {
    type File = DiskFile;

    fn create(&self, name: &OsStr) -> io::Result<DiskFile> {
        self.created(name, Mode::RUSR | Mode::WUSR)
    }

    fn create_for_all(&self, name: &OsStr) -> io::Result<DiskFile> {
        self.created(name, Mode::from_raw_mode(0o666))
    }

    fn open(&self, name: &OsStr) -> io::Result<DiskFile> {
        let file = self.checked(name, OFlags::RDWR)?;
        match fstat(&file)?.st_nlink {
            // The file was removed between the two calls.
            0 => Err(io::ErrorKind::NotFound.into()),
            1 => Ok(DiskFile(file)),
            _ => Err(refusal("it has other names, too (hard links)")),
        }
    }

    fn read(&self, name: &OsStr, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let file = match self.checked(name, OFlags::RDONLY) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        let mut bytes = Vec::with_capacity(usize::try_from(length.min(limit)).unwrap_or(0));
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(Some(bytes))
    }

    fn rename(&self, from: &OsStr, to: &OsStr, collision: Collision) -> io::Result<()> {
        if collision == Collision::Replace {
            return Ok(renameat(&self.handle, from, &self.handle, to)?);
        }
        match renameat_with(&self.handle, from, &self.handle, to, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => self.link_then_unlink(from, to),
            result => Ok(result?),
        }
    }

    fn remove(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.handle, name, AtFlags::empty())?)
    }

    fn identity(&self, name: &OsStr) -> io::Result<Option<FileId>> {
        match statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(id_of(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn is_replaceable(&self, name: &OsStr) -> io::Result<bool> {
        match statat(&self.handle, name, AtFlags::empty()) {
            Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile),
            // A dangling link does not hinder a rename.
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    fn length(&self, name: &OsStr) -> io::Result<Option<u64>> {
        let stat = self.regular_file(name)?;
        Ok(stat.and_then(|stat| u64::try_from(stat.st_size).ok()))
    }

    fn mode(&self, name: &OsStr) -> io::Result<Option<u32>> {
        let stat = self.regular_file(name)?;
        Ok(stat.map(|stat| stat.st_mode & 0o777))
    }

    fn umask(&self) -> Option<u32> {
        self.umask
    }

    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.handle)?)
    }

    fn path(&self, name: &OsStr) -> PathBuf {
        if self.path == Path::new(".") {
            PathBuf::from(name)
        } else {
            self.path.join(name)
        }
    }
}

/// A file of the real disk.
#[derive(Debug)]
pub(crate) struct DiskFile(File);

impl DiskFile {
    /// A file in memory that only this process can reach and that vanishes when it is closed.
    pub(crate) fn in_memory() -> io::Result<Self> {
        let file = memfd_create("partwise", MemfdFlags::CLOEXEC)?;
        Ok(Self(file.into()))
    }
}

impl PartFile for DiskFile {
    fn try_lock(&self) -> Result<(), TryLockError> {
        self.0.try_lock()
    }

    fn identity(&self) -> io::Result<FileId> {
        Ok(id_of(&fstat(&self.0)?))
    }

    fn stamp(&self) -> io::Result<FileStamp> {
        let stat = fstat(&self.0)?;
        let time = |seconds, nanoseconds| FileTime {
            seconds,
            nanoseconds: u32::try_from(nanoseconds).unwrap_or(0),
        };
        Ok(FileStamp {
            inode: stat.st_ino,
            born: birth_of(&self.0),
            length: u64::try_from(stat.st_size).map_err(io::Error::other)?,
            modified: time(stat.st_mtime, stat.st_mtime_nsec),
            changed: time(stat.st_ctime, stat.st_ctime_nsec),
        })
    }

    fn len(&self) -> io::Result<u64> {
        u64::try_from(fstat(&self.0)?.st_size).map_err(io::Error::other)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn reserve(&self, length: u64) -> io::Result<()> {
        if length == 0 {
            return Ok(());
        }
        // A signal can interrupt a long allocation; allocated blocks stay, so each retry makes
        // progress.
        loop {
            match fallocate(&self.0, FallocateFlags::empty(), 0, length) {
                Err(Errno::INTR) => {}
                Err(Errno::NOSYS) => return Err(Errno::OPNOTSUPP.into()),
                result => return Ok(result?),
            }
        }
    }

    fn file_system(&self) -> io::Result<FileSystem> {
        file_system_of(&self.0)
    }

    fn space(&self) -> io::Result<Space> {
        let volume = fstatvfs(&self.0)?;
        let blocks = u64::try_from(fstat(&self.0)?.st_blocks).unwrap_or(0);
        // A file system that reports no blocks at all (some FUSE ones) does not know its free
        // space.
        let bytes =
            |blocks: u64| (volume.f_blocks > 0).then(|| blocks.saturating_mul(volume.f_frsize));
        Ok(Space {
            allocated: blocks.saturating_mul(512),
            available: bytes(volume.f_bavail),
            total: bytes(volume.f_blocks),
            file_limit: getrlimit(Resource::Fsize).current,
        })
    }

    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buffer, position)
    }

    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, position)
    }

    fn map(&self, length: u64) -> io::Result<FileMap> {
        FileMap::new(&self.0, length)
    }

    /// Calls `POSIX_FADV_DONTNEED`: Linux starts write-back of dirty pages in the range, then drops
    /// the clean ones. `sync_file_range`, which would only start write-back, can't be called
    /// without unsafe code.
    fn start_writeback(&self, range: ByteRange) -> io::Result<()> {
        match NonZeroU64::new(range.len()) {
            Some(length) => Ok(fadvise(
                &self.0,
                range.start(),
                Some(length),
                Advice::DontNeed,
            )?),
            None => Ok(()),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        Ok(fchmod(&self.0, Mode::from_raw_mode(mode))?)
    }
}

fn file_system_of(file: &File) -> io::Result<FileSystem> {
    // The field's width and sign differ by architecture.
    let magic = i128::from(fstatfs(file)?.f_type) & 0xffff_ffff;
    Ok(u32::try_from(magic).map_or(FileSystem::Unknown, FileSystem::from_magic))
}

/// When the file was made; `None` where the kernel or the file system does not tell.
fn birth_of(file: &File) -> Option<FileTime> {
    let found = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BTIME).ok()?;
    let is_told = found.stx_mask & StatxFlags::BTIME.bits() != 0;
    is_told.then_some(FileTime {
        seconds: found.stx_btime.tv_sec,
        nanoseconds: found.stx_btime.tv_nsec,
    })
}

fn id_of(stat: &Stat) -> FileId {
    FileId {
        device: stat.st_dev,
        inode: stat.st_ino,
    }
}

/// The process's umask, from `/proc`: `umask(2)` returns it only by changing it, for all threads.
fn umask() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let mut lines = status.lines();
    let umask = lines.find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(umask.trim(), 8).ok()
}

fn refusal(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> &OsStr {
        OsStr::new(text)
    }

    #[test]
    fn names_are_moved_where_there_is_no_noreplace() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        std::fs::write(dir.path().join("a"), "new").unwrap();
        std::fs::write(dir.path().join("b"), "old").unwrap();
        let taken = folder.link_then_unlink(name("a"), name("b")).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        folder.link_then_unlink(name("a"), name("c")).unwrap();
        assert_eq!(folder.read(name("c"), 3).unwrap().unwrap(), b"new");
        assert_eq!(folder.identity(name("a")).unwrap(), None);
        assert_eq!(folder.read(name("b"), 3).unwrap().unwrap(), b"old");
    }

    #[test]
    fn a_file_is_told_from_one_that_had_its_number() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let stamp = folder.create(name("a")).unwrap().stamp().unwrap();
        let later = FileStamp {
            born: stamp.born.map(|born| FileTime {
                seconds: born.seconds + 1,
                ..born
            }),
            ..stamp
        };
        assert!(
            folder
                .open(name("a"))
                .unwrap()
                .stamp()
                .unwrap()
                .is_of_file(&stamp)
        );
        // Where the file system tells it.
        assert_eq!(later.is_of_file(&stamp), stamp.born.is_none());
    }

    #[test]
    fn what_is_read_has_a_bound() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        std::fs::write(dir.path().join("a"), "1234").unwrap();
        assert_eq!(folder.read(name("a"), 4).unwrap().unwrap(), b"1234");
        let error = folder.read(name("a"), 3).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert!(folder.read(name("b"), 3).unwrap().is_none());
        assert!(folder.read(name("."), 3).is_err());
    }

    #[test]
    fn missing_folders_are_made_and_files_are_none() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("x/y/z");
        Folder::open_or_create(&deep, Durability::Synced).unwrap();
        assert!(deep.is_dir());
        std::fs::write(dir.path().join("file"), "").unwrap();
        for path in ["file", "file/below", "nowhere"] {
            assert!(Folder::open(&dir.path().join(path)).is_err(), "{path}");
        }
        let below_a_file = dir.path().join("file/below");
        assert!(Folder::open_or_create(&below_a_file, Durability::Synced).is_err());
    }
}
