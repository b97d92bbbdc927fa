//! A disk for tests. It keeps two images: the live one, which the program sees, and the durable
//! one, which survives a power cut.
//!
//! Each change and each sync is a step. [`FakeDisk::cut_at`] cuts the power before a step; every
//! later step fails. [`FakeDisk::after_power_cut`] returns the disk that the next boot finds:
//! unsynced name changes survive up to some point in their order, and each unsynced sector survives
//! or is lost, as a seed decides. [`FakeDisk::after_exit`] returns the disk that the next process
//! of the same boot finds. A failed sync discards the data that it should have made durable, as
//! kernels do.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::FileId;

mod file;
mod volume;

pub(crate) use file::FakeFile;

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
    full_at: Option<usize>,
    no_inodes_at: Option<usize>,
    has_failed: bool,
    no_reservation: bool,
    room: Option<u64>,
    reported_room: Option<u64>,
    umask: Umask,
    before_step: Option<Hook>,
}

/// The umask of every process.
#[derive(Clone, Copy, Debug, Default)]
struct Umask {
    bits: u32,
    /// Whether nothing but the mode of a new file tells it.
    is_hidden: bool,
}

#[derive(Clone)]
struct Hook(Arc<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook")
    }
}

#[derive(Clone, Debug, Default)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    mode: u32,
    locked: bool,
    // How often bytes or length were changed.
    writes: i64,
}

impl FakeDisk {
    /// Cuts the power before step `step`, counted from 0.
    pub(crate) fn cut_at(&self, step: usize) {
        self.state().cut_at = Some(step);
    }

    /// Makes step `step`, and no other, fail with EIO.
    pub(crate) fn fail_at(&self, step: usize) {
        self.state().fail_at = Some(step);
    }

    /// Fails every creation and write at step `step` or later with ENOSPC.
    pub(crate) fn full_at(&self, step: usize) {
        self.state().full_at = Some(step);
    }

    /// Fails every creation at step `step` or later with ENOSPC.
    pub(crate) fn no_inodes_at(&self, step: usize) {
        self.state().no_inodes_at = Some(step);
    }

    /// Whether a step has failed, or the power was cut.
    pub(crate) fn has_failed(&self) -> bool {
        self.state().has_failed
    }

    /// Calls `hook` before every step, on the thread that takes the step.
    pub(crate) fn before_each_step(&self, hook: impl Fn() + Send + Sync + 'static) {
        self.state().before_step = Some(Hook(Arc::new(hook)));
    }

    /// Makes `reserve` unsupported.
    pub(crate) fn without_reservation(&self) {
        self.state().no_reservation = true;
    }

    /// Limits the free space to `bytes`.
    pub(crate) fn with_room(&self, bytes: u64) {
        self.state().room = Some(bytes);
    }

    /// Reports `bytes` of free space, whatever there is.
    pub(crate) fn reports_room(&self, bytes: u64) {
        self.state().reported_room = Some(bytes);
    }

    /// Sets the umask.
    pub(crate) fn with_umask(&self, bits: u32) {
        let is_hidden = false;
        self.state().umask = Umask { bits, is_hidden };
    }

    /// Sets a umask that the system does not tell.
    pub(crate) fn with_hidden_umask(&self, bits: u32) {
        let is_hidden = true;
        self.state().umask = Umask { bits, is_hidden };
    }

    /// The steps taken so far: `write v.part.ckpt.tmp`, `sync folder`, ….
    pub(crate) fn steps(&self) -> Vec<String> {
        self.state().steps.clone()
    }

    /// The live contents of the file with this name.
    pub(crate) fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        let inode = *state.names.get(OsStr::new(name))?;
        Some(state.files[inode].live.clone())
    }

    /// The live names and contents of all files.
    pub(crate) fn listing(&self) -> BTreeMap<OsString, Vec<u8>> {
        let state = self.state();
        let names = state.names.iter();
        names
            .map(|(name, inode)| (name.clone(), state.files[*inode].live.clone()))
            .collect()
    }

    /// Creates a durable file without taking a step.
    pub(crate) fn plant(&self, name: &str, bytes: &[u8]) {
        let mut state = self.state();
        let inode = state.files.len();
        state.files.push(Inode {
            live: bytes.to_vec(),
            durable: bytes.to_vec(),
            mode: 0o600,
            locked: false,
            writes: 0,
        });
        state.names.insert(name.into(), inode);
        state.durable_names.insert(name.into(), inode);
    }

    /// Removes a name durably, without taking a step.
    pub(crate) fn forget(&self, name: &str) {
        let mut state = self.state();
        state.names.remove(OsStr::new(name));
        state.durable_names = state.names.clone();
        state.name_history.clear();
    }

    /// The disk that the next boot finds if only synced data survived.
    pub(crate) fn durable_only(&self) -> Self {
        let state = self.state();
        let files = state.files.iter().map(|file| Inode {
            live: file.durable.clone(),
            locked: false,
            ..file.clone()
        });
        Self::booted(files.collect(), state.durable_names.clone(), &state)
    }

    /// The disk that the next process finds after this one ended: all changes are live, and no more
    /// of them are durable than before.
    pub(crate) fn after_exit(&self) -> Self {
        let state = self.state();
        let files = state.files.iter().map(|file| Inode {
            locked: false,
            ..file.clone()
        });
        Self(Arc::new(Mutex::new(State {
            files: files.collect(),
            names: state.names.clone(),
            durable_names: state.durable_names.clone(),
            name_history: state.name_history.clone(),
            no_reservation: state.no_reservation,
            umask: state.umask,
            ..State::default()
        })))
    }

    /// The disk that the next boot finds.
    pub(crate) fn after_power_cut(&self, rng: &mut fastrand::Rng) -> Self {
        let state = self.state();
        let changes = state.name_history.len();
        // Protocols meet in the last few changes: half of the cuts fall among or after these.
        let survived = if rng.bool() {
            changes - rng.usize(0..=changes.min(3))
        } else {
            rng.usize(0..=changes)
        };
        let names = match survived.checked_sub(1) {
            Some(last) => state.name_history[last].clone(),
            None => state.durable_names.clone(),
        };
        let files = state.files.iter().map(|file| file.torn(rng)).collect();
        Self::booted(files, names, &state)
    }

    fn booted(files: Vec<Inode>, names: BTreeMap<OsString, usize>, before: &State) -> Self {
        Self(Arc::new(Mutex::new(State {
            files,
            durable_names: names.clone(),
            names,
            no_reservation: before.no_reservation,
            umask: before.umask,
            ..State::default()
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0
            .lock()
            .expect("no test panics while it holds the disk")
    }

    fn step(&self, what: &str, name: &OsStr) -> io::Result<MutexGuard<'_, State>> {
        let (state, outcome) = self.try_step(what, name);
        outcome.map(|()| state)
    }

    fn try_step(&self, what: &str, name: &OsStr) -> (MutexGuard<'_, State>, io::Result<()>) {
        let hook = self.state().before_step.clone();
        if let Some(Hook(hook)) = hook {
            hook();
        }
        let mut state = self.state();
        let step = state.steps.len();
        if state.cut_at.is_some_and(|cut| step >= cut) {
            state.has_failed = true;
            return (state, Err(io::Error::other("power cut")));
        }
        state.steps.push(format!("{what} {}", name.display()));
        let since = |first: Option<usize>| first.is_some_and(|first| step >= first);
        let is_exhausted = match what {
            "create" => since(state.full_at) || since(state.no_inodes_at),
            "write" => since(state.full_at),
            _ => false,
        };
        let outcome = match state.fail_at {
            Some(failing) if failing == step => Err(rustix::io::Errno::IO.into()),
            _ if is_exhausted => Err(rustix::io::Errno::NOSPC.into()),
            _ => Ok(()),
        };
        state.has_failed |= outcome.is_err();
        (state, outcome)
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
    /// The file after a power cut: its live bytes, its durable bytes, or a mix sector by sector.
    fn torn(&self, rng: &mut fastrand::Rng) -> Self {
        let bytes = match rng.u8(0..4) {
            0 => self.live.clone(),
            1 => self.durable.clone(),
            _ => self.mixed(rng),
        };
        Self {
            live: bytes.clone(),
            durable: bytes,
            mode: self.mode,
            locked: false,
            writes: self.writes,
        }
    }

    fn mixed(&self, rng: &mut fastrand::Rng) -> Vec<u8> {
        let mut either = || {
            if rng.bool() {
                &self.live
            } else {
                &self.durable
            }
        };
        let mut bytes = vec![0; either().len()];
        for (index, sector) in bytes.chunks_mut(SECTOR).enumerate() {
            let source = either();
            for (offset, byte) in sector.iter_mut().enumerate() {
                *byte = source.get(index * SECTOR + offset).copied().unwrap_or(0);
            }
        }
        bytes
    }
}

fn id(inode: usize) -> FileId {
    FileId {
        device: 1,
        inode: inode as u64,
    }
}
