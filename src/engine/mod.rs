//! The engine: brings the missing parts to the file.
//!
//! `run` drives one download from the probe to the published file; `transfer` keeps workers and
//! checkpointer going; `schedule` decides, without I/O.

mod blocking;
mod context;
mod control;
mod failures;
#[cfg(feature = "internals")]
pub(crate) mod internals;
mod job;
mod metrics;
mod output;
mod patience;
mod refresh;
mod remote;
mod run;
mod schedule;
#[cfg(test)]
mod sim;
mod summary;
mod transfer;

pub(crate) use control::events::Subscription;
pub(crate) use control::shared::Shared;
pub(crate) use control::{Intent, Phase};
pub(crate) use job::{Destination, Job, LowestSpeed};
pub(crate) use output::destination::output_of;
pub(crate) use run::start;
