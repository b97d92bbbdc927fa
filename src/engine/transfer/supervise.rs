//! Keeps as many workers at work as the tuner wants, and measures them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::progress::Meter;
use super::shared::{Transfer, TransferError};
use super::window::WriteTarget;
use super::worker::WorkerEnd;
use crate::engine::blocking;
use crate::engine::control::{Control, Intent};
use crate::engine::metrics::TICK;
use crate::engine::remote::Remote;
use crate::event::Event;

/// Why the workers ended.
pub(super) enum End {
    /// Every part is complete.
    Finished,
    /// The caller wants something else than to run.
    Halted(Intent),
    Failed(TransferError),
    /// The committer's own result has the cause.
    CommitFailed,
}

/// Runs workers until every part is complete, the caller wants a halt, or one of them fails for
/// good. When it returns, no request is under way and nothing uses the target any more.
pub(super) async fn supervise<R: Remote, W: WriteTarget>(
    transfer: &Arc<Transfer<R, W>>,
    control: &Control,
    meter: &mut Meter,
    commit_failed: &Notify,
) -> End {
    let mut workers = JoinSet::new();
    let target_users = TaskTracker::new();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let end = loop {
        spawn_missing(transfer, &mut workers, &target_users);
        tokio::select! {
            biased;
            intent = control.halted() => break End::Halted(intent),
            () = commit_failed.notified() => break End::CommitFailed,
            Some(ended) = workers.join_next() => match blocking::value_of(ended) {
                WorkerEnd::Finished => break End::Finished,
                WorkerEnd::Failed(error) => break End::Failed(error),
                WorkerEnd::Surplus => {}
            },
            _ = tick.tick() => measure(transfer, meter),
        }
    };
    workers.shutdown().await;
    target_users.close();
    // An aborted worker may leave a window that is being made ready, or a write under way, on
    // another thread.
    target_users.wait().await;
    transfer.workers.store(0, Ordering::Release);
    transfer.dispatcher.release_all();
    // Where the reader of standard output went away, nothing more is told.
    if !matches!(end, End::CommitFailed) {
        announce(transfer, meter, Instant::now());
    }
    end
}

fn spawn_missing<R: Remote, W: WriteTarget>(
    transfer: &Arc<Transfer<R, W>>,
    workers: &mut JoinSet<WorkerEnd>,
    target_users: &TaskTracker,
) {
    let wanted = transfer.target_connections();
    transfer.metrics.wants(wanted);
    while transfer.workers.load(Ordering::Acquire) < wanted {
        transfer.workers.fetch_add(1, Ordering::AcqRel);
        let work = Arc::clone(transfer).work(target_users.token());
        workers.spawn(work.in_current_span());
    }
}

/// Measures every lease, replaces a straggler, and tells the tuner and the caller how fast the
/// transfer is.
fn measure<R: Remote, W: WriteTarget>(transfer: &Transfer<R, W>, meter: &mut Meter) {
    let now = Instant::now();
    let dispatcher = &transfer.dispatcher;
    dispatcher.tick(now);
    // A rate limit and a slow disk hold up connections that are not to blame for it.
    let is_held_up = transfer.limiter.is_some() || transfer.backpressure.is_slow();
    if !is_held_up && dispatcher.replace_straggler(now) {
        transfer.metrics.replaced();
    }
    if let Some(sample) = meter.sample(now, dispatcher.first_byte()) {
        transfer.tune(|tuner| tuner.observe(sample));
    }
    // Without ranges the one that reads the body stays, and the others leave by themselves.
    if !transfer.remote.is_whole()
        && transfer.workers.load(Ordering::Acquire) > transfer.target_connections()
    {
        // Of surplus workers the fastest would finish its lease first and leave; the slowest
        // should.
        dispatcher.abort_slowest();
    }
    announce(transfer, meter, now);
}

fn announce<R: Remote, W: WriteTarget>(transfer: &Transfer<R, W>, meter: &mut Meter, now: Instant) {
    let progress = meter.progress(now, &transfer.dispatcher);
    transfer.events.emit(Event::Progress(progress));
}
