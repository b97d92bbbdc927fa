//! The interface between the protocols and the disk.

use std::ffi::OsStr;
use std::fs::TryLockError;
use std::io;
use std::path::PathBuf;

use super::FileSystem;
use super::mmap::FileMap;
use crate::object::ByteRange;

/// The folder that a download works in. Names are single path components.
pub(crate) trait Volume: Send + Sync + 'static {
    type File: PartFile;

    /// Creates a file with mode 0600. Fails with `AlreadyExists` if anything, even a symbolic link,
    /// has the name.
    fn create(&self, name: &OsStr) -> io::Result<Self::File>;

    /// Creates a file with the mode that the umask, or the folder, gives to files for all. Fails
    /// with `AlreadyExists` as [`create`](Self::create) does.
    fn create_for_all(&self, name: &OsStr) -> io::Result<Self::File>;

    /// Opens an existing file for reading and writing. Refuses anything but a regular file of this
    /// user with one link; neither follows a symbolic link nor waits for the other end of a FIFO.
    fn open(&self, name: &OsStr) -> io::Result<Self::File>;

    /// Reads a regular file of this user; `None` if the name is free. Fails with `FileTooLarge`
    /// past `limit` bytes.
    fn read(&self, name: &OsStr, limit: u64) -> io::Result<Option<Vec<u8>>>;

    /// Renames a file atomically. Fails with `AlreadyExists` if `to` is taken and `collision`
    /// refuses.
    fn rename(&self, from: &OsStr, to: &OsStr, collision: Collision) -> io::Result<()>;

    /// Removes a name; of a symbolic link, the link itself.
    fn remove(&self, name: &OsStr) -> io::Result<()>;

    /// The identity of the file with this name, `None` if the name is free. A symbolic link is not
    /// followed.
    fn identity(&self, name: &OsStr) -> io::Result<Option<FileId>>;

    /// Whether another file may take the name: it is free, or names a regular file, possibly
    /// through symbolic links. A folder can't be replaced, and a FIFO or a device should not be.
    fn is_replaceable(&self, name: &OsStr) -> io::Result<bool>;

    /// The length of the regular file with this name; `None` if the name is free or names something
    /// else.
    fn length(&self, name: &OsStr) -> io::Result<Option<u64>>;

    /// The permission bits of the regular file with this name; `None` if the name is free or names
    /// something else.
    fn mode(&self, name: &OsStr) -> io::Result<Option<u32>>;

    /// The process's umask; `None` if the system does not tell it.
    fn umask(&self) -> Option<u32>;

    /// Makes the folder's names durable.
    fn sync(&self) -> io::Result<()>;

    /// The path of a name, for messages.
    fn path(&self, name: &OsStr) -> PathBuf;
}

/// An open file of a [`Volume`].
pub(crate) trait PartFile: Send + Sync + 'static {
    /// Takes the exclusive lock, without waiting. Closing the file releases it.
    fn try_lock(&self) -> Result<(), TryLockError>;

    fn identity(&self) -> io::Result<FileId>;

    /// What tells whether the file was changed.
    fn stamp(&self) -> io::Result<FileStamp>;

    /// The file's current length in bytes.
    fn len(&self) -> io::Result<u64>;

    fn set_len(&self, length: u64) -> io::Result<()>;

    /// Allocates every block of `0..length` and makes the file at least that long. Fails with
    /// `Unsupported` where the file system can't; never falls back to writing zeros.
    fn reserve(&self, length: u64) -> io::Result<()>;

    fn file_system(&self) -> io::Result<FileSystem>;

    fn space(&self) -> io::Result<Space>;

    /// Fills the buffer. Fails with `UnexpectedEof` if the file ends first.
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes all the bytes.
    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()>;

    /// Maps the first `length` bytes, which must exist. Fails with `Unsupported` if the file can't
    /// be mapped.
    fn map(&self, length: u64) -> io::Result<FileMap>;

    /// Starts write-back of these bytes without waiting. A hint.
    fn start_writeback(&self, range: ByteRange) -> io::Result<()>;

    /// Makes the bytes durable, including those written through maps.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes bytes and attributes durable.
    fn sync_all(&self) -> io::Result<()>;

    fn set_mode(&self, mode: u32) -> io::Result<()>;
}

/// What to do if the name is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Collision {
    Refuse,
    Replace,
}

/// Whether changes are synced, so that a power cut can't undo them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    Synced,
    Unsynced,
}

/// Identifies a file independently of its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// A file at one moment. A program that writes it, and one that puts another file in its place,
/// changes at least one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileStamp {
    pub(crate) inode: u64,
    /// When the file was made; `None` where the file system does not tell.
    pub(crate) born: Option<FileTime>,
    /// In bytes.
    pub(crate) length: u64,
    /// When bytes were written last.
    pub(crate) modified: FileTime,
    /// When bytes or attributes were changed last.
    pub(crate) changed: FileTime,
}

impl FileStamp {
    /// Whether both are of one file. The birth tells a file from a later one with the number of one
    /// that was removed.
    pub(crate) fn is_of_file(&self, other: &Self) -> bool {
        let births = self.born.zip(other.born);
        self.inode == other.inode && births.is_none_or(|(one, other)| one == other)
    }
}

/// A time of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileTime {
    /// Since 1970.
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
}

/// The space available to a file, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Space {
    /// The bytes allocated to this file.
    pub(crate) allocated: u64,
    /// The bytes that an unprivileged user can still allocate, quotas ignored; `None` if the file
    /// system does not report it. What was freed may count only later (btrfs, XFS).
    pub(crate) available: Option<u64>,
    /// All bytes of the file system, free or not; `None` if it does not report them.
    pub(crate) total: Option<u64>,
    /// The longest file that the process may write (`RLIMIT_FSIZE`); writing past it would kill the
    /// process.
    pub(crate) file_limit: Option<u64>,
}

impl Space {
    /// How many more bytes a file of this length takes.
    pub(crate) fn needed(&self, length: u64) -> u64 {
        length.saturating_sub(self.allocated)
    }
}
