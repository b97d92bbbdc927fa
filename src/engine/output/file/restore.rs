//! What an earlier run left, and how much of it may be trusted.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::read_back::{must_verify, parts_of, read_back};
use super::{ownership, page};
use crate::checkpoint::{self, Checkpoint, CheckpointError, Standing};
use crate::engine::blocking;
use crate::engine::context::{Context, RequestFailed};
use crate::engine::remote::object::Object;
use crate::engine::schedule::parts::CompletedParts;
use crate::error::{Error, Remedy};
use crate::object::{Mismatch, Plan, Proof};
use crate::storage::{self, FileStamp, Names, PartFile, Sink, StorageError, Volume};

/// What becomes of a partial file that an earlier run left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Restore {
    /// It is resumed where it holds the same version.
    Resume,
    /// The object seemed to change, for this reason. It is resumed where the server says that it
    /// holds the same version after all, and is replaced otherwise.
    Again(String),
    /// It is replaced, because the object changed.
    StartOver,
    /// It is replaced, because the caller wants that.
    Fresh,
}

impl Restore {
    /// Announces why the download starts over, where that was left open.
    pub(crate) fn announce(&self, context: &Context<'_>) {
        if let Self::Again(reason) = self {
            context.restarted(reason);
        }
    }
}

/// A partial file that an earlier run left.
pub(super) struct Earlier {
    pub(super) checkpoint: Checkpoint,
    /// The file as it was found.
    stamp: FileStamp,
    /// Whether a field that the server sends tells the version.
    is_named: bool,
    /// Whether the same version is certain: the server names it by the same strong tag under the
    /// same URL, or by something stronger.
    pub(super) is_certain: bool,
}

/// Why an earlier run's bytes can't be used; what was expected and what was found.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Unusable {
    #[error("the object was {was} bytes long and is {is} bytes long now")]
    Length { was: u64, is: u64 },
    #[error("the content coding was {was} and is {is} now")]
    Coding { was: String, is: String },
    #[error("other ranges of the object were selected")]
    Selection,
    #[error(transparent)]
    Changed(#[from] Mismatch),
    #[error("nothing that the server sends tells its version, and the URL is another one")]
    Unproven,
    #[error("the partial file has {found} bytes where {expected} were expected")]
    FileLength { expected: u64, found: u64 },
}

/// The partial file at its name, locked, with its checkpoint where the file can be resumed;
/// otherwise announces why the download starts over. `None` where there is no partial file.
///
/// # Errors
///
/// `File` where the partial file is another program's or is locked by another run, or the
/// checkpoint can't be read. `Network` where what the server sends now looks like a page in place
/// of the object. Where a mirror stands in for the source, and has not the version that is on disk,
/// the error of the source: what came from the source is worth more than a start over at the
/// mirror.
pub(super) async fn look<V: Volume, R>(
    context: &Context<'_>,
    volume: &Arc<V>,
    names: &Names,
    object: &Object<R>,
    restore: &Restore,
) -> Result<Option<(V::File, Option<Earlier>)>, Error> {
    let Some((file, checkpoint)) = take_over(context, volume, names).await? else {
        restore.announce(context);
        return Ok(None);
    };
    let Some(checkpoint) = checkpoint else {
        restore.announce(context);
        return Ok(Some((file, None)));
    };
    let reason = match restore {
        Restore::Fresh => return Ok(Some((file, None))),
        Restore::StartOver => None,
        Restore::Resume | Restore::Again(_) => match usable(context, &checkpoint, object, &file) {
            Ok(earlier) if *restore == Restore::Resume || earlier.is_named => {
                return Ok(Some((file, Some(earlier))));
            }
            Ok(_) => None,
            Err(reason) => Some(reason),
        },
    };
    if let (Some(failed), Some(reason)) = (&object.stands_in_for, &reason) {
        return Err(kept_from_mirror(context, reason, failed));
    }
    page::refuse(
        context,
        &checkpoint,
        Some(object.wanted.length),
        &object.metadata,
    )?;
    match reason {
        Some(reason) if *restore == Restore::Resume => context.restarted(reason.to_string()),
        _ => restore.announce(context),
    }
    Ok(Some((file, None)))
}

/// The error of a source that failed, where a mirror in its place has not what is on disk.
pub(super) fn kept_from_mirror(
    context: &Context<'_>,
    reason: impl Display,
    failed: &RequestFailed,
) -> Error {
    context.events().warn(format!(
        "the mirror can't resume the partial file: {reason}"
    ));
    context
        .request_failed(failed)
        .with_remedy(Remedy::AwaitSource)
}

/// Opens and locks the partial file, if there is one, and reads its checkpoint; that is `None`
/// where it holds nothing of use.
///
/// # Errors
///
/// `File` where the partial file is another program's or is locked by another run, or the
/// checkpoint can't be read.
pub(crate) async fn take_over<V: Volume>(
    context: &Context<'_>,
    volume: &Arc<V>,
    names: &Names,
) -> Result<Option<(V::File, Option<Checkpoint>)>, Error> {
    let look = {
        let (volume, names) = (Arc::clone(volume), names.clone());
        move || {
            let Some(file) = storage::open_locked(&*volume, names.part())? else {
                return Ok(None);
            };
            let found = checkpoint::load(&*volume, &names);
            let is_ours = ownership::is_ours(&*volume, &names, &found, &file);
            Ok::<_, StorageError>(Some((file, found, is_ours)))
        }
    };
    let Some((file, found, is_ours)) = blocking::run(look).await? else {
        return Ok(None);
    };
    if let Err(error @ CheckpointError::Storage(_)) = found {
        return Err(error.into());
    }
    if !is_ours {
        return Err(ownership::not_ours(context, &**volume, names));
    }
    let taken = match found {
        Ok(Some(found)) if found.standing == Standing::Claimed => Ok(Some((file, None))),
        Ok(found) => Ok(Some((file, found))),
        // The caller throws it away, a newer one too.
        Err(_) if context.job.fresh => Ok(Some((file, None))),
        Err(error) if error.is_damage() => {
            context.restarted(format!("the checkpoint is damaged: {error}"));
            Ok(Some((file, None)))
        }
        Err(error) => Err(error.into()),
    };
    if taken.is_ok() {
        context.has_partial.store(true, Ordering::Relaxed);
    }
    taken
}

/// Whether the partial file and its checkpoint belong to this version of the object.
fn usable<F: PartFile, R>(
    context: &Context<'_>,
    checkpoint: &Checkpoint,
    object: &Object<R>,
    file: &F,
) -> Result<Earlier, Unusable> {
    let wanted = &object.wanted;
    // A mirror that stands in for the source has another URL.
    let is_same_path =
        object.stands_in_for.is_none() && checkpoint.is_of_url(&context.source.key_text());
    // A link that this run replaced led to the same object, as its caller and the tag say.
    let is_of = |query: &str| checkpoint.is_of_query(query);
    let is_same_url = is_same_path && context.source.any_query(is_of);
    if checkpoint.length != wanted.length {
        return Err(Unusable::Length {
            was: checkpoint.length,
            is: wanted.length,
        });
    }
    if checkpoint.selected() != wanted.selection {
        return Err(Unusable::Selection);
    }
    let coding = object.metadata.coding.as_ref().map(ToString::to_string);
    if checkpoint.coding != coding {
        return Err(Unusable::Coding {
            was: checkpoint
                .coding
                .clone()
                .unwrap_or_else(|| "none".to_owned()),
            is: coding.unwrap_or_else(|| "none".to_owned()),
        });
    }
    let proof = checkpoint.identity.compare(&object.pinned.identity())?;
    // A signature, which is renewed, does not make another object.
    if proof == Proof::None && !is_same_path {
        return Err(Unusable::Unproven);
    }
    let expected = wanted.selection.length();
    let stamp = file.stamp();
    match &stamp {
        Ok(stamp) if stamp.length == expected => Ok(Earlier {
            checkpoint: checkpoint.clone(),
            stamp: *stamp,
            is_named: proof > Proof::None,
            is_certain: proof >= Proof::Digest || (proof == Proof::StrongTag && is_same_url),
        }),
        _ => Err(Unusable::FileLength {
            expected,
            found: stamp.map_or(0, |stamp| stamp.length),
        }),
    }
}

/// The parts of an earlier run that can be trusted. Reads back what can't be taken on trust.
///
/// # Errors
///
/// `File` where the file can't be read; the end that the caller wants.
pub(super) async fn trust<F: PartFile>(
    context: &Context<'_>,
    sink: &Sink<F>,
    plan: Plan,
    earlier: &Earlier,
) -> Result<CompletedParts, Error> {
    let checkpoint = &earlier.checkpoint;
    let found = parts_of(checkpoint);
    let is_another = (checkpoint.file).is_some_and(|file| !file.is_of_file(&earlier.stamp));
    let verify = context.job.verify;
    if !is_another && !must_verify(verify, checkpoint, context.boot, earlier.stamp) {
        return Ok(found);
    }
    let before = found.completed.count();
    let verified = read_back(context, sink, plan, found).await?;
    let damaged = before - verified.completed.count();
    if damaged > 0 {
        context.metrics.damaged(damaged);
        context.events().warn(format!(
            "{damaged} of {before} completed parts did not match their checksum and are fetched again"
        ));
    }
    Ok(verified)
}
