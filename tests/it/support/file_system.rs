//! File systems of our own, mounted for a test: in image files over loop devices, in memory, over
//! one another.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The longest that a file system may stay busy.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two attempts to unmount it.
const GLANCE: Duration = Duration::from_millis(20);

/// A file system on a block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Has no fallocate.
    Ext2,
    Ext4,
    Xfs,
    Btrfs,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ext2 => "ext2",
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    /// The smallest that its mkfs makes without complaint, in bytes.
    pub(crate) fn smallest(self) -> u64 {
        match self {
            Self::Ext2 | Self::Ext4 => 16 << 20,
            Self::Xfs => 300 << 20,
            Self::Btrfs => 128 << 20,
        }
    }
}

/// A file system in an image file, not mounted.
pub(crate) struct Image {
    kind: Kind,
    file: PathBuf,
}

impl Image {
    /// Makes an empty one in a new file.
    pub(crate) fn make(kind: Kind, bytes: u64, file: PathBuf) -> Self {
        File::create_new(&file).unwrap().set_len(bytes).unwrap();
        let quiet = if kind == Kind::Xfs { "-qf" } else { "-q" };
        run(
            &format!("mkfs.{}", kind.name()),
            [OsStr::new(quiet), file.as_os_str()],
        );
        Self { kind, file }
    }

    /// Mounts it with these options, which may be empty.
    pub(crate) fn mount(&self, options: &str) -> Mount {
        Mount::new(self.kind.name(), &format!("loop,{options}"), &self.file)
    }

    /// What is on the device at this moment, in a new file. Holds that no write comes between: the
    /// folder must be on a file system that clones files at once.
    pub(crate) fn snapshot(&self, file: PathBuf) -> Self {
        let (from, to) = (
            File::open(&self.file).unwrap(),
            File::create_new(&file).unwrap(),
        );
        rustix::fs::ioctl_ficlone(&to, &from).unwrap();
        Self {
            kind: self.kind,
            file,
        }
    }

    /// Removes the file.
    pub(crate) fn remove(self) {
        std::fs::remove_file(self.file).unwrap();
    }
}

/// A mounted file system. Unmounted when it is dropped.
pub(crate) struct Mount {
    point: TempDir,
}

impl Mount {
    /// A file system in memory that holds so many bytes.
    pub(crate) fn tmpfs(bytes: u64) -> Self {
        Self::new("tmpfs", &format!("size={bytes}"), Path::new("none"))
    }

    /// An overlay whose upper folder is on the file system of `below`.
    pub(crate) fn overlay(below: &Path) -> Self {
        let [lower, upper, work] = ["lower", "upper", "work"].map(|name| below.join(name));
        for folder in [&lower, &upper, &work] {
            std::fs::create_dir(folder).unwrap();
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            lower.display(),
            upper.display(),
            work.display()
        );
        Self::new("overlay", &options, Path::new("none"))
    }

    fn new(kind: &str, options: &str, source: &Path) -> Self {
        let point = tempfile::tempdir().unwrap();
        let arguments = ["-t", kind, "-o", options].map(OsStr::new);
        let places = [source.as_os_str(), point.path().as_os_str()];
        run("mount", arguments.into_iter().chain(places));
        Self { point }
    }

    pub(crate) fn point(&self) -> &Path {
        self.point.path()
    }

    fn is_unmounted(&self) -> bool {
        let mut umount = Command::new("umount");
        let outcome = umount.arg(self.point()).stderr(Stdio::null()).status();
        outcome.is_ok_and(|status| status.success())
    }

    /// Changes its options.
    pub(crate) fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let point = self.point().as_os_str();
        run("mount", [OsStr::new("-o"), OsStr::new(&options), point]);
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // The kernel may hold it for a moment after the last file was closed, and has no other way
        // to say so.
        let deadline = Instant::now() + PATIENCE;
        while !self.is_unmounted() {
            if Instant::now() > deadline {
                let place = self.point().display();
                assert!(std::thread::panicking(), "{place} is still mounted");
                return;
            }
            thread::sleep(GLANCE);
        }
    }
}

fn run(program: &str, arguments: impl IntoIterator<Item: AsRef<OsStr>>) {
    let mut command = Command::new(program);
    let output = command.args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Whether this machine lets us mount these. Where it does not it says so; with
/// `PARTWISE_REQUIRE=1` that is a failure.
pub(crate) fn can_mount(kinds: &[Kind]) -> bool {
    let Some(why) = obstacle(kinds) else {
        return true;
    };
    let required = std::env::var("PARTWISE_REQUIRE").is_ok_and(|value| value == "1");
    assert!(!required, "{why}, and PARTWISE_REQUIRE=1");
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
    false
}

fn obstacle(kinds: &[Kind]) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("mounting file systems needs root".to_owned());
    }
    if kinds.is_empty() {
        return None;
    }
    if OpenOptions::new()
        .read(true)
        .open("/dev/loop-control")
        .is_err()
    {
        return Some("there are no loop devices".to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    kinds
        .iter()
        .map(|kind| format!("mkfs.{}", kind.name()))
        .find(|program| !folders.iter().any(|folder| folder.join(program).is_file()))
        .map(|program| format!("{program} is not installed"))
}
