//! Measures all cells, with their runs interleaved.

use std::num::NonZeroU32;
use std::path::Path;
use std::pin::pin;

use super::course::{Cell, Course, Sink};
use super::measure::{Measurement, measure};
use super::results::{Results, SweepEnd};
use crate::{DownloadBuilder, Error};

/// The progress of a sweep.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Step {
    /// The warm-up has begun.
    WarmUp,
    /// A run has begun.
    Began {
        /// The cell being measured.
        cell: Cell,
        /// The number of finished runs.
        done: usize,
        /// The number of all runs.
        total: usize,
    },
    /// A run has ended.
    Ended {
        /// The cell that was measured.
        cell: Cell,
        /// The number of finished runs.
        done: usize,
        /// The number of all runs.
        total: usize,
        /// The throughput in bytes per second.
        bytes_per_second: f64,
    },
}

/// Measures every cell of the course as often as it says, until all is measured or `stop` is ready.
///
/// `template` provides the URL and the network options; connections, part size, range and output
/// are set for each run. The file sink writes to `folder`.
///
/// # Errors
///
/// The error of a download that fails before anything was measured. A later failure ends the sweep
/// and is recorded in the results.
pub async fn run(
    course: &Course,
    template: &DownloadBuilder,
    folder: &Path,
    mut tell: impl FnMut(Step),
    stop: impl Future<Output = ()>,
) -> Result<Results, Error> {
    let mut stop = pin!(stop);
    let mut runs: Vec<Vec<Measurement>> = vec![Vec::new(); course.cells().len()];
    let mut order: Vec<usize> = (0..course.cells().len()).collect();
    let total = order.len() * course.runs() as usize;
    tell(Step::WarmUp);
    let (cell, bytes) = (warm_up(course), course.bytes_per_run());
    let Some(warm_up) = measure(template, cell, bytes, folder, stop.as_mut()).await? else {
        return Ok(Results::new(course, 0, 0, &runs, SweepEnd::Stopped));
    };
    let (bytes, mut fetched, mut done) = (warm_up.bytes, warm_up.fetched_bytes, 0);
    // Bytes that a run may fetch in excess: hedges and broken attempts.
    let mut extra = fetched.saturating_sub(bytes);
    for _round in 0..course.runs() {
        fastrand::shuffle(&mut order);
        for &index in &order {
            let cell = course.cells()[index];
            let end = |end| Ok(Results::new(course, bytes, fetched, &runs, end));
            if fetched.saturating_add(bytes + extra) > course.traffic() {
                return end(SweepEnd::OutOfTraffic);
            }
            tell(Step::Began { cell, done, total });
            let measured = match measure(template, cell, bytes, folder, stop.as_mut()).await {
                Ok(Some(measured)) => measured,
                Ok(None) => return end(SweepEnd::Stopped),
                Err(error) if done == 0 => return Err(error),
                Err(error) => return end(SweepEnd::Failed(error)),
            };
            done += 1;
            fetched += measured.fetched_bytes;
            extra = extra.max(measured.fetched_bytes.saturating_sub(bytes));
            let bytes_per_second = measured.rate();
            tell(Step::Ended {
                cell,
                done,
                total,
                bytes_per_second,
            });
            runs[index].push(measured);
        }
    }
    Ok(Results::new(course, bytes, fetched, &runs, SweepEnd::Whole))
}

/// The cell of the warm-up: the most connections, so that names are resolved and caches are warm.
fn warm_up(course: &Course) -> Cell {
    let most = course.cells().iter().map(|cell| cell.connections).max();
    Cell {
        connections: most.unwrap_or(NonZeroU32::MIN),
        part_size: crate::PartSize::Auto,
        sink: Sink::Null,
    }
}
