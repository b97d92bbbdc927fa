//! The seam between the protocols and the disk.

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

    /// A new file, mode 0600. `AlreadyExists` where anything, a symbolic link included, has the name.
    fn create(&self, name: &OsStr) -> io::Result<Self::File>;

    /// A file that is there, for reading and writing. Refuses anything but a regular file of ours with one link;
    /// neither follows a symbolic link nor waits for the other end of a FIFO.
    fn open(&self, name: &OsStr) -> io::Result<Self::File>;

    /// The bytes of a regular file of ours; `None` where the name is free, `FileTooLarge` past `limit` bytes.
    fn read(&self, name: &OsStr, limit: u64) -> io::Result<Option<Vec<u8>>>;

    /// Moves a name, atomically. `AlreadyExists` where `to` is taken and `collision` refuses.
    fn rename(&self, from: &OsStr, to: &OsStr, collision: Collision) -> io::Result<()>;

    /// Removes a name; a symbolic link is removed itself.
    fn remove(&self, name: &OsStr) -> io::Result<()>;

    /// What the name stands for, `None` where it is free. A symbolic link stands for itself.
    fn identity(&self, name: &OsStr) -> io::Result<Option<FileId>>;

    /// Whether another file may take the name: it is free, a regular file's, or a symbolic link's to such a name.
    /// A folder can't be replaced, and a FIFO or a device is there for somebody else.
    fn is_replaceable(&self, name: &OsStr) -> io::Result<bool>;

    /// How long the regular file of this name is; `None` where the name is free or stands for something else.
    fn length(&self, name: &OsStr) -> io::Result<Option<u64>>;

    /// Makes the names durable.
    fn sync(&self) -> io::Result<()>;

    /// The path to show for a name.
    fn path(&self, name: &OsStr) -> PathBuf;
}

/// An open file of a [`Volume`].
pub(crate) trait PartFile: Send + Sync + 'static {
    /// Takes the exclusive lock, without waiting. It is given back when the file is closed.
    fn try_lock(&self) -> Result<(), TryLockError>;

    fn identity(&self) -> io::Result<FileId>;

    /// The file's length now.
    fn len(&self) -> io::Result<u64>;

    fn set_len(&self, length: u64) -> io::Result<()>;

    /// Allocates every block of `0..length` and makes the file at least that long; `Unsupported` where the file
    /// system can't. Never falls back to writing zeros.
    fn reserve(&self, length: u64) -> io::Result<()>;

    fn file_system(&self) -> io::Result<FileSystem>;

    fn space(&self) -> io::Result<Space>;

    /// Fills the buffer; `UnexpectedEof` where the file ends first.
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes all the bytes.
    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()>;

    /// Maps the first `length` bytes, which are there. `Unsupported` where there is nothing to map.
    fn map(&self, length: u64) -> io::Result<FileMap>;

    /// Begins to write these bytes back, without waiting for it. A hint.
    fn start_writeback(&self, range: ByteRange) -> io::Result<()>;

    /// Makes the bytes durable, those of the maps included.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes bytes and attributes durable.
    fn sync_all(&self) -> io::Result<()>;

    fn set_mode(&self, mode: u32) -> io::Result<()>;
}

/// What to do with a file that has the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Collision {
    Refuse,
    Replace,
}

/// Whether a power cut may undo what was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    Synced,
    Unsynced,
}

/// Tells one file from another, whatever their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// How much room there is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Space {
    /// What this file has got already.
    pub(crate) allocated: u64,
    /// What an unprivileged user can still have; `None` where the file system does not say. Knows no quota.
    pub(crate) available: Option<u64>,
    /// The longest file that the process may write (`RLIMIT_FSIZE`), past which the kernel would kill it.
    pub(crate) file_limit: Option<u64>,
}
