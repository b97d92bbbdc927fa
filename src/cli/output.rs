//! Standard output.

use std::io::{self, ErrorKind, Write};

use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat, major, minor};

use super::exit::{Exit, Failure};

/// The device number of `/dev/null` on Linux.
const NULL_DEVICE: (u32, u32) = (1, 3);

/// Writes `bytes` to standard output. Succeeds if the reader has closed the pipe.
///
/// # Errors
///
/// Any other failed write, with the exit code of a local file.
pub(crate) fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    forgive_broken_pipe(stdout.write_all(bytes).and_then(|()| stdout.flush()))
}

/// Checks that standard output was open when the command started.
///
/// Before `main`, Rust opens a closed descriptor anew: on `/dev/null`, for reading and writing. A
/// shell opens `> /dev/null` for writing only.
///
/// # Errors
///
/// Fails for such a descriptor, with the exit code of a local file.
pub(crate) fn must_be_open() -> Result<(), Failure> {
    let failed = |why: &str| Failure::new(Exit::FILE, "can't write to standard output", why);
    if !was_opened_anew().map_err(|error| failed(&error.to_string()))? {
        return Ok(());
    }
    let why =
        "it is closed, or it is /dev/null opened for reading and writing, which looks the same";
    Err(failed(why).with_hint(
        "send the bytes to a file or a pipe; to drop them, redirect with '> /dev/null' or use \
         'partwise bench'",
    ))
}

fn was_opened_anew() -> io::Result<bool> {
    let stdout = io::stdout();
    let found = fstat(&stdout)?;
    let is_null = FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice
        && (major(found.st_rdev), minor(found.st_rdev)) == NULL_DEVICE;
    Ok(is_null && fcntl_getfl(&stdout)? & OFlags::RWMODE == OFlags::RDWR)
}

/// Writes a help or version text, in colour if standard output is a terminal.
pub(crate) fn help(text: &clap::Error) -> Result<Exit, Failure> {
    forgive_broken_pipe(text.print())?;
    Ok(Exit::SUCCESS)
}

fn forgive_broken_pipe(written: io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::FILE, "write to standard output", error))
        }
        _ => Ok(()),
    }
}
