//! Spot checks: blocks of the output that are fetched once more and compared.
//!
//! They make up for weak evidence. A block that differs proves that the object is another one; one
//! that is the same proves nothing of the bytes between the blocks.

use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use super::shared::{Transfer, TransferError};
use super::window::WriteTarget;
use super::written_blocks::{Doubt, WrittenBlock};
use crate::engine::context::RequestFailed;
use crate::engine::failures::Failures;
use crate::engine::patience::Next;
use crate::engine::remote::{FetchError, Remote, collect};
use crate::http::HttpError;
use crate::object::ByteRange;

impl<R: Remote, W: WriteTarget> Transfer<R, W> {
    /// Compares the next block that an earlier run left; `None` where none is left.
    ///
    /// Cancel safe: a block that was not compared to the end, or differs, is left over.
    pub(super) async fn check_next(&self) -> Option<Result<(), TransferError>> {
        let taken = self.checks.take()?;
        let checked = match &taken.block {
            Some(block) => self.compare(block, Doubt::Earlier).await,
            None => Ok(()),
        };
        if checked.is_ok() {
            taken.settle();
        }
        Some(checked)
    }

    /// Compares all these blocks, over at most as many connections as are wanted.
    pub(super) async fn check_all(&self, blocks: Vec<WrittenBlock>) -> Result<(), TransferError> {
        let connections = usize::try_from(self.target_connections())
            .unwrap_or(1)
            .max(1);
        let checks: Vec<_> = blocks
            .iter()
            .map(|block| self.compare(block, Doubt::Everything))
            .collect();
        stream::iter(checks)
            .buffer_unordered(connections)
            .try_collect()
            .await
    }

    /// Fetches the bytes of one block once more and compares them.
    async fn compare(&self, block: &WrittenBlock, doubt: Doubt) -> Result<(), TransferError> {
        let mut bytes = block.bytes.as_slice();
        let mut position = block.position;
        // A block may lie in several selected ranges.
        while let Some(range) = ByteRange::at(position, bytes.len() as u64)
            .and_then(|in_output| self.selection.locate(in_output))
        {
            let found = self.collect(range, doubt).await?;
            self.metrics.fetched(found.len() as u64);
            if let Some(limiter) = &self.limiter {
                limiter.pass(found.len()).await;
            }
            match bytes.strip_prefix(found.as_slice()) {
                Some(rest) if !found.is_empty() => bytes = rest,
                _ => {
                    let error = HttpError::changed(self.difference(range));
                    return Err(TransferError::differs(error, doubt));
                }
            }
            position += range.len();
        }
        self.metrics.spot_checked();
        Ok(())
    }

    fn difference(&self, range: ByteRange) -> String {
        let from = match self.has_mirrors {
            true => "came before from the server or a mirror",
            false => "came before",
        };
        format!("bytes {range} differ from those that {from}")
    }

    async fn collect(&self, range: ByteRange, doubt: Doubt) -> Result<Vec<u8>, TransferError> {
        let mut failures = Failures::none(Instant::now());
        loop {
            let turn = self.patience.turn().await;
            self.metrics.attempted();
            let active = self.metrics.start_transfer();
            let error = match collect(&self.remote, range).await {
                Ok(bytes) => {
                    self.patience.arrived();
                    return Ok(bytes);
                }
                // The object comes whole then; nothing of it is read twice.
                Err(FetchError::RangesIgnored) => {
                    let error = HttpError::unproven(
                        "the server sends only the whole object, so what came before can't be \
                         compared with it",
                    );
                    return Err(TransferError::differs(error, doubt));
                }
                Err(FetchError::Http(error)) => error,
            };
            drop(active);
            let count = || failures.add(Instant::now());
            match self.patience.judge(turn, &error, count) {
                Next::Again(pause) => self.patience.pause(0, &error, pause).await,
                Next::GiveUp { attempts } => {
                    return Err(TransferError::Request(RequestFailed { error, attempts }));
                }
            }
        }
    }
}
