//! Blocks of a file, to be compared with what the server has.

use crate::engine::blocking;
use crate::engine::transfer::drawn_blocks::DrawnBlocks;
use crate::engine::transfer::written_blocks::WrittenBlock;
use crate::object::ByteRange;
use crate::storage::{PartFile, Sink, StorageError};

/// The fixed blocks, and of those by chance the first one whose bytes are not all the same.
///
/// # Errors
///
/// The file can't be read.
pub(super) async fn drawn<F: PartFile>(
    sink: &Sink<F>,
    drawn: DrawnBlocks,
) -> Result<Vec<WrittenBlock>, StorageError> {
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
