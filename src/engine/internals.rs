//! Re-exports what the micro-benchmarks measure of the engine.

pub(crate) use super::schedule::parts::{CompletedParts, PartAssembler};
pub(crate) use super::schedule::scheduler::{LinkEstimate, Observed, Scheduler};
