//! A file: opened or resumed, filled in parts, verified and published.

pub(crate) mod checkpointer;
pub(crate) mod claim;
pub(crate) mod leftovers;
pub(crate) mod open;
mod ownership;
pub(crate) mod page;
pub(crate) mod publish;
pub(crate) mod read_back;
mod removal;
pub(crate) mod restore;
mod samples;

use std::sync::Arc;

use self::checkpointer::{CheckpointFile, Checkpointer};
use self::open::PreparedFile;
use self::publish::Whole;
use self::restore::Restore;
use super::outcome::{Brought, Outcome, judge_transfer};
use crate::engine::context::Context;
use crate::engine::remote::Remote;
use crate::engine::remote::object::Object;
use crate::engine::remote::probe::ProbeMethod;
use crate::engine::schedule::parts::CompletedParts;
use crate::engine::transfer::commit::{CommitKind, Committer};
use crate::engine::transfer::drawn_blocks::DrawnBlocks;
use crate::engine::transfer::written_blocks::Doubt;
use crate::engine::transfer::{Layout, Transfer};
use crate::error::{Error, ErrorKind, Remedy};
use crate::event::Event;
use crate::storage::{Names, Volume};

/// Downloads an object of known length into a file.
///
/// # Errors
///
/// The error that ends the download.
pub(crate) async fn in_parts<V: Volume, R: Remote>(
    context: &Context<'_>,
    volume: Arc<V>,
    names: Names,
    mut object: Object<R>,
    restore: &Restore,
) -> Result<Outcome, Error> {
    let (metadata, found_by) = (object.metadata.clone(), object.found_by);
    let pinned = object.pinned.clone();
    let PreparedFile {
        plan,
        sink,
        completed,
        identity,
        is_certain,
    } = match open::open(context, &volume, &names, &object, restore).await {
        Ok(prepared) => prepared,
        // HEAD may have named a wrong length.
        Err(error) if found_by == ProbeMethod::Head && needs_room(&error) => {
            return Ok(Outcome::LengthMissing);
        }
        Err(error) => return Err(error),
    };
    let bytes_before = completed.bytes(&plan);
    context.metrics.begin_with(bytes_before);
    if bytes_before > 0 {
        context.events().emit(Event::Resumed {
            bytes: bytes_before,
            parts: completed.completed.count(),
        });
    }
    let checkpoint = CheckpointFile {
        volume: Arc::clone(&volume),
        names: names.clone(),
        sink: sink.clone(),
        durability: context.job.durability,
        identity,
        pinned: pinned.clone(),
    };
    let mut checkpointer = Checkpointer::new(checkpoint, Arc::clone(context.events()));
    let parts_before = completed.completed.count();
    let doubtful = if is_certain {
        Vec::new()
    } else {
        samples::drawn(&sink, DrawnBlocks::of(&plan, &completed.completed)).await?
    };
    let earlier = completed.clone();
    let layout = Layout {
        plan,
        blocks: plan.in_blocks(context.job.block_size),
        completed,
        doubtful,
    };
    let stands_in_for = object.stands_in_for.take();
    let transfer = Transfer::new(context, object, layout, sink.clone());
    let ended = transfer.run(&mut checkpointer, context.control()).await;
    let completed = transfer.dispatcher.completed();
    drop(transfer);
    let brought = Brought {
        found_by,
        parts_before,
        parts_now: completed.completed.count(),
    };
    let outcome = match judge_transfer(context, ended, brought) {
        Ok(Some(outcome)) => Ok(outcome),
        Err(error) => Err(error),
        Ok(None) => {
            let whole = Whole {
                sink,
                plan,
                parts: Some(completed.clone()),
                // What the probe sent belongs to another version then.
                sent: if pinned.is_overruled() {
                    Vec::new()
                } else {
                    metadata.fields
                },
                version: pinned,
            };
            publish::publish(context, whole, volume, names)
                .await
                .map(Outcome::finished)
        }
    };
    match &outcome {
        Ok(Outcome::Differs { error, doubt }) => {
            let left = match stands_in_for {
                Some(_) => earlier,
                None => CompletedParts::none(&plan),
            };
            // Nothing tells which of the parts that came now are of which version.
            if *doubt == Doubt::Everything {
                let _ = checkpointer.commit(left, CommitKind::Periodic).await;
            }
            if let Some(failed) = stands_in_for {
                return Err(restore::kept_from_mirror(context, error.why(), &failed));
            }
        }
        // Not after any other error: a failed sync may be the cause, and then no further commit
        // could be believed. Where this commit fails, the checksum is still the error to tell.
        Err(error) if error.kind() == ErrorKind::Checksum => {
            let _ = checkpointer.commit(completed, CommitKind::Refused).await;
        }
        _ => {}
    }
    outcome.map_err(|error| error.with_checkpoint_behind(checkpointer.is_behind()))
}

/// Whether the object is too long for the disk.
fn needs_room(error: &Error) -> bool {
    error.remedy() == Some(&Remedy::FreeSpace)
}
