//! The partial file, opened or resumed, reserved and ready to be written.

use std::sync::Arc;

use super::restore::{self, Earlier, Restore};
use super::{claim, page};
use crate::checkpoint::{Checkpoint, Standing};
use crate::engine::blocking;
use crate::engine::context::Context;
use crate::engine::remote::Remote;
use crate::engine::remote::object::{Object, Wanted, announce, plan_of};
use crate::engine::schedule::parts::CompletedParts;
use crate::error::Error;
use crate::object::{PartBitmap, Plan};
use crate::storage::{self, Durability, Names, Sink, Volume};

/// A partial file of one version of an object, ready to be written.
pub(super) struct PreparedFile<F> {
    pub(super) plan: Plan,
    pub(super) sink: Sink<F>,
    /// The parts that an earlier run left and that can be trusted.
    pub(super) completed: CompletedParts,
    /// A checkpoint with all that stays the same from one commit to the next.
    pub(super) identity: Checkpoint,
    /// Whether these parts are certain to be of the version that the server has now.
    pub(super) is_certain: bool,
}

/// Locks the partial file, takes over what an earlier run left of the same version, and reserves
/// room for all of it.
///
/// # Errors
///
/// `File` where the partial file is another program's, is locked by another run or can't be opened,
/// reserved or read; `Network` where a page in place of the object would replace it; `Usage` where
/// the part size does not suit the object; the end that the caller wants, while parts are read
/// back.
pub(super) async fn open<V: Volume, R: Remote>(
    context: &Context<'_>,
    volume: &Arc<V>,
    names: &Names,
    object: &Object<R>,
    restore: &Restore,
) -> Result<PreparedFile<V::File>, Error> {
    let (file, earlier) = take(context, volume, names, object, restore).await?;
    let plan = plan(context, &object.wanted, earlier.as_ref())?;
    announce(context, &object.metadata, &plan);
    page::warn(context, &object.metadata);
    let sink = reserve(context, volume, names, file, &plan, earlier.is_none()).await?;
    let identity = identity(context, object, &plan, earlier.as_ref());
    let completed = match &earlier {
        None => CompletedParts::none(&plan),
        // Every byte comes again, so there is no need to trust what nothing proves.
        Some(earlier) if object.remote.is_whole() && !earlier.is_certain => {
            CompletedParts::none(&plan)
        }
        Some(earlier) => {
            object.pinned.resume(&earlier.checkpoint.identity);
            restore::trust(context, &sink, plan, earlier).await?
        }
    };
    Ok(PreparedFile {
        plan,
        sink,
        completed,
        identity,
        is_certain: earlier.is_none_or(|earlier| earlier.is_certain),
    })
}

/// The partial file, locked: that of an earlier run, with its checkpoint, or a new one.
async fn take<V: Volume, R>(
    context: &Context<'_>,
    volume: &Arc<V>,
    names: &Names,
    object: &Object<R>,
    restore: &Restore,
) -> Result<(V::File, Option<Earlier>), Error> {
    for _ in 0..storage::TRIES {
        let found = restore::look(context, volume, names, object, restore).await?;
        let useless = match found {
            Some((file, Some(earlier))) => return Ok((file, Some(earlier))),
            Some((file, None)) => Some(file),
            None => None,
        };
        let plan = object.wanted.plan(context.job)?;
        let claim = Checkpoint {
            standing: Standing::Claimed,
            ..identity(context, object, &plan, None)
        };
        let created = claim::create(context, volume, names, claim, useless).await?;
        if let Some(file) = created {
            return Ok((file, None));
        }
    }
    Err(storage::replaced(&**volume, names.part()).into())
}

/// How the wanted bytes are cut into parts: as an earlier run did, or as the job says.
fn plan(context: &Context<'_>, wanted: &Wanted, earlier: Option<&Earlier>) -> Result<Plan, Error> {
    let Some(earlier) = earlier else {
        return wanted.plan(context.job);
    };
    let part_size = earlier.checkpoint.part_size;
    if context
        .job
        .part_size
        .is_some_and(|asked| asked != part_size)
    {
        context.events().warn(format!(
            "keeping the part size of the earlier run, {part_size} bytes"
        ));
    }
    plan_of(wanted.selection.length(), part_size)
}

/// Reserves room for the whole file. A new file for which there is no room is removed.
async fn reserve<V: Volume>(
    context: &Context<'_>,
    volume: &Arc<V>,
    names: &Names,
    file: V::File,
    plan: &Plan,
    is_new: bool,
) -> Result<Sink<V::File>, Error> {
    let (writer, durability) = (context.job.writer, context.job.durability);
    let (on_volume, of, length) = (Arc::clone(volume), names.clone(), plan.length());
    let reserved = blocking::run(move || {
        storage::reserve(&*on_volume, of.part(), &file, length, writer, durability)
            .map(|reserved| (file, reserved))
    })
    .await;
    let (file, reserved) = match reserved {
        Ok(ready) => ready,
        Err(error) => {
            if is_new {
                remove_unused(&**volume, names);
            }
            return Err(error.into());
        }
    };
    let path = volume.path(names.part());
    Ok(Sink::new(file, path, reserved.kind, length, writer)?)
}

/// Removes a partial file that was never of use, as far as that is possible.
fn remove_unused<V: Volume>(volume: &V, names: &Names) {
    // The error that led here is the one to report. The checkpoint goes last: a partial file
    // without one would be taken for another program's.
    if storage::remove_part(volume, names).is_ok() {
        let _ = storage::remove_checkpoint(volume, names, Durability::Unsynced);
    }
}

/// A checkpoint of no parts, with all that stays the same from one commit to the next.
fn identity<R>(
    context: &Context<'_>,
    object: &Object<R>,
    plan: &Plan,
    earlier: Option<&Earlier>,
) -> Checkpoint {
    let wanted = &object.wanted;
    Checkpoint {
        generation: earlier.map_or(0, |earlier| earlier.checkpoint.generation),
        length: wanted.length,
        part_size: plan.part_size(),
        selection: if context.job.selection.is_whole() {
            Vec::new()
        } else {
            wanted.selection.extents().to_vec()
        },
        completed: PartBitmap::new(plan.parts()),
        standing: Standing::Partial,
        ..claim::blank(context, &object.metadata)
    }
}
