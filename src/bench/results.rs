//! The results of a sweep.

use serde::Serialize;

use super::course::Course;
use super::machine::Machine;
use super::measure::Measurement;
use super::measured::Measured;
use super::verdict::{Advice, advise};
use crate::{Error, ErrorKind};

/// The results of a sweep. Serialises to the benchmark's `--json`.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Results {
    /// The version of partwise that measured.
    pub version: &'static str,
    /// The machine that measured.
    pub machine: Machine,
    /// Bytes that one run fetched.
    pub bytes_per_run: u64,
    /// The planned number of runs of each cell.
    pub runs: u32,
    /// Body bytes fetched by all runs and the warm-up.
    pub fetched_bytes: u64,
    /// Why the sweep ended early; `None` if all runs were made.
    pub ended_early: Option<String>,
    /// The kind of the error that ended the sweep early, if an error did.
    #[serde(skip)]
    pub failure: Option<ErrorKind>,
    /// The figures of each cell; a cell without a run is absent.
    pub cells: Vec<Measured>,
    /// The recommended settings; `None` if nothing was measured.
    pub advice: Option<Advice>,
}

/// How a sweep ended.
#[derive(Debug)]
pub(super) enum SweepEnd {
    Whole,
    Stopped,
    OutOfTraffic,
    Failed(Error),
}

impl Results {
    pub(super) fn new(
        course: &Course,
        bytes_per_run: u64,
        fetched_bytes: u64,
        runs: &[Vec<Measurement>],
        end: SweepEnd,
    ) -> Self {
        let machine = Machine::this();
        let cells: Vec<Measured> = course
            .cells()
            .iter()
            .zip(runs)
            .filter_map(|(cell, runs)| Measured::new(*cell, runs, machine.processors))
            .collect();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            advice: advise(&cells),
            machine,
            bytes_per_run,
            runs: course.runs(),
            fetched_bytes,
            failure: match &end {
                SweepEnd::Failed(error) => Some(error.kind()),
                _ => None,
            },
            ended_early: match end {
                SweepEnd::Whole => None,
                SweepEnd::Stopped => Some("it was stopped".to_owned()),
                SweepEnd::OutOfTraffic => {
                    Some("the traffic that was allowed is used up".to_owned())
                }
                SweepEnd::Failed(error) => Some(error.to_string()),
            },
            cells,
        }
    }
}
