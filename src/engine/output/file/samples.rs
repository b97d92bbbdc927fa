//! Blocks of a file, to be compared with what the server has.

use crate::engine::blocking;
use crate::engine::transfer::drawn_blocks::DrawnBlocks;
use crate::engine::transfer::written_blocks::WrittenBlock;
use crate::object::{ByteRange, PartBitmap, Plan};
use crate::storage::{PartFile, Sink, StorageError};

/// The first block of the completed parts, the last one, and one by chance.
///
/// # Errors
///
/// The file can't be read.
pub(super) async fn draw<F: PartFile>(
    sink: &Sink<F>,
    plan: &Plan,
    completed: &PartBitmap,
) -> Result<Vec<WrittenBlock>, StorageError> {
    // Drawn here, where a simulation has seeded the generator, and not on the reader's thread.
    let drawn = DrawnBlocks::of(plan, completed);
    let sink = sink.clone();
    blocking::run(move || {
        let mut blocks = read(&sink, &drawn.fixed)?;
        let mut last_drawn = None;
        for range in drawn.by_chance {
            let found = read_one(&sink, range)?;
            let is_constant = found.bytes.iter().all(|byte| *byte == found.bytes[0]);
            last_drawn = Some(found);
            if !is_constant {
                break;
            }
        }
        blocks.extend(last_drawn);
        Ok(blocks)
    })
    .await
}

/// These blocks.
///
/// # Errors
///
/// The file can't be read.
pub(super) async fn at<F: PartFile>(
    sink: &Sink<F>,
    blocks: Vec<ByteRange>,
) -> Result<Vec<WrittenBlock>, StorageError> {
    let sink = sink.clone();
    blocking::run(move || read(&sink, &blocks)).await
}

fn read<F: PartFile>(
    sink: &Sink<F>,
    blocks: &[ByteRange],
) -> Result<Vec<WrittenBlock>, StorageError> {
    blocks.iter().map(|range| read_one(sink, *range)).collect()
}

fn read_one<F: PartFile>(sink: &Sink<F>, range: ByteRange) -> Result<WrittenBlock, StorageError> {
    let mut bytes = vec![0; usize::try_from(range.len()).unwrap_or(0)];
    sink.read_at(range.start(), &mut bytes)?;
    let position = range.start();
    Ok(WrittenBlock { position, bytes })
}
