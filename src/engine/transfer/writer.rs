//! The writing end of one lease: its position, the CRC of the block that is coming in, and the
//! windows of the file.

use bytes::Bytes;

use super::window::{WindowBuffer, WriteTarget};
use crate::engine::metrics::Metrics;
use crate::engine::schedule::dispatcher::Dispatcher;
use crate::engine::schedule::lease::ActiveLease;
use crate::integrity::Crc64;
use crate::object::{Block, BlockPlan, ByteRange};
use crate::storage::StorageError;

/// Takes the bytes of one lease in order and writes each where it belongs.
pub(super) struct LeaseWriter<'a, W: WriteTarget> {
    dispatcher: &'a Dispatcher,
    metrics: &'a Metrics,
    blocks: &'a BlockPlan,
    lease: &'a ActiveLease,
    position: u64,
    block: Block,
    crc: Crc64,
    windows: WindowBuffer<'a, W>,
}

impl<'a, W: WriteTarget> LeaseWriter<'a, W> {
    /// Begins at the first byte of `lease`; `None` where the lease is empty.
    pub(super) fn new(
        dispatcher: &'a Dispatcher,
        metrics: &'a Metrics,
        blocks: &'a BlockPlan,
        lease: &'a ActiveLease,
        windows: WindowBuffer<'a, W>,
    ) -> Option<Self> {
        let position = lease.range.start();
        Some(Self {
            dispatcher,
            metrics,
            blocks,
            lease,
            position,
            block: blocks.block_at(position)?,
            crc: Crc64::new(),
            windows,
        })
    }

    /// The position of the next byte.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// What the lease still has to bring.
    pub(super) fn wanted(&self) -> ByteRange {
        ByteRange::new(self.position, self.lease.limit())
            .unwrap_or_else(|| ByteRange::at(self.position, 0).unwrap_or(ByteRange::whole(0)))
    }

    /// Writes the bytes that come next, as many at once as the window holds, and reports every
    /// block that they complete.
    ///
    /// Not cancel safe: a dropped call leaves at most one write under way on another thread, of
    /// bytes that do not count.
    pub(super) async fn take(&mut self, mut bytes: Bytes) -> Result<(), StorageError> {
        while !bytes.is_empty() {
            let window = self.windows.at(self.position).await?;
            let these = bytes.split_to(left(self.position, window, &bytes));
            self.windows.write(self.position, &these).await?;
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

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::sync::{Arc, Mutex};

    use futures::FutureExt;
    use futures::future::AbortHandle;

    use std::time::Duration;

    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::engine::schedule::parts::CompletedParts;
    use crate::engine::transfer::backpressure::Backpressure;
    use crate::object::Plan;
    use crate::options::{Writer, WriterKind};
    use crate::storage::fake::{FakeDisk, FakeFile};
    use crate::storage::{Durability, PartFile, Sink, Volume};

    const LENGTH: u64 = 1000;

    /// A disk on which each step waits for its sender, and a file on it that is locked.
    fn slow_disk() -> (FakeDisk, Sink<FakeFile>, std::sync::mpsc::Sender<()>) {
        let disk = FakeDisk::default();
        let file = disk.create(OsStr::new("v.part")).unwrap();
        file.set_len(LENGTH).unwrap();
        file.try_lock().unwrap();
        let (path, choice) = ("v.part".into(), Writer::Auto);
        let sink = Sink::new(file, path, WriterKind::Pwrite, LENGTH, choice).unwrap();
        let (go_on, waiting) = std::sync::mpsc::channel();
        let waiting = Mutex::new(waiting);
        disk.before_each_step(move || {
            let waiting = waiting.lock().unwrap();
            let told = waiting.recv_timeout(Duration::from_secs(60));
            told.expect("another task goes on meanwhile");
        });
        (disk, sink, go_on)
    }

    /// A lease over the whole file, and a disk known to be slow.
    struct Scene {
        blocks: BlockPlan,
        dispatcher: Dispatcher,
        lease: Arc<ActiveLease>,
        metrics: Metrics,
        backpressure: Backpressure,
    }

    impl Scene {
        fn new() -> Self {
            let plan = Plan::new(LENGTH, LENGTH).unwrap();
            let blocks = plan.one_block_a_part();
            let dispatcher = Dispatcher::new(plan, blocks, CompletedParts::none(&plan));
            let abort = AbortHandle::new_pair().0;
            let backpressure = Backpressure::default();
            backpressure.wrote(Duration::from_secs(1));
            Self {
                blocks,
                lease: dispatcher.lease(1, None, abort).unwrap(),
                dispatcher,
                metrics: Metrics::start(),
                backpressure,
            }
        }

        fn writer(
            &self,
            sink: Sink<FakeFile>,
            tracker: &TaskTracker,
        ) -> LeaseWriter<'_, Sink<FakeFile>> {
            let windows = WindowBuffer::new(
                sink,
                Durability::Unsynced,
                tracker.token(),
                &self.lease,
                &self.metrics,
                &self.backpressure,
            );
            let (dispatcher, metrics) = (&self.dispatcher, &self.metrics);
            LeaseWriter::new(dispatcher, metrics, &self.blocks, &self.lease, windows).unwrap()
        }
    }

    fn bytes() -> Bytes {
        Bytes::from(vec![7; usize::try_from(LENGTH).unwrap()])
    }

    #[tokio::test]
    async fn a_slow_write_holds_up_no_other_task() {
        let (disk, sink, go_on) = slow_disk();
        let scene = Scene::new();
        let tracker = TaskTracker::new();
        let mut writer = scene.writer(sink.clone(), &tracker);
        let (written, ()) = tokio::join!(writer.take(bytes()), async {
            go_on.send(()).unwrap();
        });
        written.unwrap();
        assert_eq!(disk.contents("v.part").unwrap(), bytes());
        assert!(scene.dispatcher.is_finished());
    }

    #[tokio::test]
    async fn an_aborted_write_is_waited_for_until_the_file_is_free() {
        let (disk, sink, go_on) = slow_disk();
        let scene = Scene::new();
        let tracker = TaskTracker::new();
        let mut writer = scene.writer(sink.clone(), &tracker);
        assert!(writer.take(bytes()).now_or_never().is_none());
        drop((writer, sink));
        tracker.close();
        assert!(tracker.wait().now_or_never().is_none());
        go_on.send(()).unwrap();
        tracker.wait().await;
        let again = disk.open(OsStr::new("v.part")).unwrap();
        again.try_lock().expect("the file is free");
        assert_eq!(disk.contents("v.part").unwrap(), bytes());
        assert!(!scene.dispatcher.is_finished(), "the bytes do not count");
    }
}
