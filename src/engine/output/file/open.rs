//! The ground that a transfer stands on: the partial file, and what of an earlier run's may be trusted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::restore;
use super::{Wanted, announce};
use crate::checkpoint::{self, Checkpoint, hash_url};
use crate::engine::blocking;
use crate::engine::context::Session;
use crate::engine::control::Intent;
use crate::engine::schedule::dispatcher::CompletedParts;
use crate::error::{Error, ErrorKind};
use crate::http::Metadata;
use crate::object::{PartBitmap, Plan};
use crate::storage::{self, Names, Origin, PartFile, Sink, Volume};

/// A partial file of this object, ready to be written.
pub(super) struct PreparedFile<F> {
    pub(super) plan: Plan,
    pub(super) sink: Sink<F>,
    pub(super) trusted: CompletedParts,
    pub(super) identity: Checkpoint,
}

/// Locks the partial file, takes over what an earlier run left of this very object, and reserves the rest.
pub(super) async fn open<V: Volume>(
    session: &mut Session<'_, V>,
    volume: &Arc<V>,
    names: &Names,
    wanted: &Wanted,
    metadata: &Metadata,
) -> Result<PreparedFile<V::File>, Error> {
    let (file, origin) = {
        let (volume, names) = (Arc::clone(volume), names.clone());
        blocking::run(move || storage::open_locked(&*volume, names.part())).await?
    };
    let earlier = match origin {
        Origin::Created => None,
        Origin::Found => recover(session, volume, names, wanted, &file).await?,
    };
    let plan = plan_for(session, wanted.selection.length(), earlier.as_ref())?;
    announce(session, metadata, &plan);
    let reserved = {
        let (volume, names) = (Arc::clone(volume), names.clone());
        let (length, writer, durability) =
            (plan.length(), session.job.writer, session.job.durability);
        let empty_first = earlier.is_none();
        blocking::run(move || {
            if empty_first {
                // Bytes of something else must not look like bytes of this object, nor a checkpoint whose file is lost
                // like one of the file that is new.
                storage::empty(&*volume, &names, &file, durability)?;
            }
            storage::reserve(&*volume, names.part(), &file, length, writer, durability)
                .map(|reserved| (file, reserved))
        })
        .await
    };
    let (file, reserved) = match reserved {
        Ok(ready) => ready,
        Err(error) => {
            if earlier.is_none() {
                discard(&**volume, names);
            }
            return Err(error.into());
        }
    };
    let sink = Sink::new(
        file,
        volume.path(names.part()),
        reserved.kind,
        plan.length(),
        session.job.writer,
    )?;
    let identity = identity(session, wanted, &plan, earlier.as_ref());
    let trusted = match earlier {
        None => CompletedParts {
            completed: PartBitmap::new(plan.parts()),
            crcs: Vec::new(),
        },
        Some(earlier) => trust(session, &sink, plan, earlier).await?,
    };
    session.resumed_bytes = trusted
        .completed
        .runs()
        .map(|run| plan.run(crate::object::PartIndex(run.start), run.end).len())
        .sum();
    Ok(PreparedFile {
        plan,
        sink,
        trusted,
        identity,
    })
}

/// An earlier run's checkpoint, if it is one of this very object; else says why it starts over.
async fn recover<V: Volume>(
    session: &mut Session<'_, V>,
    volume: &Arc<V>,
    names: &Names,
    wanted: &Wanted,
    file: &V::File,
) -> Result<Option<Checkpoint>, Error> {
    if session.fresh {
        return Ok(None);
    }
    let load = {
        let (volume, names) = (Arc::clone(volume), names.clone());
        move || checkpoint::load(&*volume, &names)
    };
    let found = match blocking::run(load).await {
        Ok(Some(found)) => found,
        Ok(None) => {
            session.restarted("the partial file has no checkpoint beside it");
            return Ok(None);
        }
        Err(error) if error.is_damage() => {
            session.restarted(error.to_string());
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    // A mirror that stands in is another URL.
    let same_url =
        session.stands_in_for.is_none() && found.is_of_url(&session.job.source.key_text());
    let usable = restore::check(
        &found,
        wanted.length,
        &wanted.selection,
        &wanted.validator,
        same_url,
    );
    let length = wanted.selection.length();
    let usable = usable.and_then(|()| match file.len() {
        Ok(found) if found != length => Err(restore::Unusable::FileLength {
            expected: length,
            found,
        }),
        _ => Ok(()),
    });
    match usable {
        Ok(()) => Ok(Some(found)),
        Err(reason) => {
            match &session.stands_in_for {
                // What came from the source itself is worth more than a beginning at a mirror.
                Some(failed) => {
                    session.shared.events.warn(format!(
                        "the mirror can't go on from the partial file: {reason}"
                    ));
                    Err(session
                    .request_failed(failed)
                    .with_hint("try again later; --fresh throws away what came and begins with the mirror")
                    .with_checkpoint(session.checkpoint_path()))
                }
                None => {
                    session.restarted(reason.to_string());
                    Ok(None)
                }
            }
        }
    }
}

/// How `length` bytes are cut: as an earlier run did, as the caller says, or as it suits them.
pub(crate) fn plan_for<V: Volume>(
    session: &Session<'_, V>,
    length: u64,
    earlier: Option<&Checkpoint>,
) -> Result<Plan, Error> {
    let asked = session.job.part_size;
    let part_size = match (earlier, asked) {
        (Some(earlier), asked) => {
            if asked.is_some_and(|asked| asked != earlier.part_size) {
                session.shared.events.warn(format!(
                    "going on with the part size of the earlier run, {} bytes",
                    earlier.part_size
                ));
            }
            earlier.part_size
        }
        (None, Some(asked)) => asked,
        (None, None) => return Ok(Plan::auto(length)),
    };
    Plan::new(length, part_size)
        .map_err(|error| Error::new(ErrorKind::Usage, "the part size can't be used", error))
}

fn identity<V: Volume>(
    session: &Session<'_, V>,
    wanted: &Wanted,
    plan: &Plan,
    earlier: Option<&Checkpoint>,
) -> Checkpoint {
    let source = &session.job.source;
    let url_key: [u8; 16] = std::array::from_fn(|_| fastrand::u8(..));
    Checkpoint {
        generation: earlier.map_or(0, |earlier| earlier.generation),
        length: wanted.length,
        part_size: plan.part_size(),
        selection: if session.job.selection.is_whole() {
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
        // A mirror may have been taken by its word, or for a digest of the whole, and of two connections that bring the same
        // part the slower may be the last to write: then the CRCs speak of what is there only once it was read back.
        boot_id: session.boot.filter(|_| session.job.mirrors.is_empty()),
        clean: false,
    }
}

/// Reads back what can't be taken on trust.
async fn trust<V: Volume>(
    session: &mut Session<'_, V>,
    sink: &Sink<V::File>,
    plan: Plan,
    earlier: Checkpoint,
) -> Result<CompletedParts, Error> {
    let must_verify = restore::must_verify(session.job.verify, &earlier, session.boot);
    let snapshot = CompletedParts {
        completed: earlier.completed,
        crcs: earlier.crcs,
    };
    if !must_verify {
        return Ok(snapshot);
    }
    let before = snapshot.completed.count();
    let verified = read_back(session, sink, plan, snapshot).await?;
    session.damaged_parts = before - verified.completed.count();
    if session.damaged_parts > 0 {
        session.shared.events.warn(format!(
            "{} of {before} completed parts did not match their checksum and are fetched again",
            session.damaged_parts
        ));
    }
    Ok(verified)
}

/// Reads every part of the snapshot back and leaves out those that don't match, unless the caller wants an end.
pub(crate) async fn read_back<V: Volume>(
    session: &Session<'_, V>,
    sink: &Sink<V::File>,
    plan: Plan,
    snapshot: CompletedParts,
) -> Result<CompletedParts, Error> {
    let (sink, events) = (sink.clone(), Arc::clone(&session.shared.events));
    let halted = Arc::new(AtomicBool::new(false));
    let halt = Arc::clone(&halted);
    let reading = blocking::run(move || {
        let halt = || halt.load(Ordering::Relaxed);
        restore::verify(&sink, &plan, snapshot, &events, &halt)
    });
    tokio::pin!(reading);
    tokio::select! {
        biased;
        intent = session.shared.control.ending() => {
            halted.store(true, Ordering::Relaxed);
            // Until then it holds the file, and so the lock. What it read is of no use any more.
            let _ = reading.await;
            let checkpoint = match intent {
                Intent::Cancel => None,
                _ => session.checkpoint_path(),
            };
            Err(session.ended_by(intent, checkpoint))
        }
        verified = &mut reading => Ok(verified?),
    }
}

/// Removes a partial file that was never of use, as far as that is possible.
fn discard<V: Volume>(volume: &V, names: &Names) {
    // The error that led here is the one to tell.
    let _ = volume.remove(names.part());
    let _ = volume.remove(names.checkpoint());
}
