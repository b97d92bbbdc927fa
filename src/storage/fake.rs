//! A disk for tests with two images: the live one, that the program sees, and the durable one, that a power cut leaves.
//!
//! Every step that changes or syncs something counts. [`FakeDisk::cut_at`] cuts the power before a step; every later
//! one fails. [`FakeDisk::after_power_cut`] is the disk that the next boot finds: names that were not synced are there up
//! to some point in their order, bytes that were not synced are there or not, sector by sector, as a seed says.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::TryLockError;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use super::mmap::FileMap;
use super::{Collision, FileId, FileSystem, PartFile, Space, Volume};
use crate::object::ByteRange;

const SECTOR: usize = 16;

/// A disk with one folder. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(crate) struct FakeDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    files: Vec<Inode>,
    names: BTreeMap<OsString, usize>,
    durable_names: BTreeMap<OsString, usize>,
    // The names after each change that is not durable yet, in order.
    name_history: Vec<BTreeMap<OsString, usize>>,
    steps: Vec<String>,
    cut_at: Option<usize>,
    fail_at: Option<usize>,
    no_reservation: bool,
    room: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    mode: u32,
    locked: bool,
}

/// An open file of a [`FakeDisk`]. Dropping it gives its lock back.
#[derive(Debug)]
pub(crate) struct FakeFile {
    disk: FakeDisk,
    inode: usize,
    holds_lock: Mutex<bool>,
}

impl FakeDisk {
    /// Cuts the power before step `step`, counted from 0.
    pub(crate) fn cut_at(&self, step: usize) {
        self.state().cut_at = Some(step);
    }

    /// Makes step `step` fail with EIO, and no other.
    pub(crate) fn fail_at(&self, step: usize) {
        self.state().fail_at = Some(step);
    }

    /// Makes `reserve` unsupported.
    pub(crate) fn without_reservation(&self) {
        self.state().no_reservation = true;
    }

    /// Leaves room for this many bytes more.
    pub(crate) fn with_room(&self, bytes: u64) {
        self.state().room = Some(bytes);
    }

    /// The steps that were made so far: `write v.part.ckpt.tmp`, `sync folder`, ….
    pub(crate) fn steps(&self) -> Vec<String> {
        self.state().steps.clone()
    }

    /// What a program reads at this name.
    pub(crate) fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        let inode = *state.names.get(OsStr::new(name))?;
        Some(state.files[inode].live.clone())
    }

    /// Puts a durable file there, without a step.
    pub(crate) fn plant(&self, name: &str, bytes: &[u8]) {
        let mut state = self.state();
        let inode = state.files.len();
        state.files.push(Inode {
            live: bytes.to_vec(),
            durable: bytes.to_vec(),
            mode: 0o600,
            locked: false,
        });
        state.names.insert(name.into(), inode);
        state.durable_names.insert(name.into(), inode);
    }

    /// The disk that the next boot finds.
    pub(crate) fn after_power_cut(&self, rng: &mut fastrand::Rng) -> Self {
        let state = self.state();
        let survived = rng.usize(0..=state.name_history.len());
        let names = match survived.checked_sub(1) {
            Some(last) => state.name_history[last].clone(),
            None => state.durable_names.clone(),
        };
        let files = state.files.iter().map(|file| file.torn(rng)).collect();
        Self(Arc::new(Mutex::new(State {
            files,
            durable_names: names.clone(),
            names,
            ..State::default()
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0
            .lock()
            .expect("no test panics while it holds the disk")
    }

    fn step(&self, what: &str, name: &OsStr) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        let step = state.steps.len();
        if state.cut_at.is_some_and(|cut| step >= cut) {
            return Err(io::Error::other("power cut"));
        }
        state.steps.push(format!("{what} {}", name.display()));
        if state.fail_at == Some(step) {
            return Err(rustix::io::Errno::IO.into());
        }
        Ok(state)
    }
}

impl State {
    fn change_names(&mut self, change: impl FnOnce(&mut BTreeMap<OsString, usize>)) {
        change(&mut self.names);
        self.name_history.push(self.names.clone());
    }

    fn inode(&self, name: &OsStr) -> io::Result<usize> {
        let inode = self.names.get(name);
        inode.copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Inode {
    /// Each sector is the live or the durable one; the length is either.
    fn torn(&self, rng: &mut fastrand::Rng) -> Self {
        let length = if rng.bool() {
            self.live.len()
        } else {
            self.durable.len()
        };
        let mut bytes = vec![0; length];
        for (index, sector) in bytes.chunks_mut(SECTOR).enumerate() {
            let source = if rng.bool() {
                &self.live
            } else {
                &self.durable
            };
            for (offset, byte) in sector.iter_mut().enumerate() {
                *byte = source.get(index * SECTOR + offset).copied().unwrap_or(0);
            }
        }
        Self {
            live: bytes.clone(),
            durable: bytes,
            mode: self.mode,
            locked: false,
        }
    }
}

impl Volume for FakeDisk {
    type File = FakeFile;

    fn create(&self, name: &OsStr) -> io::Result<FakeFile> {
        let mut state = self.step("create", name)?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = state.files.len();
        state.files.push(Inode {
            mode: 0o600,
            ..Inode::default()
        });
        state.change_names(|names| {
            names.insert(name.to_owned(), inode);
        });
        Ok(FakeFile::new(self, inode))
    }

    fn open(&self, name: &OsStr) -> io::Result<FakeFile> {
        let inode = self.state().inode(name)?;
        Ok(FakeFile::new(self, inode))
    }

    fn read(&self, name: &OsStr, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let state = self.state();
        let Some(inode) = state.names.get(name) else {
            return Ok(None);
        };
        let bytes = state.files[*inode].live.clone();
        if bytes.len() as u64 > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(Some(bytes))
    }

    fn rename(&self, from: &OsStr, to: &OsStr, collision: Collision) -> io::Result<()> {
        let mut state = self.step("rename", from)?;
        if collision == Collision::Refuse && state.names.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = state.inode(from)?;
        state.change_names(|names| {
            names.remove(from);
            names.insert(to.to_owned(), inode);
        });
        Ok(())
    }

    fn remove(&self, name: &OsStr) -> io::Result<()> {
        let mut state = self.step("remove", name)?;
        state.inode(name)?;
        state.change_names(|names| {
            names.remove(name);
        });
        Ok(())
    }

    fn identity(&self, name: &OsStr) -> io::Result<Option<FileId>> {
        Ok(self.state().names.get(name).map(|inode| id(*inode)))
    }

    fn is_replaceable(&self, _: &OsStr) -> io::Result<bool> {
        Ok(true)
    }

    fn length(&self, name: &OsStr) -> io::Result<Option<u64>> {
        let state = self.state();
        let inode = state.names.get(name);
        Ok(inode.map(|inode| state.files[*inode].live.len() as u64))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.step("sync", OsStr::new("folder"))?;
        state.durable_names = state.names.clone();
        state.name_history.clear();
        Ok(())
    }

    fn path(&self, name: &OsStr) -> PathBuf {
        name.into()
    }
}

fn id(inode: usize) -> FileId {
    FileId {
        device: 1,
        inode: inode as u64,
    }
}

impl FakeFile {
    fn new(disk: &FakeDisk, inode: usize) -> Self {
        Self {
            disk: disk.clone(),
            inode,
            holds_lock: Mutex::new(false),
        }
    }

    fn step(&self, what: &str) -> io::Result<MutexGuard<'_, State>> {
        let name = {
            let state = self.disk.state();
            let mut names = state.names.iter();
            names.find_map(|(name, inode)| (*inode == self.inode).then(|| name.clone()))
        };
        self.disk
            .step(what, &name.unwrap_or_else(|| "nameless".into()))
    }

    fn sync_as(&self, what: &str) -> io::Result<()> {
        let mut state = self.step(what)?;
        let file = &mut state.files[self.inode];
        file.durable = file.live.clone();
        Ok(())
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

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().files[self.inode].live.len() as u64)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        self.step("resize")?.files[self.inode]
            .live
            .resize(length, 0);
        Ok(())
    }

    fn reserve(&self, length: u64) -> io::Result<()> {
        if self.disk.state().no_reservation {
            return Err(io::ErrorKind::Unsupported.into());
        }
        if self.len()? < length {
            self.set_len(length)?;
        }
        Ok(())
    }

    fn file_system(&self) -> io::Result<FileSystem> {
        Ok(FileSystem::Unknown)
    }

    fn space(&self) -> io::Result<Space> {
        Ok(Space {
            allocated: self.len()?,
            available: self.disk.state().room,
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
        let live = &mut state.files[self.inode].live;
        live.resize(live.len().max(start + bytes.len()), 0);
        live[start..start + bytes.len()].copy_from_slice(bytes);
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
