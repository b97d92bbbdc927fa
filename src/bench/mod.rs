//! The throughput benchmark behind `partwise bench`: a sweep over connections × part sizes × sinks.
//!
//! [`Sweep`] says what to measure and becomes a [`Course`], which knows its traffic before any of it flows; [`run`]
//! measures; [`Results`] holds what was measured and renders it as a table, Markdown, JSON or a page.
//!
//! Runs are interleaved: each round measures every cell once, in an order of its own, so that a machine or a line that
//! changes meanwhile does so to all cells alike.

mod course;
mod machine;
mod measure;
mod measured;
mod page;
mod plot;
mod processor;
mod results;
mod server;
mod statistics;
mod sweep;
mod table;
mod units;
mod verdict;

pub use course::{Cell, Course, Sink, Sweep};
pub use machine::Machine;
pub use measured::Measured;
pub use results::Results;
pub use server::Server;
pub use statistics::{Percentiles, Summary};
pub use sweep::{Step, run};
pub use verdict::{Advice, LimitingFactor};
