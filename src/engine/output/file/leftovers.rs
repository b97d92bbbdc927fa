//! What earlier runs left at the final name and beside it, and what this run leaves.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::read_back::{must_verify, parts_of, read_back};
use super::{ownership, removal};
use crate::checkpoint::{self, Checkpoint, Standing};
use crate::engine::blocking;
use crate::engine::context::Context;
use crate::engine::output::digests;
use crate::engine::summary;
use crate::error::{Error, ErrorKind, Remedy};
use crate::options::Verify;
use crate::report::Report;
use crate::storage::{self, AtOutput, FileStamp, Names, PartFile, Sink, StorageError, Volume};

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
            "its bytes are not those that came: the machine went down before they were on disk, \
             or the file was changed since",
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
    let is_cancelled = error.kind() == ErrorKind::Cancelled;
    let has_partial = context.has_partial.load(Ordering::Relaxed);
    let settling = {
        let (volume, names) = (Arc::clone(&volume), names.clone());
        blocking::run(move || {
            let found = checkpoint::load(&*volume, &names);
            if is_cancelled {
                removal::discard(&*volume, &names, &found, has_partial)?;
            } else if has_partial && matches!(found, Ok(None)) {
                // A partial file without a checkpoint is of no use, and would be taken for another
                // program's.
                storage::remove_partial(&*volume, &names)?;
            }
            Ok::<_, StorageError>(found.ok().flatten())
        })
    };
    let found = settling.await;
    if is_cancelled {
        found?;
        return Err(error);
    }
    let found = found.ok().flatten();
    if let (ErrorKind::Stopped, Some(left)) = (error.kind(), found.clone()) {
        let remove = removal::of_what_a_stop_left(volume, names, left);
        context.shared.leaves(remove);
    }
    match error.kind() {
        ErrorKind::Usage | ErrorKind::Unexpected => Err(error),
        _ => {
            let is_useful = found.is_some_and(|found| found.standing != Standing::Claimed);
            let path = context.checkpoint.clone();
            Err(error.with_checkpoint(path.filter(|_| is_useful)))
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
    /// The file of such a run, which lost bytes when the machine went down, or was changed since.
    Damaged,
}

async fn find<V: Volume>(
    context: &Context<'_>,
    volume: Arc<V>,
    names: Names,
) -> Result<Found, Error> {
    let looked = {
        let (volume, names) = (Arc::clone(&volume), names.clone());
        blocking::run(move || {
            let found = storage::at_output(&*volume, &names)?;
            let checkpoint = checkpoint::load(&*volume, &names).ok().flatten();
            Ok::<_, StorageError>((found, checkpoint))
        })
    };
    match looked.await? {
        (AtOutput::Nothing, _) => Ok(Found::Nothing),
        (AtOutput::Immovable, _) => Ok(Found::Immovable),
        (AtOutput::Alone(length), Some(checkpoint))
            if is_wanted(context, &checkpoint) && checkpoint.file_length() == length =>
        {
            judge(context, volume, names, checkpoint).await
        }
        (AtOutput::Alone(_) | AtOutput::File, _) => Ok(Found::Taken),
    }
}

/// Whether the checkpoint is that of a whole file of which this run asks for the very same bytes:
/// by the same URL, selection and conditions.
fn is_wanted(context: &Context<'_>, checkpoint: &Checkpoint) -> bool {
    let selection = context.job.selection.resolve(checkpoint.length);
    checkpoint.completed.is_full()
        && checkpoint.standing == Standing::Partial
        && checkpoint.is_of_url(&context.source.key_text())
        && checkpoint.is_of_query(&context.source.query_text())
        && selection.is_ok_and(|selection| selection == checkpoint.selected())
        && context.job.conditions.allow(&checkpoint.identity)
}

/// A file that was synced before it got its name is whole. Another one may have lost bytes with the
/// power. A file that does not match the checksums of this run is one in the way.
async fn judge<V: Volume>(
    context: &Context<'_>,
    volume: Arc<V>,
    names: Names,
    checkpoint: Checkpoint,
) -> Result<Found, Error> {
    let path = volume.path(names.output());
    let opened = {
        let (volume, names) = (Arc::clone(&volume), names.clone());
        blocking::run(move || {
            let file = volume.open(names.output())?;
            file.stamp().map(|stamp| (file, stamp))
        })
    };
    let (Ok(plan), Ok((file, stamp))) = (checkpoint.plan(), opened.await) else {
        return Ok(Found::Taken);
    };
    let is_its_file = ownership::is_its_file(&checkpoint, &file);
    if context.job.verify == Verify::Never && !is_its_file {
        return Ok(Found::Taken);
    }
    // Publishing sets the permissions and the name, which changes this time.
    let stamp = FileStamp {
        changed: checkpoint.file.map_or(stamp.changed, |file| file.changed),
        ..stamp
    };
    let sink = Sink::growing(file, path);
    if must_verify(context.job.verify, &checkpoint, context.boot, stamp) {
        let good = read_back(context, &sink, plan, parts_of(&checkpoint)).await?;
        if !good.completed.is_full() {
            return Ok(if is_its_file {
                Found::Damaged
            } else {
                Found::Taken
            });
        }
    }
    match digests::verify_file(context, &sink, &plan, None, &[]).await {
        Err(error) if error.kind() == ErrorKind::Checksum => return Ok(Found::Taken),
        verified => verified?,
    };
    let durability = context.job.durability;
    blocking::run(move || storage::remove_checkpoint(&*volume, &names, durability)).await?;
    Ok(Found::Finished {
        length: plan.length(),
    })
}
