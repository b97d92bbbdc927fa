//! The names that one download uses in its folder.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::error::{Cause, Operation, StorageError};

/// `NAME`, `NAME.part`, `NAME.part.ckpt` and `NAME.part.ckpt.tmp`, side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    // INVARIANT: each is one path component, none is `.` or `..`.
    output: OsString,
    part: OsString,
    checkpoint: OsString,
    temporary: OsString,
}

impl Names {
    /// The longest `NAME` in bytes: file systems accept at most 255, and the longest suffix is
    /// added.
    pub(crate) const LONGEST: usize = 255 - ".part.ckpt.tmp".len();

    /// The names around the final name `output`.
    ///
    /// # Errors
    ///
    /// `output` is not one path component, or is longer than [`LONGEST`](Self::LONGEST).
    pub(crate) fn new(output: &OsStr) -> Result<Self, StorageError> {
        let bytes = output.as_bytes();
        let refused = if bytes.is_empty() || bytes == b"." || bytes == b".." {
            Some("is not that of a file")
        } else if bytes.contains(&b'/') || bytes.contains(&0) {
            Some("holds a character that a file name can't have")
        } else if bytes.len() > Self::LONGEST {
            Some("is longer than 241 bytes")
        } else {
            None
        };
        if let Some(why) = refused {
            return Err(StorageError::new(
                Operation::Create,
                output,
                Cause::Name(why),
            ));
        }
        let with = |suffix: &str| {
            let mut name = output.to_owned();
            name.push(suffix);
            name
        };
        Ok(Self {
            output: output.to_owned(),
            part: with(".part"),
            checkpoint: with(".part.ckpt"),
            temporary: with(".part.ckpt.tmp"),
        })
    }

    /// The final name.
    pub(crate) fn output(&self) -> &OsStr {
        &self.output
    }

    /// The file while it is being downloaded.
    pub(crate) fn part(&self) -> &OsStr {
        &self.part
    }

    pub(crate) fn checkpoint(&self) -> &OsStr {
        &self.checkpoint
    }

    /// The next checkpoint while it is being written. A file left by a crash is discarded.
    pub(crate) fn temporary(&self) -> &OsStr {
        &self.temporary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_component_of_limited_length() {
        let names = Names::new(OsStr::new("v.mp4")).unwrap();
        assert_eq!(names.part(), "v.mp4.part");
        assert_eq!(names.checkpoint(), "v.mp4.part.ckpt");
        assert_eq!(names.temporary(), "v.mp4.part.ckpt.tmp");
        assert!(Names::new(OsStr::new(&"x".repeat(241))).is_ok());
        for bad in ["", ".", "..", "a/b", "/a", "a\0", &"x".repeat(242)] {
            assert!(Names::new(OsStr::new(bad)).is_err(), "{bad:?}");
        }
    }
}
