//! How many connections: a pure function of measured windows. No clock, no I/O.

use std::time::Duration;

/// Connections that `auto` begins with.
const START: u32 = 4;
/// More connections must bring at least this much more throughput for each doubling.
const WORTH_DOUBLING: f64 = 1.15;
/// Windows without a try to grow, after a try that brought nothing.
const REST: u32 = 20;

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
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    /// The caller's number.
    Fixed,
    /// Growing; `before` is the throughput with `from` connections.
    Growing { from: u32, before: Option<f64> },
    /// Content with the number for so many more windows.
    Resting { windows: u32 },
}

impl Tuner {
    /// Holds to `connections`.
    pub(crate) fn fixed(connections: u32) -> Self {
        let connections = connections.max(1);
        Self {
            target: connections,
            ceiling: connections,
            mode: Mode::Fixed,
        }
    }

    /// Begins with a few and goes up to `ceiling`.
    pub(crate) fn auto(ceiling: u32) -> Self {
        let ceiling = ceiling.max(1);
        Self {
            target: START.min(ceiling),
            ceiling,
            mode: Mode::Growing {
                from: START.min(ceiling),
                before: None,
            },
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
            // Not what the number can do: connections were still being opened, or the work runs out.
            return;
        }
        let throughput = window.bytes as f64 / span;
        match self.mode {
            Mode::Fixed => {}
            Mode::Resting { windows: 0 } => self.grow(throughput),
            Mode::Resting { windows } => {
                self.mode = Mode::Resting {
                    windows: windows - 1,
                };
            }
            Mode::Growing { from, before } => match before {
                Some(before) if throughput < before * gain_asked(from, self.target) => {
                    self.target = from;
                    self.mode = Mode::Resting { windows: REST };
                }
                _ => self.grow(throughput),
            },
        }
    }

    fn grow(&mut self, throughput: f64) {
        let from = self.target;
        self.target = (from * 2).min(self.ceiling);
        self.mode = if self.target == from {
            Mode::Resting { windows: REST }
        } else {
            Mode::Growing {
                from,
                before: Some(throughput),
            }
        };
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
            self.mode = Mode::Resting { windows: REST };
        }
        true
    }

    /// Never more than one from now on: the server has no ranges.
    pub(crate) fn single(&mut self) {
        *self = Self::fixed(1);
    }
}

/// What share of the throughput with `from` connections `to` must reach.
fn gain_asked(from: u32, to: u32) -> f64 {
    WORTH_DOUBLING.powf((f64::from(to) / f64::from(from)).log2())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the tuner against a line that gives `throughput(connections)` bytes a second.
    fn settle(mut tuner: Tuner, throughput: impl Fn(u32) -> f64) -> u32 {
        for _ in 0..12 {
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

    #[test]
    fn grows_where_each_connection_is_capped() {
        let capped = |n| (f64::from(n) * 1.25e6).min(25e6);
        assert_eq!(settle(Tuner::auto(32), capped), 32);
    }

    #[test]
    fn gives_back_what_adds_nothing() {
        assert_eq!(settle(Tuner::auto(32), |_| 25e6), START);
        assert_eq!(settle(Tuner::auto(32), |n| f64::from(n.min(8)) * 3e6), 8);
    }

    #[test]
    fn keeps_to_what_the_caller_says() {
        assert_eq!(settle(Tuner::fixed(3), |n| f64::from(n) * 1e6), 3);
        assert_eq!(settle(Tuner::auto(2), |n| f64::from(n) * 1e6), 2);
        assert_eq!(Tuner::auto(0).target(), 1);
    }

    #[test]
    fn a_refusal_sets_the_ceiling_only_while_others_work() {
        let mut tuner = Tuner::auto(32);
        assert!(!tuner.refused(0));
        assert!(tuner.refused(2));
        assert_eq!(settle(tuner.clone(), |n| f64::from(n) * 1e6), 2);
        assert!(tuner.refused(2));
        assert!(!tuner.refused(1));
        assert_eq!(tuner.target(), 1);
    }
}
