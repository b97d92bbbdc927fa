use super::*;
use crate::storage::fake::{FakeDisk, FakeFile};
use crate::storage::{Folder, StorageErrorKind, create_locked, open_locked};
use std::os::unix::fs::PermissionsExt;

const BYTES: &[u8] = b"the whole object, some sectors long, so that a tear shows";

fn names() -> Names {
    Names::new(OsStr::new("v")).unwrap()
}

fn publish_on(disk: &FakeDisk, collision: Collision) -> Result<Published, StorageError> {
    let file = open_locked(disk, names().part())?.expect("a part file");
    finish(disk, &file, collision)
}

fn finish(
    disk: &FakeDisk,
    file: &FakeFile,
    collision: Collision,
) -> Result<Published, StorageError> {
    let length = BYTES.len() as u64;
    publish(disk, &names(), file, length, collision, Durability::Synced)
}

/// A part file that is written and not synced, with its checkpoint.
fn ready() -> FakeDisk {
    let disk = FakeDisk::default();
    disk.plant("v.part", &vec![0; BYTES.len()]);
    disk.plant("v.part.ckpt", b"checkpoint");
    let file = disk.open(OsStr::new("v.part")).unwrap();
    file.write_at(0, BYTES).unwrap();
    disk
}

#[test]
fn the_steps_and_their_order() {
    let disk = ready();
    let published = publish_on(&disk, Collision::Refuse).unwrap();
    assert!(matches!(published, Published::Clean));
    let expected = [
        "write v.part",
        "sync v.part",
        "permit v.part",
        "rename v.part",
        "sync folder",
        "remove v.part.ckpt.tmp",
        "remove v.part.ckpt",
        "sync folder",
    ];
    assert_eq!(disk.steps(), expected);
}

#[test]
fn a_power_cut_at_any_step_leaves_the_old_file_or_the_whole_new_one() {
    let steps = {
        let disk = ready();
        publish_on(&disk, Collision::Replace).unwrap();
        disk.steps().len()
    };
    for cut in 1..=steps {
        for seed in 0..200 {
            let disk = ready();
            disk.plant("v", b"old");
            disk.cut_at(cut);
            let result = publish_on(&disk, Collision::Replace);
            let rebooted = disk.after_power_cut(&mut fastrand::Rng::with_seed(seed));
            let found = rebooted.contents("v").unwrap();
            let whole = found == BYTES;
            assert!(whole || found == b"old", "cut {cut} seed {seed}: {found:?}");
            assert!(whole || result.is_err(), "cut {cut} seed {seed}");
            let resumable = ["v.part", "v.part.ckpt"].map(|name| rebooted.contents(name).is_some());
            assert!(whole || resumable == [true, true], "cut {cut} seed {seed}");
            let found = at_output(&rebooted, &names()).unwrap();
            let is_alone = matches!(found, AtOutput::Alone(_));
            assert_eq!(is_alone, whole, "cut {cut} seed {seed}");
        }
    }
}

#[test]
fn an_error_at_any_step_before_the_rename_touches_nothing() {
    for (step, touched) in [(1, false), (2, false), (3, false), (4, true)] {
        let disk = ready();
        disk.fail_at(step);
        publish_on(&disk, Collision::Refuse).unwrap_err();
        assert_eq!(disk.contents("v").is_some(), touched, "step {step}");
        assert!(disk.contents("v.part.ckpt").is_some());
    }
    for step in [6, 7] {
        let disk = ready();
        disk.fail_at(step);
        let published = publish_on(&disk, Collision::Refuse).unwrap();
        assert!(matches!(published, Published::Leftover(_)), "step {step}");
        assert_eq!(disk.contents("v").unwrap(), BYTES);
    }
}

#[test]
fn a_file_in_the_way_stays() {
    let disk = ready();
    disk.plant("v", b"old");
    let error = publish_on(&disk, Collision::Refuse).unwrap_err();
    assert_eq!(error.kind(), StorageErrorKind::Exists);
    assert_eq!(disk.contents("v").unwrap(), b"old");
    assert_eq!(disk.contents("v.part").unwrap(), BYTES);
}

#[test]
fn a_part_file_that_was_changed_is_not_published() {
    let disk = ready();
    let file = open_locked(&disk, names().part()).unwrap().unwrap();
    file.set_len(3).unwrap();
    let truncated = finish(&disk, &file, Collision::Refuse).unwrap_err();
    assert_eq!(truncated.kind(), StorageErrorKind::Tampered);
    let disk = ready();
    let file = open_locked(&disk, names().part()).unwrap().unwrap();
    disk.plant("v.part", BYTES);
    let replaced = finish(&disk, &file, Collision::Refuse).unwrap_err();
    assert_eq!(replaced.kind(), StorageErrorKind::Tampered);
    assert!(disk.contents("v").is_none());
}

/// Publishes over what stands there, and returns the mode of the result.
fn published_mode(disk: &FakeDisk) -> u32 {
    let published = publish_on(disk, Collision::Replace).unwrap();
    assert!(matches!(published, Published::Clean));
    assert_eq!(disk.listing().len(), 1);
    disk.mode(names().output()).unwrap().unwrap()
}

#[test]
fn a_replaced_file_hands_on_its_permissions() {
    for mode in [0o600, 0o640, 0o755, 0o444, 0o000] {
        let disk = ready();
        disk.with_umask(0o027);
        disk.plant("v", b"old");
        disk.open(names().output()).unwrap().set_mode(mode).unwrap();
        assert_eq!(published_mode(&disk), mode);
        let disk = ready();
        disk.with_umask(0o027);
        assert_eq!(published_mode(&disk), 0o640, "nothing is replaced");
    }
}

/// The part file of a run that ends before the rename can be opened by the next one.
#[test]
fn a_part_file_stays_open_to_its_owner() {
    let disk = ready();
    disk.plant("v", b"old");
    disk.open(names().output())
        .unwrap()
        .set_mode(0o004)
        .unwrap();
    disk.fail_at(disk.steps().len() + 2);
    publish_on(&disk, Collision::Replace).unwrap_err();
    assert_eq!(disk.steps().last().unwrap(), "rename v.part");
    assert_eq!(disk.mode(names().part()).unwrap(), Some(0o604));
}

#[test]
fn a_umask_that_nothing_tells_is_learnt_from_a_file() {
    let disk = ready();
    disk.with_hidden_umask(0o077);
    disk.plant("v.part.ckpt.tmp", b"left over");
    assert_eq!(published_mode(&disk), 0o600);
    let steps = disk.steps();
    assert_eq!(
        steps[2..6],
        [
            "remove v.part.ckpt.tmp",
            "create v.part.ckpt.tmp",
            "remove v.part.ckpt.tmp",
            "permit v.part"
        ]
    );
    // The owner alone reads the file where no other file can be made.
    for step in 2..5 {
        let disk = ready();
        disk.with_hidden_umask(0o022);
        disk.fail_at(step);
        let mode = published_mode(&disk);
        assert_eq!(mode, if step == 4 { 0o644 } else { 0o600 }, "step {step}");
    }
}

#[test]
fn what_another_run_holds_is_not_removed() {
    let disk = ready();
    let file = open_locked(&disk, names().part()).unwrap().unwrap();
    remove_partial(&disk, &names()).unwrap();
    assert_eq!(disk.listing().len(), 2);
    drop(file);
    remove_partial(&disk, &names()).unwrap();
    assert_eq!(disk.listing().len(), 0);
}

#[test]
fn on_the_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    let put = |collision| {
        let file = match open_locked(&folder, names().part())? {
            Some(file) => file,
            None => create_locked(&folder, names().part())?.expect("a free name"),
        };
        file.write_at(0, BYTES).unwrap();
        std::fs::write(dir.path().join("v.part.ckpt"), "x").unwrap();
        let length = BYTES.len() as u64;
        publish(
            &folder,
            &names(),
            &file,
            length,
            collision,
            Durability::Synced,
        )
    };
    assert!(matches!(put(Collision::Refuse), Ok(Published::Clean)));
    let output = dir.path().join("v");
    assert_eq!(std::fs::read(&output).unwrap(), BYTES);
    let mode = std::fs::metadata(&output).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666 & !folder.umask().unwrap());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    let refused = put(Collision::Refuse).unwrap_err();
    assert_eq!(refused.kind(), StorageErrorKind::Exists);
    let permit = |path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    permit(&output, 0o604);
    assert!(matches!(put(Collision::Replace), Ok(Published::Clean)));
    assert_eq!(folder.mode(names().output()).unwrap(), Some(0o604));
    // A symbolic link has no permissions to hand on, nor does the file that it names.
    std::fs::rename(&output, dir.path().join("other")).unwrap();
    std::os::unix::fs::symlink("other", &output).unwrap();
    assert!(matches!(put(Collision::Replace), Ok(Published::Clean)));
    std::fs::remove_file(dir.path().join("other")).unwrap();
    let by_umask = Some(0o666 & !folder.umask().unwrap());
    assert_eq!(folder.mode(names().output()).unwrap(), by_umask);
    assert_eq!(probed_mode(&folder, &names()), by_umask);
    // Without RENAME_NOREPLACE, a crash may leave the file with both names.
    std::fs::hard_link(&output, dir.path().join("v.part")).unwrap();
    let found = at_output(&folder, &names()).unwrap();
    assert_eq!(found, AtOutput::Alone(BYTES.len() as u64));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}
