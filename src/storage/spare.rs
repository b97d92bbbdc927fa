//! Descriptors that are held back for the moment at which connections have taken all others.

use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::{Errno, fcntl_dupfd_cloexec};

/// How many are held back: for the partial file, the checkpoint and the one that replaces it.
const SPARE: usize = 3;

/// Descriptors of a folder that are closed where another file can't be opened without.
#[derive(Debug)]
pub(super) struct Spare {
    // Taken to push and to pop.
    held: Mutex<Vec<OwnedFd>>,
}

impl Spare {
    /// As many as there are.
    pub(super) fn of(folder: &OwnedFd) -> Self {
        let spare = Self {
            held: Mutex::default(),
        };
        spare.fill(folder);
        spare
    }

    /// Opens a file, if need be in place of what is held back.
    pub(super) fn open<T>(
        &self,
        folder: &OwnedFd,
        open: impl Fn() -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        self.fill(folder);
        loop {
            match open() {
                Err(Errno::MFILE | Errno::NFILE) if self.held().pop().is_some() => {}
                opened => return opened,
            }
        }
    }

    fn fill(&self, folder: &OwnedFd) {
        let mut held = self.held();
        while held.len() < SPARE
            && let Ok(descriptor) = fcntl_dupfd_cloexec(folder, 0)
        {
            held.push(descriptor);
        }
    }

    fn held(&self) -> MutexGuard<'_, Vec<OwnedFd>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
