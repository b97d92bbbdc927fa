//! The usual time to first byte.

use std::time::Duration;

/// Weight of the newest time in the moving average.
const NEWEST_WEIGHT: f64 = 0.3;

/// A moving average of times to first byte.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FirstByte(Duration);

impl FirstByte {
    /// Takes the newest one into account.
    pub(crate) fn add(&mut self, newest: Duration) {
        self.0 = if self.0.is_zero() {
            newest
        } else {
            self.0.mul_f64(1.0 - NEWEST_WEIGHT) + newest.mul_f64(NEWEST_WEIGHT)
        };
    }

    /// The usual one; zero where unknown.
    pub(crate) fn usual(self) -> Duration {
        self.0
    }
}
