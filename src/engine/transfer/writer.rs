//! The writing end of one lease: where it stands, the CRC of the block that is coming in, and the windows of the file.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;

use crate::engine::metrics::Metrics;
use crate::engine::schedule::dispatcher::Dispatcher;
use crate::engine::schedule::lease::ActiveLease;
use crate::integrity::Crc64;
use crate::object::{Block, BlockPlan, ByteRange};
use crate::storage::{Durability, PartFile, Sink, SinkKind, StorageError, Window};

/// Bytes of the file that are mapped at once, and as many again ahead. Small, so that resident memory stays small
/// with many connections; large enough that mapping costs nothing per byte.
const WINDOW: u64 = 2 << 20;

/// Held by whoever may still touch the file. When the last one is gone, so is every use of it: a worker that is
/// sent home may leave a window that is just being made ready, or a write under way, on another thread.
pub(crate) type Busy = mpsc::Sender<Infallible>;

/// Takes the bytes of one lease in order and puts them where they belong.
pub(crate) struct LeaseWriter<'a, F> {
    dispatcher: &'a Dispatcher,
    metrics: &'a Metrics,
    lease: &'a ActiveLease,
    blocks: &'a BlockPlan,
    position: u64,
    block: Block,
    crc: Crc64,
    windows: WindowBuffer<F>,
}

impl<'a, F: PartFile> LeaseWriter<'a, F> {
    /// Stands at the beginning of `lease`; `None` where that is empty.
    pub(crate) fn new(
        dispatcher: &'a Dispatcher,
        metrics: &'a Metrics,
        lease: &'a ActiveLease,
        blocks: &'a BlockPlan,
        sink: &Sink<F>,
        durability: Durability,
        busy: &Busy,
    ) -> Option<Self> {
        let position = lease.range.start();
        Some(Self {
            dispatcher,
            metrics,
            lease,
            blocks,
            position,
            block: blocks.block_at(position)?,
            crc: Crc64::new(),
            windows: WindowBuffer::new(sink.clone(), durability, busy.clone()),
        })
    }

    /// The position of the next byte.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// What the lease still has to bring.
    pub(crate) fn wanted(&self) -> ByteRange {
        ByteRange::new(self.position, self.lease.limit())
            .unwrap_or_else(|| ByteRange::at(self.position, 0).unwrap_or(ByteRange::whole(0)))
    }

    /// Writes the bytes that come next, as many at once as the window holds, and reports every block that they complete.
    ///
    /// Dropping it leaves at most one write under way on another thread, of bytes that nobody counts.
    pub(crate) async fn take(&mut self, mut bytes: Bytes) -> Result<(), StorageError> {
        while !bytes.is_empty() {
            let window = self
                .windows
                .at(self.position, self.lease, self.metrics)
                .await?;
            let these = bytes.split_to(left(self.position, window, &bytes));
            self.windows
                .write(self.position, &these, self.lease, self.metrics)
                .await?;
            self.count(&these);
        }
        Ok(())
    }

    /// Counts bytes that were written, block by block.
    fn count(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (these, rest) = bytes.split_at(left(self.position, self.block.range, bytes));
            self.crc.update(these);
            bytes = rest;
            self.position += these.len() as u64;
            self.lease.advance(self.position);
            if self.position == self.block.range.end() {
                self.complete_block();
            }
        }
    }

    fn complete_block(&mut self) {
        let crc = std::mem::take(&mut self.crc).finish();
        if self.dispatcher.complete(self.lease, self.block.index, crc) {
            self.metrics.useful(self.block.range.len());
        }
        if let Some(next) = self.blocks.block_at(self.position) {
            self.block = next;
        }
    }
}

/// How many of the bytes, of which the first belongs at `position`, lie before the end of `range`.
fn left(position: u64, range: ByteRange, bytes: &[u8]) -> usize {
    usize::try_from(range.end() - position).map_or(bytes.len(), |room| room.min(bytes.len()))
}

/// The window that is being written and the one after it, which is made ready meanwhile on another thread: filling
/// page tables can wait for the disk. That thread also gives the window before back.
struct WindowBuffer<F> {
    sink: Sink<F>,
    durability: Durability,
    busy: Busy,
    current: Option<Window<F>>,
    ahead: Option<Elsewhere<Result<Window<F>, StorageError>>>,
}

/// Work on another thread. What comes of it may hold the file: where nobody waits for it any more, it is dropped with
/// [`Busy`] still held.
type Elsewhere<T> = JoinHandle<(T, Busy)>;

impl<F: PartFile> WindowBuffer<F> {
    fn new(sink: Sink<F>, durability: Durability, busy: Busy) -> Self {
        Self {
            sink,
            durability,
            busy,
            current: None,
            ahead: None,
        }
    }

    /// Makes ready the window that holds `position`, and returns its range.
    async fn at(
        &mut self,
        position: u64,
        lease: &ActiveLease,
        metrics: &Metrics,
    ) -> Result<ByteRange, StorageError> {
        if let Some(window) = &self.current
            && (window.range().start()..window.range().end()).contains(&position)
        {
            return Ok(window.range());
        }
        let written = self.current.take();
        let range = window_range(position, lease.range.end());
        let window = self.open(range, lease, metrics).await?;
        let next =
            (range.end() < lease.limit()).then(|| window_range(range.end(), lease.range.end()));
        self.turn(written, next);
        self.current = Some(window);
        Ok(range)
    }

    /// Writes bytes that lie in the window that was made ready. A copy into a map is made at once, its pages are there;
    /// a positional write goes to another thread while the disk lets writes wait, or it would keep this one from every
    /// connection that it serves.
    async fn write(
        &mut self,
        position: u64,
        bytes: &Bytes,
        lease: &ActiveLease,
        metrics: &Metrics,
    ) -> Result<(), StorageError> {
        let mut window = self.current.take().expect("`at` was asked before");
        if self.sink.kind() == SinkKind::Mmap {
            let written = window.write(position, bytes);
            self.current = Some(window);
            return written;
        }
        let (window, written, span) = if metrics.disk_is_slow() {
            let bytes = bytes.clone();
            let writing = self.spawn(move |_| timed(window, position, &bytes));
            waited_for(writing, lease).await
        } else {
            timed(window, position, bytes)
        };
        metrics.wrote(span);
        self.current = Some(window);
        written
    }

    async fn open(
        &mut self,
        range: ByteRange,
        lease: &ActiveLease,
        metrics: &Metrics,
    ) -> Result<Window<F>, StorageError> {
        if self.sink.kind() == SinkKind::Pwrite {
            return self.sink.window(range);
        }
        let ready = match self.ahead.take() {
            Some(ahead) => ahead,
            None => self.spawn(move |sink| sink.window(range)),
        };
        let begun = Instant::now();
        let window = waited_for(ready, lease).await;
        metrics.waited_for_disk(begun.elapsed());
        window
    }

    fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Sink<F>) -> T + Send + 'static,
    ) -> Elsewhere<T> {
        let (sink, busy) = (self.sink.clone(), self.busy.clone());
        spawn_blocking(move || {
            let done = work(&sink);
            drop(sink);
            (done, busy)
        })
    }

    /// Gives the window that was written back to the kernel and makes the next one ready, on another thread. Write-back
    /// begins here, window by window, so that the last sync is short.
    fn turn(&mut self, written: Option<Window<F>>, next: Option<ByteRange>) {
        let early = self.durability == Durability::Synced;
        let retire = move |sink: &Sink<F>| {
            if let Some(range) = written.map(|window| window.range())
                && early
            {
                // A hint; the sync that counts is the checkpointer's.
                let _ = sink.start_writeback(range);
            }
        };
        match (self.sink.kind(), next) {
            (SinkKind::Mmap, Some(next)) => {
                self.ahead = Some(self.spawn(move |sink| {
                    retire(sink);
                    sink.window(next)
                }));
            }
            (SinkKind::Pwrite, _) if !early => {}
            _ => drop(self.spawn(retire)),
        }
    }
}

/// Writes into the window, and tells how long it took.
fn timed<F: PartFile>(
    mut window: Window<F>,
    position: u64,
    bytes: &[u8],
) -> (Window<F>, Result<(), StorageError>, Duration) {
    let begun = Instant::now();
    let written = window.write(position, bytes);
    (window, written, begun.elapsed())
}

/// What comes of work that `lease` can't go on without.
async fn waited_for<T>(work: Elsewhere<T>, lease: &ActiveLease) -> T {
    lease.waits_for_disk(true);
    // Nobody aborts these tasks, so that they fail by a panic alone.
    let (done, _busy) = work
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    lease.waits_for_disk(false);
    done
}

/// From `position` to the next multiple of [`WINDOW`], or to `end`, which lies behind it.
fn window_range(position: u64, end: u64) -> ByteRange {
    let next = (position / WINDOW + 1) * WINDOW;
    ByteRange::new(position, next.min(end)).unwrap_or(ByteRange::whole(0))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::sync::{Arc, Mutex};

    use futures::FutureExt;
    use futures::future::AbortHandle;

    use super::*;
    use crate::engine::schedule::dispatcher::CompletedParts;
    use crate::object::{PartBitmap, Plan};
    use crate::storage::fake::{FakeDisk, FakeFile};
    use crate::storage::{Volume, WriterChoice};

    const LENGTH: u64 = 1000;

    /// A disk on which each step waits for its sender, and a file on it that is locked.
    fn slow_disk() -> (FakeDisk, Sink<FakeFile>, std::sync::mpsc::Sender<()>) {
        let disk = FakeDisk::default();
        let file = disk.create(OsStr::new("v.part")).unwrap();
        file.set_len(LENGTH).unwrap();
        file.try_lock().unwrap();
        let (path, choice) = ("v.part".into(), WriterChoice::Auto);
        let sink = Sink::new(file, path, SinkKind::Pwrite, LENGTH, choice).unwrap();
        let (go_on, waiting) = std::sync::mpsc::channel();
        let waiting = Mutex::new(waiting);
        disk.before_each_step(move || {
            let waiting = waiting.lock().unwrap();
            let told = waiting.recv_timeout(Duration::from_secs(60));
            told.expect("somebody else goes on meanwhile");
        });
        (disk, sink, go_on)
    }

    /// A lease over the whole file, and a disk known to be slow.
    fn lease() -> (BlockPlan, Dispatcher, Arc<ActiveLease>, Metrics) {
        let plan = Plan::new(LENGTH, LENGTH).unwrap();
        let nothing = CompletedParts {
            completed: PartBitmap::new(1),
            crcs: Vec::new(),
        };
        let dispatcher = Dispatcher::new(plan, plan.one_block_a_part(), nothing);
        let lease = dispatcher
            .lease(1, None, AbortHandle::new_pair().0)
            .unwrap();
        let metrics = Metrics::default();
        metrics.wrote(Duration::from_secs(1));
        (plan.one_block_a_part(), dispatcher, lease, metrics)
    }

    fn bytes() -> Bytes {
        Bytes::from(vec![7; usize::try_from(LENGTH).unwrap()])
    }

    #[tokio::test]
    async fn a_disk_that_lets_writes_wait_keeps_nobody_else_waiting() {
        let (disk, sink, go_on) = slow_disk();
        let (plan, dispatcher, lease, metrics) = lease();
        let (busy, _idle) = mpsc::channel(1);
        let durability = Durability::Unsynced;
        let mut writer = LeaseWriter::new(
            &dispatcher,
            &metrics,
            &lease,
            &plan,
            &sink,
            durability,
            &busy,
        )
        .unwrap();
        let (written, ()) = tokio::join!(writer.take(bytes()), async {
            go_on.send(()).unwrap();
        });
        written.unwrap();
        assert_eq!(disk.contents("v.part").unwrap(), bytes());
        assert!(dispatcher.is_finished());
    }

    #[tokio::test]
    async fn whoever_is_sent_home_in_mid_write_is_waited_for_until_the_file_is_free() {
        let (disk, sink, go_on) = slow_disk();
        let (plan, dispatcher, lease, metrics) = lease();
        let (busy, mut idle) = mpsc::channel(1);
        let durability = Durability::Unsynced;
        let mut writer = LeaseWriter::new(
            &dispatcher,
            &metrics,
            &lease,
            &plan,
            &sink,
            durability,
            &busy,
        )
        .unwrap();
        assert!(writer.take(bytes()).now_or_never().is_none());
        drop((writer, busy, sink));
        assert!(idle.recv().now_or_never().is_none());
        go_on.send(()).unwrap();
        idle.recv().await;
        let again = disk.open(OsStr::new("v.part")).unwrap();
        again.try_lock().expect("nobody holds the file");
        assert_eq!(disk.contents("v.part").unwrap(), bytes());
        assert!(!dispatcher.is_finished(), "nobody counted them");
    }
}
