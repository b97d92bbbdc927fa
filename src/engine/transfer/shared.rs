//! What the workers of one transfer share.

use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::backpressure::Backpressure;
use super::commit::CommitError;
use super::rate_limit::Limiter;
use super::refusals::Refusals;
use super::replies::Replies;
use super::waiting::WaitingBodies;
use super::window::WriteTarget;
use super::written_blocks::{Doubt, SpotChecks, WrittenBlock};
use crate::engine::context::{Context, RequestFailed};
use crate::engine::control::events::EventBus;
use crate::engine::job::LowestSpeed;
use crate::engine::metrics::Metrics;
use crate::engine::patience::Patience;
use crate::engine::remote::Remote;
use crate::engine::remote::object::Object;
use crate::engine::schedule::dispatcher::Dispatcher;
use crate::engine::schedule::parts::CompletedParts;
use crate::engine::schedule::tuner::Tuner;
use crate::http::{HttpError, Pinned};
use crate::object::{BlockPlan, PartBitmap, Plan, Selection};
use crate::options::Connections;
use crate::storage::{Durability, StorageError};

/// The longest round trip that costs nothing.
const NEAR: Duration = Duration::from_millis(5);
/// The longest time that the other workers wait for the reply to the first request.
const AHEAD: Duration = Duration::from_secs(1);

/// A transfer that runs, or is about to.
pub(crate) struct Transfer<R, W> {
    pub(crate) plan: Plan,
    pub(crate) target: W,
    pub(crate) dispatcher: Arc<Dispatcher>,
    pub(super) blocks: BlockPlan,
    pub(super) selection: Selection,
    pub(super) remote: R,
    pub(super) pinned: Pinned,
    /// Whether it was known from the start that the remote has no ranges.
    pub(super) began_whole: bool,
    /// Whether one connection brings everything from the start, and no other server.
    pub(super) is_alone: bool,
    /// The parts that were complete when the transfer began.
    pub(super) earlier: PartBitmap,
    pub(crate) replies: Arc<Replies>,
    pub(super) checks: SpotChecks,
    /// Whether other servers than the one that the caller named may bring bytes.
    pub(super) has_mirrors: bool,
    /// Whether the caller gave a checksum of the whole.
    pub(super) has_checksum: bool,
    /// Whether there are such, and the caller takes their bytes on trust.
    pub(super) trusts_mirrors: bool,
    /// The servers whose replies were compared. Taken to look or to add, never across an await.
    pub(super) compared: Mutex<Vec<usize>>,
    pub(super) durability: Durability,
    pub(super) limiter: Option<Limiter>,
    pub(super) lowest_speed: Option<LowestSpeed>,
    pub(super) backpressure: Backpressure,
    pub(super) events: Arc<EventBus>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) patience: Arc<Patience>,
    // Locked at a refusal and at a tick, never across an await.
    pub(super) tuner: Mutex<Tuner>,
    /// Whether the caller can give a fresh URL.
    pub(super) can_refresh: bool,
    /// Whether a round trip costs nothing.
    pub(super) is_near: bool,
    /// Whether the URL has a query, which may be a signature and limit its use.
    pub(super) is_signed: bool,
    /// When the URL expires, where no fresh one is asked for before.
    pub(super) expiry: Option<SystemTime>,
    /// How long the other workers wait for the reply to the first request.
    pub(super) first_goes_ahead: Option<Duration>,
    /// Notified at each reply.
    pub(super) replied: Notify,
    /// When the first one came.
    pub(super) has_replied: OnceLock<Instant>,
    pub(super) refusals: Refusals,
    /// Whether a request was sent that may have been answered.
    pub(super) has_asked: AtomicBool,
    pub(super) waiting: WaitingBodies,
    /// The number of workers that run.
    pub(super) workers: AtomicU32,
}

/// What a transfer begins with: how the bytes are cut, and which parts of them are complete
/// already.
pub(crate) struct Layout {
    pub(crate) plan: Plan,
    pub(crate) blocks: BlockPlan,
    pub(crate) completed: CompletedParts,
    /// Blocks of these parts that are to be compared with the remote.
    pub(crate) doubtful: Vec<WrittenBlock>,
}

/// Why a transfer failed.
#[derive(Debug)]
pub(crate) enum TransferError {
    /// A request failed for good. What came and is proven is committed, if a checkpoint can be
    /// written.
    Request(RequestFailed),
    /// The target can't be written. What came before is committed, if a checkpoint can be written.
    Storage(StorageError),
    /// Completed parts can't be made durable, or written to standard output.
    Commit(CommitError),
    /// A block differs from the one that came before, or the closing look found another version.
    Differs { failed: RequestFailed, doubt: Doubt },
    /// The one stream of a remote without ranges broke, or was given up in a pause, and nothing
    /// tells whether another one is of the same version; or a remote turned out to have no ranges.
    /// There are no attempts where nothing broke.
    StreamLost(RequestFailed),
}

impl TransferError {
    /// The failure by something that differs, or that can't be known to be the same.
    pub(super) fn differs(error: HttpError, doubt: Doubt) -> Self {
        let failed = RequestFailed { error, attempts: 1 };
        Self::Differs { failed, doubt }
    }
}

impl From<StorageError> for TransferError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

/// How long the other workers wait for the reply to the first request, which asks for everything. A
/// link that may be used once should be used for that. Far away the wait would cost a round trip,
/// so it is for signed links only.
fn first_goes_ahead(is_signed: bool, is_near: bool) -> Option<Duration> {
    (is_signed || is_near).then_some(AHEAD)
}

impl<R: Remote, W: WriteTarget> Transfer<R, W> {
    /// A transfer of `object` to `target`.
    pub(crate) fn new(
        context: &Context<'_>,
        object: Object<R>,
        layout: Layout,
        target: W,
    ) -> Arc<Self> {
        let job = context.job;
        let first_byte = object.metadata.first_byte;
        let is_signed = context.source.has_query();
        let can_renew_ahead = job.refresh.is_some() && object.pinned.has_strong_name();
        let is_near = object.metadata.round_trip < NEAR;
        let tuner = match job.connections {
            _ if object.remote.is_whole() => Tuner::fixed(1),
            Connections::Fixed(connections) => Tuner::fixed(connections.get()),
            // The limit hides what more connections would bring.
            Connections::Auto if job.limit_rate.is_some() => Tuner::steady(job.max_connections),
            Connections::Auto => Tuner::auto(job.max_connections, object.metadata.round_trip),
        };
        let Layout {
            plan,
            blocks,
            completed,
            doubtful,
        } = layout;
        let earlier = completed.completed.clone();
        let began_whole = object.remote.is_whole();
        let has_one_connection =
            matches!(job.connections, Connections::Fixed(count) if count.get() == 1);
        let is_alone = job.mirrors.is_empty() && (has_one_connection || blocks.blocks() == 1);
        let dispatcher = Arc::new(Dispatcher::new(plan, blocks, completed));
        dispatcher.replied(first_byte);
        context.shared.show(&dispatcher);
        Arc::new(Self {
            plan,
            target,
            dispatcher,
            blocks,
            selection: object.wanted.selection,
            remote: object.remote,
            pinned: object.pinned,
            began_whole,
            is_alone,
            earlier,
            replies: Arc::default(),
            checks: SpotChecks::new(doubtful),
            has_mirrors: !job.mirrors.is_empty(),
            has_checksum: !job.checksums.is_empty(),
            trusts_mirrors: job.trust_mirrors && !job.mirrors.is_empty(),
            compared: Mutex::default(),
            durability: job.durability,
            limiter: job.limit_rate.map(Limiter::new),
            lowest_speed: job.lowest_speed,
            backpressure: Backpressure::default(),
            events: Arc::clone(context.events()),
            metrics: Arc::clone(&context.metrics),
            patience: Arc::clone(&context.patience),
            tuner: Mutex::new(tuner),
            can_refresh: job.refresh.is_some(),
            expiry: context.source.expiry().filter(|_| !can_renew_ahead),
            replied: Notify::new(),
            has_replied: OnceLock::new(),
            refusals: Refusals::default(),
            first_goes_ahead: first_goes_ahead(is_signed, is_near),
            is_near,
            is_signed,
            has_asked: AtomicBool::new(false),
            waiting: WaitingBodies::default(),
            workers: AtomicU32::new(0),
        })
    }

    /// The number of connections that are wanted now.
    pub(super) fn target_connections(&self) -> u32 {
        self.tune(|tuner| tuner.target())
    }

    pub(super) fn tune<T>(&self, with: impl FnOnce(&mut Tuner) -> T) -> T {
        // The tuner is consistent between any two calls, so a panic elsewhere leaves it usable.
        with(&mut self.tuner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
