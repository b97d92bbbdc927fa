//! From the path of a checkpoint to the output that it belongs to.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::DownloadBuilder;
use crate::inspect;
use crate::options::{Output, Ranges};
use crate::{Error, ErrorKind, Remedy};

/// What a checkpoint's name ends in.
const SUFFIX: &[u8] = b".part.ckpt";

/// The same download with the output of the checkpoint that it resumes from, if it does.
///
/// # Errors
///
/// `Usage` for a path that no checkpoint has; `File` where the checkpoint or its partial file is
/// missing, or the checkpoint can't be used.
pub(super) fn output(options: DownloadBuilder) -> Result<DownloadBuilder, Error> {
    let Some(checkpoint) = &options.checkpoint else {
        return Ok(options);
    };
    if options.fresh {
        return Err(usage(checkpoint, "`fresh` discards what it would resume"));
    }
    let output = output_of(checkpoint)
        .ok_or_else(|| usage(checkpoint, "expected a name that ends in .part.ckpt"))?;
    let ranges =
        ranges_of(checkpoint).map_err(|error| error.or_remedy(Remedy::StartWithoutCheckpoint))?;
    let partial = checkpoint.with_extension("");
    if !partial.is_file() {
        let why = format!("expected {}, found no such file", partial.display());
        return Err(Error::new(ErrorKind::File, what(checkpoint), why)
            .with_remedy(Remedy::StartWithoutCheckpoint));
    }
    let dir = match checkpoint.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    Ok(DownloadBuilder {
        output: Output::File(output),
        dir,
        ranges: options.ranges.or(ranges),
        ..options
    })
}

/// The name of the finished file.
fn output_of(checkpoint: &Path) -> Option<PathBuf> {
    let name = checkpoint.file_name()?.as_bytes().strip_suffix(SUFFIX)?;
    (!name.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(name)))
}

/// The ranges that a checkpoint was made for; `None` for the whole object.
fn ranges_of(checkpoint: &Path) -> Result<Option<Ranges>, Error> {
    let extents = inspect::load(checkpoint)?.selection;
    let ranges: Vec<String> = extents.iter().map(ToString::to_string).collect();
    Ok(ranges.join(",").parse().ok())
}

fn what(checkpoint: &Path) -> String {
    format!("can't resume from {}", checkpoint.display())
}

fn usage(checkpoint: &Path, why: &str) -> Error {
    Error::new(ErrorKind::Usage, what(checkpoint), why)
}

#[cfg(test)]
mod tests {
    use super::super::Download;
    use super::*;

    #[test]
    fn a_name_gives_the_output() {
        let output = |path: &str| output_of(Path::new(path));
        assert_eq!(output("d/v.mp4.part.ckpt"), Some("v.mp4".into()));
        assert_eq!(output("v.part.part.ckpt"), Some("v.part".into()));
        for path in ["v.mp4", "v.ckpt", "d/.part.ckpt", "v.part.ckpt/..", ""] {
            assert_eq!(output(path), None, "{path}");
        }
    }

    #[test]
    fn what_is_no_checkpoint_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = folder.path().join("v.part.ckpt");
        let resumed = |path: &Path| {
            let builder = Download::builder("http://h/v").resume_from(path);
            builder.build().expect_err("no checkpoint")
        };
        let error = resumed(&missing);
        assert_eq!(error.kind(), ErrorKind::File);
        assert_eq!(error.remedy(), Some(&Remedy::StartWithoutCheckpoint));
        std::fs::write(&missing, "PARTWISE, or so").expect("written");
        let error = resumed(&missing);
        assert_eq!(error.kind(), ErrorKind::File);
        assert_eq!(error.remedy(), Some(&Remedy::StartWithoutCheckpoint));
        assert_eq!(
            resumed(&folder.path().join("v")).kind(),
            ErrorKind::Usage,
            "the name is not a checkpoint's"
        );
    }

    #[test]
    fn a_later_output_replaces_the_checkpoint() {
        let builder = Download::builder("http://h/v")
            .resume_from("/nonexistent/v.part.ckpt")
            .output("x");
        assert!(builder.build().is_ok());
    }
}
