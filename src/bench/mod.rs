//! The throughput benchmark behind `partwise bench`: a sweep over connections × part sizes × sinks.
//!
//! [`Sweep`] describes what to measure. It becomes a [`Course`], whose traffic is known before a
//! request is sent. [`run`] measures it. [`Results`] holds the figures and renders them as a table,
//! Markdown, JSON or a page.
//!
//! Runs are interleaved: each round measures every cell once, in a random order, so a change of the
//! machine or the network meanwhile affects all cells alike.

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
