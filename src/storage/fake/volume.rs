//! The folder of the disk for tests.

use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;

use super::file::FakeFile;
use super::{FakeDisk, Inode, Umask, id};
use crate::storage::{Collision, FileId, Volume};

impl FakeDisk {
    fn create_with(&self, name: &OsStr, mode: impl FnOnce(Umask) -> u32) -> io::Result<FakeFile> {
        let mut state = self.step("create", name)?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = state.files.len();
        let mode = mode(state.umask);
        state.files.push(Inode {
            mode,
            ..Inode::default()
        });
        state.change_names(|names| {
            names.insert(name.to_owned(), inode);
        });
        Ok(FakeFile::new(self, inode))
    }
}

impl Volume for FakeDisk {
    type File = FakeFile;

    fn create(&self, name: &OsStr) -> io::Result<FakeFile> {
        self.create_with(name, |_| 0o600)
    }

    fn create_for_all(&self, name: &OsStr) -> io::Result<FakeFile> {
        self.create_with(name, |umask| 0o666 & !umask.bits)
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

    fn mode(&self, name: &OsStr) -> io::Result<Option<u32>> {
        let state = self.state();
        let inode = state.names.get(name);
        Ok(inode.map(|inode| state.files[*inode].mode))
    }

    fn umask(&self) -> Option<u32> {
        let umask = self.state().umask;
        (!umask.is_hidden).then_some(umask.bits)
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
