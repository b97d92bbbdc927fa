//! How many connections: a pure function of measured windows. No clock, no I/O.
//!
//! Nobody knows beforehand how many connections a line wants: one fills a clean line nearby, dozens are needed where each
//! loses packets or is capped by the server. So it begins with a number that experience suggests, and then tries: twice
//! as many as long as that is worth it, half as many where that costs nothing.

use std::time::Duration;

/// Connections that `auto` begins with where a reply comes at once: a few fill such a line, and a server that caps each
/// of them is asked for more from the start.
const START_NEAR: u32 = 4;
/// Connections that `auto` does not go below.
const FEWEST: u32 = 2;
/// Connections that `auto` begins with elsewhere. Each has to find its share of the line's rate, round trip by round
/// trip, and many find it sooner than few; lines of 40 ms and more were full soonest with as many as these, clean, capped
/// and lossy ones alike.
const START_FAR: u32 = 32;
/// A reply that takes longer comes from afar.
const NEAR: Duration = Duration::from_millis(5);
/// Twice as many connections are worth it for this much more throughput.
const WORTH_DOUBLING: f64 = 1.15;
/// Half as many are enough if they keep this share of the throughput.
const WORTH_KEEPING: f64 = 0.97;
/// WindowBuffer after a change that are not judged: connections are being opened or run dry.
const SETTLING: u32 = 1;
/// WindowBuffer of rest after a try that failed; twice as many after each further one.
const REST: u32 = 16;
const LONGEST_REST: u32 = 256;

/// What one window of time brought.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Window {
    pub(crate) bytes: u64,
    pub(crate) span: Duration,
    /// Transfers that were under way.
    pub(crate) connections: u32,
}

/// Finds the number of connections.
#[derive(Clone, Debug)]
pub(crate) struct Tuner {
    target: u32,
    // INVARIANT: at least 1, at most what the caller allows.
    ceiling: u32,
    mode: Mode,
    /// How long the next rest is.
    rest: u32,
    /// Which way the next try goes.
    direction: Direction,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Direction {
    Up,
    Down,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    /// The caller's number.
    Fixed,
    /// Measuring what the number brings, after so many windows.
    Measuring { settling: u32 },
    /// Trying another number than `from`, which brought `before` bytes a second.
    Trying {
        from: u32,
        before: f64,
        settling: u32,
    },
    /// Content with the number for so many more windows.
    Resting { windows: u32 },
}

impl Tuner {
    /// Holds to `connections`.
    pub(crate) fn fixed(connections: u32) -> Self {
        Self {
            mode: Mode::Fixed,
            ..Self::beginning(connections, connections)
        }
    }

    /// Begins with several and goes up to `ceiling`. `first_byte` is how long the probe's reply let wait.
    pub(crate) fn auto(ceiling: u32, first_byte: Duration) -> Self {
        let start = if first_byte < NEAR {
            START_NEAR
        } else {
            START_FAR
        };
        Self::beginning(start, ceiling)
    }

    /// Holds to a few, at most `ceiling`.
    pub(crate) fn steady(ceiling: u32) -> Self {
        Self::fixed(FEWEST.min(ceiling))
    }

    fn beginning(start: u32, ceiling: u32) -> Self {
        let ceiling = ceiling.max(1);
        let target = start.clamp(1, ceiling);
        Self {
            target,
            ceiling,
            mode: Mode::Measuring { settling: 0 },
            rest: REST,
            direction: Direction::Up,
        }
    }

    /// Transfers to keep under way.
    pub(crate) fn target(&self) -> u32 {
        self.target
    }

    /// Takes in what a window brought.
    pub(crate) fn observe(&mut self, window: Window) {
        let span = window.span.as_secs_f64();
        if window.connections < self.target || span <= 0.0 {
            // Not what the number can do: connections are still being opened, or the work runs out.
            return;
        }
        let throughput = window.bytes as f64 / span;
        match &mut self.mode {
            Mode::Fixed => {}
            Mode::Measuring { settling } | Mode::Trying { settling, .. } if *settling > 0 => {
                *settling -= 1;
            }
            Mode::Measuring { .. } => self.attempt(throughput),
            Mode::Trying { from, before, .. } => {
                let (from, before) = (*from, *before);
                self.judge(from, before, throughput);
            }
            Mode::Resting { windows: 0 } => self.mode = Mode::Measuring { settling: 0 },
            Mode::Resting { windows } => *windows -= 1,
        }
    }

    /// Tries the next number, now that the present one is known to bring `throughput`.
    fn attempt(&mut self, throughput: f64) {
        let up = (self.target * 2).min(self.ceiling);
        let down = (self.target / 2).max(FEWEST.min(self.target));
        let next = match self.direction {
            Direction::Up if up > self.target => up,
            Direction::Up => {
                self.direction = Direction::Down;
                return self.recover();
            }
            Direction::Down if down < self.target => down,
            Direction::Down => {
                self.direction = Direction::Up;
                return self.recover();
            }
        };
        self.mode = Mode::Trying {
            from: self.target,
            before: throughput,
            settling: SETTLING,
        };
        self.target = next;
    }

    fn judge(&mut self, from: u32, before: f64, throughput: f64) {
        let steps = (f64::from(self.target) / f64::from(from)).log2();
        let asked = match self.direction {
            Direction::Up => WORTH_DOUBLING.powf(steps),
            Direction::Down => WORTH_KEEPING,
        };
        if throughput >= before * asked {
            self.attempt(throughput);
            return;
        }
        self.target = from;
        self.direction = match self.direction {
            Direction::Up => Direction::Down,
            Direction::Down => Direction::Up,
        };
        self.recover();
    }

    fn recover(&mut self) {
        self.mode = Mode::Resting { windows: self.rest };
        self.rest = (self.rest * 2).min(LONGEST_REST);
    }

    /// The server refused a connection while `working` others brought bytes. Returns whether there is one fewer to ask
    /// for now; with a single connection left a refusal is a failure like any other.
    pub(crate) fn refused(&mut self, working: u32) -> bool {
        if working == 0 || self.target <= 1 {
            return false;
        }
        self.ceiling = working.min(self.target - 1).max(1);
        self.target = self.ceiling;
        if self.mode != Mode::Fixed {
            self.recover();
        }
        true
    }

    /// Never more than one from now on: the server has no ranges.
    pub(crate) fn single(&mut self) {
        *self = Self::fixed(1);
    }
}

#[cfg(test)]
mod links;

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the tuner against a line that gives `throughput(connections)` bytes a second.
    fn settle(mut tuner: Tuner, throughput: impl Fn(u32) -> f64) -> u32 {
        for _ in 0..100 {
            let connections = tuner.target();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "test rates are small"
            )]
            let bytes = throughput(connections) as u64;
            tuner.observe(Window {
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
    fn gives_back_what_adds_nothing() {
        assert_eq!(settle(Tuner::auto(32, Duration::ZERO), |_| 25e6), FEWEST);
        assert_eq!(settle(Tuner::auto(32, FAR), |_| 25e6), FEWEST);
        let eight = |n: u32| f64::from(n.min(8)) * 3e6;
        assert_eq!(settle(Tuner::auto(32, Duration::ZERO), eight), 8);
        assert_eq!(settle(Tuner::auto(32, FAR), eight), 8);
    }

    #[test]
    fn keeps_to_what_the_caller_says() {
        assert_eq!(settle(Tuner::fixed(3), |n| f64::from(n) * 1e6), 3);
        assert_eq!(
            settle(Tuner::auto(2, Duration::ZERO), |n| f64::from(n) * 1e6),
            2
        );
        assert_eq!(Tuner::auto(0, Duration::ZERO).target(), 1);
    }

    #[test]
    fn a_refusal_sets_the_ceiling_only_while_others_work() {
        let mut tuner = Tuner::auto(32, FAR);
        assert!(!tuner.refused(0));
        assert!(tuner.refused(2));
        assert_eq!(settle(tuner.clone(), |n| f64::from(n) * 1e6), 2);
        assert!(tuner.refused(2));
        assert!(!tuner.refused(1));
        assert_eq!(tuner.target(), 1);
    }
}
