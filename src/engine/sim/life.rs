//! One run of the engine, from its start to its end, and the caller beside it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::oracle;
use super::remote::{Happening, Server, Weather};
use super::turn::Turn;
use super::world::{World, names};
use crate::engine::context::Context;
use crate::engine::control::Intent;
use crate::engine::control::shared::Shared;
use crate::engine::job::Job;
use crate::engine::output::destination::OpenDestination;
use crate::engine::output::file::{self, leftovers};
use crate::engine::run::{self, Passes};
use crate::error::Error;
use crate::report::Report;
use crate::storage::Names;
use crate::storage::fake::FakeDisk;

/// No run takes longer by its own clock, however bad the weather.
const LONGEST: Duration = Duration::from_secs(4 * 3600);

/// What happens to a run from outside, each after a wait.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Pauses, waits until all is quiet, looks again after a while, goes on.
    Pause(Duration),
    /// Pauses and goes on without waiting for quiet.
    Flicker,
    /// Pauses, waits until all is quiet, and ends it in this way.
    EndQuiet(Intent),
    Stop,
    Cancel,
    /// The object changes on its server.
    Change,
}

/// A run, and the world that it meets.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) world: &'a World,
    /// The version that the server has at first.
    pub(super) version: usize,
    pub(super) weather: &'a Weather,
    pub(super) job: &'a Job,
    pub(super) acts: &'a [(Duration, Act)],
    pub(super) boot: [u8; 16],
}

/// How it went.
pub(super) struct Played {
    pub(super) outcome: Result<Report, Error>,
    /// The version that the server has at last.
    pub(super) version: usize,
    pub(super) log: Vec<(Duration, Happening)>,
    pub(super) shared: Shared,
}

impl Played {
    pub(super) fn happenings(&self) -> impl Iterator<Item = &Happening> {
        self.log.iter().map(|(_, what)| what)
    }
}

impl Scene<'_> {
    /// Plays it on `disk`. The same seed and disk give the same run.
    pub(super) fn play(self, disk: &FakeDisk, seed: u64) -> Played {
        fastrand::seed(seed);
        let (runtime, turn) = Turn::runtime();
        let order = Arc::clone(&turn);
        disk.before_each_step(move || order.wait());
        let _end = turn.ends();
        let rng = fastrand::Rng::with_seed(seed);
        runtime.block_on(async {
            let shared = Shared::new();
            let server = Server::new(self.world.clone(), self.version, self.weather.clone(), rng);
            let life = Life {
                server: &server,
                disk,
                job: self.job,
                boot: self.boot,
                acts: self.acts,
            };
            Played {
                outcome: life.live(&shared).await,
                version: server.version(),
                log: server.log(),
                shared,
            }
        })
    }
}

/// One run of the engine.
#[derive(Clone, Copy)]
struct Life<'a> {
    server: &'a Server,
    disk: &'a FakeDisk,
    job: &'a Job,
    boot: [u8; 16],
    acts: &'a [(Duration, Act)],
}

impl Life<'_> {
    async fn live(self, shared: &Shared) -> Result<Report, Error> {
        let outcome = tokio::select! {
            biased;
            outcome = timeout(LONGEST, self.drive(shared)) => outcome,
            () = self.meddle(shared) => unreachable!("a caller waits for the end"),
        };
        shared.control.end();
        outcome.unwrap_or_else(|_| panic!("a run that never ends: {:?}", self.server.log()))
    }

    /// What `run::download` does, with the simulated server's probe in place of a request.
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
        let here = || (Arc::clone(volume), names.clone());
        let (disk, name) = here();
        if let Some(report) = leftovers::look_first(context, disk, name).await? {
            return Ok(report);
        }
        let mut passes = Passes::new(self.job);
        loop {
            let probing = self.server.probe(self.job);
            let object = context.unless_ended(probing).await??;
            let (disk, name) = here();
            let restore = passes.next.restore;
            let outcome = file::in_parts(context, disk, name, object, restore).await?;
            if let Some(report) = passes.after(context, outcome).await? {
                return Ok(report);
            }
        }
    }

    async fn meddle(self, shared: &Shared) {
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

    async fn pause(self, shared: &Shared, length: Duration) {
        shared.control.ask(Intent::Pause);
        // A run that ends takes this future with it.
        shared.control.settled().await;
        let look = || {
            assert_eq!(
                self.server.underway(),
                0,
                "quiet, with a request on its way"
            );
            (self.disk.steps().len(), self.server.log().len())
        };
        let before = look();
        oracle::all_is_committed(self.disk, shared);
        sleep(length).await;
        assert_eq!(look(), before, "something happened during a pause");
    }
}
