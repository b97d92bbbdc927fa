//! SIGINT, SIGTERM and SIGHUP: a clean stop, soon, whatever the network does.

mod elsewhere;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use partwise::origin::Object;
use rustix::process::Signal;

use crate::support::fault::{FaultOrigin, Reply, Request, Step, honest};
use crate::support::fixture::{Fixture, Outcome, Running};
use crate::support::requests::{Stretch, union, volume};

const PART: u64 = 64 << 10;
const LENGTH: u64 = 64 * PART + 3;
/// The promise is 2 s; a busy machine may take its time to let the command run at all.
const SOON: Duration = Duration::from_secs(10);
/// Each signal, the exit code that says it, and its name in what is printed.
const SIGNALS: [(Signal, i32, &str); 3] = [
    (Signal::INT, 130, "SIGINT"),
    (Signal::TERM, 143, "SIGTERM"),
    (Signal::HUP, 129, "SIGHUP"),
];

/// Turns an honest answer into the trouble in which the signal comes.
type Trouble = fn(&Request, Reply) -> Reply;

struct Case {
    name: &'static str,
    /// Further arguments of the run that is stopped.
    arguments: &'static [&'static str],
    /// Parts that are whole when the signal comes.
    parts: u64,
    moment: Moment,
    trouble: Trouble,
}

/// When the signal comes.
#[derive(Clone, Copy)]
enum Moment {
    /// Once the server was asked for this.
    Asked(fn(&Request) -> bool),
    /// Once so many bytes are there.
    Bytes(u64),
    /// Once an event of this name was told.
    Event(&'static str),
}

impl Moment {
    async fn comes(self, origin: &FaultOrigin, running: &Running) {
        match self {
            Self::Asked(wanted) => origin.wait_for(|log| log.iter().any(wanted)).await,
            Self::Bytes(bytes) => running.wait_for_event(|event| {
                event["event"] == "progress" && event["completed_bytes"].as_u64() >= Some(bytes)
            }),
            Self::Event(name) => running.wait_for_event(|event| event["event"] == name),
        }
    }
}

fn object() -> Object {
    Object::new(5, LENGTH)
}

/// Nothing is said.
fn silence() -> Reply {
    Reply::raw("").then(Step::Stall)
}

fn half_a_head() -> Reply {
    Reply::raw("HTTP/1.1 206 Partial\r\nContent-Ra").then(Step::Stall)
}

fn come_back_later() -> Reply {
    Reply::status(503).header("Retry-After", "60")
}

/// `HEAD` gets the honest answer, and everything else the other one.
fn but_for_head(request: &Request, honest: Reply, other: Reply) -> Reply {
    if request.is_head() { honest } else { other }
}

/// Each connection gets two and a half parts, and then nothing.
fn stalling(request: &Request, reply: Reply) -> Reply {
    let cut = reply.clone().cut_after(5 * PART / 2).then(Step::Stall);
    but_for_head(request, reply, cut)
}

/// Applies `trouble` until it is healed.
fn troubled(trouble: Trouble, healed: &Arc<AtomicBool>) -> FaultOrigin {
    let healed = Arc::clone(healed);
    FaultOrigin::new(move |request| {
        let reply = honest(&object(), request);
        if healed.load(Ordering::Relaxed) {
            reply
        } else {
            trouble(request, reply)
        }
    })
}

fn spawn(fixture: &Fixture, url: &str, further: &[&str]) -> Running {
    let part = PART.to_string();
    let get = ["get", "-c", "2", "-p", &part, "--progress", "json", url];
    let arguments = get.iter().chain(further);
    fixture.partwise(arguments).spawn()
}

/// Sends the signal and holds that it ends the command soon, and with the code that says so.
#[track_caller]
fn assert_stops(name: &str, mut running: Running, signal: Signal, code: i32) -> Outcome {
    let sent = Instant::now();
    running.signal(signal);
    let outcome = running.wait();
    let took = sent.elapsed();
    let told = outcome.stderr();
    assert!(took < SOON, "{name}: it took {took:?}:\n{told}");
    assert_eq!(outcome.code(), code, "{name}:\n{told}");
    outcome
}

/// Where the checkpoint is told to be, how to go on is told as well.
#[track_caller]
fn assert_tells_how_to_go_on(fixture: &Fixture, signal: &str, outcome: &Outcome) {
    outcome
        .stderr_has(&format!("partwise: stopped by {signal}: "))
        .stderr_has("x.part.ckpt\n")
        .stderr_has("hint: run the same command again to resume");
    assert!(fixture.path("x.part.ckpt").exists());
}

/// What the requests, from the `from`th on, ask for.
fn asked(origin: &FaultOrigin, from: usize) -> Vec<Stretch> {
    let requests = origin.requests();
    let stretches: Vec<_> = requests[from..]
        .iter()
        .filter(|request| !request.is_head())
        .map(|request| request.range(LENGTH).expect("a request for a range"))
        .collect();
    union(&stretches)
}

/// Holds that the next run asks for what is missing and nothing else, reads nothing back, and
/// completes the file.
#[track_caller]
fn assert_resumes(name: &str, fixture: &Fixture, origin: &FaultOrigin, missing: &[Stretch]) {
    let from = origin.requests().len();
    let outcome = spawn(fixture, &origin.url("x"), &[]).exit_code(0);
    assert_eq!(asked(origin, from), union(missing), "{name}");
    let resumed = outcome.events("resumed");
    let bytes = resumed
        .first()
        .map_or(Some(0), |told| told["bytes"].as_u64());
    assert_eq!(bytes, Some(LENGTH - volume(missing)), "{name}");
    for event in ["verifying", "restarted"] {
        assert_eq!(outcome.events(event).len(), 0, "{name}: {event}");
    }
    fixture.file("x").is(&object());
    fixture.assert_holds_only(["x"]);
}

async fn assert_survives(case: &Case, (signal, code, told): (Signal, i32, &str)) {
    let healed = Arc::new(AtomicBool::new(false));
    let origin = troubled(case.trouble, &healed);
    let fixture = Fixture::new();
    let running = spawn(&fixture, &origin.url("x"), case.arguments);
    case.moment.comes(&origin, &running).await;
    let outcome = assert_stops(case.name, running, signal, code);
    fixture.file("x").is_absent();
    assert_tells_how_to_go_on(&fixture, told, &outcome);
    let missing = fixture.missing("x");
    let most = LENGTH - case.parts * PART;
    let found = volume(&missing);
    let name = case.name;
    assert!(found <= most, "{name}: {found} of at most {most} missing");
    healed.store(true, Ordering::Relaxed);
    assert_resumes(name, &fixture, &origin, &missing);
}

/// From the first byte on there is a checkpoint, and it holds every part that was whole when the
/// signal came.
#[tokio::test(flavor = "multi_thread")]
async fn once_bytes_come_the_checkpoint_has_them() {
    let cases = [
        Case {
            name: "transferring",
            arguments: &["--limit-rate", "1M"],
            parts: 2,
            moment: Moment::Bytes(4 * PART),
            trouble: |_, reply| reply,
        },
        Case {
            name: "one byte a second",
            arguments: &["--limit-rate", "1"],
            parts: 0,
            moment: Moment::Event("progress"),
            trouble: |_, reply| reply,
        },
        Case {
            name: "stalled in a body",
            arguments: &[],
            parts: 4,
            moment: Moment::Bytes(5 * PART),
            trouble: stalling,
        },
        Case {
            name: "before a head",
            arguments: &[],
            parts: 0,
            moment: Moment::Asked(|request| !request.is_head()),
            trouble: |request, reply| but_for_head(request, reply, silence()),
        },
        Case {
            name: "in a head",
            arguments: &[],
            parts: 0,
            moment: Moment::Asked(|request| !request.is_head()),
            trouble: |request, reply| but_for_head(request, reply, half_a_head()),
        },
        Case {
            name: "a retry waits",
            arguments: &[],
            parts: 0,
            moment: Moment::Event("retrying"),
            trouble: |request, reply| but_for_head(request, reply, come_back_later()),
        },
    ];
    for case in &cases {
        for signal in SIGNALS {
            assert_survives(case, signal).await;
        }
    }
}

/// Where nothing can be kept, the stop is as quick, and the next run begins as if there had been
/// none.
#[tokio::test(flavor = "multi_thread")]
async fn before_there_is_anything_to_keep_it_stops_as_well() {
    let is_head = Moment::Asked(Request::is_head);
    let is_get = Moment::Asked(|request| !request.is_head());
    let cases: [(&str, Moment, &[&str], Trouble); 9] = [
        ("HEAD hangs", is_head, &[], |_, _| silence()),
        ("HEAD waits", Moment::Event("retrying"), &[], |_, _| {
            come_back_later()
        }),
        (
            "HEAD is refused and GET hangs",
            is_get,
            &[],
            |request, _| but_for_head(request, Reply::status(403), silence()),
        ),
        (
            "a fresh URL is awaited",
            Moment::Asked(|request| !request.is_head()),
            // What is left running would keep standard error open.
            &["--refresh-cmd", "sleep 600 & wait"],
            |_, _| Reply::status(403),
        ),
        (
            "no length, no ranges",
            Moment::Event("probed"),
            &[],
            |request, reply| {
                let endless = reply
                    .without("content-length")
                    .without("accept-ranges")
                    .with_status(200);
                stalling(request, endless)
            },
        ),
        (
            "no ranges",
            Moment::Event("progress"),
            &[],
            |request, reply| {
                let whole = reply.without("accept-ranges").with_status(200);
                let whole = but_for_head(request, whole.clone(), whole.body(&object(), 0..LENGTH));
                stalling(request, whole)
            },
        ),
        (
            "in order, stalled",
            Moment::Bytes(5 * PART),
            &["-o", "-"],
            stalling,
        ),
        (
            "in order, silent",
            is_get,
            &["-o", "-"],
            |request, reply| but_for_head(request, reply, silence()),
        ),
        ("in order, HEAD hangs", is_head, &["-o", "-"], |_, _| {
            silence()
        }),
    ];
    for (name, moment, arguments, trouble) in cases {
        for (signal, code, told) in SIGNALS {
            let healed = Arc::new(AtomicBool::new(false));
            let origin = troubled(trouble, &healed);
            let fixture = Fixture::new();
            let running = spawn(&fixture, &origin.url("x"), arguments);
            moment.comes(&origin, &running).await;
            let outcome = assert_stops(name, running, signal, code);
            outcome.stderr_has(&format!("partwise: stopped by {told}: "));
            fixture.file("x").is_absent();
            healed.store(true, Ordering::Relaxed);
            spawn(&fixture, &origin.url("x"), &[]).exit_code(0);
            fixture.file("x").is(&object());
            fixture.assert_holds_only(["x"]);
        }
    }
}
