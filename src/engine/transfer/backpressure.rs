//! Whether the disk keeps up with positional writes.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A write that takes this long had to wait for the disk.
const SLOW_WRITE: Duration = Duration::from_millis(10);
/// This many quick writes in a row show that the disk keeps up again.
const QUICK_WRITES: u32 = 64;

/// Remembers whether positional writes had to wait for the disk lately.
#[derive(Debug, Default)]
pub(crate) struct Backpressure {
    /// Quick writes that are still missing before the disk counts as one that keeps up.
    owed_writes: AtomicU32,
}

impl Backpressure {
    /// Takes note of how long a positional write took. Returns whether that write was slow.
    pub(crate) fn wrote(&self, span: Duration) -> bool {
        if span >= SLOW_WRITE {
            self.owed_writes.store(QUICK_WRITES, Ordering::Relaxed);
            return true;
        }
        if self.is_slow() {
            // One step, so a slow write that is noted meanwhile stays noted. At 0 nothing is owed.
            let less = |owed: u32| owed.checked_sub(1);
            let _ = self
                .owed_writes
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
        false
    }

    /// Whether positional writes had to wait for the disk lately.
    pub(crate) fn is_slow(&self) -> bool {
        self.owed_writes.load(Ordering::Relaxed) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_slow_until_enough_writes_were_quick() {
        let backpressure = Backpressure::default();
        let quick = Duration::from_millis(1);
        assert!(!backpressure.wrote(quick));
        assert!(!backpressure.is_slow());
        for _ in 0..2 {
            assert!(backpressure.wrote(SLOW_WRITE));
            for _ in 0..QUICK_WRITES {
                assert!(backpressure.is_slow());
                assert!(!backpressure.wrote(quick));
            }
            assert!(!backpressure.is_slow());
        }
    }
}
