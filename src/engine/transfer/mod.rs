//! Workers, committer and caller brought together, until every part is there or something ends it.

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
use self::worker::{Crew, TransferError, WorkerEnd};
use self::writer::Busy;
use crate::engine::control::Wish;
use crate::engine::control::shared::Link;
use crate::engine::output::file::checkpointer::{CommitError, Moment};
use crate::engine::remote::Remote;
use crate::engine::schedule::dispatcher::{Board, Snapshot};
use crate::event::Event;
use crate::storage::PartFile;

/// How often rates are measured and progress is told.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// Where completed parts go next: into a checkpoint, or out in order.
pub(crate) trait Keeper: Send {
    /// Keeps up with the board until `over`. Not to be dropped before it returns.
    fn run(
        &mut self,
        board: &Board,
        over: &mut watch::Receiver<bool>,
    ) -> impl Future<Output = Result<(), CommitError>> + Send;

    /// Keeps what the snapshot holds.
    fn commit(
        &mut self,
        snapshot: Snapshot,
        moment: Moment,
    ) -> impl Future<Output = Result<(), CommitError>> + Send;
}

/// How a transfer ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
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
pub(crate) async fn transfer<R: Remote, F: PartFile>(
    crew: &Arc<Crew<R, F>>,
    keeper: &mut impl Keeper,
    link: &Link,
) -> Result<Outcome, Failure> {
    let mut meter = Meter::new(&crew.tally, &crew.board, &crew.plan);
    loop {
        let (over, mut is_over) = watch::channel(false);
        let commit_failed = Notify::new();
        let committing = async {
            let outcome = keeper.run(&crew.board, &mut is_over).await;
            if outcome.is_err() {
                commit_failed.notify_one();
            }
            outcome
        };
        let working = async {
            let end = supervise(crew, link, &mut meter, &commit_failed).await;
            over.send_replace(true);
            end
        };
        let (end, committed) = tokio::join!(working, committing);
        committed.map_err(Failure::Commit)?;
        if end_is(&end, Wish::Cancel) {
            return Ok(Outcome::Cancelled);
        }
        let moment = match &end {
            // Somebody may have changed what was there: the next run is to read it all back before it trusts it.
            End::Failed(TransferError::Storage(_)) => Moment::Midway,
            _ => Moment::AtRest,
        };
        keeper
            .commit(crew.board.snapshot(), moment)
            .await
            .map_err(Failure::Commit)?;
        match end {
            End::Finished => return Ok(Outcome::Complete),
            End::Failed(error) => return Err(Failure::Transfer(error)),
            End::Halted(Wish::Pause) => {
                link.hub.tell(Event::Paused);
                match link.control.rest().await {
                    Wish::Run | Wish::Pause => meter.resume(),
                    Wish::Stop => return Ok(Outcome::Stopped),
                    Wish::Cancel => return Ok(Outcome::Cancelled),
                }
            }
            End::Halted(_) | End::CommitFailed => return Ok(Outcome::Stopped),
        }
    }
}

/// Why the workers were sent home.
enum End {
    Finished,
    Halted(Wish),
    Failed(TransferError),
    /// The committer's own result tells why.
    CommitFailed,
}

fn end_is(end: &End, wish: Wish) -> bool {
    matches!(end, End::Halted(found) if *found == wish)
}

/// Keeps as many workers at work as the tuner wants. When it returns, no request is under way and nobody
/// touches the file.
async fn supervise<R: Remote, F: PartFile>(
    crew: &Arc<Crew<R, F>>,
    link: &Link,
    meter: &mut Meter,
    commit_failed: &Notify,
) -> End {
    let mut workers = JoinSet::new();
    let (busy, mut idle) = mpsc::channel(1);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let end = loop {
        hire(crew, &mut workers, &busy);
        tokio::select! {
            biased;
            wish = link.control.halted() => break End::Halted(wish),
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
                crew.board.tick(now);
                // Under a limit one is as slow as its turn comes late, and so it is at a disk that lets writes wait.
                let is_held_up = crew.limiter.is_some() || crew.tally.disk_is_slow();
                if !is_held_up && crew.board.replace_crawler(now) {
                    crew.tally.replaced();
                }
                if let Some(window) = meter.window(now, crew.board.first_byte()) {
                    crew.tune(|tuner| tuner.observe(window));
                }
                if crew.workers.load(Ordering::Acquire) > crew.target() {
                    // Left to themselves, the quickest would be the first to come free and to leave.
                    crew.board.abort_slowest();
                }
                link.hub.tell(Event::Progress(meter.progress(now, &crew.board)));
            }
        }
    };
    workers.shutdown().await;
    drop(busy);
    // Nothing is ever sent: this waits until nobody holds the other end, and so the file.
    idle.recv().await;
    crew.workers.store(0, Ordering::Release);
    crew.board.release_all();
    link.hub
        .tell(Event::Progress(meter.progress(Instant::now(), &crew.board)));
    end
}

fn hire<R: Remote, F: PartFile>(
    crew: &Arc<Crew<R, F>>,
    workers: &mut JoinSet<WorkerEnd>,
    busy: &Busy,
) {
    let target = crew.target();
    crew.tally.wants(target);
    while crew.workers.load(Ordering::Acquire) < target {
        crew.workers.fetch_add(1, Ordering::AcqRel);
        workers.spawn(Arc::clone(crew).work(busy.clone()));
    }
}
