//! Cuts the power at every step of the disk in turn, and resumes from several images of what may
//! have survived each cut.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::time::Duration;

use super::oracle::{self, Final};
use super::remote::Weather;
use super::scenario::{Act, Scenario};
use super::world::{BOOT, World, job};
use crate::engine::job::Job;
use crate::error::ErrorKind;
use crate::options::Connections;
use crate::storage::Durability;
use crate::storage::fake::FakeDisk;

/// The boot ID after a power cut.
pub(super) const NEXT_BOOT: [u8; 16] = [2; 16];
/// The boot ID after a second power cut.
const LAST_BOOT: [u8; 16] = [3; 16];

/// How many torn images of the disk are tried per cut, each with a random part of what was not
/// synced. Two more are tried: the image that the next process of the same boot finds, and the one
/// that has only what was synced.
const TEARS: u64 = 10;
/// Size of a part, in bytes.
const PART: u64 = 40;
/// The seed of every run but the resumed ones.
const SEED: u64 = 7;

/// A download whose disk is made to fail.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) world: World,
    pub(super) job: Job,
    /// The disk before the download.
    pub(super) start: FakeDisk,
    version: usize,
    acts: Vec<(Duration, Act)>,
}

impl Case {
    /// A download of six parts onto an empty disk.
    fn new(name: &'static str) -> Self {
        let world = World::new(SEED, &[5 * PART + 13, 4 * PART + 3]);
        Self {
            name,
            job: job(&world, PART),
            world,
            start: FakeDisk::default(),
            version: 0,
            acts: Vec::new(),
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Puts an older file at the final name, for the download to replace.
    fn over_an_old_file(self) -> Self {
        self.with(|case| {
            let old = b"an older file, replaced".to_vec();
            case.start.plant("v", &old);
            case.world.old = Some(old);
            case.job.overwrite = true;
        })
    }

    /// Runs the download, and stops it half-way.
    fn half_done(self) -> Self {
        self.with(|case| {
            let acts = [(Duration::from_millis(900), Act::Stop)];
            let first = Scenario {
                acts: &acts,
                ..case.scenario(BOOT)
            };
            let stopped = first.play(&case.start, SEED).outcome.unwrap_err();
            assert_eq!(stopped.kind(), ErrorKind::Stopped, "{stopped}");
            case.start = case.start.after_exit();
            let parts = oracle::checkpoint_on(&case.start).unwrap().completed;
            assert!(!parts.is_full() && parts.count() > 0, "{parts:?}");
        })
    }

    /// Turns syncs off.
    fn unsynced(self) -> Self {
        self.with(|case| case.job.durability = Durability::Unsynced)
    }

    /// Adds an act, `after` milliseconds after the one before.
    fn acting(self, after: u64, act: Act) -> Self {
        self.with(|case| case.acts.push((Duration::from_millis(after), act)))
    }

    /// The run of this download in the given boot.
    pub(super) fn scenario(&self, boot: [u8; 16]) -> Scenario<'_> {
        Scenario {
            world: &self.world,
            version: self.version,
            weather: &FAIR,
            job: &self.job,
            acts: &self.acts,
            boot,
        }
    }

    /// Runs the download on an image of the disk without faults. It must publish the right bytes
    /// and fetch nothing that it can trust.
    #[track_caller]
    pub(super) fn resumes(&self, image: &FakeDisk, boot: [u8; 16], version: usize, place: &str) {
        let before = oracle::final_name(&self.world, image);
        let trusted = oracle::trusted(&self.world, image, &self.job, boot, version);
        let scenario = Scenario {
            version,
            acts: &[],
            ..self.scenario(boot)
        };
        let played = scenario.play(image, SEED + 1);
        let after = oracle::final_name(&self.world, image);
        match (&played.outcome, before) {
            (Ok(_), Final::Untouched | Final::Wrong | Final::Mixed) => {
                assert_eq!(after, Final::Whole(version), "{place}");
            }
            (Ok(_), Final::Whole(_)) => assert!(matches!(after, Final::Whole(_)), "{place}"),
            (Err(error), Final::Whole(_) | Final::Wrong) if !self.job.overwrite => {
                assert_eq!(error.kind(), ErrorKind::File, "{place}: {error}");
                assert_eq!(after, before, "{place}");
            }
            (Err(error), _) => panic!("{place}: {error}"),
        }
        if played.outcome.is_ok() {
            for name in ["v.part", "v.part.ckpt", "v.part.ckpt.tmp"] {
                assert_eq!(image.contents(name), None, "{place}: {name} is left");
            }
        }
        if before == Final::Untouched {
            oracle::nothing_is_fetched_again(&self.world, &trusted, played.events());
        }
    }
}

/// The weather of every run.
static FAIR: std::sync::LazyLock<Weather> = std::sync::LazyLock::new(Weather::fair);

/// The downloads that are made to fail at every step.
pub(super) fn cases() -> Vec<Case> {
    let two = Connections::Fixed(std::num::NonZeroU32::new(2).unwrap());
    vec![
        Case::new("new"),
        Case::new("two connections").with(|case| case.job.connections = two),
        Case::new("no reservation").with(|case| case.start.without_reservation()),
        Case::new("no umask").with(|case| case.start.with_hidden_umask(0o077)),
        Case::new("over an old file").over_an_old_file(),
        Case::new("resumed").half_done(),
        Case::new("resumed over an old file")
            .over_an_old_file()
            .half_done(),
        Case::new("of a new version")
            .half_done()
            .with(|case| case.version = 1),
        Case::new("fresh")
            .half_done()
            .with(|case| case.job.fresh = true),
        Case::new("with a checkpoint whose file is lost")
            .half_done()
            .with(|case| case.start.forget("v.part")),
        Case::new("changed midway").acting(1500, Act::Change),
        Case::new("paused").acting(900, Act::Pause(Duration::from_secs(5))),
        Case::new("stopped").acting(1500, Act::Stop),
        Case::new("cancelled").acting(1500, Act::Cancel),
        Case::new("cancelled over an old file")
            .over_an_old_file()
            .half_done()
            .acting(500, Act::Cancel),
        Case::new("without syncs").unsynced(),
        Case::new("resumed without syncs").unsynced().half_done(),
        Case::new("without syncs over an old file")
            .over_an_old_file()
            .unsynced(),
        Case::new("ranges")
            .with(|case| {
                let ranges = "150-,3-90";
                case.world.selection = crate::object::SelectionSpec::parse(ranges).unwrap();
                case.job.selection = case.world.selection.clone();
            })
            .half_done(),
    ]
}

/// How many power cuts were simulated, and how many images of the disk they left.
#[derive(Default)]
struct CutCount {
    cuts: usize,
    images: usize,
    /// The images that differ from all others of the same case. Only these are resumed from.
    different: usize,
}

/// The images that were resumed from: the files on the disk, the boot ID, the server's version.
type Seen = HashSet<(BTreeMap<OsString, Vec<u8>>, [u8; 16], usize)>;

/// The images of the disk after a cut, and the boot ID that finds each.
pub(super) fn images(disk: &FakeDisk, seed: u64) -> impl Iterator<Item = (FakeDisk, [u8; 16])> {
    let same = std::iter::once((disk.after_exit(), BOOT));
    let durable = std::iter::once((disk.durable_only(), NEXT_BOOT));
    let torn = (0..TEARS).map(move |tear| {
        let mut rng = fastrand::Rng::with_seed(seed * 1000 + tear);
        (disk.after_power_cut(&mut rng), NEXT_BOOT)
    });
    same.chain(durable).chain(torn)
}

/// Cuts the power at every step of a download, and resumes from each image.
fn cut_everywhere(case: &Case, count: &mut CutCount) {
    let whole_run = case.start.after_exit();
    case.scenario(BOOT).play(&whole_run, SEED).outcome.ok();
    let steps = whole_run.steps().len();
    let mut seen = Seen::new();
    for cut in 0..=steps {
        let disk = case.start.after_exit();
        disk.cut_at(cut);
        let played = case.scenario(BOOT).play(&disk, SEED);
        assert_eq!(
            disk.steps(),
            whole_run.steps()[..cut],
            "{}: cut {cut}",
            case.name
        );
        oracle::laws_hold(&case.world, &disk);
        count.cuts += 1;
        for (number, (image, boot)) in images(&disk, cut as u64).enumerate() {
            let place = format!("{}: cut before step {cut}, image {number}", case.name);
            if boot == BOOT || oracle::is_bound(&case.job) {
                let found = oracle::laws_hold(&case.world, &image);
                let published = matches!(found, Final::Whole(_));
                assert!(published || played.outcome.is_err(), "{place}");
            }
            count.images += 1;
            if seen.insert((image.listing(), boot, played.version)) {
                case.resumes(&image, boot, played.version, &place);
                count.different += 1;
            }
        }
    }
    println!("{}: {} cuts", case.name, steps + 1);
}

#[test]
fn a_download_resumes_after_a_power_cut_at_any_step() {
    let mut count = CutCount::default();
    for case in cases() {
        cut_everywhere(&case, &mut count);
    }
    println!(
        "{} power cuts, {} images of the disk, {} of them different",
        count.cuts, count.images, count.different
    );
    assert!(count.cuts > 900 && count.different > 2_000);
}

/// Cuts the resumed run at every step as well, on a torn image of the disk.
#[test]
fn a_download_resumes_after_a_second_power_cut_at_any_step() {
    let mut count = CutCount::default();
    let case = Case::new("new");
    let whole_run = case.start.after_exit();
    case.scenario(BOOT).play(&whole_run, SEED).outcome.unwrap();
    let (mut cut_again, mut resumed) = (Seen::new(), Seen::new());
    for cut in 0..=whole_run.steps().len() {
        let disk = case.start.after_exit();
        disk.cut_at(cut);
        case.scenario(BOOT).play(&disk, SEED).outcome.ok();
        let mut rng = fastrand::Rng::with_seed(cut as u64);
        let again = Case {
            start: disk.after_power_cut(&mut rng),
            ..Case::new("again")
        };
        if !cut_again.insert((again.start.listing(), NEXT_BOOT, 0)) {
            continue;
        }
        count.cuts += 1;
        let second_run = again.start.after_exit();
        again
            .scenario(NEXT_BOOT)
            .play(&second_run, SEED)
            .outcome
            .ok();
        for second in 0..=second_run.steps().len() {
            let disk = again.start.after_exit();
            disk.cut_at(second);
            again.scenario(NEXT_BOOT).play(&disk, SEED).outcome.ok();
            let image = disk.after_power_cut(&mut rng);
            let place = format!("cut before step {cut}, then {second}");
            oracle::laws_hold(&again.world, &disk);
            oracle::laws_hold(&again.world, &image);
            count.images += 1;
            if resumed.insert((image.listing(), LAST_BOOT, 0)) {
                again.resumes(&image, LAST_BOOT, 0, &place);
                count.different += 1;
            }
        }
    }
    println!(
        "{} different disks after a power cut, {} second cuts, {} different disks after them",
        count.cuts, count.images, count.different
    );
    assert!(count.cuts > 30 && count.images > 1_000);
}
