//! What an earlier run left, and how much of it may be trusted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::checkpoint::Checkpoint;
use crate::download::Verify;
use crate::engine::control::events::EventBus;
use crate::engine::schedule::dispatcher::CompletedParts;
use crate::event::Event;
use crate::integrity::Crc64;
use crate::object::{PartBitmap, PartIndex, Plan, Selection, Validator};
use crate::storage::{PartFile, Sink, StorageError};

/// Bytes that are read at once.
const READ: usize = 1 << 20;

/// Why an earlier run's bytes can't be used; what was expected and what was found.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("the object was {was} bytes long and is {is} bytes long now")]
    Length { was: u64, is: u64 },
    #[error("other ranges of the object were selected")]
    Selection,
    #[error("the object's entity tag was {was} and is {is} now")]
    EntityTag { was: String, is: String },
    #[error("the object's modification date was {was} and is {is} now")]
    LastModified { was: String, is: String },
    #[error(
        "the server gives neither entity tag nor modification date, and the URL is another one"
    )]
    Unproven,
    #[error("the partial file has {found} bytes where {expected} were expected")]
    FileLength { expected: u64, found: u64 },
}

/// Holds a checkpoint against what the server says now.
///
/// `same_url` tells whether the checkpoint was made under this URL, its query left out: where there is no validator,
/// length and name are all that speaks for the same object.
pub(crate) fn check(
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

/// Reads every completed part back and takes out those that do not match their CRC. Blocks; reads at the speed of the
/// disk, on as many threads as there are processors. `halt` ends it early: what was not read counts as bad.
///
/// Returns what may be trusted.
pub(crate) fn verify<F: PartFile>(
    sink: &Sink<F>,
    plan: &Plan,
    snapshot: CompletedParts,
    events: &Arc<EventBus>,
    halt: &(impl Fn() -> bool + Sync),
) -> Result<CompletedParts, StorageError> {
    let parts: Vec<(PartIndex, u64)> = snapshot.completed.iter().zip(snapshot.crcs).collect();
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
