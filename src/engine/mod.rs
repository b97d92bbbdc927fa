//! The engine: brings the missing parts to the file.
//!
//! `run` drives one download from the probe to the published file; `transfer` keeps workers and committer going;
//! `scheduler` and `tuner` decide, and are pure.

mod assembly;
mod board;
mod committer;
mod control;
mod crawlers;
mod cursor;
mod discover;
mod failures;
mod fileless;
mod finish;
mod ground;
mod growing;
mod hub;
#[cfg(feature = "internals")]
pub(crate) mod internals;
mod job;
mod limiter;
mod link;
mod meter;
mod mirrors;
mod ordered;
mod prepare;
mod processor;
mod refresh;
mod remote;
mod restore;
mod run;
mod samples;
mod scheduler;
mod scratch;
mod session;
#[cfg(test)]
mod sim;
mod spool;
mod supplies;
mod tally;
mod transfer;
mod tuner;
mod underway;
mod worker;

pub(crate) use control::{Phase, Wish};
pub(crate) use hub::Subscription;
pub(crate) use job::Job;
pub(crate) use link::Link;
pub(crate) use run::start;

/// Runs something that waits for the disk where it holds nobody up.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let outcome = tokio::task::spawn_blocking(work).await;
    // Nobody aborts these tasks, so that they fail by a panic alone.
    outcome.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
