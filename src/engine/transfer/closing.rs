//! What is done when the last byte has come, before anything is published.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

use super::commit::Committer;
use super::drawn_blocks::DrawnBlocks;
use super::shared::{Transfer, TransferError};
use super::window::WriteTarget;
use super::written_blocks::Doubt;
use crate::engine::control::events::EventBus;
use crate::engine::remote::{NONE_LEFT, Remote};
use crate::engine::schedule::parts::CompletedParts;
use crate::http::{HttpError, HttpErrorKind};
use crate::object::{ByteRange, PartBitmap};

/// How long the end of a download may wait for looks at the object.
const PATIENCE: Duration = Duration::from_secs(10);

impl<R: Remote, W: WriteTarget> Transfer<R, W> {
    /// The completed parts but those that a mirror brought which changed. A later run would not
    /// know of that.
    pub(super) fn proven(&self) -> CompletedParts {
        let parts = self.dispatcher.completed();
        let mut changed = self.remote.changed();
        changed.retain(|mirror| !self.compared().contains(mirror));
        match changed.is_empty() {
            true => parts,
            false => parts.without(&self.plan, &self.replies.touched(&changed)),
        }
    }

    /// Compares the blocks that an earlier run left.
    ///
    /// # Errors
    ///
    /// `Differs` and `Request`, where the object is another one or the blocks can't be fetched.
    pub(super) async fn check_earlier(&self) -> Result<(), TransferError> {
        while let Some(checked) = self.check_next().await {
            checked?;
        }
        Ok(())
    }

    /// Proves that the bytes are of one version, as far as that is possible: compares blocks of the
    /// servers whose replies are in doubt, also after a look at the mirrors.
    ///
    /// # Errors
    ///
    /// `Differs` and `Request`, where the object is another one or the blocks can't be fetched;
    /// `Commit` where they can't be read.
    pub(super) async fn prove(&self, committer: &mut impl Committer) -> Result<(), TransferError> {
        self.compare_doubtful(committer).await?;
        if self.has_mirrors {
            self.look().await?;
            self.compare_doubtful(committer).await?;
        }
        Ok(())
    }

    async fn compare_doubtful(&self, committer: &mut impl Committer) -> Result<(), TransferError> {
        let doubtful = self.doubtful();
        if doubtful.is_empty() {
            return Ok(());
        }
        if !self.remote.can_compare() {
            return match self.forgo_comparison(&doubtful) {
                Some(error) => Err(TransferError::differs(error, Doubt::Everything)),
                None => Ok(()),
            };
        }
        let (drawn, of_replies) = self.blocks_of(&doubtful);
        let blocks = committer.blocks(drawn, of_replies).await;
        let blocks = blocks.map_err(TransferError::Commit)?;
        let is_untold = doubtful.contains(&0) && !self.pinned.is_carried();
        if is_untold && self.pinned.identity().has_fields() && !blocks.is_empty() {
            self.events.warn(
                "the replies to ranges do not tell their version, though the one to HEAD did: \
                 some blocks are fetched once more and compared",
            );
        }
        self.check_all(blocks).await?;
        self.compared().extend(doubtful);
        Ok(())
    }

    /// Takes these on trust, where no server is left by which they could be compared. Returns why
    /// that can't be.
    fn forgo_comparison(&self, doubtful: &[usize]) -> Option<HttpError> {
        let has_changed = self.remote.changed().iter().any(|at| doubtful.contains(at));
        if has_changed && !self.has_checksum {
            return Some(HttpError::unproven(NONE_LEFT));
        }
        self.events.warn(NONE_LEFT);
        self.compared().extend(doubtful);
        None
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

    /// Whether one reply brought all bytes, so that they are of one version by themselves, unless
    /// that was overwritten meanwhile; or there are no ranges by which to compare.
    fn is_one_version(&self) -> bool {
        let is_one = self.replies.count() == 1 && !self.pinned.may_be_overwritten();
        self.earlier.is_empty() && (is_one || self.begins_with_whole())
    }

    /// The blocks to compare where these servers are in doubt: some of all parts and of those of an
    /// earlier run, and those of replies that these do not cover.
    fn blocks_of(&self, doubtful: &[usize]) -> (Vec<DrawnBlocks>, Vec<ByteRange>) {
        let mut drawn = Vec::new();
        // Among those there may be some of a mirror that is to be trusted.
        if !self.trusts_mirrors {
            let all = PartBitmap::first(self.plan.parts(), self.plan.parts());
            drawn.extend([&all, &self.earlier].map(|parts| DrawnBlocks::of(&self.plan, parts)));
        }
        let mut of_replies = self.replies.blocks(doubtful);
        of_replies.retain(|block| {
            let mut fixed = drawn.iter().flat_map(|drawn| &drawn.fixed);
            !fixed.any(|known| known.start() <= block.start() && block.end() <= known.end())
        });
        (drawn, of_replies)
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
        looked.map_err(|error| TransferError::differs(error, Doubt::Everything))
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
