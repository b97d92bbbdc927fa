//! Plays one run of the engine from start to end, together with its caller.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::time::{sleep, timeout};

use super::idle_gate::IdleGate;
use super::oracle;
use super::remote::{ServerEvent, SimServer, Weather};
use super::world::{BOOT, World, names};
use crate::engine::context::Context;
use crate::engine::control::Intent;
use crate::engine::control::shared::Shared;
use crate::engine::job::Job;
use crate::engine::output::destination::OpenDestination;
use crate::engine::output::file::{self, leftovers};
use crate::engine::run::{self, Passes};
use crate::error::Error;
use crate::event::Event;
use crate::report::Report;
use crate::storage::Names;
use crate::storage::fake::FakeDisk;

/// The longest run by the simulated clock, in any weather.
const LONGEST: Duration = Duration::from_secs(4 * 3600);

/// Something that the caller or the server does during a run.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Pauses, waits for the quiet phase, checks after this time that nothing happened, and
    /// resumes.
    Pause(Duration),
    /// Pauses, and resumes without waiting for the quiet phase.
    Flicker,
    /// Pauses, waits for the quiet phase, and ends the run with this intent.
    EndQuiet(Intent),
    /// Stops the run.
    Stop,
    /// Cancels the run.
    Cancel,
    /// Replaces the object on its server with the next version.
    Change,
}

/// Everything that a run depends on, but for its disk and its seed.
#[derive(Clone, Copy)]
pub(super) struct Scenario<'a> {
    pub(super) world: &'a World,
    /// The version that the server has at first.
    pub(super) version: usize,
    pub(super) weather: &'a Weather,
    pub(super) job: &'a Job,
    /// What the caller and the server do, each after a wait.
    pub(super) acts: &'a [(Duration, Act)],
    /// The boot ID of the machine.
    pub(super) boot: [u8; 16],
}

/// A run that has ended.
pub(super) struct Played {
    pub(super) outcome: Result<Report, Error>,
    /// The version that the server has at last.
    pub(super) version: usize,
    pub(super) log: Vec<(Duration, ServerEvent)>,
    pub(super) shared: Shared,
}

impl Played {
    /// The time between the last head that told a version and the last bytes.
    pub(super) fn unseen(&self) -> Duration {
        let last = |is_one: fn(&ServerEvent) -> bool| {
            let mut found = self.log.iter().filter(|(_, what)| is_one(what));
            found.next_back().map_or(Duration::ZERO, |(at, _)| *at)
        };
        let told = last(|what| matches!(what, ServerEvent::Replied { .. } | ServerEvent::Looked));
        last(|what| matches!(what, ServerEvent::Sent { .. })).saturating_sub(told)
    }

    /// The events of the server, in order.
    pub(super) fn events(&self) -> impl Iterator<Item = &ServerEvent> {
        self.log.iter().map(|(_, what)| what)
    }

    /// What the caller was told of the network.
    pub(super) fn network_events(&self) -> Vec<Event> {
        let is_one = |event: &Event| matches!(event, Event::Offline | Event::Online { .. });
        self.told().into_iter().filter(is_one).collect()
    }

    /// What the caller was told.
    fn told(&self) -> Vec<Event> {
        let mut told = self.shared.events.subscribe();
        let next = || poll_fn(|cx| told.poll_next(cx)).now_or_never().flatten();
        std::iter::from_fn(next).collect()
    }

    /// How often the run warned that the checkpoint can't be written.
    pub(super) fn checkpoint_warnings(&self) -> usize {
        let is_one = |event: &&Event| {
            matches!(event, Event::Warning { message }
                if message.starts_with("the checkpoint can't be written: "))
        };
        self.told().iter().filter(is_one).count()
    }
}

impl<'a> Scenario<'a> {
    /// A first run, of the first version, in which nobody interferes.
    pub(super) fn undisturbed(world: &'a World, weather: &'a Weather, job: &'a Job) -> Self {
        Self {
            world,
            version: 0,
            weather,
            job,
            acts: &[],
            boot: BOOT,
        }
    }

    /// Plays the run on `disk`. The same seed and disk give the same run.
    pub(super) fn play(self, disk: &FakeDisk, seed: u64) -> Played {
        fastrand::seed(seed);
        let (runtime, gate) = IdleGate::runtime();
        let before_step = Arc::clone(&gate);
        disk.before_each_step(move || before_step.wait());
        let _opener = gate.open_on_drop();
        let rng = fastrand::Rng::with_seed(seed);
        runtime.block_on(async {
            let shared = Shared::new();
            let server =
                SimServer::new(self.world.clone(), self.version, self.weather.clone(), rng);
            let run = EngineRun {
                world: self.world,
                server: &server,
                disk,
                job: self.job,
                boot: self.boot,
                acts: self.acts,
            };
            Played {
                outcome: run.play(&shared).await,
                version: server.version(),
                log: server.log(),
                shared,
            }
        })
    }
}

/// The engine and its caller during a run.
#[derive(Clone, Copy)]
struct EngineRun<'a> {
    world: &'a World,
    server: &'a SimServer,
    disk: &'a FakeDisk,
    job: &'a Job,
    boot: [u8; 16],
    acts: &'a [(Duration, Act)],
}

impl EngineRun<'_> {
    async fn play(self, shared: &Shared) -> Result<Report, Error> {
        let outcome = tokio::select! {
            biased;
            outcome = timeout(LONGEST, self.drive(shared)) => outcome,
            () = self.act(shared) => unreachable!("the acts wait for the end of the run"),
        };
        shared.control.end();
        outcome.unwrap_or_else(|_| panic!("a run that never ends: {:?}", self.server.log()))
    }

    /// Does what `run::download` does, with the simulated server in place of a probe.
    async fn drive(self, shared: &Shared) -> Result<Report, Error> {
        let (volume, names) = (Arc::new(self.disk.clone()), names());
        let destination = OpenDestination::File {
            volume: Arc::clone(&volume),
            names: names.clone(),
        };
        let mut context = run::context(self.job, shared, &destination, Some(self.boot));
        let outcome = self.passes(&mut context, &volume, &names).await;
        leftovers::settle(&context, volume, names, outcome).await
    }

    async fn passes(
        self,
        context: &mut Context<'_>,
        volume: &Arc<FakeDisk>,
        names: &Names,
    ) -> Result<Report, Error> {
        let target = || (Arc::clone(volume), names.clone());
        let (disk, name) = target();
        if let Some(report) = leftovers::look_first(context, disk, name).await? {
            return Ok(report);
        }
        let mut passes = Passes::new(self.job);
        loop {
            let probing = self.server.probe(self.job, &passes);
            let object = context.unless_ended(probing).await??;
            let (disk, name) = target();
            let restore = passes.next.restore.clone();
            let outcome = file::in_parts(context, disk, name, object, &restore).await?;
            if let Some(report) = passes.after(context, outcome).await? {
                return Ok(report);
            }
        }
    }

    /// Does what the scenario says, and waits for the end of the run.
    async fn act(self, shared: &Shared) {
        for (wait, act) in self.acts {
            sleep(*wait).await;
            match act {
                Act::Pause(length) => {
                    self.pause(shared, *length).await;
                    shared.control.ask(Intent::Run);
                }
                Act::EndQuiet(intent) => {
                    self.pause(shared, Duration::from_secs(1)).await;
                    shared.control.ask(*intent);
                }
                Act::Flicker => {
                    shared.control.ask(Intent::Pause);
                    sleep(Duration::from_millis(1)).await;
                    shared.control.ask(Intent::Run);
                }
                Act::Stop => shared.control.ask(Intent::Stop),
                Act::Cancel => shared.control.ask(Intent::Cancel),
                Act::Change => self.server.change(),
            }
        }
        std::future::pending::<()>().await;
    }

    /// Pauses, waits for the quiet phase, and checks that nothing happens for `length`.
    async fn pause(self, shared: &Shared, length: Duration) {
        shared.control.ask(Intent::Pause);
        // The future is dropped where the run ends first.
        shared.control.settled().await;
        let steps_and_events = || {
            assert_eq!(
                self.server.active(),
                0,
                "a request is active in the quiet phase"
            );
            (self.disk.steps().len(), self.server.log().len())
        };
        let before = steps_and_events();
        // A checkpoint that can't be written does not keep a pause from beginning.
        if !self.disk.has_failed() {
            oracle::all_is_committed(self.world, self.disk, shared);
        }
        sleep(length).await;
        assert_eq!(
            steps_and_events(),
            before,
            "something happened during a pause"
        );
    }
}
