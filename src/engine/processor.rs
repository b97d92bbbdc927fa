//! How much processor time this process has used.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// User and system time of all threads.
pub(crate) fn time() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(spent.tv_sec).unwrap_or(0),
        u32::try_from(spent.tv_nsec).unwrap_or(0),
    )
}
