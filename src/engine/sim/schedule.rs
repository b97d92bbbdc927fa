//! One random schedule: runs in any weather, with acts and faults and crashes between them, until
//! one in peace ends it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use fastrand::Rng;

use super::chance::{self, Fault, Setting};
use super::life::{Act, Played, Scene};
use super::oracle::{self, Final};
use super::remote::{Happening, Weather};
use super::verdict::Trial;
use crate::engine::job::Job;
use crate::storage::Durability;
use crate::storage::fake::FakeDisk;

/// Runs of one download, one after the other on one disk.
pub(super) struct Schedule {
    setting: Setting,
    rng: Rng,
    disk: FakeDisk,
    version: usize,
    boot: u8,
    /// The power was cut where nothing was synced: no law binds what is on the disk.
    is_lawless: bool,
    count: Count,
    log: Vec<Entry>,
    /// Tells what happens.
    is_told: bool,
}

/// One run, as it went.
#[derive(Debug, PartialEq)]
pub(super) struct Entry {
    given: String,
    outcome: String,
    happenings: Vec<(Duration, Happening)>,
    steps: Vec<String>,
    left: BTreeMap<OsString, Vec<u8>>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    schedules: u64,
    runs: u64,
    requests: u64,
    failures: u64,
    changes: u64,
    disk_errors: u64,
    kills: u64,
    power_cuts: u64,
}

/// What a run is given.
struct Given {
    job: Job,
    weather: Weather,
    acts: Vec<(Duration, Act)>,
    fault: Fault,
}

impl Schedule {
    pub(super) fn new(seed: u64, is_told: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let setting = chance::setting(&mut rng);
        let disk = FakeDisk::default();
        if !setting.reserves {
            disk.without_reservation();
        }
        if let Some(old) = &setting.world.old {
            disk.plant("v", old);
        }
        Self {
            setting,
            rng,
            disk,
            version: 0,
            boot: 1,
            is_lawless: false,
            count: Count {
                schedules: 1,
                ..Count::default()
            },
            log: Vec::new(),
            is_told,
        }
    }

    pub(super) fn play(mut self) -> (Count, Vec<Entry>) {
        if self.is_told {
            println!("{:?}", self.setting);
        }
        for _ in 0..self.rng.usize(1..=8) {
            let there = oracle::final_name(&self.setting.world, &self.disk);
            if there != Final::Untouched && !self.setting.overwrite {
                break;
            }
            let given = Given {
                job: chance::any_job(&mut self.rng, &self.setting),
                weather: chance::weather(&mut self.rng),
                acts: chance::acts(&mut self.rng),
                fault: chance::fault(&mut self.rng),
            };
            self.run(&given);
        }
        let in_peace = Given {
            job: chance::plain_job(&self.setting),
            weather: chance::fair(&mut self.rng),
            acts: Vec::new(),
            fault: Fault::None,
        };
        self.run(&in_peace);
        (self.count, self.log)
    }

    fn run(&mut self, given: &Given) {
        if self.version + 1 < self.setting.world.lengths.len() && self.rng.u8(0..4) == 0 {
            self.version += 1;
        }
        arm(&self.disk, given.fault);
        let world = &self.setting.world;
        let boot = [self.boot; 16];
        let before = oracle::final_name(world, &self.disk);
        let trusted = oracle::trusted(world, &self.disk, &given.job, boot, self.version);
        let scene = Scene {
            world,
            version: self.version,
            weather: &given.weather,
            job: &given.job,
            acts: &given.acts,
            boot,
        };
        if self.is_told {
            println!("--- {given}");
        }
        let played = scene.play(&self.disk, self.rng.u64(..));
        self.version = played.version;
        self.note(given, &played);
        let trial = Trial {
            world: &self.setting.world,
            disk: &self.disk,
            job: &given.job,
            weather: &given.weather,
            acts: &given.acts,
            has_disk_fault: given.fault != Fault::None,
            is_lawless: self.is_lawless,
            before,
            played: &played,
        };
        trial.judge();
        if before == Final::Untouched {
            oracle::nothing_is_fetched_again(&trusted, played.happenings());
        }
        self.go_on(given, &played);
    }

    /// To the disk that the next run finds.
    fn go_on(&mut self, given: &Given, played: &Played) {
        let Fault::PowerCut(_) = given.fault else {
            self.disk = self.disk.after_exit();
            return;
        };
        self.disk = self.disk.after_power_cut(&mut self.rng);
        self.boot += 1;
        if self.setting.durability == Durability::Unsynced {
            self.is_lawless = true;
            return;
        }
        let found = oracle::laws_hold(&self.setting.world, &self.disk);
        assert_eq!(
            oracle::checkpoint_on(&self.disk).is_some(),
            self.disk.contents("v.part.ckpt").is_some(),
            "a checkpoint that can't be read"
        );
        let is_whole = matches!(found, Final::Whole(_));
        assert!(
            is_whole || played.outcome.is_err(),
            "what was published is gone"
        );
    }

    fn note(&mut self, given: &Given, played: &Played) {
        let steps = self.disk.steps();
        let count = &mut self.count;
        count.runs += 1;
        for what in played.happenings() {
            match what {
                Happening::Asked { .. } => count.requests += 1,
                Happening::Failed(_) => count.failures += 1,
                Happening::Changed => count.changes += 1,
                Happening::Probed { .. } | Happening::Sent { .. } => {}
            }
        }
        match given.fault {
            Fault::Kill(at) => count.kills += u64::from(steps.len() >= at),
            Fault::PowerCut(_) => count.power_cuts += 1,
            Fault::Error(at) | Fault::Full(at) => count.disk_errors += u64::from(steps.len() > at),
            Fault::NoRoom(_) | Fault::None => {}
        }
        let entry = Entry {
            given: given.to_string(),
            outcome: match &played.outcome {
                Ok(report) => format!("{} bytes in {:?}", report.bytes, report.elapsed),
                Err(error) => format!("{:?}: {error}", error.kind()),
            },
            happenings: played.log.clone(),
            steps,
            left: self.disk.listing(),
        };
        if self.is_told {
            entry.print();
        }
        self.log.push(entry);
    }
}

fn arm(disk: &FakeDisk, fault: Fault) {
    match fault {
        Fault::None => {}
        Fault::Kill(step) | Fault::PowerCut(step) => disk.cut_at(step),
        Fault::Error(step) => disk.fail_at(step),
        Fault::Full(step) => disk.full_at(step),
        Fault::NoRoom(bytes) => disk.with_room(bytes),
    }
}

impl std::fmt::Display for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let job = &self.job;
        write!(
            f,
            "{:?}, {:?}, {:?}, part size {:?}, {:?} of {}, limit {:?}, retries {}, fresh {}, {:?}, {:?}, overwrite {}",
            self.fault,
            self.acts,
            self.weather,
            job.part_size,
            job.connections,
            job.max_connections,
            job.limit_rate,
            job.retries,
            job.fresh,
            job.verify,
            job.on_change,
            job.overwrite,
        )
    }
}

impl Entry {
    fn print(&self) {
        for (at, what) in &self.happenings {
            println!("{at:>12?} {what:?}");
        }
        println!("disk: {}", self.steps.join(", "));
        let left = self.left.iter().map(|(name, bytes)| (name, bytes.len()));
        println!("left: {:?}", left.collect::<Vec<_>>());
        println!("=> {}", self.outcome);
    }
}

impl Count {
    pub(super) fn add(&mut self, other: Self) {
        self.schedules += other.schedules;
        self.runs += other.runs;
        self.requests += other.requests;
        self.failures += other.failures;
        self.changes += other.changes;
        self.disk_errors += other.disk_errors;
        self.kills += other.kills;
        self.power_cuts += other.power_cuts;
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} schedules, {} runs, {} requests, {} of them failed, {} changes of the object, {} disk errors, \
             {} crashes: {} kills, {} power cuts",
            self.schedules,
            self.runs,
            self.requests,
            self.failures,
            self.changes,
            self.disk_errors,
            self.kills + self.power_cuts,
            self.kills,
            self.power_cuts,
        )
    }
}
