//! Plays a random schedule: runs with any weather, acts, faults and crashes, and a last run in
//! which nothing fails.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use fastrand::Rng;

use super::chance::{self, Fault, Setting};
use super::oracle::{self, Final};
use super::remote::{ServerEvent, Weather};
use super::scenario::{Act, Played, Scenario};
use super::verdict::Trial;
use crate::engine::job::Job;
use crate::storage::Durability;
use crate::storage::fake::FakeDisk;

/// A random sequence of runs of one download, on one disk.
pub(super) struct Schedule {
    setting: Setting,
    rng: Rng,
    disk: FakeDisk,
    version: usize,
    boot: u8,
    /// Whether the laws do not bind this disk: the power was cut while syncs were off.
    laws_are_waived: bool,
    totals: Totals,
    log: Vec<RunLog>,
    /// Whether to print what happens.
    is_verbose: bool,
}

/// The log of one run, for comparison with a second run of the same seed.
#[derive(Debug, PartialEq)]
pub(super) struct RunLog {
    inputs: String,
    outcome: String,
    events: Vec<(Duration, ServerEvent)>,
    steps: Vec<String>,
    left: BTreeMap<OsString, Vec<u8>>,
}

/// How much was simulated.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    schedules: u64,
    runs: u64,
    requests: u64,
    failures: u64,
    changes: u64,
    disk_errors: u64,
    kills: u64,
    power_cuts: u64,
    /// Runs that published bytes of several versions, where neither a reply nor a block that was
    /// compared could tell.
    mixed: u64,
}

/// The inputs of one run.
struct RunInputs {
    job: Job,
    weather: Weather,
    acts: Vec<(Duration, Act)>,
    fault: Fault,
}

impl Schedule {
    /// Draws the setting of a schedule from its seed.
    pub(super) fn new(seed: u64, is_verbose: bool) -> Self {
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
            laws_are_waived: false,
            totals: Totals {
                schedules: 1,
                ..Totals::default()
            },
            log: Vec::new(),
            is_verbose,
        }
    }

    /// Plays and checks every run.
    pub(super) fn play(mut self) -> (Totals, Vec<RunLog>) {
        if self.is_verbose {
            println!("{:?}", self.setting);
        }
        for _ in 0..self.rng.usize(1..=8) {
            let found = oracle::final_name(&self.setting.world, &self.disk);
            if found != Final::Untouched && !self.setting.overwrite {
                break;
            }
            let inputs = RunInputs {
                job: chance::any_job(&mut self.rng, &self.setting),
                weather: chance::weather(&mut self.rng),
                acts: chance::acts(&mut self.rng),
                fault: chance::fault(&mut self.rng),
            };
            self.run(&inputs);
        }
        let without_faults = RunInputs {
            job: chance::plain_job(&self.setting),
            weather: chance::fair(&mut self.rng),
            acts: Vec::new(),
            fault: Fault::None,
        };
        self.run(&without_faults);
        (self.totals, self.log)
    }

    fn run(&mut self, inputs: &RunInputs) {
        if self.version + 1 < self.setting.world.lengths.len() && self.rng.u8(0..4) == 0 {
            self.version += 1;
        }
        arm(&self.disk, inputs.fault);
        let world = &self.setting.world;
        let boot = [self.boot; 16];
        let before = oracle::final_name(world, &self.disk);
        let trusted = oracle::trusted(world, &self.disk, &inputs.job, boot, self.version);
        let scenario = Scenario {
            world,
            version: self.version,
            weather: &inputs.weather,
            job: &inputs.job,
            acts: &inputs.acts,
            boot,
        };
        if self.is_verbose {
            println!("--- {inputs}");
        }
        let played = scenario.play(&self.disk, self.rng.u64(..));
        self.version = played.version;
        self.note(inputs, &played);
        let trial = Trial {
            world: &self.setting.world,
            disk: &self.disk,
            job: &inputs.job,
            weather: &inputs.weather,
            acts: &inputs.acts,
            has_disk_fault: inputs.fault != Fault::None,
            fault_ends_runs: ends_runs(&self.disk.steps(), inputs.fault),
            laws_are_waived: self.laws_are_waived,
            before,
            played: &played,
        };
        trial.judge();
        let after = oracle::final_name(&self.setting.world, &self.disk);
        self.totals.mixed += u64::from(after == Final::Mixed && before != Final::Mixed);
        if before == Final::Untouched {
            oracle::nothing_is_fetched_again(&self.setting.world, &trusted, played.events());
        }
        self.leave_disk(inputs, &played);
    }

    /// Turns the disk into the one that the next run finds.
    fn leave_disk(&mut self, inputs: &RunInputs, played: &Played) {
        let Fault::PowerCut(_) = inputs.fault else {
            self.disk = self.disk.after_exit();
            return;
        };
        self.disk = self.disk.after_power_cut(&mut self.rng);
        self.boot += 1;
        if self.setting.durability == Durability::Unsynced {
            self.laws_are_waived = true;
            return;
        }
        let found = oracle::laws_hold(&self.setting.world, &self.disk);
        assert_eq!(
            oracle::checkpoint_on(&self.disk).is_some(),
            self.disk.contents("v.part.ckpt").is_some(),
            "a checkpoint that can't be read"
        );
        let is_whole = matches!(found, Final::Whole(_) | Final::Mixed);
        assert!(
            is_whole || played.outcome.is_err(),
            "the published file is gone"
        );
    }

    /// Adds a run to the totals and the log.
    fn note(&mut self, inputs: &RunInputs, played: &Played) {
        let steps = self.disk.steps();
        let count = &mut self.totals;
        count.runs += 1;
        for what in played.events() {
            match what {
                ServerEvent::Asked { .. } => count.requests += 1,
                ServerEvent::Failed(_) => count.failures += 1,
                ServerEvent::Changed => count.changes += 1,
                ServerEvent::Probed { .. }
                | ServerEvent::Replied { .. }
                | ServerEvent::Looked
                | ServerEvent::LookedElse
                | ServerEvent::Sent { .. } => {}
            }
        }
        match inputs.fault {
            Fault::Kill(at) => count.kills += u64::from(steps.len() >= at),
            Fault::PowerCut(_) => count.power_cuts += 1,
            Fault::Error(at) | Fault::Full(at) | Fault::NoInodes(at) => {
                count.disk_errors += u64::from(steps.len() > at);
            }
            Fault::NoRoom(_) | Fault::None => {}
        }
        let entry = RunLog {
            inputs: inputs.to_string(),
            outcome: match &played.outcome {
                Ok(report) => format!("{} bytes in {:?}", report.bytes, report.elapsed),
                Err(error) => format!("{:?}: {error}", error.kind()),
            },
            events: played.log.clone(),
            steps,
            left: self.disk.listing(),
        };
        if self.is_verbose {
            entry.print();
        }
        self.log.push(entry);
    }
}

/// Whether a fault may have ended the run that took these steps. One that hit a checkpoint alone
/// may not.
fn ends_runs(steps: &[String], fault: Fault) -> bool {
    match fault {
        Fault::None => false,
        Fault::Error(step) => !oracle::is_of_a_checkpoint(steps, step),
        // The partial file is created once, and everything else under the temporary name.
        Fault::NoInodes(first) => steps.iter().skip(first).any(|step| step == "create v.part"),
        Fault::Kill(_) | Fault::PowerCut(_) | Fault::Full(_) | Fault::NoRoom(_) => true,
    }
}

/// Prepares a disk for a fault.
fn arm(disk: &FakeDisk, fault: Fault) {
    match fault {
        Fault::None => {}
        Fault::Kill(step) | Fault::PowerCut(step) => disk.cut_at(step),
        Fault::Error(step) => disk.fail_at(step),
        Fault::Full(step) => disk.full_at(step),
        Fault::NoInodes(step) => disk.no_inodes_at(step),
        Fault::NoRoom(bytes) => disk.with_room(bytes),
    }
}

impl std::fmt::Display for RunInputs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let job = &self.job;
        write!(
            f,
            "{:?}, {:?}, {:?}, part size {:?}, {:?} of {}, limit {:?}, retries {}, fresh {}, \
             {:?}, {:?}, overwrite {}",
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

impl RunLog {
    fn print(&self) {
        for (at, what) in &self.events {
            println!("{at:>12?} {what:?}");
        }
        println!("disk: {}", self.steps.join(", "));
        let left = self.left.iter().map(|(name, bytes)| (name, bytes.len()));
        println!("left: {:?}", left.collect::<Vec<_>>());
        println!("=> {}", self.outcome);
    }
}

impl Totals {
    /// Adds the totals of another schedule.
    pub(super) fn add(&mut self, other: Self) {
        self.schedules += other.schedules;
        self.runs += other.runs;
        self.requests += other.requests;
        self.failures += other.failures;
        self.changes += other.changes;
        self.disk_errors += other.disk_errors;
        self.kills += other.kills;
        self.power_cuts += other.power_cuts;
        self.mixed += other.mixed;
    }
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} schedules, {} runs, {} requests, {} of them failed, {} changes of the object, \
             {} disk errors, {} crashes: {} kills, {} power cuts, {} mixed that nothing could tell",
            self.schedules,
            self.runs,
            self.requests,
            self.failures,
            self.changes,
            self.disk_errors,
            self.kills + self.power_cuts,
            self.kills,
            self.power_cuts,
            self.mixed,
        )
    }
}
