//! What is done when the last byte has come, before anything is published.

use std::time::Duration;

use tokio::time::timeout;

use super::shared::{Transfer, TransferError};
use super::window::WriteTarget;
use super::written_blocks::WrittenBlock;
use crate::engine::context::RequestFailed;
use crate::engine::control::events::EventBus;
use crate::engine::remote::Remote;
use crate::http::{HttpError, HttpErrorKind};
use crate::object::Proof;

/// How long the end of a download may wait for looks at the object.
const PATIENCE: Duration = Duration::from_secs(10);

impl<R: Remote, W: WriteTarget> Transfer<R, W> {
    /// Whether the replies of this transfer name no version, so that blocks of them are to be
    /// compared.
    pub(super) fn is_unnamed(&self) -> bool {
        // One reply with the whole object is of one version by itself, unless that was overwritten
        // while it came.
        let is_one = self.pinned.replies() == 1 && self.is_new;
        let is_one = is_one && !self.pinned.may_be_overwritten();
        self.remote.proof() == Some(Proof::None) && !is_one && !self.remote.is_whole()
    }

    /// Proves that the bytes are of one version, as far as that is possible: compares the blocks
    /// that an earlier run left and those of `unnamed` replies, and looks at the object once more.
    ///
    /// # Errors
    ///
    /// `Differs` and `Request`, where the object is another one or the blocks can't be fetched.
    pub(super) async fn close(&self, unnamed: Vec<WrittenBlock>) -> Result<(), TransferError> {
        while let Some(checked) = self.check_next().await {
            checked?;
        }
        if !unnamed.is_empty() {
            if self.pinned.identity().has_fields() {
                self.events.warn(
                    "the replies to ranges do not tell their version, though the one to HEAD did: \
                     some blocks are fetched once more and compared",
                );
            }
            return self.check_all(unnamed).await;
        }
        look(&self.events, self.remote.look())
            .await
            .map_err(|error| TransferError::Request(RequestFailed { error, attempts: 1 }))
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
