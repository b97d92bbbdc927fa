//! What the micro-benchmarks reach of the engine.

pub(crate) use super::schedule::dispatcher::CompletedParts;
pub(crate) use super::schedule::parts::PartAssembler;
pub(crate) use super::schedule::scheduler::{Observed, Pace, Scheduler};
