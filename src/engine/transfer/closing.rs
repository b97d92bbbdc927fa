//! What is done when the last byte has come, before anything is published.

use std::time::Duration;

use tokio::time::timeout;

use super::commit::Committer;
use super::shared::{Transfer, TransferError};
use super::window::WriteTarget;
use super::written_blocks::Doubt;
use crate::engine::context::RequestFailed;
use crate::engine::control::events::EventBus;
use crate::engine::remote::Remote;
use crate::http::{HttpError, HttpErrorKind};
use crate::object::Proof;

/// How long the end of a download may wait for looks at the object.
const PATIENCE: Duration = Duration::from_secs(10);

/// The servers whose replies were compared.
#[derive(Debug, Default)]
pub(super) struct Compared(Vec<usize>);

impl<R: Remote, W: WriteTarget> Transfer<R, W> {
    /// Proves that the bytes are of one version, as far as that is possible: compares the blocks
    /// that an earlier run left, and those of servers whose replies prove nothing.
    ///
    /// # Errors
    ///
    /// `Differs` and `Request`, where the object is another one or the blocks can't be fetched;
    /// `Commit` where they can't be read.
    pub(super) async fn prove(
        &self,
        committer: &mut impl Committer,
        compared: &mut Compared,
    ) -> Result<(), TransferError> {
        while let Some(checked) = self.check_next().await {
            checked?;
        }
        let mut doubtful = self.remote.doubtful();
        doubtful.retain(|server| !compared.0.contains(server) && !self.is_one_version(*server));
        if doubtful.is_empty() {
            return Ok(());
        }
        compared.0.extend(&doubtful);
        let is_unnamed = doubtful.contains(&0) && self.pinned.proof() == Proof::None;
        if is_unnamed && self.pinned.identity().has_fields() {
            self.events.warn(
                "the replies to ranges do not tell their version, though the one to HEAD did: \
                 some blocks are fetched once more and compared",
            );
        }
        let wanted = self.replies.blocks(&doubtful, self.plan.length());
        let blocks = committer.blocks(wanted, &self.earlier).await;
        self.check_all(blocks.map_err(TransferError::Commit)?).await
    }

    /// Whether the bytes of this server are of one version by themselves: it sent a single reply
    /// with all of them, and no other server sent any.
    fn is_one_version(&self, server: usize) -> bool {
        let is_one = self.pinned.replies() == 1 && self.earlier.is_empty();
        let is_one = is_one && !self.pinned.may_be_overwritten();
        server == 0 && (is_one || self.remote.is_whole())
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
