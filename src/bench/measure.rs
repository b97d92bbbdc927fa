//! Runs one download of one cell.

use std::path::Path;
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures::StreamExt;

use super::course::{Cell, Sink};
use super::processor::{CpuMark, Used};
use crate::{
    Bottleneck, Connections, DownloadBuilder, DownloadHandle, Error, ErrorKind, Event, Ranges,
    Report, Samples,
};

/// The name of the file that the file sink writes.
const NAME: &str = "bench.bin";

/// The figures of one run.
#[derive(Clone, Debug)]
pub(super) struct Measurement {
    pub(super) bytes: u64,
    pub(super) fetched_bytes: u64,
    pub(super) wasted_bytes: u64,
    pub(super) part_size: u64,
    pub(super) elapsed: Duration,
    pub(super) first_byte: Duration,
    pub(super) tail: Duration,
    pub(super) used: Used,
    pub(super) retries: u64,
    pub(super) bottleneck: Bottleneck,
    pub(super) samples: Samples,
    /// Seconds since the start, and bytes that arrived since the previous entry.
    pub(super) timeline: Vec<(f64, u64)>,
}

impl Measurement {
    /// Bytes per second over the whole run, from the first request to the last sync.
    pub(super) fn rate(&self) -> f64 {
        self.bytes as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

/// Fetches the first `bytes` of the object as `cell` says. Returns `None` if `stop` was ready
/// first; then no task writes to the folder any more.
pub(super) async fn measure(
    template: &DownloadBuilder,
    cell: Cell,
    bytes: u64,
    folder: &Path,
    stop: Pin<&mut impl Future<Output = ()>>,
) -> Result<Option<Measurement>, Error> {
    let builder = template
        .clone()
        .connections(Connections::Fixed(cell.connections))
        .part_size(cell.part_size)
        .ranges(first(bytes)?);
    let download = match cell.sink {
        Sink::Null => builder.discard(),
        Sink::Memory => builder.to_memory(),
        Sink::File => builder.dir(folder).output(NAME).fresh(true).overwrite(true),
    }
    .build()?;
    let (mark, begun) = (CpuMark::now(), Instant::now());
    let handle = download.start();
    let timeline = tokio::select! {
        biased;
        () = stop => {
            // The download may have just ended; its file is removed with the folder.
            let _ = handle.cancel().await;
            return Ok(None);
        }
        timeline = watch(&handle, begun) => timeline?,
    };
    let report = handle.finish().await?;
    let used = mark.since();
    if cell.sink == Sink::File {
        remove(folder).await?;
    }
    Ok(Some(Measurement {
        timeline,
        used,
        ..measurement(report)
    }))
}

/// The first `bytes` bytes.
fn first(bytes: u64) -> Result<Ranges, Error> {
    Ranges::try_from(0..=bytes.saturating_sub(1))
        .map_err(|error| Error::new(ErrorKind::Usage, "the ranges can't be used", error))
}

/// Waits for the end of a run and returns its timeline.
async fn watch(handle: &DownloadHandle, begun: Instant) -> Result<Vec<(f64, u64)>, Error> {
    let mut events = handle.events();
    let mut timeline = Vec::new();
    while let Some(event) = events.next().await {
        match event {
            Event::Probed { ranges: false, .. } => {
                handle.stop().await;
                return Err(Error::new(
                    ErrorKind::Network,
                    "can't measure",
                    "the server has no byte ranges, so only one connection is possible and there are no parts to compare",
                ));
            }
            Event::Progress(progress) => {
                timeline.push((begun.elapsed().as_secs_f64(), progress.new_bytes));
            }
            _ => {}
        }
    }
    Ok(timeline)
}

async fn remove(folder: &Path) -> Result<(), Error> {
    let file = folder.join(NAME);
    tokio::fs::remove_file(&file).await.map_err(|error| {
        Error::new(
            ErrorKind::File,
            format!("can't remove {}", file.display()),
            error,
        )
    })
}

fn measurement(report: Report) -> Measurement {
    Measurement {
        bytes: report.bytes,
        fetched_bytes: report.fetched_bytes,
        wasted_bytes: report.wasted_bytes,
        part_size: report.part_size,
        elapsed: report.elapsed,
        first_byte: report.account.first_byte.unwrap_or_default(),
        tail: report.account.tail,
        used: Used::default(),
        retries: report.retries,
        bottleneck: report.bottleneck,
        samples: report.samples,
        timeline: Vec::new(),
    }
}
