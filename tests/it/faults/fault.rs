//! A fault of a server's, as a row.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use partwise::origin::Object;
use tokio::sync::watch;

use super::asked::{Asked, World};
use super::table::{Ends, PRECIOUS, Row, assert_sound, row};
use super::{LENGTH, PART};
use crate::support::fault::{Builder, Certificate, Door, FaultOrigin, Knock, Reply, honest};
use crate::support::fixture::{Fixture, Invocation, Outcome};

/// More than a download of these tests may ever ask of the machine: address space in KiB.
const MEMORY: &str = "-v 4194304";

/// The arguments of every run.
const FIXED: [&str; 8] = [
    "get",
    "-o",
    "x",
    "--overwrite",
    "--bearer",
    "TOKENSECRET",
    "-H",
    "X-Key: KEYSECRET",
];

type Script = Arc<dyn Fn(&Asked<'_>) -> Reply + Send + Sync>;
type Doorkeeper = Arc<dyn Fn(Knock) -> Door + Send + Sync>;
type Check = Box<dyn Fn(&World<'_>, &Outcome) + Send>;
type Address = Box<dyn Fn(&World<'_>) -> String + Send>;
type Arguments = Box<dyn Fn(&World<'_>) -> Vec<String> + Send>;

/// A fault under construction. Unless it says otherwise, the server is honest and the download
/// succeeds.
pub(super) struct Fault {
    name: &'static str,
    object: Object,
    healed: Option<Object>,
    script: Script,
    is_once: bool,
    elsewhere: Option<Script>,
    door: Option<Doorkeeper>,
    certificate: Option<Certificate>,
    is_encrypted: bool,
    address: Address,
    options: BTreeMap<&'static str, String>,
    arguments: Arguments,
    environment: Arguments,
    healing: Vec<&'static str>,
    ends: Ends,
    check: Check,
}

/// A fault of this name.
pub(super) fn fault(name: &'static str) -> Fault {
    Fault {
        name,
        object: Object::new(9, LENGTH),
        healed: None,
        script: Arc::new(|asked| asked.honest()),
        is_once: false,
        elsewhere: None,
        door: None,
        certificate: None,
        is_encrypted: false,
        address: Box::new(own_address),
        options: BTreeMap::from(
            [
                ("--connections", "2"),
                ("--part-size", &PART.to_string()),
                ("--retries", "1"),
                ("--stall-timeout", "10"),
                ("--connect-timeout", "10"),
            ]
            .map(|(name, value)| (name, value.to_owned())),
        ),
        arguments: Box::new(|_| Vec::new()),
        environment: Box::new(|_| Vec::new()),
        healing: Vec::new(),
        ends: Ends::well(),
        check: Box::new(|_, _| {}),
    }
}

impl Fault {
    /// The length of the object, in bytes.
    pub(super) fn length(mut self, length: u64) -> Self {
        self.object = Object::new(9, length);
        self
    }

    /// The server has another object afterwards.
    pub(super) fn heals_to(mut self, object: Object) -> Self {
        self.healed = Some(object);
        self
    }

    /// What the server answers.
    pub(super) fn serves(
        mut self,
        script: impl Fn(&Asked<'_>) -> Reply + Send + Sync + 'static,
    ) -> Self {
        self.script = Arc::new(script);
        self
    }

    /// What the server answers to HEAD; it is honest otherwise.
    pub(super) fn head(self, reply: impl Fn(&Asked<'_>) -> Reply + Send + Sync + 'static) -> Self {
        self.serves(move |asked| {
            if asked.is_head() {
                reply(asked)
            } else {
                asked.honest()
            }
        })
    }

    /// What the server answers to ranges that don't begin at 0; it is honest otherwise.
    pub(super) fn later(self, reply: impl Fn(&Asked<'_>) -> Reply + Send + Sync + 'static) -> Self {
        self.serves(move |asked| {
            if asked.is_later() {
                reply(asked)
            } else {
                asked.honest()
            }
        })
    }

    /// Only the first of those answers is faulty.
    pub(super) fn once(mut self) -> Self {
        let (script, faults) = (self.script, AtomicUsize::new(0));
        self.is_once = true;
        self.script = Arc::new(move |asked| {
            if asked.is_later() && faults.fetch_add(1, Ordering::Relaxed) == 0 {
                script(asked)
            } else {
                asked.honest()
            }
        });
        self
    }

    /// The server holds the whole object back until another one is asked for a share of it, which
    /// is more than a block to compare.
    pub(super) fn shared(mut self, block: u64) -> Self {
        let (asked, gate) = watch::channel(false);
        let length = |asked: &Asked<'_>| asked.bounds().1 - asked.bounds().0;
        let own = self.script;
        self.script = Arc::new(move |asked| {
            let reply = own(asked);
            let is_whole = asked.bounds().0 == 0 && length(asked) > block;
            match is_whole && !asked.is_head() {
                true => reply.held_after(PART, gate.clone()),
                false => reply,
            }
        });
        let other = self.elsewhere.expect("a row with `elsewhere`");
        self.elsewhere = Some(Arc::new(move |request| {
            if !request.is_head() && ![1, block].contains(&length(request)) {
                asked.send_replace(true);
            }
            other(request)
        }));
        self
    }

    /// What another server answers.
    pub(super) fn elsewhere(
        mut self,
        script: impl Fn(&Asked<'_>) -> Reply + Send + Sync + 'static,
    ) -> Self {
        self.elsewhere = Some(Arc::new(script));
        self
    }

    pub(super) fn door(mut self, door: impl Fn(Knock) -> Door + Send + Sync + 'static) -> Self {
        self.door = Some(Arc::new(door));
        self
    }

    pub(super) fn certificate(mut self, certificate: Certificate) -> Self {
        self.certificate = Some(certificate);
        self.is_encrypted = true;
        self
    }

    /// The URL that the first run downloads.
    pub(super) fn address(
        mut self,
        address: impl Fn(&World<'_>) -> String + Send + 'static,
    ) -> Self {
        self.address = Box::new(address);
        self
    }

    /// An option of both runs with another value than it has for all faults.
    pub(super) fn option(mut self, name: &'static str, value: &str) -> Self {
        self.options.insert(name, value.to_owned());
        self
    }

    /// Waits of a second are enough.
    pub(super) fn impatient(self) -> Self {
        self.option("--stall-timeout", "1")
            .option("--connect-timeout", "1")
    }

    /// Further arguments of the first run.
    pub(super) fn arguments<const N: usize>(self, arguments: [&'static str; N]) -> Self {
        self.arguments_of(move |_| arguments.map(str::to_owned).into())
    }

    /// Further arguments of the first run, which need to know more.
    pub(super) fn arguments_of(
        mut self,
        arguments: impl Fn(&World<'_>) -> Vec<String> + Send + 'static,
    ) -> Self {
        self.arguments = Box::new(arguments);
        self
    }

    /// Variables in the environment of the first run.
    pub(super) fn environment(
        mut self,
        variables: impl Fn(&World<'_>) -> Vec<String> + Send + 'static,
    ) -> Self {
        self.environment = Box::new(variables);
        self
    }

    /// Further arguments of the second run.
    pub(super) fn healed_by<const N: usize>(mut self, arguments: [&'static str; N]) -> Self {
        self.healing = arguments.into();
        self
    }

    /// The first run ends with this exit code, and standard error names these.
    pub(super) fn fails<const N: usize>(self, code: i32, says: [&str; N]) -> Self {
        self.ends([code], says)
    }

    /// The first run ends with one of these exit codes and, where it fails, standard error names
    /// these.
    pub(super) fn ends<const C: usize, const N: usize>(
        mut self,
        codes: [i32; C],
        says: [&str; N],
    ) -> Self {
        self.ends = Ends {
            codes: codes.into(),
            says: says.map(str::to_owned).into(),
        };
        self
    }

    /// What else must hold after the first run.
    pub(super) fn check(mut self, check: impl Fn(&World<'_>, &Outcome) + Send + 'static) -> Self {
        self.check = Box::new(check);
        self
    }

    fn start(
        &mut self,
        healed: &Arc<AtomicBool>,
        elsewhere: Option<Arc<FaultOrigin>>,
    ) -> FaultOrigin {
        let (object, script) = (self.object.clone(), Arc::clone(&self.script));
        let next = self.healed.clone().unwrap_or_else(|| object.clone());
        let is_healed = Arc::clone(healed);
        builder(self.door.take(), self.certificate.take(), healed).start(move |request| {
            if is_healed.load(Ordering::Relaxed) {
                return honest(&next, request);
            }
            script(&Asked {
                request,
                object: &object,
                elsewhere: elsewhere.as_deref(),
            })
        })
    }

    fn hold(mut self) {
        let healed = Arc::new(AtomicBool::new(false));
        let elsewhere = self.elsewhere.take().map(|script| {
            let object = self.object.clone();
            Arc::new(FaultOrigin::new(move |request| {
                script(&Asked {
                    request,
                    object: &object,
                    elsewhere: None,
                })
            }))
        });
        let origin = self.start(&healed, elsewhere.clone());
        let fixture = Fixture::new();
        std::fs::write(fixture.path("x"), PRECIOUS).unwrap();
        let world = World {
            origin: &origin,
            elsewhere: elsewhere.as_deref(),
            fixture: &fixture,
        };
        let outcome = self.first_run(&world);
        let is_whole = assert_sound(&fixture, &outcome, &self.ends, &self.object);
        (self.check)(&world, &outcome);
        if !is_whole {
            healed.store(true, Ordering::Relaxed);
            let again = self.second_run(&world);
            let object = self.healed.as_ref().unwrap_or(&self.object);
            assert_sound(&fixture, &again, &Ends::well(), object);
        }
    }

    fn first_run(&self, world: &World<'_>) -> Outcome {
        let mut arguments = (self.arguments)(world);
        arguments.push("-v".to_owned());
        let mut command = self.command(world, arguments, &(self.address)(world));
        for variable in (self.environment)(world) {
            let (name, value) = variable.split_once('=').expect("NAME=VALUE");
            command = command.env(name, value);
        }
        command.limit(MEMORY).spawn().wait()
    }

    fn second_run(&self, world: &World<'_>) -> Outcome {
        let mut arguments = ["--progress", "json", "--json"].to_vec();
        arguments.extend(&self.healing);
        let arguments = arguments.into_iter().map(str::to_owned).collect();
        let command = self.command(world, arguments, &own_address(world));
        command.limit(MEMORY).spawn().wait()
    }

    fn command(&self, world: &World<'_>, further: Vec<String>, url: &str) -> Invocation {
        let mut arguments: Vec<String> = FIXED.map(str::to_owned).into();
        for (name, value) in &self.options {
            arguments.extend([(*name).to_owned(), value.clone()]);
        }
        if !self.is_encrypted {
            // To read the system's authorities takes longer than all the rest.
            arguments.push("--insecure".to_owned());
        }
        arguments.extend(further);
        arguments.push(with_user(url));
        world.fixture.partwise(arguments)
    }
}

fn own_address(world: &World<'_>) -> String {
    world.origin.url("x?signature=QUERYSECRET#FRAGMENTSECRET")
}

impl From<Fault> for Row {
    fn from(fault: Fault) -> Self {
        let name = match fault.is_once {
            true => format!("{}, once", fault.name),
            false => fault.name.to_owned(),
        };
        row(name, || fault.hold())
    }
}

fn builder(
    door: Option<Doorkeeper>,
    certificate: Option<Certificate>,
    healed: &Arc<AtomicBool>,
) -> Builder {
    let mut builder = FaultOrigin::builder();
    if let Some(door) = door {
        let healed = Arc::clone(healed);
        builder = builder.door(move |knock| {
            if healed.load(Ordering::Relaxed) {
                Door::Open
            } else {
                door(knock)
            }
        });
    }
    match certificate {
        Some(certificate) => builder.certificate(certificate),
        None => builder,
    }
}

/// The URL with user and password in it.
fn with_user(url: &str) -> String {
    url.replacen("://", "://me:USERSECRET@", 1)
}
