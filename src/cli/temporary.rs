//! Temporary folders.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::exit::{Exit, Failure};

/// A temporary folder. Dropping it removes the folder and its files.
#[derive(Debug)]
pub(crate) struct Temporary(PathBuf);

impl Temporary {
    /// Creates a folder in `parent`. Its name begins with `name`, and only this user may read it.
    ///
    /// # Errors
    ///
    /// Fails if the folder can't be created.
    pub(crate) fn within(parent: &Path, name: &str) -> Result<Self, Failure> {
        let path = parent.join(format!("{name}-{:016x}", fastrand::u64(..)));
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| Failure::new(Exit::FILE, "create a temporary folder", error))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Nothing depends on the removal, and a drop can't report an error.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
