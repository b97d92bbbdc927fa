//! A folder that goes when the command does.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::exit::{Exit, Failure};

/// See the module.
#[derive(Debug)]
pub(crate) struct Temporary(PathBuf);

impl Temporary {
    /// Makes one in `parent`, whose name begins with `name`, for this user alone.
    ///
    /// # Errors
    ///
    /// It can't be made.
    pub(crate) fn within(parent: &Path, name: &str) -> Result<Self, Failure> {
        let path = parent.join(format!("{name}-{:016x}", fastrand::u64(..)));
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| Failure::new(Exit::FILE, "make a temporary folder", error))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What can't be removed is in the way of nobody, and there is nobody left to tell.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
