//! Workers, checkpointer and caller brought together, until every part is there or something ends it.

pub(crate) mod progress;
pub(crate) mod rate_limit;
pub(crate) mod worker;
pub(crate) mod writer;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::progress::Meter;
use self::worker::{Transfer, TransferError, WorkerEnd};
use self::writer::Busy;
use crate::engine::control::Intent;
use crate::engine::control::shared::Shared;
use crate::engine::output::file::checkpointer::{CommitError, CommitKind};
use crate::engine::remote::Remote;
use crate::engine::schedule::dispatcher::{CompletedParts, Dispatcher};
use crate::event::Event;
use crate::storage::PartFile;

/// How often rates are measured and progress is told.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// Where completed parts go next: into a checkpoint, or out in order.
pub(crate) trait Committer: Send {
    /// Keeps up with the dispatcher until `over`. Not to be dropped before it returns.
    fn run(
        &mut self,
        dispatcher: &Dispatcher,
        over: &mut watch::Receiver<bool>,
    ) -> impl Future<Output = Result<(), CommitError>> + Send;

    /// Keeps what the snapshot holds.
    fn commit(
        &mut self,
        snapshot: CompletedParts,
        moment: CommitKind,
    ) -> impl Future<Output = Result<(), CommitError>> + Send;
}

/// How a transfer ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransferEnd {
    /// Every part is there, and in the checkpoint.
    Complete,
    /// The caller wants an end; the checkpoint is committed.
    Stopped,
    /// The caller wants an end and nothing left.
    Cancelled,
}

/// Why a transfer failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Bytes can't be brought; what came is committed.
    Transfer(TransferError),
    /// The checkpoint can't be written.
    Commit(CommitError),
}

/// Brings every missing part, with pauses as the caller wants them. Not to be dropped before it returns, or what came
/// since the last commit counts as missing.
pub(crate) async fn run<R: Remote, F: PartFile>(
    transfer: &Arc<Transfer<R, F>>,
    committer: &mut impl Committer,
    shared: &Shared,
) -> Result<TransferEnd, Failure> {
    let mut meter = Meter::new(&transfer.metrics, &transfer.dispatcher, &transfer.plan);
    loop {
        let (over, mut is_over) = watch::channel(false);
        let commit_failed = Notify::new();
        let committing = async {
            let outcome = committer.run(&transfer.dispatcher, &mut is_over).await;
            if outcome.is_err() {
                commit_failed.notify_one();
            }
            outcome
        };
        let working = async {
            let end = supervise(transfer, shared, &mut meter, &commit_failed).await;
            over.send_replace(true);
            end
        };
        let (end, committed) = tokio::join!(working, committing);
        committed.map_err(Failure::Commit)?;
        if end_is(&end, Intent::Cancel) {
            return Ok(TransferEnd::Cancelled);
        }
        let moment = match &end {
            // Somebody may have changed what was there: the next run is to read it all back before it trusts it.
            End::Failed(TransferError::Storage(_)) => CommitKind::Periodic,
            _ => CommitKind::Clean,
        };
        committer
            .commit(transfer.dispatcher.snapshot(), moment)
            .await
            .map_err(Failure::Commit)?;
        match end {
            End::Finished => return Ok(TransferEnd::Complete),
            End::Failed(error) => return Err(Failure::Transfer(error)),
            End::Halted(Intent::Pause) => {
                shared.events.emit(Event::Paused);
                match shared.control.rest().await {
                    Intent::Run | Intent::Pause => meter.resume(),
                    Intent::Stop => return Ok(TransferEnd::Stopped),
                    Intent::Cancel => return Ok(TransferEnd::Cancelled),
                }
            }
            End::Halted(_) | End::CommitFailed => return Ok(TransferEnd::Stopped),
        }
    }
}

/// Why the workers were sent home.
enum End {
    Finished,
    Halted(Intent),
    Failed(TransferError),
    /// The checkpointer's own result tells why.
    CommitFailed,
}

fn end_is(end: &End, intent: Intent) -> bool {
    matches!(end, End::Halted(found) if *found == intent)
}

/// Keeps as many workers at work as the tuner wants. When it returns, no request is under way and nobody
/// touches the file.
async fn supervise<R: Remote, F: PartFile>(
    transfer: &Arc<Transfer<R, F>>,
    shared: &Shared,
    meter: &mut Meter,
    commit_failed: &Notify,
) -> End {
    let mut workers = JoinSet::new();
    let (busy, mut idle) = mpsc::channel(1);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let end = loop {
        hire(transfer, &mut workers, &busy);
        tokio::select! {
            biased;
            intent = shared.control.halted() => break End::Halted(intent),
            () = commit_failed.notified() => break End::CommitFailed,
            Some(ended) = workers.join_next() => {
                // Nobody aborts a worker before the end, so that it fails by a panic alone.
                match ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())) {
                    WorkerEnd::Finished => break End::Finished,
                    WorkerEnd::Failed(error) => break End::Failed(error),
                    WorkerEnd::Surplus => {}
                }
            }
            _ = tick.tick() => {
                let now = Instant::now();
                transfer.dispatcher.tick(now);
                // Under a limit one is as slow as its turn comes late, and so it is at a disk that lets writes wait.
                let is_held_up = transfer.limiter.is_some() || transfer.metrics.disk_is_slow();
                if !is_held_up && transfer.dispatcher.replace_straggler(now) {
                    transfer.metrics.replaced();
                }
                if let Some(window) = meter.window(now, transfer.dispatcher.first_byte()) {
                    transfer.tune(|tuner| tuner.observe(window));
                }
                if transfer.workers.load(Ordering::Acquire) > transfer.target() {
                    // Left to themselves, the quickest would be the first to come free and to leave.
                    transfer.dispatcher.abort_slowest();
                }
                shared.events.emit(Event::Progress(meter.progress(now, &transfer.dispatcher)));
            }
        }
    };
    workers.shutdown().await;
    drop(busy);
    // Nothing is ever sent: this waits until nobody holds the other end, and so the file.
    idle.recv().await;
    transfer.workers.store(0, Ordering::Release);
    transfer.dispatcher.release_all();
    shared.events.emit(Event::Progress(
        meter.progress(Instant::now(), &transfer.dispatcher),
    ));
    end
}

fn hire<R: Remote, F: PartFile>(
    transfer: &Arc<Transfer<R, F>>,
    workers: &mut JoinSet<WorkerEnd>,
    busy: &Busy,
) {
    let target = transfer.target();
    transfer.metrics.wants(target);
    while transfer.workers.load(Ordering::Acquire) < target {
        transfer.workers.fetch_add(1, Ordering::AcqRel);
        workers.spawn(Arc::clone(transfer).work(busy.clone()));
    }
}
