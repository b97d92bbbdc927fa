//! The figures of one cell, over all its runs.

use serde::Serialize;

use super::course::{Cell, Sink};
use super::measure::Measurement;
use super::statistics::{Percentiles, Summary};
use crate::{Bottleneck, PartSize};

/// The figures of one cell, over all its runs.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Measured {
    /// The number of connections.
    pub connections: u32,
    /// The part size in bytes.
    pub part_size: u64,
    /// Whether partwise chose the part size.
    pub part_size_auto: bool,
    /// Where the bytes were written.
    pub sink: Sink,
    /// Throughput of a whole run in bytes per second, from the first request to the last sync.
    pub bytes_per_second: Summary,
    /// Seconds from the start to the first body byte.
    pub first_byte_seconds: Summary,
    /// Seconds at the end of a run during which fewer connections than before were transferring.
    pub tail_seconds: Summary,
    /// Processor seconds per GiB, without those of the embedded server.
    pub cpu_seconds_per_gib: Summary,
    /// The share of all processors that the process kept busy, including the embedded server; 0 to
    /// 1.
    pub cpu_busy: f64,
    /// Throughput of one connection in bytes per second: that of each lease, including its waits,
    /// over all runs.
    pub connection_bytes_per_second: Option<Percentiles>,
    /// Seconds to the first byte of each request, over all runs.
    pub request_first_byte_seconds: Option<Percentiles>,
    /// Attempts after a failed one, over all runs.
    pub retries: u64,
    /// Bytes that were discarded, over all runs.
    pub wasted_bytes: u64,
    /// The bottleneck of each run.
    pub bottlenecks: Vec<Bottleneck>,
    /// Throughput of each run in bytes per second, in the order of the runs.
    pub each_bytes_per_second: Vec<f64>,
    /// The timeline of each run: seconds since its start, and bytes since the previous entry.
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
