//! A transfer from its first request to its last commit.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

use super::commit::{CommitKind, Committer};
use super::progress::Meter;
use super::shared::{Transfer, TransferError};
use super::supervise::{End, supervise};
use super::window::WriteTarget;
use crate::engine::control::{Control, Intent};
use crate::engine::remote::Remote;

/// How a transfer ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransferEnd {
    /// Every part is complete and durable.
    Complete,
    /// The caller stopped the download; what came is committed, if a checkpoint can be written.
    Stopped,
    /// The caller cancelled the download.
    Cancelled,
}

impl<R: Remote, W: WriteTarget> Transfer<R, W> {
    /// Fetches every missing part, with pauses as the caller wants them. Must not be dropped before
    /// it returns, or what came since the last commit counts as missing.
    pub(crate) async fn run(
        self: &Arc<Self>,
        committer: &mut impl Committer,
        control: &Control,
    ) -> Result<TransferEnd, TransferError> {
        let mut meter = Meter::new(
            &self.metrics,
            &self.dispatcher,
            &self.plan,
            self.lowest_speed,
            self.expiry,
        );
        loop {
            let (over, mut is_over) = watch::channel(false);
            let commit_failed = Notify::new();
            let committing = async {
                // Until every block is the same, what came may be of another object than what was
                // there.
                tokio::select! {
                    () = self.checks.done() => {}
                    _ = is_over.wait_for(|over| *over) => return Ok(()),
                }
                let proven = || self.proven();
                let running = committer.run(&self.dispatcher, &proven, &mut is_over);
                let outcome = running.await;
                if outcome.is_err() {
                    commit_failed.notify_one();
                }
                outcome
            };
            let working = async {
                let end = supervise(self, control, &mut meter, &commit_failed).await;
                over.send_replace(true);
                end
            };
            let (end, committed) = tokio::join!(working, committing);
            committed.map_err(TransferError::Commit)?;
            if matches!(end, End::Halted(Intent::Cancel)) {
                return Ok(TransferEnd::Cancelled);
            }
            let ended_meanwhile = self.settle(committer, control, &end).await?;
            match ended_meanwhile {
                Some(Intent::Cancel) => return Ok(TransferEnd::Cancelled),
                Some(_) => return Ok(TransferEnd::Stopped),
                None => {}
            }
            match end {
                End::Finished => return Ok(TransferEnd::Complete),
                End::Failed(error) => return Err(error),
                End::Halted(Intent::Pause) => match self.patience.rest(control).await {
                    Intent::Run | Intent::Pause => meter.resume(),
                    Intent::Stop => return Ok(TransferEnd::Stopped),
                    Intent::Cancel => return Ok(TransferEnd::Cancelled),
                },
                End::Halted(_) | End::CommitFailed => return Ok(TransferEnd::Stopped),
            }
        }
    }

    /// Commits what came and, where every part is complete, proves it. Returns what the caller
    /// wants instead, where that ends the proof.
    async fn settle(
        &self,
        committer: &mut impl Committer,
        control: &Control,
        end: &End,
    ) -> Result<Option<Intent>, TransferError> {
        let kind = match end {
            // Another program may have changed the file: the next run must read it back before it
            // trusts it.
            End::Failed(TransferError::Storage(_)) => CommitKind::Periodic,
            _ => CommitKind::Clean,
        };
        let is_finished = matches!(end, End::Finished);
        let mut proved = Ok(None);
        if is_finished {
            proved = unless_ended(control, self.check_earlier()).await;
            if self.checks.are_done() {
                committer.drain().await.map_err(TransferError::Commit)?;
                proved = unless_ended(control, self.prove(committer)).await;
            }
        }
        let is_final = matches!(
            proved,
            Err(TransferError::Differs { .. } | TransferError::Commit(_))
        );
        // As long as blocks are left, what came may be of another object than what was there.
        if is_final || !self.checks.are_done() {
            return proved;
        }
        // A look at mirrors comes before the commit, which must not name what it finds changed.
        let is_looking = is_finished && !self.has_mirrors && matches!(proved, Ok(None));
        let looking = async {
            match is_looking {
                true => unless_ended(control, self.look()).await,
                false => Ok(None),
            }
        };
        let parts = self.proven();
        let is_all = parts.completed.count() == self.dispatcher.completed_parts();
        let kind = if is_all { kind } else { CommitKind::Periodic };
        // The last sync and the last request wait for each other as little as possible.
        let (committed, looked) = tokio::join!(committer.commit(parts, kind), looking);
        committed.map_err(TransferError::Commit)?;
        Ok(proved?.or(looked?))
    }
}

/// Waits for this, unless the caller ends the transfer; then returns what the caller wants.
async fn unless_ended(
    control: &Control,
    proving: impl Future<Output = Result<(), TransferError>>,
) -> Result<Option<Intent>, TransferError> {
    tokio::select! {
        biased;
        intent = control.ending() => Ok(Some(intent)),
        proved = proving => proved.map(|()| None),
    }
}
