//! Errors of file operations.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::object::ByteRange;

/// The file operation that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    OpenFolder,
    Create,
    Open,
    Lock,
    Inspect,
    Reserve,
    Resize,
    Map,
    Read,
    Write,
    Sync,
    Permit,
    Rename,
    Remove,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenFolder => "open the folder",
            Self::Create => "create",
            Self::Open => "open",
            Self::Lock => "lock",
            Self::Inspect => "inspect",
            Self::Reserve => "reserve room for",
            Self::Resize => "set the length of",
            Self::Map => "map",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Permit => "set the permissions of",
            Self::Rename => "put in place",
            Self::Remove => "remove",
        })
    }
}

/// The cause of a [`StorageError`], coarse enough to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StorageErrorKind {
    /// Disk, quota or file size limit exhausted.
    Full,
    /// Another run holds the file's lock.
    Locked,
    /// A file with the final name exists.
    Exists,
    /// No permission, or a read-only file system.
    Access,
    /// Another process truncated, removed or replaced the file.
    Tampered,
    /// The file system does not support the operation.
    Unsupported,
    /// The caller passed an invalid argument: a defect in partwise.
    Misuse,
    /// Anything else that the operating system reports.
    Io,
}

/// A failed file operation. `Display` names the operation, the path and the cause.
#[derive(Debug)]
pub(crate) struct StorageError {
    operation: Operation,
    path: PathBuf,
    cause: Cause,
}

#[derive(Debug)]
pub(super) enum Cause {
    Io(io::Error),
    Space {
        needed: u64,
        available: u64,
    },
    Quota {
        needed: u64,
        available: Option<u64>,
        error: io::Error,
    },
    FileLimit {
        needed: u64,
        limit: u64,
    },
    Locked,
    Exists,
    Truncated {
        expected: u64,
        found: u64,
    },
    Replaced,
    /// A mapped page that no longer belongs to the file, although the file's length is unchanged.
    Lost,
    Unreservable(&'static str),
    Name(&'static str),
    Outside {
        window: ByteRange,
        position: u64,
        length: usize,
    },
}

impl StorageError {
    /// An error that the operating system reported.
    pub(crate) fn io(operation: Operation, path: impl Into<PathBuf>, error: io::Error) -> Self {
        Self::new(operation, path, Cause::Io(error))
    }

    pub(super) fn new(operation: Operation, path: impl Into<PathBuf>, cause: Cause) -> Self {
        Self {
            operation,
            path: path.into(),
            cause,
        }
    }

    pub(crate) fn kind(&self) -> StorageErrorKind {
        use StorageErrorKind as Kind;
        match &self.cause {
            Cause::Space { .. } | Cause::Quota { .. } | Cause::FileLimit { .. } => Kind::Full,
            Cause::Locked => Kind::Locked,
            Cause::Exists => Kind::Exists,
            Cause::Truncated { .. } | Cause::Replaced => Kind::Tampered,
            Cause::Unreservable(_) => Kind::Unsupported,
            Cause::Name(_) | Cause::Outside { .. } => Kind::Misuse,
            Cause::Lost => Kind::Io,
            Cause::Io(error) => match error.kind() {
                io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::FileTooLarge => Kind::Full,
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Kind::Access,
                io::ErrorKind::Unsupported => Kind::Unsupported,
                _ => Kind::Io,
            },
        }
    }

    /// Operation and path, such as `cannot write v.mp4.part`.
    pub(crate) fn what(&self) -> String {
        format!("cannot {} {}", self.operation, shown(&self.path))
    }

    /// The cause, without operation and path.
    pub(crate) fn why(&self) -> String {
        self.cause.to_string()
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what(), self.cause)
    }
}

impl std::error::Error for StorageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            Cause::Io(error) | Cause::Quota { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{error}"),
            Self::Space { needed, available } => write!(
                f,
                "{needed} more bytes are needed and {available} are available on the disk"
            ),
            Self::Quota {
                needed,
                available: Some(available),
                error,
            } => write!(
                f,
                "{needed} more bytes are needed and {available} are available on the disk: {error}"
            ),
            Self::Quota { needed, error, .. } => {
                write!(f, "{needed} more bytes are needed: {error}")
            }
            Self::FileLimit { needed, limit } => write!(
                f,
                "a file of {needed} bytes is needed and the limit of this process is {limit} (ulimit -f)"
            ),
            Self::Locked => f.write_str("another run of partwise has locked it"),
            Self::Exists => f.write_str("a file with that name already exists"),
            Self::Truncated { expected, found } => write!(
                f,
                "another process changed its length: {expected} bytes expected, {found} found"
            ),
            Self::Replaced => f.write_str("another process removed or replaced it"),
            Self::Lost => f.write_str(
                "a page was lost while it was written: the device failed, or another process changed the file",
            ),
            Self::Unreservable(why) => write!(f, "it can't be mapped safely: {why}"),
            Self::Name(why) => write!(f, "the name {why}"),
            Self::Outside {
                window,
                position,
                length,
            } => write!(
                f,
                "{length} bytes at {position} lie outside the window {window}"
            ),
        }
    }
}

/// The path with control and bidirectional formatting characters escaped, for messages: a name may
/// come from a URL.
fn shown(path: &Path) -> String {
    let mut text = String::new();
    for c in path.to_string_lossy().chars() {
        let bidirectional = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || bidirectional {
            text.extend(c.escape_unicode());
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn texts_name_operation_path_and_cause() {
        let full = StorageError::new(
            Operation::Reserve,
            "v.part",
            Cause::Space {
                needed: 10,
                available: 3,
            },
        );
        assert_eq!(
            full.to_string(),
            "cannot reserve room for v.part: 10 more bytes are needed and 3 are available on the disk"
        );
        assert_eq!(full.kind(), StorageErrorKind::Full);
    }

    #[test]
    fn kinds_of_what_the_system_reports() {
        let table = [
            (Errno::NOSPC, StorageErrorKind::Full),
            (Errno::DQUOT, StorageErrorKind::Full),
            (Errno::FBIG, StorageErrorKind::Full),
            (Errno::ACCESS, StorageErrorKind::Access),
            (Errno::ROFS, StorageErrorKind::Access),
            (Errno::OPNOTSUPP, StorageErrorKind::Unsupported),
            (Errno::IO, StorageErrorKind::Io),
        ];
        for (errno, kind) in table {
            let error = StorageError::io(Operation::Write, "x", errno.into());
            assert_eq!(error.kind(), kind, "{errno:?}");
        }
    }

    #[test]
    fn the_source_is_what_the_system_reported() {
        let quota = Cause::Quota {
            needed: 1,
            available: None,
            error: Errno::DQUOT.into(),
        };
        for (cause, expected) in [
            (Cause::Io(Errno::ROFS.into()), Some(Errno::ROFS)),
            (quota, Some(Errno::DQUOT)),
            (Cause::Locked, None),
        ] {
            let error = StorageError::new(Operation::Write, "x", cause);
            let source = std::error::Error::source(&error);
            let found = source.map(|source| source.downcast_ref::<io::Error>().unwrap());
            assert_eq!(found.and_then(Errno::from_io_error), expected);
        }
    }

    #[test]
    fn control_and_bidirectional_characters_are_escaped() {
        let error = StorageError::new(Operation::Open, "a\x1b[2J\u{202e}b", Cause::Replaced);
        assert!(
            error
                .to_string()
                .starts_with("cannot open a\\u{1b}[2J\\u{202e}b: ")
        );
    }
}
