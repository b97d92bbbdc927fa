//! What the micro-benchmarks reach of the engine.

pub(crate) use super::assembly::Assembly;
pub(crate) use super::board::Snapshot;
pub(crate) use super::scheduler::{Observed, Pace, Scheduler};
