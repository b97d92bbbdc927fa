//! What the micro-benchmarks reach of the engine.

pub(crate) use super::schedule::dispatcher::Snapshot;
pub(crate) use super::schedule::parts::Assembly;
pub(crate) use super::schedule::scheduler::{Observed, Pace, Scheduler};
