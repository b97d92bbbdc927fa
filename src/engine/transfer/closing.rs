//! What is done when the last byte has come, before anything is published.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

use super::commit::Committer;
use super::drawn_blocks::DrawnBlocks;
use super::shared::{Transfer, TransferError};
use super::window::WriteTarget;
use super::written_blocks::Doubt;
use crate::engine::context::RequestFailed;
use crate::engine::control::events::EventBus;
use crate::engine::remote::Remote;
use crate::engine::schedule::parts::CompletedParts;
use crate::http::{HttpError, HttpErrorKind};
use crate::object::{ByteRange, PartBitmap, Proof};

/// How long the end of a download may wait for looks at the object.
const PATIENCE: Duration = Duration::from_secs(10);

impl<R: Remote, W: WriteTarget> Transfer<R, W> {
    /// The completed parts but those that a mirror brought whose replies are in doubt. A later run
    /// would not know of the doubt.
    pub(super) fn proven(&self) -> CompletedParts {
        let parts = self.dispatcher.completed();
        let mut doubtful = self.doubtful();
        doubtful.retain(|server| *server > 0);
        if doubtful.is_empty() {
            return parts;
        }
        match self.replies.ranges(&doubtful) {
            Some(ranges) => parts.without(&self.plan, &ranges),
            None => CompletedParts::none(&self.plan),
        }
    }

    /// Proves that the bytes are of one version, as far as that is possible: compares the blocks
    /// that an earlier run left, and those of servers whose replies are in doubt.
    ///
    /// # Errors
    ///
    /// `Differs` and `Request`, where the object is another one or the blocks can't be fetched;
    /// `Commit` where they can't be read.
    pub(super) async fn prove(&self, committer: &mut impl Committer) -> Result<(), TransferError> {
        while let Some(checked) = self.check_next().await {
            checked?;
        }
        let doubtful = self.doubtful();
        if doubtful.is_empty() {
            return Ok(());
        }
        let blocks = committer.blocks(self.blocks_of(&doubtful)).await;
        let blocks = blocks.map_err(TransferError::Commit)?;
        let is_unnamed = doubtful.contains(&0) && self.pinned.proof() == Proof::None;
        if is_unnamed && self.pinned.identity().best_proof() > Proof::None && !blocks.is_empty() {
            self.events.warn(
                "the replies to ranges do not tell their version, though the one to HEAD did: \
                 some blocks are fetched once more and compared",
            );
        }
        self.check_all(blocks).await?;
        self.compared().extend(doubtful);
        Ok(())
    }

    /// The servers whose replies are in doubt and were not compared yet.
    fn doubtful(&self) -> Vec<usize> {
        let compared = self.compared();
        let mut doubtful = self.remote.doubtful();
        doubtful.retain(|server| match server {
            _ if compared.contains(server) => false,
            0 => !self.is_one_version(),
            _ => !self.trusts_mirrors,
        });
        doubtful
    }

    /// Whether the bytes are of one version by themselves, or can't be compared: they came in one
    /// reply, or there are no ranges.
    fn is_one_version(&self) -> bool {
        let is_one = self.replies.count() == 1 && self.earlier.is_empty();
        (is_one && !self.pinned.may_be_overwritten()) || self.remote.is_whole()
    }

    /// The blocks to compare where these servers are in doubt.
    fn blocks_of(&self, doubtful: &[usize]) -> Vec<ByteRange> {
        let mut blocks = Vec::new();
        // Among all parts there may be some of a mirror that is to be trusted.
        if !(self.has_mirrors && self.trusts_mirrors) {
            let all = PartBitmap::first(self.plan.parts(), self.plan.parts());
            for parts in [&all, &self.earlier] {
                blocks.extend(DrawnBlocks::of(&self.plan, parts).three());
            }
        }
        for block in self.replies.blocks(doubtful) {
            let covers =
                |known: &ByteRange| known.start() <= block.start() && block.end() <= known.end();
            if !blocks.iter().any(covers) {
                blocks.push(block);
            }
        }
        blocks
    }

    fn compared(&self) -> MutexGuard<'_, Vec<usize>> {
        // The list is consistent between any two statements, so a panic elsewhere leaves it usable.
        self.compared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the object once more, where that may tell a change.
    ///
    /// # Errors
    ///
    /// `Differs` for another version.
    pub(super) async fn look(&self) -> Result<(), TransferError> {
        let looked = look(&self.events, self.remote.look()).await;
        looked.map_err(|error| TransferError::Differs {
            failed: RequestFailed { error, attempts: 1 },
            doubt: Doubt::Everything,
        })
    }
}

/// Looks at the object once more. A look that fails is told and ends nothing.
///
/// # Errors
///
/// `Changed` for another version.
pub(crate) async fn look(
    events: &EventBus,
    looking: impl Future<Output = Result<(), HttpError>>,
) -> Result<(), HttpError> {
    let looked = match timeout(PATIENCE, looking).await {
        Ok(looked) => looked,
        Err(_) => Err(HttpError::protocol("the server takes too long")),
    };
    match looked {
        Err(error) if matches!(error.kind(), HttpErrorKind::Changed(_)) => Err(error),
        Err(error) => {
            events.warn(format!(
                "the object can't be looked at once more, so a change while its last bytes came \
                 would not be noticed: {error}"
            ));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
