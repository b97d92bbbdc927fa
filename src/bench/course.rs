//! What to measure, and how much traffic that takes.

use std::fmt;
use std::num::NonZeroU32;

use serde::Serialize;

use super::units;
use crate::PartSize;

/// Where a run writes the downloaded bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sink {
    /// Nowhere. The bytes are fetched, checked and checksummed.
    Null,
    /// A file in memory, written like a file on disk.
    Memory,
    /// A file on disk, with every sync.
    File,
}

impl fmt::Display for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Null => "null",
            Self::Memory => "memory",
            Self::File => "file",
        })
    }
}

/// A benchmark: every combination of the lists is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// Numbers of connections.
    pub connections: Vec<NonZeroU32>,
    /// Part sizes.
    pub part_sizes: Vec<PartSize>,
    /// Where the bytes are written.
    pub sinks: Vec<Sink>,
    /// How often each cell is measured.
    pub runs: NonZeroU32,
    /// The most bytes that all runs together may fetch.
    pub traffic: u64,
}

/// One combination of connections, part size and sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The number of connections.
    pub connections: NonZeroU32,
    /// The part size.
    pub part_size: PartSize,
    /// Where the bytes are written.
    pub sink: Sink,
}

/// The fewest bytes of a run. Shorter runs measure mostly their start and end.
const LEAST_BYTES: u64 = 1 << 20;
/// Divisor for the share of a run's traffic that is kept free for retries and hedges.
const HEADROOM: u64 = 8;

/// A checked sweep with its traffic shared out among the runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    cells: Vec<Cell>,
    runs: u32,
    traffic: u64,
    bytes_per_run: u64,
}

impl Sweep {
    /// Shares the traffic out among all runs and one warm-up.
    ///
    /// # Errors
    ///
    /// A list is empty, or a run would have less than 1 MiB. The text says what was expected.
    pub fn course(self) -> Result<Course, String> {
        let mut cells = Vec::new();
        for &sink in &self.sinks {
            for &part_size in &self.part_sizes {
                cells.extend(self.connections.iter().map(|&connections| Cell {
                    connections,
                    part_size,
                    sink,
                }));
            }
        }
        if cells.is_empty() {
            return Err("expected something to measure, found nothing".to_owned());
        }
        let count = cells.len() as u64 * u64::from(self.runs.get()) + 1;
        let share = self.traffic / count;
        let bytes_per_run = round(share - share / HEADROOM);
        if bytes_per_run < LEAST_BYTES {
            let needed = count.saturating_mul(LEAST_BYTES + (LEAST_BYTES / (HEADROOM - 1)) + 1);
            return Err(format!(
                "expected at least {} for {count} runs of 1 MiB, found {}",
                units::bytes(needed.next_multiple_of(1 << 20)),
                units::bytes(self.traffic)
            ));
        }
        Ok(Course {
            cells,
            runs: self.runs.get(),
            traffic: self.traffic,
            bytes_per_run,
        })
    }
}

/// Rounds down to whole MiB, from 16 MiB on.
fn round(bytes: u64) -> u64 {
    match bytes {
        0..0x100_0000 => bytes,
        _ => bytes >> 20 << 20,
    }
}

impl Course {
    /// All combinations.
    #[must_use]
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// How often each cell is measured.
    #[must_use]
    pub fn runs(&self) -> u32 {
        self.runs
    }

    /// The most bytes that all runs together may fetch.
    #[must_use]
    pub fn traffic(&self) -> u64 {
        self.traffic
    }

    /// How many bytes a run fetches, unless the object is shorter.
    #[must_use]
    pub fn bytes_per_run(&self) -> u64 {
        self.bytes_per_run
    }

    /// Whether any cell uses this sink.
    #[must_use]
    pub fn has(&self, sink: Sink) -> bool {
        self.cells.iter().any(|cell| cell.sink == sink)
    }

    /// A sentence that tells the user how much will be fetched from `host`.
    #[must_use]
    pub fn announcement(&self, host: &str) -> String {
        format!(
            "this fetches at most {} from {host} ({} × {} × {} + warm-up)",
            units::bytes(self.traffic),
            units::count(self.cells.len() as u64, "cell"),
            units::count(self.runs.into(), "run"),
            units::bytes(self.bytes_per_run),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweep(connections: &[u32], runs: u32, traffic: u64) -> Sweep {
        let number = |n: &u32| NonZeroU32::new(*n).unwrap();
        Sweep {
            connections: connections.iter().map(number).collect(),
            part_sizes: vec![PartSize::Bytes(1 << 20), PartSize::Auto],
            sinks: vec![Sink::Null, Sink::File],
            runs: number(&runs),
            traffic,
        }
    }

    #[test]
    fn the_traffic_is_shared_out() {
        let course = sweep(&[1, 2, 4], 3, 4 << 30).course().unwrap();
        assert_eq!(course.cells().len(), 12);
        assert_eq!(
            course.announcement("example.org"),
            "this fetches at most 4.00 GiB from example.org (12 cells × 3 runs × 96.0 MiB + warm-up)"
        );
        assert!(course.bytes_per_run() * (12 * 3 + 1) <= course.traffic());
        assert!(course.has(Sink::File) && !course.has(Sink::Memory));
    }

    #[test]
    fn too_little_traffic_names_what_is_enough() {
        let error = sweep(&[1, 2, 4], 3, 10 << 20).course().unwrap_err();
        assert_eq!(
            error,
            "expected at least 43.0 MiB for 37 runs of 1 MiB, found 10.0 MiB"
        );
        let course = sweep(&[1, 2, 4], 3, 43 << 20).course().unwrap();
        assert!(course.bytes_per_run() >= LEAST_BYTES);
        assert!(sweep(&[], 3, 1 << 40).course().is_err());
    }
}
