//! The Tokio runtime for the commands that use the network, as large as the limits of the process
//! allow.

use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::{Builder, Runtime};

use super::exit::{Exit, Failure};
use super::text;

/// How many threads there must be, beside those that run tasks, for several to run tasks.
const BLOCKING: usize = 4;
/// Less address space than this is too little for a download, in bytes: an allocation that fails
/// would abort the process.
const LEAST_SPACE: u64 = 128 << 20;
/// With less address space than this one thread runs tasks, in bytes.
const SCARCE_SPACE: u64 = 1 << 30;
/// A thread that was made must not be given up where there may be no other.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Runs `work` to its end. Does not wait for blocking tasks that may still hang in the disk or the
/// resolver.
pub(crate) fn run<W>(work: W) -> Result<Exit, Failure>
where
    W: Future<Output = Result<Exit, Failure>>,
{
    raise_descriptor_limit();
    let space = getrlimit(Resource::As).current.unwrap_or(u64::MAX);
    if space < LEAST_SPACE {
        let why = format!(
            "expected a limit of at least {}, found {}",
            text::bytes(LEAST_SPACE),
            text::bytes(space)
        );
        return Err(Failure::new(Exit::UNEXPECTED, "address space", why)
            .with_hint("raise the limit: see 'ulimit -v'"));
    }
    let failed = |error: io::Error| {
        Failure::new(Exit::UNEXPECTED, "start a thread beside the first", error).with_hint(
            "one more process and some memory are needed: see 'ulimit -u' and 'ulimit -v'",
        )
    };
    let runtime = build(space).map_err(failed)?;
    let ended = runtime.block_on(work);
    runtime.shutdown_background();
    ended
}

/// Tokio panics where it gets no thread, so this asks for none that there may not be.
fn build(space: u64) -> io::Result<Runtime> {
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let threads = available_threads(workers + BLOCKING)?;
    if threads == workers + BLOCKING && space >= SCARCE_SPACE {
        return Builder::new_multi_thread().enable_all().build();
    }
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(threads.div_ceil(2))
        .thread_keep_alive(KEPT)
        .build()?;
    // With one thread, later work waits for it.
    runtime.spawn_blocking(|| ());
    Ok(runtime)
}

/// How many threads the limits allow, at most so many.
///
/// # Errors
///
/// That of the first thread, where there can be none.
fn available_threads(most: usize) -> io::Result<usize> {
    // Each thread waits for its sender to be dropped, so that all exist at once.
    let mut held = Vec::new();
    let mut threads = Vec::new();
    let mut ended = Ok(());
    while threads.len() < most && ended.is_ok() {
        let (sender, receiver) = mpsc::channel::<()>();
        let started = thread::Builder::new().spawn(move || receiver.recv().is_ok());
        ended = started.map(|thread| {
            held.push(sender);
            threads.push(thread);
        });
    }
    drop(held);
    let count = threads.len();
    for thread in threads {
        // It only waits, and so does not panic.
        let _ = thread.join();
    }
    match (count, ended) {
        (0, Err(error)) => Err(error),
        _ => Ok(count),
    }
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
