//! What earlier runs left at the final name and beside it, and what this run leaves.

use std::sync::Arc;

use super::restore;
use crate::checkpoint::{self, Checkpoint};
use crate::engine::blocking;
use crate::engine::context::Context;
use crate::engine::schedule::parts::CompletedParts;
use crate::engine::summary;
use crate::error::{Error, ErrorKind, Remedy};
use crate::report::Report;
use crate::storage::{self, Names, Operation, Sink, StorageError, Volume};

/// Looks at the final name before anything is asked of a server. Returns a report where an earlier
/// run had come to its very last step, which is finished now.
///
/// # Errors
///
/// `File` where something at the final name may not be replaced.
pub(crate) async fn look_first<V: Volume>(
    context: &Context<'_>,
    volume: Arc<V>,
    names: Names,
) -> Result<Option<Report>, Error> {
    let output = context.output.display();
    match find(context, volume, names).await? {
        Found::Nothing => Ok(None),
        Found::Finished { length } if !context.job.fresh => {
            Ok(Some(summary::finished_before(context, length)))
        }
        Found::Immovable => Err(Error::new(
            ErrorKind::File,
            format!("can't write {output}"),
            "what stands there is not a regular file",
        )
        .with_remedy(Remedy::OtherOutput)),
        _ if context.job.overwrite => Ok(None),
        Found::Damaged => Err(Error::new(
            ErrorKind::File,
            format!("{output} is not whole"),
            "the machine went down before its bytes were on disk",
        )
        .with_remedy(Remedy::ReplaceDamaged)),
        Found::Taken | Found::Finished { .. } => Err(Error::new(
            ErrorKind::File,
            format!("can't write {output}"),
            "a file with that name is there already",
        )
        .with_remedy(Remedy::Overwrite)),
    }
}

/// Settles the end of a download: a cancelled one leaves nothing behind, and the error of one that
/// can be resumed names its checkpoint, also where that is an earlier run's.
///
/// # Errors
///
/// Those of `outcome`; `File` where a cancelled download can't be removed.
pub(crate) async fn settle<V: Volume>(
    context: &Context<'_>,
    volume: Arc<V>,
    names: Names,
    outcome: Result<Report, Error>,
) -> Result<Report, Error> {
    let error = match outcome {
        Ok(report) => return Ok(report),
        Err(error) => error,
    };
    match error.kind() {
        ErrorKind::Cancelled => {
            blocking::run(move || storage::remove_partial(&*volume, &names)).await?;
            Err(error)
        }
        ErrorKind::Usage | ErrorKind::Unexpected => Err(error),
        _ => {
            let found = blocking::run(move || checkpoint::load(&*volume, &names)).await;
            let path = context.checkpoint.clone();
            Err(error.with_checkpoint(path.filter(|_| matches!(found, Ok(Some(_))))))
        }
    }
}

/// What was found at the final name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    /// A file.
    Taken,
    /// Something that is not a regular file: a folder, a FIFO, a device.
    Immovable,
    /// The whole file of a run that was interrupted between giving it its name and removing its
    /// checkpoint, which is removed now.
    Finished {
        length: u64,
    },
    /// The file of such a run, which lost bytes: it was not synced when the machine went down.
    Damaged,
}

/// What was found at the final name before its bytes were looked at.
enum Swept {
    Nothing,
    Immovable,
    /// A file, with the checkpoint that was left beside it, if it is that of the file.
    File(Option<Box<Checkpoint>>),
}

async fn find<V: Volume>(
    context: &Context<'_>,
    volume: Arc<V>,
    names: Names,
) -> Result<Found, Error> {
    let durability = context.job.durability;
    let swept = {
        let (volume, names) = (Arc::clone(&volume), names.clone());
        blocking::run(move || sweep(&*volume, &names, durability)).await?
    };
    match swept {
        Swept::Nothing => Ok(Found::Nothing),
        Swept::Immovable => Ok(Found::Immovable),
        Swept::File(None) => Ok(Found::Taken),
        Swept::File(Some(checkpoint)) => judge(context, volume, names, *checkpoint).await,
    }
}

/// Removes what an earlier run left beside a published file.
fn sweep<V: Volume>(
    volume: &V,
    names: &Names,
    durability: storage::Durability,
) -> Result<Swept, StorageError> {
    let checkpoint = checkpoint::load(volume, names).ok().flatten();
    if !storage::sweep(volume, names, durability)? {
        return Ok(Swept::Nothing);
    }
    let output = names.output();
    let is_replaceable = volume
        .is_replaceable(output)
        .map_err(|error| StorageError::io(Operation::Inspect, volume.path(output), error))?;
    if !is_replaceable {
        return Ok(Swept::Immovable);
    }
    let left_over = checkpoint::load(volume, names).ok().flatten().is_some();
    let length = volume.length(output).ok().flatten();
    let of_this_file = checkpoint.filter(|checkpoint| {
        !left_over && checkpoint.completed.is_full() && Some(checkpoint.file_length()) == length
    });
    Ok(Swept::File(of_this_file.map(Box::new)))
}

/// A file that was synced before it got its name is whole. Another one may have lost bytes with the
/// power.
async fn judge<V: Volume>(
    context: &Context<'_>,
    volume: Arc<V>,
    names: Names,
    checkpoint: Checkpoint,
) -> Result<Found, Error> {
    let length = checkpoint.file_length();
    if !restore::must_verify(context.job.verify, &checkpoint, context.boot) {
        return Ok(Found::Finished { length });
    }
    let path = volume.path(names.output());
    let opened = blocking::run(move || volume.open(names.output())).await;
    let (Ok(plan), Ok(file)) = (checkpoint.plan(), opened) else {
        return Ok(Found::Taken);
    };
    let sink = Sink::growing(file, path);
    let parts = CompletedParts {
        completed: checkpoint.completed,
        crcs: checkpoint.crcs,
    };
    let good = restore::read_back(context, &sink, plan, parts).await?;
    Ok(if good.completed.is_full() {
        Found::Finished { length }
    } else {
        Found::Damaged
    })
}
