//! Standard output.

use std::io::{self, ErrorKind, Write};

use super::exit::{Exit, Failure};

/// Writes `bytes` to standard output. Succeeds if the reader has closed the pipe.
///
/// # Errors
///
/// Any other failed write, with the exit code of a local file.
pub(crate) fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    forgive_broken_pipe(stdout.write_all(bytes).and_then(|()| stdout.flush()))
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
