//! Blocks of a file, to be compared with what the server has.

use crate::engine::blocking;
use crate::engine::remote::BLOCK;
use crate::engine::transfer::written_blocks::WrittenBlock;
use crate::object::{ByteRange, PartBitmap, PartIndex, Plan};
use crate::storage::{PartFile, Sink, StorageError};

/// How many blocks are drawn by chance before one is taken whose bytes are all the same. Such a
/// block is the same in many objects.
const DRAWS: usize = 8;

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
    let parts: Vec<PartIndex> = completed.iter().collect();
    let (Some(first), Some(last)) = (parts.first(), parts.last()) else {
        return Ok(Vec::new());
    };
    let (front, back) = (plan.range(*first), plan.range(*last));
    let fixed = vec![
        block_at(front, front.start()),
        block_at(back, back.end() - length_in(back)),
    ];
    // Drawn here, where a simulation has seeded the generator, and not on the reader's thread.
    let by_chance: Vec<ByteRange> = (0..DRAWS)
        .map(|_| within(plan.range(parts[fastrand::usize(..parts.len())])))
        .collect();
    let sink = sink.clone();
    blocking::run(move || read(&sink, fixed, &by_chance)).await
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
    blocking::run(move || read(&sink, blocks, &[])).await
}

/// A block of this part, by chance.
fn within(part: ByteRange) -> ByteRange {
    let last = part.end() - length_in(part);
    block_at(part, fastrand::u64(part.start()..=last))
}

/// The length of a block of this part.
fn length_in(part: ByteRange) -> u64 {
    part.len().min(BLOCK)
}

fn block_at(part: ByteRange, start: u64) -> ByteRange {
    ByteRange::at(start, length_in(part)).unwrap_or(part)
}

fn read<F: PartFile>(
    sink: &Sink<F>,
    mut fixed: Vec<ByteRange>,
    by_chance: &[ByteRange],
) -> Result<Vec<WrittenBlock>, StorageError> {
    let block = |range: &ByteRange| {
        let mut bytes = vec![0; usize::try_from(range.len()).unwrap_or(0)];
        sink.read_at(range.start(), &mut bytes)?;
        let position = range.start();
        Ok::<_, StorageError>(WrittenBlock { position, bytes })
    };
    fixed.dedup();
    let mut blocks = fixed.iter().map(block).collect::<Result<Vec<_>, _>>()?;
    let mut drawn = None;
    for range in by_chance.iter().filter(|range| !fixed.contains(range)) {
        let found = block(range)?;
        let is_constant = found.bytes.iter().all(|byte| *byte == found.bytes[0]);
        drawn = Some(found);
        if !is_constant {
            break;
        }
    }
    blocks.extend(drawn);
    Ok(blocks)
}
