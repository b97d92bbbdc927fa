//! Reads completed parts back and compares them with their CRCs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::checkpoint::Checkpoint;
use crate::engine::blocking;
use crate::engine::context::Context;
use crate::engine::control::events::EventBus;
use crate::engine::schedule::parts::CompletedParts;
use crate::error::Error;
use crate::event::Event;
use crate::integrity::Crc64;
use crate::object::{ByteRange, PartBitmap, PartIndex, Plan};
use crate::options::Verify;
use crate::storage::{FileStamp, PartFile, Sink, StorageError};

/// Bytes that are read at once.
const READ: usize = 1 << 20;

/// Whether the completed parts are to be read back before they are trusted. `found` is the file as
/// it is now.
pub(crate) fn must_verify(
    verify: Verify,
    checkpoint: &Checkpoint,
    boot: Option<[u8; 16]>,
    found: FileStamp,
) -> bool {
    match verify {
        Verify::Always => true,
        Verify::Never => false,
        Verify::Auto => {
            !checkpoint.clean
                || boot.is_none()
                || checkpoint.boot_id != boot
                || checkpoint.file != Some(found)
        }
    }
}

/// The parts that a checkpoint names.
pub(super) fn parts_of(checkpoint: &Checkpoint) -> CompletedParts {
    CompletedParts {
        completed: checkpoint.completed.clone(),
        crcs: checkpoint.crcs.clone(),
    }
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
    let read = |position, buffer: &mut [u8]| sink.read_at(position, buffer);
    let reader = || {
        let mut good = Vec::new();
        while let Some((part, crc)) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
            if halt() {
                break;
            }
            if crc_of(read, plan.range(*part), halt)? == *crc {
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

/// The CRC of the bytes of `range`, which `read` reads from a position on. `halt` ends it early.
pub(super) fn crc_of(
    read: impl Fn(u64, &mut [u8]) -> Result<(), StorageError>,
    range: ByteRange,
    halt: &impl Fn() -> bool,
) -> Result<u64, StorageError> {
    let mut buffer = vec![0; usize::try_from(range.len()).map_or(READ, |length| length.min(READ))];
    let mut crc = Crc64::new();
    let mut position = range.start();
    while position < range.end() && !halt() {
        let left = usize::try_from(range.end() - position).unwrap_or(usize::MAX);
        let now = &mut buffer[..left.min(READ)];
        read(position, now)?;
        crc.update(now);
        position += now.len() as u64;
    }
    Ok(crc.finish())
}
