//! What lasts through one download, over every version of the object and every URL: the folder, the counters, the
//! texts of its end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::checkpoint;
use crate::engine::blocking;
use crate::engine::control::Intent;
use crate::engine::control::shared::Shared;
use crate::engine::job::{Destination, Job};
use crate::engine::metrics::Metrics;
use crate::engine::output::discard::Scratch;
use crate::engine::processor;
use crate::engine::remote::discovery::RequestFailed;
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::integrity::Hasher;
use crate::report::{Account, Bottleneck, Report, ValidatorKind, WriterKind};
use crate::storage::{Collision, Folder, Names, Volume};

/// See the module.
pub(crate) struct Session<'a, V: Volume = Folder> {
    pub(crate) job: &'a Job,
    pub(crate) shared: &'a Shared,
    pub(crate) place: OpenDestination<V>,
    /// The boot of the machine that this run belongs to; `None` where the system does not tell.
    pub(crate) boot: Option<[u8; 16]>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) begun: Instant,
    pub(crate) processor_begun: Duration,
    /// HEAD gave a wrong length: ask by GET from now on.
    pub(crate) ask_by_get: bool,
    /// An earlier run's partial file is not to be gone on from.
    pub(crate) fresh: bool,
    /// How the source failed that was asked for, where a mirror stands in for it.
    pub(crate) stands_in_for: Option<RequestFailed>,
    /// Bytes that were on disk and trusted at the start.
    pub(crate) resumed_bytes: u64,
    /// Completed parts that did not match their CRC.
    pub(crate) damaged_parts: u32,
    /// Parts that went to standard output.
    pub(crate) parts_out: u32,
    /// Digests of what went to standard output.
    pub(crate) hashers: Vec<Hasher>,
}

/// Where the bytes go, open.
pub(crate) enum OpenDestination<V> {
    Folder { volume: Arc<V>, names: Names },
    Stdout,
    Scratch(Scratch),
}

// A derived one would ask for `V: Clone`.
impl<V> Clone for OpenDestination<V> {
    fn clone(&self) -> Self {
        match self {
            Self::Folder { volume, names } => Self::Folder {
                volume: Arc::clone(volume),
                names: names.clone(),
            },
            Self::Stdout => Self::Stdout,
            Self::Scratch(scratch) => Self::Scratch(*scratch),
        }
    }
}

impl<'a> Session<'a> {
    /// Opens the destination's folder.
    pub(crate) async fn new(job: &'a Job, shared: &'a Shared) -> Result<Self, Error> {
        let place = match &job.destination {
            Destination::Stdout => OpenDestination::Stdout,
            Destination::Scratch(scratch) => OpenDestination::Scratch(*scratch),
            Destination::File { folder, names } => {
                let (folder, durability) = (folder.clone(), job.durability);
                let open = move || Folder::open_or_create(&folder, durability);
                OpenDestination::Folder {
                    volume: Arc::new(blocking::run(open).await?),
                    names: names.clone(),
                }
            }
        };
        Ok(Self::at(job, shared, place, checkpoint::boot_id()))
    }
}

impl<'a, V: Volume> Session<'a, V> {
    /// Begins at a place that is open already, in the boot `boot`.
    pub(crate) fn at(
        job: &'a Job,
        shared: &'a Shared,
        place: OpenDestination<V>,
        boot: Option<[u8; 16]>,
    ) -> Self {
        Self {
            job,
            shared,
            place,
            boot,
            metrics: Arc::default(),
            begun: Instant::now(),
            processor_begun: processor::time(),
            ask_by_get: false,
            fresh: job.fresh,
            stands_in_for: None,
            resumed_bytes: 0,
            damaged_parts: 0,
            parts_out: 0,
            hashers: Vec::new(),
        }
    }

    pub(crate) fn collision(&self) -> Collision {
        if self.job.overwrite {
            Collision::Replace
        } else {
            Collision::Refuse
        }
    }

    /// Says that what came so far can't be used.
    pub(crate) fn restarted(&mut self, reason: impl Into<String>) {
        self.resumed_bytes = 0;
        self.shared.events.emit(Event::Restarted {
            reason: reason.into(),
        });
    }

    /// The final name, for people and the report.
    pub(crate) fn output(&self) -> PathBuf {
        match &self.place {
            OpenDestination::Folder { volume, names } => tidy(volume.path(names.output())),
            OpenDestination::Stdout => PathBuf::from("-"),
            OpenDestination::Scratch(scratch) => scratch.path(),
        }
    }

    /// What is being downloaded, for the beginning of an error.
    pub(crate) fn subject(&self) -> String {
        format!("can't download {}", self.job.source.shown())
    }

    /// The error of a request that failed for good.
    pub(crate) fn request_failed(&self, failed: &RequestFailed) -> Error {
        Error::from_http(self.subject(), &failed.error, failed.attempts)
    }

    /// The error that a caller's intent ends in.
    pub(crate) fn ended_by(&self, intent: Intent, checkpoint: Option<PathBuf>) -> Error {
        let (kind, why) = match intent {
            Intent::Cancel => (
                ErrorKind::Cancelled,
                "cancelled; what was written is removed",
            ),
            Intent::Run | Intent::Pause | Intent::Stop => (ErrorKind::Stopped, "stopped"),
        };
        Error::new(kind, self.subject(), why).with_checkpoint(checkpoint)
    }

    /// A report of what was counted so far, for an object of `bytes` bytes.
    pub(crate) fn report(&self, bytes: u64) -> Report {
        let elapsed = self.begun.elapsed();
        let fetched_bytes = self.metrics.fetched_bytes();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a positive rate that saturates"
        )]
        let bytes_per_second = (fetched_bytes as f64 / elapsed.as_secs_f64().max(1e-9)) as u64;
        Report {
            url: self.job.source.shown(),
            output: self.output(),
            bytes,
            resumed_bytes: self.resumed_bytes,
            fetched_bytes,
            wasted_bytes: fetched_bytes.saturating_sub(self.metrics.useful_bytes()),
            part_size: 0,
            parts: 0,
            connections: self.metrics.most_active(),
            attempts: self.metrics.attempts(),
            retries: self.metrics.retries(),
            elapsed,
            bytes_per_second,
            validator: ValidatorKind::None,
            etag: None,
            writer: WriterKind::Pwrite,
            integrity: Vec::new(),
            bottleneck: self.bottleneck(bytes_per_second, Duration::ZERO),
            account: self.account(),
            samples: self.shared.samples(),
            not_modified: false,
            damaged_parts: self.damaged_parts,
        }
    }

    /// Where the time went so far.
    pub(crate) fn account(&self) -> Account {
        let metrics = &self.metrics;
        let ends = metrics.ends();
        let since = |end: Option<Instant>| end.map_or(Duration::ZERO, |at| at.elapsed());
        Account {
            first_byte: metrics.first_byte().map(|at| at - self.begun),
            tail: since(ends.full),
            closing: since(ends.busy),
            transfers: metrics.transfer_time(),
            reply_wait: metrics.reply_wait(),
            disk_wait: metrics.disk_wait(),
            cpu: processor::time().saturating_sub(self.processor_begun),
            connections_kept: metrics.wanted().max(metrics.most_active().min(1)),
            refusals: metrics.refusals(),
            stalls: metrics.stalls(),
            replaced: metrics.replacements(),
        }
    }

    /// What held the download back, as far as counters tell. `publishing` is what the last sync and the rename took.
    pub(crate) fn bottleneck(&self, bytes_per_second: u64, publishing: Duration) -> Bottleneck {
        let elapsed = self.begun.elapsed().as_secs_f64();
        let processors = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let account = self.account();
        let limited = |limit: u64| bytes_per_second as f64 >= limit as f64 * 0.8;
        if self.job.limit_rate.is_some_and(limited) {
            Bottleneck::LimitRate
        } else if account.disk_wait.as_secs_f64() > 0.3 * account.transfers.as_secs_f64()
            || publishing.as_secs_f64() > 0.3 * elapsed
        {
            Bottleneck::Disk
        } else if account.cpu.as_secs_f64() > 0.6 * elapsed * processors {
            Bottleneck::Cpu
        } else if account.refusals > 0 {
            Bottleneck::Server
        } else {
            Bottleneck::Network
        }
    }

    /// The checkpoint's path, where there is to be one.
    pub(crate) fn checkpoint_path(&self) -> Option<PathBuf> {
        match &self.place {
            OpenDestination::Folder { volume, names } => {
                Some(tidy(volume.path(names.checkpoint())))
            }
            OpenDestination::Stdout | OpenDestination::Scratch(_) => None,
        }
    }

    /// The report where an earlier run had finished all but its very last step.
    pub(crate) fn finished_before(&self, bytes: u64) -> Report {
        Report {
            resumed_bytes: bytes,
            ..self.report(bytes)
        }
    }

    /// The report where a condition said that nothing newer is there.
    pub(crate) fn not_modified(&self) -> Report {
        Report {
            not_modified: true,
            ..self.report(0)
        }
    }
}

/// `./x` as `x`.
fn tidy(path: PathBuf) -> PathBuf {
    match path.strip_prefix(".") {
        Ok(rest) if rest.components().next().is_some() => rest.to_owned(),
        _ => path,
    }
}
