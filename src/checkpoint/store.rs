//! Reads a checkpoint, and replaces it atomically.

use std::ffi::OsStr;
use std::io;

use super::format::{CheckpointError, MAGIC, MAX_FILE, decode, encode, is_of_partwise};
use super::model::Checkpoint;
use crate::storage::{Collision, Durability, Names, Operation, PartFile, StorageError, Volume};

/// Reads the checkpoint of the download with these names; `None` if there is none.
pub(crate) fn load<V: Volume>(
    volume: &V,
    names: &Names,
) -> Result<Option<Checkpoint>, CheckpointError> {
    read(volume, names.checkpoint())
}

/// Reads the checkpoint with this file name; `None` if there is none.
pub(crate) fn read<V: Volume>(
    volume: &V,
    name: &OsStr,
) -> Result<Option<Checkpoint>, CheckpointError> {
    match volume.read(name, MAX_FILE as u64) {
        Ok(bytes) => bytes.map(|bytes| decode(&bytes)).transpose(),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            let mut first = [0; MAGIC.len()];
            let file = volume.open(name);
            match file.and_then(|file| file.read_at(0, &mut first)) {
                Ok(()) if !is_of_partwise(&first) => Err(CheckpointError::foreign(&first)),
                _ => Err(CheckpointError::TooLong { limit: MAX_FILE }),
            }
        }
        Err(error) => {
            let path = volume.path(name);
            let error = StorageError::io(Operation::Read, path, error);
            Err(CheckpointError::Storage(error))
        }
    }
}

/// Replaces the checkpoint: writes a temporary file, syncs it, renames it and syncs the folder. The
/// earlier one stays in place until the new one is whole. The caller must have made every part that
/// it names durable.
///
/// # Errors
///
/// After an error, either the earlier checkpoint or the new one is in place; both are valid.
pub(crate) fn save<V: Volume>(
    volume: &V,
    names: &Names,
    checkpoint: &Checkpoint,
    durability: Durability,
) -> Result<(), CheckpointError> {
    claim(volume, names, checkpoint, durability)?;
    if durability == Durability::Synced {
        let failed =
            |error| StorageError::io(Operation::Sync, volume.path(names.temporary()), error);
        volume
            .sync()
            .map_err(|error| CheckpointError::Storage(failed(error)))?;
    }
    Ok(())
}

/// Replaces the checkpoint as [`save`] does, but leaves it to the caller to sync the folder.
///
/// # Errors
///
/// As [`save`].
pub(crate) fn claim<V: Volume>(
    volume: &V,
    names: &Names,
    checkpoint: &Checkpoint,
    durability: Durability,
) -> Result<(), CheckpointError> {
    let bytes = encode(checkpoint)?;
    replace(volume, names, &bytes, durability).map_err(CheckpointError::Storage)
}

fn replace<V: Volume>(
    volume: &V,
    names: &Names,
    bytes: &[u8],
    durability: Durability,
) -> Result<(), StorageError> {
    let failed =
        |operation| move |error| StorageError::io(operation, volume.path(names.temporary()), error);
    // A leftover file with that name is removed and not written to.
    match volume.remove(names.temporary()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed(Operation::Remove)(error));
        }
        _ => {}
    }
    let file = volume
        .create(names.temporary())
        .map_err(failed(Operation::Create))?;
    file.write_at(0, bytes).map_err(failed(Operation::Write))?;
    if durability == Durability::Synced {
        file.sync_all().map_err(failed(Operation::Sync))?;
    }
    volume
        .rename(names.temporary(), names.checkpoint(), Collision::Replace)
        .map_err(failed(Operation::Rename))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::format::tests::sample;
    use crate::storage::Folder;
    use crate::storage::fake::FakeDisk;
    use std::ffi::OsStr;

    fn names() -> Names {
        Names::new(OsStr::new("v")).unwrap()
    }

    fn of_generation(generation: u64) -> Checkpoint {
        Checkpoint {
            generation,
            ..sample()
        }
    }

    fn save_on<V: Volume>(volume: &V, generation: u64) -> Result<(), CheckpointError> {
        save(
            volume,
            &names(),
            &of_generation(generation),
            Durability::Synced,
        )
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        assert_eq!(load(&folder, &names()).unwrap(), None);
        for generation in 1..4 {
            save_on(&folder, generation).unwrap();
            let loaded = load(&folder, &names()).unwrap();
            assert_eq!(loaded, Some(of_generation(generation)));
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_planted_at_either_name_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let victim = dir.path().join("victim");
        std::fs::write(&victim, "precious").unwrap();
        for name in ["v.part.ckpt.tmp", "v.part.ckpt"] {
            std::os::unix::fs::symlink(&victim, dir.path().join(name)).unwrap();
        }
        let error = load(&folder, &names()).unwrap_err();
        assert!(error.to_string().contains("symbolic link"), "{error}");
        save_on(&folder, 1).unwrap();
        assert_eq!(load(&folder, &names()).unwrap(), Some(of_generation(1)));
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    }

    #[test]
    fn a_file_that_no_checkpoint_can_be_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let file = std::fs::File::create(dir.path().join("v.part.ckpt")).unwrap();
        file.set_len(1 << 40).unwrap();
        let error = load(&folder, &names()).unwrap_err();
        assert!(matches!(error, CheckpointError::TooLong { .. }), "{error}");
    }

    #[test]
    fn a_power_cut_at_any_step_leaves_the_former_checkpoint_or_the_new_one() {
        for cut in 0..14 {
            for seed in 0..200 {
                let disk = FakeDisk::default();
                save_on(&disk, 1).unwrap();
                let first = disk.steps().len();
                disk.cut_at(first + cut);
                let second = save_on(&disk, 2);
                let third = save_on(&disk, 3);
                let rebooted = disk.after_power_cut(&mut fastrand::Rng::with_seed(seed));
                let found = load(&rebooted, &names()).unwrap().unwrap().generation;
                let least = match (second.is_ok(), third.is_ok()) {
                    (_, true) => 3,
                    (true, false) => 2,
                    (false, false) => 1,
                };
                assert!(
                    (least..=3).contains(&found),
                    "cut {cut} seed {seed}: {found}"
                );
                // The next save succeeds after any cut.
                save_on(&rebooted, 9).unwrap();
                assert_eq!(load(&rebooted, &names()).unwrap().unwrap().generation, 9);
            }
        }
    }

    #[test]
    fn an_error_at_any_step_leaves_a_checkpoint() {
        for step in 0..6 {
            let disk = FakeDisk::default();
            save_on(&disk, 1).unwrap();
            disk.fail_at(disk.steps().len() + step);
            let error = save_on(&disk, 2).unwrap_err();
            assert!(matches!(error, CheckpointError::Storage(_)), "step {step}");
            let source = std::error::Error::source(&error).unwrap();
            assert!(source.is::<io::Error>(), "step {step}: {source:?}");
            let found = load(&disk, &names()).unwrap().unwrap().generation;
            assert_eq!(found, if step == 5 { 2 } else { 1 }, "step {step}");
        }
    }
}
