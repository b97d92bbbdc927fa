//! Keeps as many workers at work as the tuner wants, and measures them.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::FutureExt;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::progress::Meter;
use super::shared::{Transfer, TransferError};
use super::window::WriteTarget;
use super::worker::WorkerEnd;
use crate::engine::blocking;
use crate::engine::context::RequestFailed;
use crate::engine::control::{Control, Intent};
use crate::engine::job::LowestSpeed;
use crate::engine::metrics::TICK;
use crate::engine::remote::Remote;
use crate::engine::schedule::silence::Evidence;
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
    let mut alone = transfer.first_goes_ahead.map(sleep).map(Box::pin);
    let mut renewed = pin!(transfer.remote.renewed());
    let end = loop {
        let most = if alone.is_some() { 1 } else { u32::MAX };
        spawn_missing(transfer, &mut workers, &target_users, most);
        let first_goes_ahead = async {
            match &mut alone {
                Some(longest) => tokio::select! {
                    () = transfer.replied.notified() => {}
                    () = longest => {}
                },
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            intent = control.halted() => break End::Halted(intent),
            () = commit_failed.notified() => break End::CommitFailed,
            Some(ended) = workers.join_next() => match blocking::value_of(ended) {
                WorkerEnd::Finished => break End::Finished,
                WorkerEnd::Failed(error) => break End::Failed(error),
                WorkerEnd::Surplus => {}
            },
            () = first_goes_ahead => alone = None,
            () = &mut renewed => {
                transfer.begin_with_fresh_access();
                // What was notified before is no reply under the fresh access.
                let _ = transfer.replied.notified().now_or_never();
                alone = transfer.first_goes_ahead.map(sleep).map(Box::pin);
                transfer.remote.take_access();
                renewed.set(transfer.remote.renewed());
            }
            _ = tick.tick() => {
                if let Some(error) = measure(transfer, meter) {
                    break End::Failed(error);
                }
            }
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
    most: u32,
) {
    let wanted = transfer.target_connections().min(most);
    transfer.metrics.wants(wanted);
    while transfer.workers.load(Ordering::Acquire) < wanted {
        transfer.workers.fetch_add(1, Ordering::AcqRel);
        let work = Arc::clone(transfer).work(target_users.token());
        workers.spawn(work.in_current_span());
    }
}

/// Measures every lease, acts on what that shows, and tells the caller how fast the transfer is.
/// Returns the failure of a download that is slower than the caller puts up with.
fn measure<R: Remote, W: WriteTarget>(
    transfer: &Transfer<R, W>,
    meter: &mut Meter,
) -> Option<TransferError> {
    let now = Instant::now();
    let dispatcher = &transfer.dispatcher;
    dispatcher.tick(now);
    let is_silent = !transfer.has_irreplaceable_body() && break_silence(transfer, now);
    let lowest = transfer.lowest_speed;
    let failed = lowest.and_then(|lowest| miss(transfer, lowest, meter, now));
    if is_silent || transfer.patience.is_in_outage() {
        // While transfers are silent, rates say nothing about the server.
        meter.skip(now);
    } else {
        replace_slow(transfer, meter, now);
    }
    announce(transfer, meter, now);
    failed
}

/// The failure of a download that is slower than `lowest` for too long.
fn miss<R: Remote, W: WriteTarget>(
    transfer: &Transfer<R, W>,
    lowest: LowestSpeed,
    meter: &mut Meter,
    now: Instant,
) -> Option<TransferError> {
    let is_excused = transfer.patience.offline().is_some()
        || transfer.backpressure.is_slow()
        || !transfer.dispatcher.awaits_network();
    if is_excused {
        meter.excuse(now);
    }
    meter.is_too_slow(now).then(|| {
        let error = lowest.missed();
        TransferError::Request(RequestFailed { error, attempts: 1 })
    })
}

/// Sends one transfer ahead over a new connection where all are silent. Returns whether they are.
fn break_silence<R: Remote, W: WriteTarget>(transfer: &Transfer<R, W>, now: Instant) -> bool {
    let evidence = Evidence {
        is_crowded: transfer.refusals.were_lately(),
        is_limited: transfer.is_signed && !transfer.can_refresh,
    };
    let silenced = transfer.dispatcher.break_silence(evidence, now);
    if let Some((since, canary)) = silenced.canary {
        tracing::debug!(silent = ?(now - since), "all transfers are silent");
        // The way must be free before its worker takes it.
        transfer.patience.suspect(since);
        canary.abort();
    }
    silenced.is_suspected
}

/// Replaces transfers that are too slow, and tells the tuner how fast all are.
fn replace_slow<R: Remote, W: WriteTarget>(
    transfer: &Transfer<R, W>,
    meter: &mut Meter,
    now: Instant,
) {
    let dispatcher = &transfer.dispatcher;
    let is_replaceable = !transfer.has_irreplaceable_body();
    if let Some(lowest) = transfer.lowest_speed.filter(|_| is_replaceable) {
        replace_slower_than(transfer, lowest, now);
    }
    // A rate limit and a slow disk hold up connections that are not to blame for it.
    let is_held_up = transfer.limiter.is_some() || transfer.backpressure.is_slow();
    if is_replaceable && !is_held_up && dispatcher.replace_straggler(now) {
        transfer.metrics.replaced();
    }
    if let Some(sample) = meter.sample(now, dispatcher.first_byte()) {
        transfer.tune(|tuner| tuner.observe(sample));
    }
    let is_surplus = transfer.workers.load(Ordering::Acquire) > transfer.target_connections();
    // Without ranges the one that reads the body stays, and the others leave by themselves.
    if is_surplus && !transfer.refusals.were_lately() && !transfer.remote.is_whole() {
        // Of surplus workers the fastest would finish its lease first and leave; the slowest
        // should. A worker that the server refused leaves by itself, and another one may hold all
        // that the server gives.
        dispatcher.abort_slowest();
    }
}

fn replace_slower_than<R: Remote, W: WriteTarget>(
    transfer: &Transfer<R, W>,
    lowest: LowestSpeed,
    now: Instant,
) {
    let replaced = transfer.dispatcher.replace_slow(lowest, now);
    for _ in 0..replaced {
        transfer.metrics.replaced();
    }
    if replaced > 0 {
        transfer.patience.leave_connections();
    }
}

fn announce<R: Remote, W: WriteTarget>(transfer: &Transfer<R, W>, meter: &mut Meter, now: Instant) {
    let progress = meter.progress(now, &transfer.dispatcher);
    if let Some(notice) = meter.expiry_notice(now, &progress) {
        transfer.events.warn(notice);
    }
    transfer.events.emit(Event::Progress(progress));
}
