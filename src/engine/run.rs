//! One download, from the first request to the published file.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{Instrument, info_span};

use super::context::{Context, RequestFailed};
use super::control::shared::Shared;
use super::failures::Failures;
use super::job::Job;
use super::metrics::Metrics;
use super::output::destination::OpenDestination;
use super::output::file::leftovers;
use super::output::file::restore::Restore;
use super::output::outcome::{Outcome, judge_request};
use super::output::{discard, file, stdout, stream};
use super::patience::{Limits, Next, Patience};
use super::refresh::Refresher;
use super::remote::discovery::{Discovery, discover};
use super::remote::http::HttpRemote;
use super::remote::mirrors;
use super::remote::object::{Discovered, Object};
use super::remote::probe::ProbeMethod;
use super::summary;
use super::transfer::written_blocks::Doubt;
use crate::checkpoint;
use crate::error::{Error, ErrorKind, Remedy};
use crate::event::Event;
use crate::http::{Coding, Metadata, Pinned, RangeSupport};
use crate::object::Proof;
use crate::options::OnChange;
use crate::report::Report;
use crate::storage::{Folder, Volume};

/// How often a download starts over because the object changed. An object that changes all the time
/// has no version to download.
const MOST_RESTARTS: u32 = 5;

/// Starts a download on the current Tokio runtime.
pub(crate) fn start(job: Job) -> (Arc<Shared>, JoinHandle<Result<Report, Error>>) {
    let shared = Arc::new(Shared::new());
    let ended = EndOnDrop(Arc::clone(&shared));
    let span = info_span!("download", url = %job.source.shown());
    let downloading = async move {
        let shared = &ended.0;
        let outcome = download(&job, shared).await;
        match &outcome {
            Ok(report) => shared
                .events
                .emit(Event::Finished(Box::new(report.clone()))),
            // The caller asked for these ends, and so knows of them.
            Err(error) if matches!(error.kind(), ErrorKind::Stopped | ErrorKind::Cancelled) => {}
            Err(error) => shared.events.emit(Event::Failed(error.clone())),
        }
        outcome
    };
    (shared, tokio::spawn(downloading.instrument(span)))
}

/// Tells the handle and every listener that the engine has ended, also by a panic.
struct EndOnDrop(Arc<Shared>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.events.close();
        self.0.control.end();
    }
}

async fn download(job: &Job, shared: &Shared) -> Result<Report, Error> {
    let mut destination = OpenDestination::open(job).await?;
    let context = context(job, shared, &destination, checkpoint::boot_id());
    let outcome = run(&context, &mut destination).await;
    match destination {
        OpenDestination::File { volume, names } => {
            leftovers::settle(&context, volume, names, outcome).await
        }
        _ => outcome,
    }
}

/// The context of a run that begins now.
pub(crate) fn context<'a, V: Volume>(
    job: &'a Job,
    shared: &'a Shared,
    destination: &OpenDestination<V>,
    boot: Option<[u8; 16]>,
) -> Context<'a> {
    let metrics = Arc::new(Metrics::start());
    let limits = Limits {
        retries: job.retries,
        wait_online: job.wait_online,
    };
    let patience = Arc::new(Patience::new(
        limits,
        job.client.clone(),
        Arc::clone(&metrics),
        Arc::clone(&shared.events),
    ));
    Context {
        job,
        shared,
        refresher: Refresher::new(job, &patience, &metrics),
        metrics,
        patience,
        source: job.source.clone(),
        boot,
        output: destination.output(),
        checkpoint: destination.checkpoint(),
        has_partial: AtomicBool::new(false),
    }
}

/// Passes at the object, one after the other, until one of them ends the download.
async fn run(
    context: &Context<'_>,
    destination: &mut OpenDestination<Folder>,
) -> Result<Report, Error> {
    if let OpenDestination::File { volume, names } = destination {
        let (volume, names) = (Arc::clone(volume), names.clone());
        if let Some(report) = leftovers::look_first(context, volume, names).await? {
            return Ok(report);
        }
    }
    let mut passes = Passes::new(context.job);
    loop {
        let outcome = pass(context, destination, &mut passes).await?;
        if let Some(report) = passes.after(context, outcome).await? {
            return Ok(report);
        }
    }
}

/// One pass: discovers the object and fetches it.
async fn pass(
    context: &Context<'_>,
    destination: &mut OpenDestination<Folder>,
    passes: &mut Passes,
) -> Result<Outcome, Error> {
    let Pass { probe, restore } = passes.next.clone();
    let mut found = match passes.known_again(context) {
        Some(metadata) => Discovered {
            metadata,
            stream: None,
            source: context.source.clone(),
            found_by: probe,
            stands_in_for: None,
        },
        None => match context.unless_paused(|| discover(context, probe)).await? {
            Ok(Discovery::Object(found)) => *found,
            Ok(Discovery::NotModified) => {
                return Ok(Outcome::finished(summary::not_modified(context)));
            }
            Err(failed) => return judge_request(context, &failed, false),
        },
    };
    let has_length = found.metadata.length.is_some();
    passes.known = (has_length && found.stands_in_for.is_none()).then(|| found.metadata.clone());
    if passes.has_no_ranges {
        found.metadata.ranges = RangeSupport::No;
    }
    passes.tell_coding(context, found.metadata.coding.as_ref());
    let pinned = match passes.pin(context, &found.metadata) {
        Ok(pinned) => pinned,
        Err(error) if destination.can_start_over() => return Ok(Outcome::Changed(error)),
        Err(error) => return Err(error),
    };
    let accepting = mirrors::accept(context, &found, pinned.as_ref());
    let mirrors = context.unless_ended(accepting).await?;
    match pinned {
        Some(pinned) => {
            let object = Object::on_servers(context, pinned, found, mirrors)?;
            in_parts(context, destination, object, &restore).await
        }
        None => {
            restore.announce(context);
            as_stream(context, destination, found).await
        }
    }
}

/// Fetches an object of known length over several connections.
async fn in_parts(
    context: &Context<'_>,
    destination: &mut OpenDestination<Folder>,
    object: Object<HttpRemote>,
    restore: &Restore,
) -> Result<Outcome, Error> {
    if !matches!(destination, OpenDestination::File { .. }) {
        restore.announce(context);
    }
    match destination {
        OpenDestination::File { volume, names } => {
            let (volume, names) = (Arc::clone(volume), names.clone());
            file::in_parts(context, volume, names, object, restore).await
        }
        OpenDestination::Stdout(written) => stdout::in_parts(context, written, object).await,
        OpenDestination::Discard => discard::to_nowhere(context, object).await,
        OpenDestination::Memory => discard::to_memory(context, object).await,
    }
}

/// Fetches an object of unknown length over one connection.
async fn as_stream(
    context: &Context<'_>,
    destination: &mut OpenDestination<Folder>,
    found: Discovered,
) -> Result<Outcome, Error> {
    if !context.job.selection.is_whole() {
        return Err(Error::new(
            ErrorKind::Network,
            context.subject(),
            "the server does not tell the length, so no range can be selected",
        )
        .lasting());
    }
    match destination {
        OpenDestination::File { volume, names } => {
            let (volume, names) = (Arc::clone(volume), names.clone());
            stream::to_file(context, volume, names, found).await
        }
        OpenDestination::Stdout(_) => stream::to_stdout(context, found).await,
        OpenDestination::Discard | OpenDestination::Memory => Err(Error::new(
            ErrorKind::Network,
            context.subject(),
            "the server does not tell the length, so there is nothing to cut into parts",
        )),
    }
}

/// How a pass begins.
#[derive(Clone, Debug)]
pub(crate) struct Pass {
    pub(crate) probe: ProbeMethod,
    pub(crate) restore: Restore,
}

/// How the next pass begins, and how often passes ended early.
#[derive(Debug)]
pub(crate) struct Passes {
    pub(crate) next: Pass,
    /// The version that the last pass fetched.
    version: Option<Pinned>,
    /// What the last pass found of an object of known length at the source.
    known: Option<Metadata>,
    /// Whether the next pass must find that version again, because only the URL was replaced.
    must_find_again: bool,
    /// Whether the server turned out to have no ranges.
    pub(crate) has_no_ranges: bool,
    /// The content coding that the caller was told of.
    told_coding: Option<Coding>,
    restarts: u32,
    refreshes: u32,
    losses: Failures,
}

impl Passes {
    /// Before the first pass.
    pub(crate) fn new(job: &Job) -> Self {
        Self {
            next: Pass {
                probe: ProbeMethod::Head,
                restore: if job.fresh {
                    Restore::Fresh
                } else {
                    Restore::Resume
                },
            },
            version: None,
            known: None,
            must_find_again: false,
            has_no_ranges: false,
            told_coding: None,
            restarts: 0,
            refreshes: 0,
            losses: Failures::none(Instant::now()),
        }
    }

    /// What is known of the object, where another probe might use up the fresh link: the one before
    /// brought nothing. The next replies prove that the object is the same.
    fn known_again(&self, context: &Context<'_>) -> Option<Metadata> {
        let brought_nothing = context.metrics.fetched_bytes() == 0 || self.refreshes > 1;
        let is_to_be_used = self.must_find_again && brought_nothing;
        self.known.clone().filter(|_| is_to_be_used)
    }

    /// Warns once where the object is stored in a content coding.
    fn tell_coding(&mut self, context: &Context<'_>, found: Option<&Coding>) {
        if let Some(coding) = found.filter(|coding| self.told_coding.as_ref() != Some(*coding)) {
            context.events().warn(format!(
                "the object is stored with the content coding `{coding}`; \
                 its bytes are kept as they are stored, and not decoded"
            ));
            self.told_coding = Some(coding.clone());
        }
    }

    /// Returns the version to fetch, given what the probe found; `None` where that has no length.
    /// Under a refreshed URL it must be the version of the pass before.
    ///
    /// # Errors
    ///
    /// `Changed` for another version under a refreshed URL.
    fn pin(&mut self, context: &Context<'_>, metadata: &Metadata) -> Result<Option<Pinned>, Error> {
        let must_find_again = std::mem::take(&mut self.must_find_again);
        let before = self.version.take().filter(|_| must_find_again);
        self.version = match (before, metadata.length) {
            (None, None) => None,
            (None, Some(length)) => {
                let pinned = metadata.pinned(length);
                // The version that the conditions hold for is the probe's.
                if !context.job.conditions.are_none() {
                    pinned.hold();
                }
                Some(pinned)
            }
            (Some(before), _) => {
                let coding = metadata.coding.as_ref();
                let found = before.pin_again(metadata.length, coding, &metadata.identity);
                if let Err(error) = found {
                    let failed = RequestFailed { error, attempts: 1 };
                    return Err(context.request_failed(&failed));
                }
                Some(before)
            }
        };
        Ok(self.version.clone())
    }

    /// Prepares the next pass after this outcome, or returns the report of the download.
    ///
    /// # Errors
    ///
    /// The error that ends the download.
    pub(crate) async fn after(
        &mut self,
        context: &Context<'_>,
        outcome: Outcome,
    ) -> Result<Option<Report>, Error> {
        match outcome {
            Outcome::Finished(report) => return Ok(Some(*report)),
            Outcome::Paused => {}
            Outcome::LengthMissing => self.next.probe = ProbeMethod::Get,
            Outcome::LengthWrong => {
                self.next = Pass {
                    probe: ProbeMethod::Get,
                    restore: Restore::StartOver,
                };
            }
            // What an earlier run left is of another version.
            Outcome::Differs {
                error,
                doubt: Doubt::Earlier,
            } if !self.has_restarted() => {
                // HEAD may go on to tell of what a GET does not bring any more.
                self.next = Pass {
                    probe: ProbeMethod::Get,
                    restore: Restore::StartOver,
                };
                context.restarted(error.why());
            }
            Outcome::Differs { error, .. } => {
                self.next.restore = Restore::StartOver;
                self.count_restart(context, &error)?;
                context.restarted(error.why());
            }
            Outcome::Changed(error) => {
                self.count_restart(context, &error)?;
                let is_named = |version: &Pinned| version.proof() > Proof::None;
                self.next.restore = if self.version.as_ref().is_some_and(is_named) {
                    Restore::Again(error.why().to_owned())
                } else {
                    context.restarted(error.why());
                    self.next.probe = ProbeMethod::Get;
                    Restore::StartOver
                };
            }
            Outcome::StreamLost(failed) => {
                // Nothing broke, and it is known from now on. A second time something did.
                if failed.attempts == 0 && !self.has_no_ranges {
                    self.has_no_ranges = true;
                } else {
                    self.pause_after_loss(context, failed).await?;
                }
            }
            Outcome::Refused { error, progressed } => {
                if progressed {
                    self.next.restore = Restore::Resume;
                }
                self.refreshes = if progressed { 1 } else { self.refreshes + 1 };
                let Some(refresher) = &context.refresher else {
                    return Err(error);
                };
                let fresh = context.unless_ended(refresher.fresh()).await??;
                let Some(fresh) = fresh else {
                    return Err(error);
                };
                if fresh.origin() != context.source.origin() {
                    context.patience.meet_another();
                }
                context.source.take_url_of(&fresh);
                context.events().emit(Event::Refreshed);
                self.has_no_ranges = false;
                self.must_find_again = true;
            }
        }
        Ok(None)
    }

    /// Counts a start over because the object changed.
    ///
    /// # Errors
    ///
    /// `error` where the caller wants none, or there were too many.
    fn count_restart(&mut self, context: &Context<'_>, error: &Error) -> Result<(), Error> {
        if context.job.on_change == OnChange::Fail {
            return Err(error.clone());
        }
        if self.restarts == MOST_RESTARTS {
            return Err(error.clone().with_remedy(Remedy::StartAgain));
        }
        self.restarts += 1;
        // A cache may go on to tell of the old version, to HEAD alone.
        if self.restarts > 1 {
            self.next.probe = ProbeMethod::Get;
        }
        Ok(())
    }

    /// Whether a pass before this one brought bytes that the next one builds on.
    fn has_restarted(&self) -> bool {
        self.restarts + self.refreshes > 0
    }

    async fn pause_after_loss(
        &mut self,
        context: &Context<'_>,
        failed: RequestFailed,
    ) -> Result<(), Error> {
        let patience = &context.patience;
        let turn = patience.past_turn();
        let count = || self.losses.add(Instant::now());
        match patience.judge(turn, &failed.error, count) {
            Next::Again(pause) => {
                let pausing = patience.pause(0, &failed.error, pause);
                context.unless_ended(pausing).await
            }
            Next::GiveUp { attempts } => {
                let failed = RequestFailed { attempts, ..failed };
                Err(context.request_failed(&failed))
            }
        }
    }
}
