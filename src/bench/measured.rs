//! What the runs of one cell come to.

use serde::Serialize;

use super::course::{Cell, Sink};
use super::measure::Measurement;
use super::statistics::{Percentiles, Summary};
use crate::{Bottleneck, PartSize};

/// What the runs of one cell come to.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Measured {
    /// Transfers at once.
    pub connections: u32,
    /// Bytes that one bit of the bitmap stood for.
    pub part_size: u64,
    /// Whether that size was found by partwise.
    pub part_size_auto: bool,
    /// Where the bytes went.
    pub sink: Sink,
    /// Throughput of a whole run, from the first request to the last sync.
    pub bytes_per_second: Summary,
    /// From the start to the first body byte.
    pub first_byte_seconds: Summary,
    /// The time at the end in which fewer transfers than ever were under way.
    pub tail_seconds: Summary,
    /// Processor time for each GiB; the embedded server's is not part of it.
    pub cpu_seconds_per_gib: Summary,
    /// The share of all processors that the process kept busy, the embedded server in it included; 0 to 1.
    pub cpu_busy: f64,
    /// Throughput of one connection: that of each lease, its waits included, over all runs.
    pub connection_bytes_per_second: Option<Percentiles>,
    /// The wait of each request for its first byte, over all runs.
    pub request_first_byte_seconds: Option<Percentiles>,
    /// Attempts that followed a failed one, over all runs.
    pub retries: u64,
    /// Bytes that were thrown away, over all runs.
    pub wasted_bytes: u64,
    /// What each run said held it back.
    pub bottlenecks: Vec<Bottleneck>,
    /// Throughput of each run, in the order in which they were made.
    pub each_bytes_per_second: Vec<f64>,
    /// Of each run: seconds since its start, and bytes since the mark before.
    #[serde(skip)]
    pub timelines: Vec<Vec<(f64, u64)>>,
}

impl Measured {
    pub(super) fn new(cell: Cell, runs: &[Measurement], processors: usize) -> Option<Self> {
        let each: Vec<f64> = runs.iter().map(Measurement::rate).collect();
        let summary = |of: fn(&Measurement) -> f64| {
            let values: Vec<f64> = runs.iter().map(of).collect();
            Summary::of(&values)
        };
        let rates = runs.iter().flat_map(|run| &run.samples.connection_rates);
        let waits = runs.iter().flat_map(|run| &run.samples.first_bytes);
        let micros =
            |wait: &std::time::Duration| u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        Some(Self {
            connections: cell.connections.get(),
            part_size: runs.first()?.part_size,
            part_size_auto: cell.part_size == PartSize::Auto,
            sink: cell.sink,
            bytes_per_second: Summary::of(&each)?,
            first_byte_seconds: summary(|run| run.first_byte.as_secs_f64())?,
            tail_seconds: summary(|run| run.tail.as_secs_f64())?,
            cpu_seconds_per_gib: summary(|run| {
                run.used.download.as_secs_f64() / (run.bytes.max(1) as f64 / f64::from(1 << 30))
            })?,
            cpu_busy: {
                let used: f64 = runs.iter().map(|run| run.used.process.as_secs_f64()).sum();
                let span: f64 = runs.iter().map(|run| run.elapsed.as_secs_f64()).sum();
                (used / (span * processors as f64).max(1e-9)).min(1.0)
            },
            connection_bytes_per_second: Percentiles::of(rates.copied(), 1.0),
            request_first_byte_seconds: Percentiles::of(waits.map(micros), 1e-6),
            retries: runs.iter().map(|run| run.retries).sum(),
            wasted_bytes: runs.iter().map(|run| run.wasted_bytes).sum(),
            bottlenecks: runs.iter().map(|run| run.bottleneck).collect(),
            each_bytes_per_second: each,
            timelines: runs.iter().map(|run| run.timeline.clone()).collect(),
        })
    }
}
