//! Whose a partial file is. Browsers and other downloaders use the name, too, and may be writing the
//! file.

use super::read_back;
use crate::checkpoint::{Checkpoint, CheckpointError, Standing};
use crate::engine::context::Context;
use crate::error::{Error, ErrorKind, Remedy};
use crate::storage::{FileSystem, Names, Operation, PartFile, StorageError, Volume};

/// How many parts of a copy are read at most, to find one that is as the checkpoint says.
const MOST_READ: usize = 8;

/// Whether the partial file is one of partwise, by what its checkpoint says. Blocks; may read some
/// parts of the file.
pub(super) fn is_ours<V: Volume>(
    volume: &V,
    names: &Names,
    found: &Result<Option<Checkpoint>, CheckpointError>,
    file: &V::File,
) -> bool {
    match found {
        Ok(None) | Err(CheckpointError::Foreign { .. } | CheckpointError::Storage(_)) => false,
        Ok(Some(checkpoint)) => {
            is_its_file(checkpoint, file) || is_its_copy(volume, names, checkpoint, file)
        }
        // Nothing tells which file it was for, but partwise wrote it.
        Err(_) => true,
    }
}

/// Whether the checkpoint was written for this very file, as far as the file system tells.
pub(super) fn is_its_file<F: PartFile>(checkpoint: &Checkpoint, file: &F) -> bool {
    let Some(stamp) = checkpoint.file else {
        // A claim that precedes its file: it holds nothing yet, or is reserved at most.
        let is_blank = || {
            let length = file.len();
            length.is_ok_and(|length| length == 0 || length == checkpoint.file_length())
        };
        return checkpoint.standing != Standing::Claimed || is_blank();
    };
    // Some file systems number their files anew at each mount.
    let keeps_numbers = file.file_system().is_ok_and(FileSystem::has_owners);
    !keeps_numbers || file.stamp().is_ok_and(|found| stamp.is_of_file(&found))
}

/// Whether the bytes prove that a file is a copy, or a restored backup, of the one that the
/// checkpoint was written for: it holds one of the completed parts, or nothing at all.
fn is_its_copy<V: Volume>(
    volume: &V,
    names: &Names,
    checkpoint: &Checkpoint,
    file: &V::File,
) -> bool {
    let Ok(plan) = checkpoint.plan() else {
        return false;
    };
    let path = volume.path(names.part());
    let read = |position, buffer: &mut [u8]| {
        let read = file.read_at(position, buffer);
        read.map_err(|error| StorageError::io(Operation::Read, &path, error))
    };
    let parts = checkpoint.completed.iter().zip(&checkpoint.crcs);
    let mut parts = parts.take(MOST_READ);
    file.len().is_ok_and(|length| length == 0)
        || parts.any(|(part, crc)| {
            let found = read_back::crc_of(read, plan.range(part), &|| false);
            found.is_ok_and(|found| found == *crc)
        })
}

/// The error of a partial file that is another program's.
pub(super) fn not_ours<V: Volume>(context: &Context<'_>, volume: &V, names: &Names) -> Error {
    let part = volume.path(names.part());
    Error::new(
        ErrorKind::File,
        format!("can't write {}", context.output.display()),
        format_args!(
            "{} is there, and no checkpoint of partwise belongs to it: it is another program's",
            part.display()
        ),
    )
    .with_remedy(Remedy::MovePartial)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::output::file::checkpointer::tests::{PARTS, identity};
    use crate::object::PartBitmap;
    use crate::storage::FileStamp;
    use crate::storage::fake::FakeDisk;
    use std::ffi::OsStr;

    /// Whether a partial file of these bytes is one of ours beside what this makes of its stamp.
    fn is_ours_beside(bytes: &[u8], checkpoint: impl FnOnce(FileStamp) -> Checkpoint) -> bool {
        let disk = FakeDisk::default();
        disk.plant("v.part", bytes);
        let names = Names::new(OsStr::new("v")).unwrap();
        let file = disk.open(names.part()).unwrap();
        let found = Ok(Some(checkpoint(file.stamp().unwrap())));
        is_ours(&disk, &names, &found, &file)
    }

    #[test]
    fn a_claim_without_a_file_is_for_a_blank_one() {
        let claim = |_| Checkpoint {
            standing: Standing::Claimed,
            ..identity()
        };
        assert!(is_ours_beside(b"", claim));
        assert!(is_ours_beside(&[0; PARTS as usize], claim));
        assert!(!is_ours_beside(b"another's", claim));
    }

    #[test]
    fn a_file_has_the_number_of_its_stamp() {
        let bytes = [7; PARTS as usize];
        let of = |inode| {
            move |stamp: FileStamp| Checkpoint {
                file: Some(FileStamp {
                    inode: stamp.inode + inode,
                    ..stamp
                }),
                ..identity()
            }
        };
        assert!(is_ours_beside(&bytes, of(0)));
        assert!(!is_ours_beside(&bytes, of(1)));
    }

    #[test]
    fn a_copy_holds_a_completed_part() {
        let of_another = |crc: u64| {
            move |stamp: FileStamp| Checkpoint {
                file: Some(FileStamp {
                    inode: stamp.inode + 1,
                    ..stamp
                }),
                completed: PartBitmap::first(1, PARTS),
                crcs: vec![crc],
                ..identity()
            }
        };
        let bytes = [7; PARTS as usize];
        let crc = crate::integrity::Crc64::of(&bytes[..1]);
        assert!(is_ours_beside(&bytes, of_another(crc)));
        assert!(!is_ours_beside(&bytes, of_another(crc + 1)));
    }
}
