//! Measures processor time: of the process, and of the threads of the embedded server in it.

use std::fs;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::server::THREADS;

/// Processor time used up to a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct CpuMark {
    process: Duration,
    server: Duration,
}

impl CpuMark {
    pub(super) fn now() -> Self {
        Self {
            process: process(),
            server: server(),
        }
    }

    /// Processor time since the mark: of the whole process, and without the embedded server.
    pub(super) fn since(self) -> Used {
        let now = Self::now();
        let process = now.process.saturating_sub(self.process);
        let server = now.server.saturating_sub(self.server);
        Used {
            process,
            download: process.saturating_sub(server),
        }
    }
}

/// Processor time of an interval.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    pub(super) process: Duration,
    pub(super) download: Duration,
}

fn process() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(spent.tv_sec).unwrap_or(0),
        u32::try_from(spent.tv_nsec).unwrap_or(0),
    )
}

/// Processor time of the embedded server's threads, which are found by name; 0 if the kernel does
/// not report a thread's time.
fn server() -> Duration {
    let Ok(threads) = fs::read_dir("/proc/self/task") else {
        return Duration::ZERO;
    };
    threads
        .flatten()
        .filter(|thread| {
            fs::read_to_string(thread.path().join("comm"))
                .is_ok_and(|name| name.trim_end() == THREADS)
        })
        .filter_map(|thread| {
            // Nanoseconds on a processor, nanoseconds waiting, time slices.
            let told = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            told.split_ascii_whitespace().next()?.parse().ok()
        })
        .map(Duration::from_nanos)
        .sum()
}
