//! A folder, and the real command in it.

mod command;
mod file;
mod heard;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use partwise::origin::Object;
use partwise::{Download, DownloadBuilder};
use tempfile::TempDir;

use super::requests::Stretch;
pub(crate) use command::{Invocation, Outcome, Running};
use file::Written;

/// A folder, mostly a temporary one, that is the working directory and the home of every command
/// that is run in it.
pub(crate) struct Fixture {
    folder: PathBuf,
    _temporary: Option<TempDir>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        Self {
            folder: temporary.path().to_owned(),
            _temporary: Some(temporary),
        }
    }

    /// A folder of somebody else's, such as a mounted file system.
    pub(crate) fn at(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            _temporary: None,
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// A download to the file `x` in the folder, not yet started.
    pub(crate) fn download(&self, url: impl Into<String>) -> DownloadBuilder {
        Download::builder(url).dir(self.folder()).output("x")
    }

    /// The real command with these arguments, not yet started.
    pub(crate) fn partwise(&self, arguments: impl IntoIterator<Item: AsRef<OsStr>>) -> Invocation {
        Invocation::new(self.folder(), arguments)
    }

    /// A file in the folder, to be looked at.
    pub(crate) fn file(&self, name: &str) -> Written {
        Written::new(self.path(name))
    }

    /// What a checkpoint says is missing, by way of `partwise inspect`.
    pub(crate) fn missing(&self, name: &str) -> Vec<Stretch> {
        let found = self
            .partwise(["inspect", "--json", name])
            .exit_code(0)
            .json();
        let stretches = found["missing"].as_array().expect("a list of stretches");
        let stretches = stretches.iter().map(|stretch| {
            let bound = |index: usize| stretch[index].as_u64().expect("a position");
            (bound(0), bound(1) + 1)
        });
        stretches.collect()
    }

    /// Changes a byte of a completed part of this length in the partial file of `name`. Returns
    /// where the part lies.
    pub(crate) fn damage_a_part(&self, name: &str, object: &Object, part: u64) -> Stretch {
        let missing = self.missing(name);
        let (start, end) = (0..object.length() / part)
            .map(|index| (index * part, (index + 1) * part))
            .find(|(start, end)| {
                missing
                    .iter()
                    .all(|(first, last)| end <= first || last <= start)
            })
            .expect("a completed part");
        let partial = self.path(&format!("{name}.part"));
        let file = OpenOptions::new().write(true).open(partial).unwrap();
        let wrong = !Object::byte(object.seed(), start + 77);
        file.write_all_at(&[wrong], start + 77).unwrap();
        (start, end)
    }

    /// The names of all files in the folder.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.folder()).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    /// Holds that these files stand in the folder and nothing else: no part file, no checkpoint, no
    /// temporary one.
    #[track_caller]
    pub(crate) fn assert_holds_only<const N: usize>(&self, names: [&str; N]) {
        assert_eq!(self.names(), names.map(str::to_owned).into());
    }

    /// Holds that no part file, no checkpoint and no temporary file of either is left.
    #[track_caller]
    pub(crate) fn assert_no_leftovers(&self) {
        let names = self.names();
        let left: Vec<_> = names.iter().filter(|name| name.contains(".part")).collect();
        assert!(left.is_empty(), "left over: {left:?}");
    }
}
