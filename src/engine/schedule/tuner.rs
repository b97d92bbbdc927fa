//! Finds the number of connections from throughput samples. Pure: no clock, no I/O.
//!
//! The best number differs from link to link. One connection fills a clean link nearby; dozens are
//! needed where each loses packets or is capped by the server. The tuner starts with a number that
//! measurements suggest. It then doubles the number while that pays, and halves it where that
//! costs nothing.

use std::time::Duration;

/// Connections that `auto` starts with where a round trip takes less than [`NEAR`]. A few fill
/// such a link, and a server that caps each connection gives more from the start.
const START_NEAR: u32 = 4;
/// The fewest connections that `auto` tries.
const FEWEST: u32 = 2;
/// Connections that `auto` starts with where a round trip takes [`NEAR`] or more.
///
/// Each connection ramps up to its share of the rate, round trip by round trip, and many get there
/// sooner than few. In measurements, links of 40 ms and more filled up soonest with this many,
/// whether they were clean, capped or lossy.
const START_FAR: u32 = 32;
/// The shortest round trip to a distant server.
const NEAR: Duration = Duration::from_millis(5);
/// The least factor by which throughput must grow for twice as many connections to pay.
const WORTH_DOUBLING: f64 = 1.15;
/// The least fraction of the throughput that half as many connections must keep to be enough.
const WORTH_KEEPING: f64 = 0.97;
/// How many samples after a change are ignored: connections open or finish during them.
const SETTLING: u32 = 1;
/// How many samples the tuner ignores after the first failed trial. Each further failed trial
/// doubles the number.
const REST: u32 = 16;
/// The most samples that the tuner ignores after a failed trial.
const LONGEST_REST: u32 = 256;
/// After how many samples without a refusal the server is asked for one connection more. Each
/// refusal doubles the number, up to the longest.
const RECOVERY: u32 = 12;
const LONGEST_RECOVERY: u32 = 1024;

/// The throughput over a span of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ThroughputSample {
    /// Bytes that arrived during the span.
    pub(crate) bytes: u64,
    pub(crate) span: Duration,
    /// Transfers that were active throughout the span.
    pub(crate) connections: u32,
}

/// Finds the number of connections with the best throughput.
#[derive(Clone, Debug)]
pub(crate) struct Tuner {
    target: u32,
    // INVARIANT: at least 1, at most `most`.
    ceiling: u32,
    /// What the caller allows.
    most: u32,
    /// Samples since the last refusal, or since the ceiling was raised after one.
    calm: u32,
    /// After how many of them the ceiling is raised by one.
    recovery: u32,
    /// Whether it was raised since the last refusal.
    is_raised: bool,
    mode: Mode,
    /// Length of the next rest, in samples.
    rest: u32,
    /// Whether the next trial is of more or of fewer connections.
    direction: Direction,
}

/// Whether a trial is of more or of fewer connections.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Direction {
    Up,
    Down,
}

/// What the tuner does with the next sample.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    /// Ignores it: the caller chose the number.
    Fixed,
    /// Measures the current number, once `settling` samples have passed.
    Measuring { settling: u32 },
    /// Compares the current number with `from`, which gave `before` bytes per second, once
    /// `settling` samples have passed.
    Trying {
        from: u32,
        before: f64,
        settling: u32,
    },
    /// Ignores this and `samples` more.
    Resting { samples: u32 },
}

impl Tuner {
    /// Creates a tuner that keeps to `connections`.
    pub(crate) fn fixed(connections: u32) -> Self {
        Self {
            mode: Mode::Fixed,
            ..Self::starting_at(connections, connections)
        }
    }

    /// Creates a tuner that finds the best number up to `ceiling`. `round_trip` is what one to
    /// the server takes at most.
    pub(crate) fn auto(ceiling: u32, round_trip: Duration) -> Self {
        let start = if round_trip < NEAR {
            START_NEAR
        } else {
            START_FAR
        };
        Self::starting_at(start, ceiling)
    }

    /// Creates a tuner that keeps to a few connections, at most `ceiling`.
    pub(crate) fn steady(ceiling: u32) -> Self {
        Self::fixed(FEWEST.min(ceiling))
    }

    fn starting_at(start: u32, ceiling: u32) -> Self {
        let ceiling = ceiling.max(1);
        let target = start.clamp(1, ceiling);
        Self {
            target,
            ceiling,
            most: ceiling,
            calm: 0,
            recovery: RECOVERY,
            is_raised: false,
            mode: Mode::Measuring { settling: 0 },
            rest: REST,
            direction: Direction::Up,
        }
    }

    /// The number of transfers to keep active.
    pub(crate) fn target(&self) -> u32 {
        self.target
    }

    /// Takes the next sample into account.
    pub(crate) fn observe(&mut self, sample: ThroughputSample) {
        let span = sample.span.as_secs_f64();
        if sample.connections < self.target || span <= 0.0 {
            // Connections are still opening, or the work runs out.
            return;
        }
        self.recover();
        let throughput = sample.bytes as f64 / span;
        match &mut self.mode {
            Mode::Fixed => {}
            Mode::Measuring { settling } | Mode::Trying { settling, .. } if *settling > 0 => {
                *settling -= 1;
            }
            Mode::Measuring { .. } => self.try_next(throughput),
            Mode::Trying { from, before, .. } => {
                let (from, before) = (*from, *before);
                self.judge(from, before, throughput);
            }
            Mode::Resting { samples: 0 } => self.mode = Mode::Measuring { settling: 0 },
            Mode::Resting { samples } => *samples -= 1,
        }
    }

    /// Tries the next number. The current one gives `throughput` bytes per second.
    fn try_next(&mut self, throughput: f64) {
        let up = (self.target * 2).min(self.ceiling);
        let down = (self.target / 2).max(FEWEST.min(self.target));
        let next = match self.direction {
            Direction::Up if up > self.target => up,
            Direction::Up => {
                self.direction = Direction::Down;
                return self.rest();
            }
            Direction::Down if down < self.target => down,
            Direction::Down => {
                self.direction = Direction::Up;
                return self.rest();
            }
        };
        self.mode = Mode::Trying {
            from: self.target,
            before: throughput,
            settling: SETTLING,
        };
        self.target = next;
    }

    /// Keeps the current number, or returns to `from` where the trial did not pay.
    fn judge(&mut self, from: u32, before: f64, throughput: f64) {
        let steps = (f64::from(self.target) / f64::from(from)).log2();
        let required = match self.direction {
            Direction::Up => WORTH_DOUBLING.powf(steps),
            Direction::Down => WORTH_KEEPING,
        };
        if throughput >= before * required {
            self.try_next(throughput);
            return;
        }
        self.target = from;
        self.direction = match self.direction {
            Direction::Up => Direction::Down,
            Direction::Down => Direction::Up,
        };
        self.rest();
    }

    fn rest(&mut self) {
        self.mode = Mode::Resting { samples: self.rest };
        self.rest = (self.rest * 2).min(LONGEST_REST);
    }

    /// Lowers the ceiling after the server refused a connection while `working` others transferred.
    ///
    /// Returns whether the refused connection is one too many. A refusal of the only connection is
    /// a failure like any other.
    pub(crate) fn refused(&mut self, working: u32) -> bool {
        if working == 0 {
            return false;
        }
        // Those that are refused at once count once.
        let is_raised = std::mem::take(&mut self.is_raised);
        if std::mem::take(&mut self.calm) > 0 || is_raised {
            self.recovery = (self.recovery * 2).min(LONGEST_RECOVERY);
        }
        self.ceiling = working.min(self.target.saturating_sub(1)).max(1);
        self.target = self.ceiling;
        if self.mode != Mode::Fixed {
            self.rest();
        }
        true
    }

    /// Raises the ceiling by one after a while without a refusal. The server may have been busy.
    fn recover(&mut self) {
        if self.ceiling == self.most {
            return;
        }
        self.calm += 1;
        if self.calm >= self.recovery {
            self.calm = 0;
            self.ceiling += 1;
            self.is_raised = true;
            if self.mode == Mode::Fixed {
                self.target = self.ceiling;
            }
        }
    }

    /// Forgets that connections were refused.
    pub(crate) fn forget_refusals(&mut self) {
        let is_lower = self.ceiling < self.most;
        (self.ceiling, self.calm, self.recovery) = (self.most, 0, RECOVERY);
        if is_lower && self.mode == Mode::Fixed {
            self.target = self.most;
        } else if is_lower {
            self.mode = Mode::Measuring { settling: SETTLING };
            self.direction = Direction::Up;
        }
    }

    /// Keeps to one connection from now on, because the server has no ranges.
    pub(crate) fn single(&mut self) {
        *self = Self::fixed(1);
    }
}

#[cfg(test)]
mod links;

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the tuner on a link that gives `throughput(connections)` bytes per second. Returns the
    /// number that it settles on.
    fn settle(tuner: Tuner, throughput: impl Fn(u32) -> f64) -> u32 {
        after(tuner, 100, throughput)
    }

    /// The same after so many samples.
    fn after(mut tuner: Tuner, samples: u32, throughput: impl Fn(u32) -> f64) -> u32 {
        for _ in 0..samples {
            let connections = tuner.target();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "test rates are small"
            )]
            let bytes = throughput(connections) as u64;
            tuner.observe(ThroughputSample {
                bytes,
                span: Duration::from_secs(1),
                connections,
            });
        }
        tuner.target()
    }

    const FAR: Duration = Duration::from_millis(40);

    #[test]
    fn grows_where_each_connection_is_capped() {
        let capped = |n| (f64::from(n) * 1.25e6).min(25e6);
        assert_eq!(settle(Tuner::auto(32, Duration::ZERO), capped), 32);
        assert_eq!(settle(Tuner::auto(32, FAR), capped), 32);
    }

    #[test]
    fn drops_connections_that_add_nothing() {
        assert_eq!(settle(Tuner::auto(32, Duration::ZERO), |_| 25e6), FEWEST);
        assert_eq!(settle(Tuner::auto(32, FAR), |_| 25e6), FEWEST);
        let eight = |n: u32| f64::from(n.min(8)) * 3e6;
        assert_eq!(settle(Tuner::auto(32, Duration::ZERO), eight), 8);
        assert_eq!(settle(Tuner::auto(32, FAR), eight), 8);
    }

    #[test]
    fn keeps_to_the_callers_number() {
        assert_eq!(settle(Tuner::fixed(3), |n| f64::from(n) * 1e6), 3);
        assert_eq!(
            settle(Tuner::auto(2, Duration::ZERO), |n| f64::from(n) * 1e6),
            2
        );
        assert_eq!(Tuner::auto(0, Duration::ZERO).target(), 1);
    }

    #[test]
    fn a_refusal_sets_the_ceiling_only_while_others_transfer() {
        let mut tuner = Tuner::auto(32, FAR);
        assert!(!tuner.refused(0));
        assert!(tuner.refused(2));
        assert_eq!(after(tuner.clone(), 10, |n| f64::from(n) * 1e6), 2);
        assert!(tuner.refused(2));
        assert!(tuner.refused(1), "one of several that were refused at once");
        assert_eq!(tuner.target(), 1);
    }

    #[test]
    fn a_server_that_refused_is_asked_for_more_again() {
        let linear = |n| f64::from(n) * 1e6;
        let mut refusing = Tuner::fixed(8);
        assert!(refusing.refused(4));
        let gaps = (0..4).map(|_| {
            let samples = (1..).find(|_| {
                let connections = refusing.target();
                refusing.observe(ThroughputSample {
                    bytes: 1,
                    span: Duration::from_secs(1),
                    connections,
                });
                refusing.target() > connections
            });
            assert!(refusing.refused(4));
            samples.unwrap()
        });
        assert_eq!(gaps.collect::<Vec<u32>>(), [12, 24, 48, 96]);
        for mut tuner in [Tuner::fixed(8), Tuner::auto(8, FAR)] {
            for working in [7, 6, 5, 4] {
                assert!(tuner.refused(working));
            }
            assert_eq!(after(tuner.clone(), 10, linear), 4);
            assert_eq!(after(tuner.clone(), 2000, linear), 8);
            tuner.forget_refusals();
            assert_eq!(after(tuner.clone(), 60, linear), 8);
        }
    }
}
