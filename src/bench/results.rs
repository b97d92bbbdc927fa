//! What a sweep found.

use serde::Serialize;

use super::course::Course;
use super::machine::Machine;
use super::measure::Measurement;
use super::measured::Measured;
use super::verdict::{Advice, advise};
use crate::{Error, ErrorKind};

/// Everything that was measured. Serialises to the benchmark's `--json`.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Results {
    /// The version of partwise that measured.
    pub version: &'static str,
    /// Where it measured.
    pub machine: Machine,
    /// Bytes of one run.
    pub bytes_per_run: u64,
    /// How often each cell was to be measured.
    pub runs: u32,
    /// Body bytes that were fetched in all, the warm-up's included.
    pub fetched_bytes: u64,
    /// Why not every run was made; `None` where all were.
    pub ended_early: Option<String>,
    /// What ended it early, where that was a failure.
    #[serde(skip)]
    pub failure: Option<ErrorKind>,
    /// What was measured, cell by cell; a cell without a run is absent.
    pub cells: Vec<Measured>,
    /// What to do with it; `None` where nothing was measured.
    pub advice: Option<Advice>,
}

/// How a sweep came to its end.
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
