//! What an earlier run left, and how much of it may be trusted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::checkpoint::{self, Checkpoint};
use crate::engine::blocking;
use crate::engine::context::Context;
use crate::engine::control::events::EventBus;
use crate::engine::remote::object::Object;
use crate::engine::schedule::parts::CompletedParts;
use crate::error::{Error, Remedy};
use crate::event::Event;
use crate::integrity::Crc64;
use crate::object::{PartBitmap, PartIndex, Plan, Selection, Validator};
use crate::options::Verify;
use crate::storage::{Names, PartFile, Sink, StorageError, Volume};

/// Bytes that are read at once.
const READ: usize = 1 << 20;

/// Why an earlier run's bytes can't be used; what was expected and what was found.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Unusable {
    #[error("the object was {was} bytes long and is {is} bytes long now")]
    Length { was: u64, is: u64 },
    #[error("other ranges of the object were selected")]
    Selection,
    #[error("the object's entity tag was {was} and is {is} now")]
    EntityTag { was: String, is: String },
    #[error("the object's modification date was {was} and is {is} now")]
    LastModified { was: String, is: String },
    #[error(
        "the server sends neither entity tag nor modification date, and the URL is another one"
    )]
    Unproven,
    #[error("the partial file has {found} bytes where {expected} were expected")]
    FileLength { expected: u64, found: u64 },
}

/// The checkpoint of an earlier run, if its partial file holds the same version of the object;
/// otherwise announces why the download starts over.
///
/// # Errors
///
/// `File` where the checkpoint can't be read. Where a mirror stands in for the source, and has not
/// the version that is on disk, the error of the source: what came from the source is worth more
/// than a start over at the mirror.
pub(super) async fn recover<V: Volume, R>(
    context: &Context<'_>,
    volume: &Arc<V>,
    names: &Names,
    object: &Object<R>,
    file: &V::File,
) -> Result<Option<Checkpoint>, Error> {
    let load = {
        let (volume, names) = (Arc::clone(volume), names.clone());
        move || checkpoint::load(&*volume, &names)
    };
    let found = match blocking::run(load).await {
        Ok(Some(found)) => found,
        Ok(None) => {
            context.restarted("the partial file has no checkpoint beside it");
            return Ok(None);
        }
        Err(error) if error.is_damage() => {
            context.restarted(error.to_string());
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let reason = match usable(context, &found, object, file) {
        Ok(()) => return Ok(Some(found)),
        Err(reason) => reason,
    };
    let Some(failed) = &object.stands_in_for else {
        context.restarted(reason.to_string());
        return Ok(None);
    };
    context.events().warn(format!(
        "the mirror can't resume the partial file: {reason}"
    ));
    Err(context
        .request_failed(failed)
        .with_remedy(Remedy::AwaitSource))
}

/// Whether the partial file and its checkpoint belong to this version of the object.
fn usable<F: PartFile, R>(
    context: &Context<'_>,
    found: &Checkpoint,
    object: &Object<R>,
    file: &F,
) -> Result<(), Unusable> {
    let wanted = &object.wanted;
    // A mirror that stands in for the source has another URL.
    let same_url = object.stands_in_for.is_none() && found.is_of_url(&context.source.key_text());
    check(
        found,
        wanted.length,
        &wanted.selection,
        &wanted.validator,
        same_url,
    )?;
    let expected = wanted.selection.length();
    match file.len() {
        Ok(found) if found != expected => Err(Unusable::FileLength { expected, found }),
        _ => Ok(()),
    }
}

/// Holds a checkpoint against what the server says now.
///
/// `same_url` tells whether the checkpoint was made under this URL, its query left out: where there
/// is no validator, length and name are all that speaks for the same object.
fn check(
    checkpoint: &Checkpoint,
    length: u64,
    selection: &Selection,
    validator: &Validator,
    same_url: bool,
) -> Result<(), Unusable> {
    if checkpoint.length != length {
        return Err(Unusable::Length {
            was: checkpoint.length,
            is: length,
        });
    }
    if checkpoint.selected() != *selection {
        return Err(Unusable::Selection);
    }
    let none = || "none".to_owned();
    match (&checkpoint.etag, validator.tag()) {
        (Some(was), Some(is)) if was == is.as_str() => return Ok(()),
        (None, None) => {}
        (was, is) => {
            return Err(Unusable::EntityTag {
                was: was.clone().unwrap_or_else(none),
                is: is.map_or_else(none, ToString::to_string),
            });
        }
    }
    let date =
        |date: Option<std::time::SystemTime>| date.map_or_else(none, httpdate::fmt_http_date);
    match (checkpoint.last_modified, validator.if_unmodified_since()) {
        (Some(was), Some(is)) if was == is => Ok(()),
        (None, None) if same_url => Ok(()),
        (None, None) => Err(Unusable::Unproven),
        (was, is) => Err(Unusable::LastModified {
            was: date(was),
            is: date(is),
        }),
    }
}

/// Whether the completed parts are to be read back before they are trusted.
pub(crate) fn must_verify(verify: Verify, checkpoint: &Checkpoint, boot: Option<[u8; 16]>) -> bool {
    match verify {
        Verify::Always => true,
        Verify::Never => false,
        Verify::Auto => !checkpoint.clean || boot.is_none() || checkpoint.boot_id != boot,
    }
}

/// The parts of an earlier run that can be trusted. Reads back what can't be taken on trust.
///
/// # Errors
///
/// As [`read_back`].
pub(super) async fn trust<F: PartFile>(
    context: &Context<'_>,
    sink: &Sink<F>,
    plan: Plan,
    earlier: Checkpoint,
) -> Result<CompletedParts, Error> {
    let must_verify = must_verify(context.job.verify, &earlier, context.boot);
    let found = CompletedParts {
        completed: earlier.completed,
        crcs: earlier.crcs,
    };
    if !must_verify {
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

/// Reads these parts back and leaves out those that don't match their CRC.
///
/// # Errors
///
/// `File` where the file can't be read; the end that the caller wants, which does not wait for all
/// parts.
pub(super) async fn read_back<F: PartFile>(
    context: &Context<'_>,
    sink: &Sink<F>,
    plan: Plan,
    parts: CompletedParts,
) -> Result<CompletedParts, Error> {
    let (sink, events) = (sink.clone(), Arc::clone(context.events()));
    let halted = Arc::new(AtomicBool::new(false));
    let halt = Arc::clone(&halted);
    let reading = blocking::run(move || {
        let halt = || halt.load(Ordering::Relaxed);
        verify(&sink, &plan, parts, &events, &halt)
    });
    tokio::pin!(reading);
    tokio::select! {
        biased;
        intent = context.control().ending() => {
            halted.store(true, Ordering::Relaxed);
            // Until then the reader holds the file, and so the lock. Its result does not matter any
            // more.
            let _ = reading.await;
            Err(context.ended_by(intent))
        }
        verified = &mut reading => Ok(verified?),
    }
}

/// Reads every completed part back and takes out those that do not match their CRC. Blocks; reads
/// at the speed of the disk, on as many threads as there are processors. `halt` ends it early: what
/// was not read counts as bad.
///
/// Returns what may be trusted.
fn verify<F: PartFile>(
    sink: &Sink<F>,
    plan: &Plan,
    parts: CompletedParts,
    events: &Arc<EventBus>,
    halt: &(impl Fn() -> bool + Sync),
) -> Result<CompletedParts, StorageError> {
    let parts: Vec<(PartIndex, u64)> = parts.completed.iter().zip(parts.crcs).collect();
    let total_bytes: u64 = parts.iter().map(|(part, _)| plan.range(*part).len()).sum();
    let next = AtomicUsize::new(0);
    let verified_bytes = AtomicU64::new(0);
    let reader = || {
        let mut good = Vec::new();
        let mut buffer = vec![0; READ];
        while let Some((part, crc)) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
            if halt() {
                break;
            }
            if crc_of(sink, plan, *part, &mut buffer, halt)? == *crc {
                good.push((*part, *crc));
            }
            let length = plan.range(*part).len();
            let done = verified_bytes.fetch_add(length, Ordering::Relaxed) + length;
            // A few dozen events, whatever the number of parts.
            let step = (total_bytes / 64).max(1);
            if done / step != (done - length) / step {
                events.emit(Event::Verifying {
                    verified_bytes: done,
                    total_bytes,
                });
            }
        }
        Ok::<_, StorageError>(good)
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut good = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..threads).map(|_| scope.spawn(reader)).collect();
        let mut good = Vec::new();
        for reader in readers {
            good.extend(
                reader
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?,
            );
        }
        Ok::<_, StorageError>(good)
    })?;
    good.sort_unstable_by_key(|(part, _)| *part);
    let mut completed = PartBitmap::new(plan.parts());
    for (part, _) in &good {
        completed.insert(*part);
    }
    let crcs = good.into_iter().map(|(_, crc)| crc).collect();
    Ok(CompletedParts { completed, crcs })
}

fn crc_of<F: PartFile>(
    sink: &Sink<F>,
    plan: &Plan,
    part: PartIndex,
    buffer: &mut [u8],
    halt: &impl Fn() -> bool,
) -> Result<u64, StorageError> {
    let range = plan.range(part);
    let mut crc = Crc64::new();
    let mut position = range.start();
    while position < range.end() && !halt() {
        let left = usize::try_from(range.end() - position).unwrap_or(usize::MAX);
        let now = &mut buffer[..left.min(READ)];
        sink.read_at(position, now)?;
        crc.update(now);
        position += now.len() as u64;
    }
    Ok(crc.finish())
}
