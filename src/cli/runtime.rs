//! The Tokio runtime for the commands that use the network.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::exit::{Exit, Failure};

/// Runs `work` to its end. Does not wait for blocking tasks that may still hang in the disk or the
/// resolver.
pub(crate) fn run<W>(work: W) -> Result<Exit, Failure>
where
    W: Future<Output = Result<Exit, Failure>>,
{
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error: io::Error| Failure::new(Exit::UNEXPECTED, "start the runtime", error))?;
    let ended = runtime.block_on(work);
    runtime.shutdown_background();
    ended
}

/// Many files over many connections need more descriptors than a shell's usual 1024. Only programs
/// that use `select` are harmed by more, and that is what the soft limit is for.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // What can't be raised stays as it was.
    let _ = setrlimit(Resource::Nofile, raised);
}
