//! The Tokio runtime for the commands that use the network.

use std::io;

use super::exit::{Exit, Failure};

/// Runs `work` to its end. Does not wait for blocking tasks that may still hang in the disk or the
/// resolver.
pub(crate) fn run<W>(work: W) -> Result<Exit, Failure>
where
    W: Future<Output = Result<Exit, Failure>>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error: io::Error| Failure::new(Exit::UNEXPECTED, "start the runtime", error))?;
    let ended = runtime.block_on(work);
    runtime.shutdown_background();
    ended
}
