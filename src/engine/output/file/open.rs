//! The partial file, opened or resumed, reserved and ready to be written.

use std::sync::Arc;

use super::restore;
use crate::checkpoint::{Checkpoint, hash_url};
use crate::engine::blocking;
use crate::engine::context::Context;
use crate::engine::remote::object::{Object, Wanted, announce, plan_of};
use crate::engine::schedule::parts::CompletedParts;
use crate::error::Error;
use crate::object::{PartBitmap, Plan};
use crate::storage::{self, Names, Opened, Sink, Volume};

/// A partial file of one version of an object, ready to be written.
pub(super) struct PreparedFile<F> {
    pub(super) plan: Plan,
    pub(super) sink: Sink<F>,
    /// The parts that an earlier run left and that can be trusted.
    pub(super) completed: CompletedParts,
    /// Whether some of what an earlier run's checkpoint names is damaged.
    pub(super) is_damaged: bool,
    /// A checkpoint with all that stays the same from one commit to the next.
    pub(super) identity: Checkpoint,
}

/// What becomes of a partial file that an earlier run left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restore {
    /// It is resumed where it holds the same version.
    Resume,
    /// It is emptied.
    StartOver,
}

/// Locks the partial file, takes over what an earlier run left of the same version, and reserves
/// room for all of it.
///
/// # Errors
///
/// `File` where the partial file is locked by another run or can't be opened, reserved or read;
/// `Usage` where the part size does not suit the object; the end that the caller wants, while parts
/// are read back.
pub(super) async fn open<V: Volume, R>(
    context: &Context<'_>,
    volume: &Arc<V>,
    names: &Names,
    object: &Object<R>,
    restore: Restore,
) -> Result<PreparedFile<V::File>, Error> {
    let wanted = &object.wanted;
    let (file, origin) = {
        let (volume, names) = (Arc::clone(volume), names.clone());
        blocking::run(move || storage::open_locked(&*volume, names.part())).await?
    };
    let earlier = match (origin, restore) {
        (Opened::Created, _) | (Opened::Found, Restore::StartOver) => None,
        (Opened::Found, Restore::Resume) => {
            restore::recover(context, volume, names, object, &file).await?
        }
    };
    let plan = plan(context, wanted, earlier.as_ref())?;
    announce(context, &object.metadata, &plan);
    let sink = reserve(context, volume, names, file, &plan, earlier.is_none()).await?;
    let identity = identity(context, wanted, &plan, earlier.as_ref());
    let named = earlier
        .as_ref()
        .map_or(0, |earlier| earlier.completed.count());
    let completed = match earlier {
        None => CompletedParts::none(&plan),
        Some(earlier) => restore::trust(context, &sink, plan, earlier).await?,
    };
    Ok(PreparedFile {
        plan,
        sink,
        is_damaged: completed.completed.count() < named,
        completed,
        identity,
    })
}

/// How the wanted bytes are cut into parts: as an earlier run did, or as the job says.
fn plan(
    context: &Context<'_>,
    wanted: &Wanted,
    earlier: Option<&Checkpoint>,
) -> Result<Plan, Error> {
    let Some(earlier) = earlier else {
        return wanted.plan(context.job);
    };
    let part_size = earlier.part_size;
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

/// Reserves room for the whole file, after emptying it where it is new. A new file for which there
/// is no room is removed.
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
        if is_new {
            // Bytes of another version must not look like bytes of this one, nor an old checkpoint
            // like that of the new file.
            storage::empty(&*on_volume, &of, &file, durability)?;
        }
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
    // The error that led here is the one to report.
    let _ = volume.remove(names.part());
    let _ = volume.remove(names.checkpoint());
}

fn identity(
    context: &Context<'_>,
    wanted: &Wanted,
    plan: &Plan,
    earlier: Option<&Checkpoint>,
) -> Checkpoint {
    let source = &context.source;
    let url_key: [u8; 16] = std::array::from_fn(|_| fastrand::u8(..));
    Checkpoint {
        generation: earlier.map_or(0, |earlier| earlier.generation),
        length: wanted.length,
        part_size: plan.part_size(),
        selection: if context.job.selection.is_whole() {
            Vec::new()
        } else {
            wanted.selection.extents().to_vec()
        },
        etag: wanted.validator.tag().map(ToString::to_string),
        last_modified: wanted.last_modified,
        origin: source.origin(),
        path: source.path(),
        url_key,
        url_hash: hash_url(&url_key, &source.key_text()),
        completed: PartBitmap::new(plan.parts()),
        crcs: Vec::new(),
        // Without a boot the next run reads every part back. It must, where there were mirrors: a
        // mirror may have been taken on its word, and of two connections that bring the same part
        // the slower may be the last to write.
        boot_id: context.boot.filter(|_| context.job.mirrors.is_empty()),
        clean: false,
    }
}
