//! The tuner over models of lines, held against the best number of connections that somebody with foresight could fix.
//! No clock: a model passes in steps.

use std::time::Duration;

use super::{Tuner, Window};

const CEILING: u32 = 32;
/// One step of a model.
const STEP: f64 = 0.05;
/// What one segment carries.
const SEGMENT: f64 = 1460.0;
/// A flow's first window: ten segments a round trip.
const FIRST_WINDOW: f64 = 10.0 * SEGMENT;

/// A way from a server to here.
#[derive(Clone, Copy, Debug)]
struct Line {
    name: &'static str,
    /// Bytes a second over all flows.
    rate: f64,
    /// Seconds of a round trip.
    round_trip: f64,
    /// Bytes a second that the server gives to one connection.
    cap: f64,
    /// The share of segments that are lost, whoever sends them.
    loss: f64,
    /// Flows of others that take their share.
    others: f64,
    /// By how much the line's rate varies from second to second, as a share.
    noise: f64,
    /// What each further connection costs all of them, as a share.
    friction: f64,
}

const CLEAN: Line = Line {
    name: "near and clean",
    rate: 100e6,
    round_trip: 0.001,
    cap: f64::INFINITY,
    loss: 0.0,
    others: 0.0,
    noise: 0.0,
    friction: 0.0,
};

const FAR: Line = Line {
    name: "far and clean",
    rate: 25e6,
    round_trip: 0.04,
    ..CLEAN
};

fn lines() -> Vec<Line> {
    let named = |name, line| Line { name, ..line };
    let mut lines = vec![
        CLEAN,
        FAR,
        named(
            "a connection fills it, more get in each other's way",
            Line {
                friction: 0.01,
                ..CLEAN
            },
        ),
        named("capped, near", Line { cap: 5e6, ..CLEAN }),
        named("capped, far", Line { cap: 1.25e6, ..FAR }),
        named("capped, and eight are enough", Line { cap: 3.2e6, ..FAR }),
        named(
            "lossy",
            Line {
                loss: 0.005,
                rate: 12.5e6,
                round_trip: 0.1,
                ..FAR
            },
        ),
        named(
            "a little lossy",
            Line {
                loss: 0.0005,
                ..FAR
            },
        ),
        named(
            "satellite",
            Line {
                rate: 6e6,
                round_trip: 0.6,
                loss: 0.0001,
                ..FAR
            },
        ),
        named("beside four flows of others", Line { others: 4.0, ..FAR }),
        named("slow", Line { rate: 250e3, ..FAR }),
    ];
    let noisy = lines.clone().into_iter();
    lines.extend(noisy.map(|line| Line { noise: 0.2, ..line }));
    lines
}

/// A line with flows on it.
struct Model {
    line: Line,
    /// Of each flow: seconds until its first byte, bytes a second, what luck does to its losses.
    flows: Vec<(f64, f64, f64)>,
    weather: f64,
    seed: u64,
    seconds: f64,
}

impl Model {
    fn new(line: Line, seed: u64) -> Self {
        Self {
            line,
            flows: Vec::new(),
            weather: 1.0,
            seed,
            seconds: 0.0,
        }
    }

    /// The same in the same second, however many connections there are.
    fn chance(&self) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed ^ self.seconds.to_bits().rotate_left(20))
    }

    /// Lets a step pass with so many connections; returns the bytes that came.
    fn step(&mut self, connections: u32) -> f64 {
        let line = self.line;
        let dialling = (2.0 * line.round_trip, FIRST_WINDOW / line.round_trip, 1.0);
        self.flows.resize(connections as usize, dialling);
        if self.seconds.fract() < STEP {
            let mut chance = self.chance();
            self.weather = 1.0 + line.noise * (2.0 * chance.f64() - 1.0);
            for flow in &mut self.flows {
                flow.2 = 0.5 + chance.f64();
            }
        }
        self.seconds += STEP;
        let count = f64::from(connections);
        let ours = count / (count + line.others);
        let room = line.rate * self.weather * ours * (1.0 - line.friction * (count - 1.0)).max(0.1);
        let mut wanted = 0.0;
        for (wait, rate, luck) in &mut self.flows {
            *wait -= STEP;
            if *wait < 0.0 {
                // Slow start, up to what loss (Mathis et al.) and the server allow.
                let lossy = *luck * 1.22 * SEGMENT / line.round_trip / line.loss.sqrt();
                let doublings = (STEP / line.round_trip).min(10.0);
                *rate = (*rate * doublings.exp2())
                    .min(lossy)
                    .min(line.cap)
                    .min(room);
                wanted += *rate;
            }
        }
        wanted.min(room) * STEP
    }
}

/// Seconds that `bytes` take, and the number of connections at the end.
fn download(line: Line, seed: u64, bytes: f64, mut tuner: Tuner) -> (f64, u32) {
    let mut model = Model::new(line, seed);
    let span = (line.round_trip * 4.0).clamp(0.3, 2.0);
    let (mut came, mut window, mut left) = (0.0, 0.0, span);
    while came < bytes {
        let connections = tuner.target();
        let now = model.step(connections);
        came += now;
        window += now;
        left -= STEP;
        if left <= 0.0 {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "bytes of a window"
            )]
            tuner.observe(Window {
                bytes: window as u64,
                span: Duration::from_secs_f64(span),
                connections,
            });
            (window, left) = (0.0, span);
        }
    }
    (model.seconds, tuner.target())
}

/// As much as the line brings in so many seconds at best.
fn load(line: Line, seconds: f64) -> f64 {
    line.rate / (1.0 + line.others) * seconds
}

/// How long the tuner takes as a multiple of what the best fixed number takes, and the number that it ends with.
fn against_foresight(line: Line, seed: u64, bytes: f64) -> (f64, u32) {
    let fixed = |number| download(line, seed, bytes, Tuner::fixed(number)).0;
    let best = [1, 2, 4, 8, 16, 32].map(fixed).into_iter();
    let best = best.fold(f64::INFINITY, f64::min);
    let tuner = Tuner::auto(CEILING, Duration::from_secs_f64(line.round_trip));
    let (seconds, kept) = download(line, seed, bytes, tuner);
    (seconds / best, kept)
}

/// Transfers that take so many seconds at best, and how many times as long they may take.
type Bounds = [(f64, f64); 3];
const ON_A_STEADY_LINE: Bounds = [(3.0, 1.5), (20.0, 1.1), (120.0, 1.02)];
/// A window that was lucky, or the one after it that was not, can hide what more connections are worth.
const ON_A_CHANGING_LINE: Bounds = [(3.0, 1.9), (20.0, 1.45), (120.0, 1.35)];

#[test]
fn it_does_as_well_as_the_best_fixed_number() {
    let first = fastrand::u64(..);
    for line in lines() {
        let bounds = if line.noise > 0.0 {
            ON_A_CHANGING_LINE
        } else {
            ON_A_STEADY_LINE
        };
        for ((seconds, bound), round) in bounds
            .into_iter()
            .flat_map(|of| (0..4).map(move |n| (of, n)))
        {
            let seed = first.wrapping_add(round);
            let (ratio, kept) = against_foresight(line, seed, load(line, seconds));
            assert!(
                ratio <= bound,
                "{seconds} s, seed {seed}: {ratio:.3} of {bound} times the best, {kept} kept: {line:?}"
            );
        }
    }
}

#[test]
fn a_line_that_one_connection_fills_is_left_to_a_few() {
    for line in lines() {
        let alone = line.cap.min(if line.loss > 0.0 { 0.0 } else { line.rate });
        if alone == line.rate && line.others == 0.0 && line.noise == 0.0 {
            let (_, kept) = against_foresight(line, 1, load(line, 60.0));
            assert!(kept <= 2, "{kept}: {line:?}");
        }
    }
}

#[test]
fn dozens_are_reached_where_dozens_are_needed() {
    for name in [
        "capped, near",
        "capped, far",
        "lossy",
        "beside four flows of others",
    ] {
        for line in lines()
            .into_iter()
            .filter(|line| line.name == name && line.noise == 0.0)
        {
            let (_, kept) = against_foresight(line, 1, load(line, 20.0));
            assert_eq!(kept, CEILING, "{line:?}");
        }
    }
}
