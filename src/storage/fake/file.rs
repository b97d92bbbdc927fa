//! Open files of the test disk.

use std::fs::TryLockError;
use std::io;
use std::sync::{Mutex, MutexGuard};

use super::{FakeDisk, State, id};
use crate::object::ByteRange;
use crate::storage::mmap::FileMap;
use crate::storage::{FileId, FileStamp, FileSystem, FileTime, PartFile, Space};

/// An open file of a [`FakeDisk`]. Dropping it releases its lock.
#[derive(Debug)]
pub(crate) struct FakeFile {
    disk: FakeDisk,
    inode: usize,
    holds_lock: Mutex<bool>,
}

impl FakeFile {
    pub(super) fn new(disk: &FakeDisk, inode: usize) -> Self {
        Self {
            disk: disk.clone(),
            inode,
            holds_lock: Mutex::new(false),
        }
    }

    fn step(&self, what: &str) -> io::Result<MutexGuard<'_, State>> {
        let (state, outcome) = self.try_step(what);
        outcome.map(|()| state)
    }

    fn try_step(&self, what: &str) -> (MutexGuard<'_, State>, io::Result<()>) {
        let name = {
            let state = self.disk.state();
            let mut names = state.names.iter();
            names.find_map(|(name, inode)| (*inode == self.inode).then(|| name.clone()))
        };
        self.disk
            .try_step(what, &name.unwrap_or_else(|| "nameless".into()))
    }

    fn sync_as(&self, what: &str) -> io::Result<()> {
        let (mut state, outcome) = self.try_step(what);
        let file = &mut state.files[self.inode];
        match &outcome {
            Ok(()) => file.durable = file.live.clone(),
            Err(error) if error.raw_os_error().is_some() => file.live = file.durable.clone(),
            Err(_) => {}
        }
        outcome
    }
}

impl Drop for FakeFile {
    fn drop(&mut self) {
        if *self.holds_lock.get_mut().expect("no panic under it") {
            self.disk.state().files[self.inode].locked = false;
        }
    }
}

impl PartFile for FakeFile {
    fn try_lock(&self) -> Result<(), TryLockError> {
        let mut state = self.disk.state();
        if std::mem::replace(&mut state.files[self.inode].locked, true) {
            return Err(TryLockError::WouldBlock);
        }
        *self.holds_lock.lock().expect("no panic under it") = true;
        Ok(())
    }

    fn identity(&self) -> io::Result<FileId> {
        Ok(id(self.inode))
    }

    fn stamp(&self) -> io::Result<FileStamp> {
        let writes = self.disk.state().files[self.inode].writes;
        let written = FileTime {
            seconds: writes,
            nanoseconds: 0,
        };
        Ok(FileStamp {
            inode: self.inode as u64,
            born: None,
            length: self.len()?,
            modified: written,
            changed: written,
        })
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().files[self.inode].live.len() as u64)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        let file = &mut self.step("resize")?.files[self.inode];
        file.live.resize(length, 0);
        file.writes += 1;
        Ok(())
    }

    fn reserve(&self, length: u64) -> io::Result<()> {
        if self.disk.state().no_reservation {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let before = self.len()?;
        let room = self.disk.state().room;
        if room.is_some_and(|room| length.saturating_sub(before) > room) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if before < length {
            self.set_len(length)?;
        }
        Ok(())
    }

    fn file_system(&self) -> io::Result<FileSystem> {
        Ok(FileSystem::Unknown)
    }

    fn space(&self) -> io::Result<Space> {
        let state = self.disk.state();
        let available = state.reported_room.or(state.room);
        drop(state);
        Ok(Space {
            allocated: self.len()?,
            available,
            total: None,
            file_limit: None,
        })
    }

    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<()> {
        let state = self.disk.state();
        let start = usize::try_from(position).map_err(io::Error::other)?;
        let found = state.files[self.inode]
            .live
            .get(start..start + buffer.len());
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        let start = usize::try_from(position).map_err(io::Error::other)?;
        let mut state = self.step("write")?;
        let file = &mut state.files[self.inode];
        let live = &mut file.live;
        live.resize(live.len().max(start + bytes.len()), 0);
        live[start..start + bytes.len()].copy_from_slice(bytes);
        file.writes += 1;
        Ok(())
    }

    fn map(&self, _: u64) -> io::Result<FileMap> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn start_writeback(&self, _: ByteRange) -> io::Result<()> {
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync_as("sync data of")
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_as("sync")
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.step("permit")?.files[self.inode].mode = mode;
        Ok(())
    }
}
