//! The runs of all cells, interleaved.

use std::num::NonZeroU32;
use std::path::Path;
use std::pin::pin;

use super::course::{Cell, Course, Sink};
use super::measure::{Measurement, measure};
use super::results::{Results, SweepEnd};
use crate::{DownloadBuilder, Error};

/// How far a sweep is.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Step {
    /// The warm-up has begun.
    WarmUp,
    /// A run has begun.
    Began {
        /// What is measured.
        cell: Cell,
        /// Runs that are done.
        done: usize,
        /// Runs in all.
        total: usize,
    },
    /// A run has ended.
    Ended {
        /// What was measured.
        cell: Cell,
        /// Runs that are done.
        done: usize,
        /// Runs in all.
        total: usize,
        /// What it came to.
        bytes_per_second: f64,
    },
}

/// Measures every cell of the course, `runs` times, until all is measured or `stop` is ready.
///
/// `template` has the URL and the options of the network; connections, part size, range and output are set for each run.
/// The file sink writes in `folder`.
///
/// # Errors
///
/// That of a download which fails before anything was measured. Later ones end the sweep with what there is.
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
    // What a run may fetch beside what it keeps: hedges, attempts that broke off.
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

/// What opens doors: names resolved, routes and caches warm, the most connections once.
fn warm_up(course: &Course) -> Cell {
    let most = course.cells().iter().map(|cell| cell.connections).max();
    Cell {
        connections: most.unwrap_or(NonZeroU32::MIN),
        part_size: crate::PartSize::Auto,
        sink: Sink::Null,
    }
}
