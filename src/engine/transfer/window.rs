//! Windows of the file that one connection writes.

use std::time::Duration;

use bytes::Bytes;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::backpressure::Backpressure;
use crate::engine::blocking;
use crate::engine::metrics::Metrics;
use crate::engine::schedule::lease::ActiveLease;
use crate::object::ByteRange;
use crate::options::WriterKind;
use crate::storage::{Durability, PartFile, Sink, SinkWindow, StorageError};

/// Bytes of the file that are mapped at once, and as many again ahead. Small, so that resident
/// memory stays small with many connections; large enough that mapping costs nothing per byte.
const WINDOW: u64 = 2 << 20;

/// What workers write to: a file, or what stands in for one.
pub(crate) trait WriteTarget: Clone + Send + Sync + 'static {
    type Window: WriteWindow;

    /// Whether windows are memory maps. Making one may wait for the disk, and writing to it does
    /// not.
    fn is_mapped(&self) -> bool;

    /// Makes these bytes ready to be written. Blocks.
    fn window(&self, range: ByteRange) -> Result<Self::Window, StorageError>;

    /// Hints that these bytes are complete and may be written back. Does not wait for the disk.
    fn start_writeback(&self, range: ByteRange);
}

/// A stretch of a [`WriteTarget`] that is ready to be written.
pub(crate) trait WriteWindow: Send + 'static {
    fn range(&self) -> ByteRange;

    /// Writes the bytes at `position` of the target. Blocks.
    fn write(&mut self, position: u64, bytes: &[u8]) -> Result<(), StorageError>;
}

impl<F: PartFile> WriteTarget for Sink<F> {
    type Window = SinkWindow<F>;

    fn is_mapped(&self) -> bool {
        self.kind() == WriterKind::Mmap
    }

    fn window(&self, range: ByteRange) -> Result<SinkWindow<F>, StorageError> {
        Self::window(self, range)
    }

    fn start_writeback(&self, range: ByteRange) {
        // The sync that follows reports what fails here.
        let _ = Self::start_writeback(self, range);
    }
}

impl<F: PartFile> WriteWindow for SinkWindow<F> {
    fn range(&self) -> ByteRange {
        Self::range(self)
    }

    fn write(&mut self, position: u64, bytes: &[u8]) -> Result<(), StorageError> {
        Self::write(self, position, bytes)
    }
}

/// The window that is being written and the one after it. Another thread makes the next window
/// ready meanwhile, because filling page tables can wait for the disk, and gives the one before
/// back.
pub(super) struct WindowBuffer<'a, W: WriteTarget> {
    target: W,
    durability: Durability,
    lease: &'a ActiveLease,
    metrics: &'a Metrics,
    backpressure: &'a Backpressure,
    current: Option<W::Window>,
    ahead: Option<Elsewhere<Result<W::Window, StorageError>>>,
    /// Held for as long as the target may still be touched, so it is the last field to be dropped.
    token: TaskTrackerToken,
}

/// Work on another thread. Its result may hold the file, so it comes with a token that is dropped
/// after it, also where nothing awaits it any more.
type Elsewhere<T> = JoinHandle<(T, TaskTrackerToken)>;

impl<'a, W: WriteTarget> WindowBuffer<'a, W> {
    /// Windows of `target` for the bytes of `lease`.
    pub(super) fn new(
        target: W,
        durability: Durability,
        token: TaskTrackerToken,
        lease: &'a ActiveLease,
        metrics: &'a Metrics,
        backpressure: &'a Backpressure,
    ) -> Self {
        Self {
            target,
            durability,
            token,
            lease,
            metrics,
            backpressure,
            current: None,
            ahead: None,
        }
    }

    /// Makes the window ready that holds `position`, and returns its range.
    pub(super) async fn at(&mut self, position: u64) -> Result<ByteRange, StorageError> {
        if let Some(window) = &self.current
            && (window.range().start()..window.range().end()).contains(&position)
        {
            return Ok(window.range());
        }
        let written = self.current.take();
        let range = window_range(position, self.lease.range.end());
        let window = self.open(range).await?;
        let next = (range.end() < self.lease.limit())
            .then(|| window_range(range.end(), self.lease.range.end()));
        self.advance(written, next);
        self.current = Some(window);
        Ok(range)
    }

    /// Writes bytes that lie in the window that was made ready. A copy into a map is made at once,
    /// its pages are there; a positional write goes to another thread while the disk is slow, so it
    /// does not hold up the other connections of this thread.
    pub(super) async fn write(&mut self, position: u64, bytes: &Bytes) -> Result<(), StorageError> {
        let mut window = self.current.take().expect("`at` was asked before");
        if self.target.is_mapped() {
            let written = window.write(position, bytes);
            self.current = Some(window);
            return written;
        }
        let (window, written, span) = if self.backpressure.is_slow() {
            let bytes = bytes.clone();
            let writing = self.spawn(move |_| timed(window, position, &bytes));
            waited_for(writing, self.lease).await
        } else {
            timed(window, position, bytes)
        };
        if self.backpressure.wrote(span) {
            self.metrics.waited_for_disk(span);
        }
        self.current = Some(window);
        written
    }

    async fn open(&mut self, range: ByteRange) -> Result<W::Window, StorageError> {
        if !self.target.is_mapped() {
            return self.target.window(range);
        }
        let ready = match self.ahead.take() {
            Some(ahead) => ahead,
            None => self.spawn(move |target| target.window(range)),
        };
        let begun = Instant::now();
        let window = waited_for(ready, self.lease).await;
        self.metrics.waited_for_disk(begun.elapsed());
        window
    }

    fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce(&W) -> T + Send + 'static,
    ) -> Elsewhere<T> {
        let (target, token) = (self.target.clone(), self.token.clone());
        spawn_blocking(move || {
            let done = work(&target);
            drop(target);
            (done, token)
        })
    }

    /// Gives the written window back to the kernel and makes the next one ready, on another thread.
    /// Write-back begins here, window by window, to keep the last sync short.
    fn advance(&mut self, written: Option<W::Window>, next: Option<ByteRange>) {
        let early = self.durability == Durability::Synced;
        let retire = move |target: &W| {
            if let Some(range) = written.map(|window| window.range())
                && early
            {
                // A hint; the sync that counts is the checkpointer's.
                target.start_writeback(range);
            }
        };
        match (self.target.is_mapped(), next) {
            (true, Some(next)) => {
                self.ahead = Some(self.spawn(move |target| {
                    retire(target);
                    target.window(next)
                }));
            }
            (false, _) if !early => {}
            _ => drop(self.spawn(retire)),
        }
    }
}

/// Writes into the window, and tells how long it took.
fn timed<W: WriteWindow>(
    mut window: W,
    position: u64,
    bytes: &[u8],
) -> (W, Result<(), StorageError>, Duration) {
    let begun = Instant::now();
    let written = window.write(position, bytes);
    (window, written, begun.elapsed())
}

/// The result of work that `lease` has to wait for.
async fn waited_for<T>(work: Elsewhere<T>, lease: &ActiveLease) -> T {
    lease.waits_for_disk(true);
    let (done, _token) = blocking::value_of(work.await);
    lease.waits_for_disk(false);
    done
}

/// From `position` to the next multiple of [`WINDOW`], or to `end`, which lies behind it.
fn window_range(position: u64, end: u64) -> ByteRange {
    let next = (position / WINDOW + 1) * WINDOW;
    ByteRange::new(position, next.min(end)).unwrap_or(ByteRange::whole(0))
}
