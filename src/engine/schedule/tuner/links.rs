//! Compares the tuner on models of links with the best fixed number of connections.
//!
//! A model has no clock. It advances in steps.

use std::time::Duration;

use super::{ThroughputSample, Tuner};

/// The most connections that the tuner may try.
const CEILING: u32 = 32;
/// Length of a step, in seconds.
const STEP: f64 = 0.05;
/// Payload of a TCP segment, in bytes.
const SEGMENT: f64 = 1460.0;
/// Initial congestion window of a flow, in bytes (RFC 6928).
const FIRST_WINDOW: f64 = 10.0 * SEGMENT;

/// The properties of a link between a server and the client.
#[derive(Clone, Copy, Debug)]
struct Link {
    name: &'static str,
    /// Capacity, in bytes per second over all flows.
    rate: f64,
    /// Round-trip time, in seconds.
    round_trip: f64,
    /// The most that the server gives to one connection, in bytes per second.
    cap: f64,
    /// Fraction of all segments that are lost.
    loss: f64,
    /// Number of competing flows from other hosts.
    others: f64,
    /// Variation of the capacity from second to second, as a fraction.
    noise: f64,
    /// Capacity that each further connection costs, as a fraction.
    friction: f64,
}

/// A fast link of 1 ms without loss.
const CLEAN: Link = Link {
    name: "near and clean",
    rate: 100e6,
    round_trip: 0.001,
    cap: f64::INFINITY,
    loss: 0.0,
    others: 0.0,
    noise: 0.0,
    friction: 0.0,
};

/// A link of 40 ms without loss.
const FAR: Link = Link {
    name: "far and clean",
    rate: 25e6,
    round_trip: 0.04,
    ..CLEAN
};

fn links() -> Vec<Link> {
    let named = |name, link| Link { name, ..link };
    let mut links = vec![
        CLEAN,
        FAR,
        named(
            "one connection fills it, more slow each other down",
            Link {
                friction: 0.01,
                ..CLEAN
            },
        ),
        named("capped, near", Link { cap: 5e6, ..CLEAN }),
        named("capped, far", Link { cap: 1.25e6, ..FAR }),
        named("capped, and eight are enough", Link { cap: 3.2e6, ..FAR }),
        named(
            "lossy",
            Link {
                loss: 0.005,
                rate: 12.5e6,
                round_trip: 0.1,
                ..FAR
            },
        ),
        named(
            "a little lossy",
            Link {
                loss: 0.0005,
                ..FAR
            },
        ),
        named(
            "satellite",
            Link {
                rate: 6e6,
                round_trip: 0.6,
                loss: 0.0001,
                ..FAR
            },
        ),
        named("beside four competing flows", Link { others: 4.0, ..FAR }),
        named("slow", Link { rate: 250e3, ..FAR }),
    ];
    let noisy = links.clone().into_iter();
    links.extend(noisy.map(|link| Link { noise: 0.2, ..link }));
    links
}

/// A link, and the flows on it.
struct LinkModel {
    link: Link,
    /// Per flow: seconds until its first byte, bytes per second, and a random factor on its loss.
    flows: Vec<(f64, f64, f64)>,
    /// Factor on the capacity in the current second.
    variation: f64,
    seed: u64,
    seconds: f64,
}

impl LinkModel {
    fn new(link: Link, seed: u64) -> Self {
        Self {
            link,
            flows: Vec::new(),
            variation: 1.0,
            seed,
            seconds: 0.0,
        }
    }

    /// A generator that depends on the seed and the second only, not on what the tuner did before.
    fn chance(&self) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed ^ self.seconds.to_bits().rotate_left(20))
    }

    /// Advances by a step with so many connections. Returns the bytes that arrived.
    fn step(&mut self, connections: u32) -> f64 {
        let link = self.link;
        let opening = (2.0 * link.round_trip, FIRST_WINDOW / link.round_trip, 1.0);
        self.flows.resize(connections as usize, opening);
        if self.seconds.fract() < STEP {
            let mut chance = self.chance();
            self.variation = 1.0 + link.noise * (2.0 * chance.f64() - 1.0);
            for flow in &mut self.flows {
                flow.2 = 0.5 + chance.f64();
            }
        }
        self.seconds += STEP;
        let count = f64::from(connections);
        let ours = count / (count + link.others);
        let room =
            link.rate * self.variation * ours * (1.0 - link.friction * (count - 1.0)).max(0.1);
        let mut wanted = 0.0;
        for (wait, rate, luck) in &mut self.flows {
            *wait -= STEP;
            if *wait < 0.0 {
                // Slow start, up to the limits that loss (Mathis et al.) and the server set.
                let lossy = *luck * 1.22 * SEGMENT / link.round_trip / link.loss.sqrt();
                let doublings = (STEP / link.round_trip).min(10.0);
                *rate = (*rate * doublings.exp2())
                    .min(lossy)
                    .min(link.cap)
                    .min(room);
                wanted += *rate;
            }
        }
        wanted.min(room) * STEP
    }
}

/// Downloads `bytes` over a link. Returns how many seconds that takes, and the number of
/// connections at the end.
fn download(link: Link, seed: u64, bytes: f64, mut tuner: Tuner) -> (f64, u32) {
    let mut model = LinkModel::new(link, seed);
    let span = (link.round_trip * 4.0).clamp(0.3, 2.0);
    let (mut arrived, mut window, mut left) = (0.0, 0.0, span);
    while arrived < bytes {
        let connections = tuner.target();
        let now = model.step(connections);
        arrived += now;
        window += now;
        left -= STEP;
        if left <= 0.0 {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "bytes of a window"
            )]
            tuner.observe(ThroughputSample {
                bytes: window as u64,
                span: Duration::from_secs_f64(span),
                connections,
            });
            (window, left) = (0.0, span);
        }
    }
    (model.seconds, tuner.target())
}

/// The most bytes that a link transfers in so many seconds.
fn load(link: Link, seconds: f64) -> f64 {
    link.rate / (1.0 + link.others) * seconds
}

/// The duration of a download with the tuner, as a multiple of that with the best fixed number,
/// and the number that the tuner ends with.
fn against_best_fixed(link: Link, seed: u64, bytes: f64) -> (f64, u32) {
    let fixed = |number| download(link, seed, bytes, Tuner::fixed(number)).0;
    let best = [1, 2, 4, 8, 16, 32].map(fixed).into_iter();
    let best = best.fold(f64::INFINITY, f64::min);
    let tuner = Tuner::auto(CEILING, Duration::from_secs_f64(link.round_trip));
    let (seconds, kept) = download(link, seed, bytes, tuner);
    (seconds / best, kept)
}

/// Downloads: the seconds that each takes at best, and the multiple of them that it may take.
type Bounds = [(f64, f64); 3];
/// The bounds where the capacity is constant.
const ON_A_STEADY_LINK: Bounds = [(3.0, 1.5), (20.0, 1.1), (120.0, 1.02)];
/// The bounds where the capacity varies: variation between two samples can hide the effect of more
/// connections.
const ON_A_VARYING_LINK: Bounds = [(3.0, 1.9), (20.0, 1.45), (120.0, 1.35)];

#[test]
fn the_tuner_matches_the_best_fixed_number() {
    let first = fastrand::u64(..);
    for link in links() {
        let bounds = if link.noise > 0.0 {
            ON_A_VARYING_LINK
        } else {
            ON_A_STEADY_LINK
        };
        for ((seconds, bound), round) in bounds
            .into_iter()
            .flat_map(|bound| (0..4).map(move |n| (bound, n)))
        {
            let seed = first.wrapping_add(round);
            let (ratio, kept) = against_best_fixed(link, seed, load(link, seconds));
            assert!(
                ratio <= bound,
                "{seconds} s, seed {seed}: {ratio:.3} of {bound} times the best, {kept} kept: {link:?}"
            );
        }
    }
}

#[test]
fn few_connections_are_kept_where_one_fills_the_link() {
    for link in links() {
        let alone = link.cap.min(if link.loss > 0.0 { 0.0 } else { link.rate });
        if alone == link.rate && link.others == 0.0 && link.noise == 0.0 {
            let (_, kept) = against_best_fixed(link, 1, load(link, 60.0));
            assert!(kept <= 2, "{kept}: {link:?}");
        }
    }
}

#[test]
fn dozens_are_reached_where_dozens_are_needed() {
    for name in [
        "capped, near",
        "capped, far",
        "lossy",
        "beside four competing flows",
    ] {
        for link in links()
            .into_iter()
            .filter(|link| link.name == name && link.noise == 0.0)
        {
            let (_, kept) = against_best_fixed(link, 1, load(link, 20.0));
            assert_eq!(kept, CEILING, "{link:?}");
        }
    }
}
