//! How often progress is told in lines.

use std::time::{Duration, Instant};

use partwise::Progress;

use super::text;

/// Decides when the next line of progress is due: after another tenth or ten seconds, and at most
/// once per second.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    last: Option<(Instant, u64)>,
}

impl Pace {
    /// Whether a line is due now, which counts as printed then.
    pub(crate) fn is_due(&mut self, now: Instant, progress: &Progress) -> bool {
        let tenth = match progress.total_bytes {
            Some(total) => text::percent(progress.completed_bytes, total) / 10,
            None => 0,
        };
        let due = match self.last {
            // The probe prints the first line; this call sets the time from which later lines
            // count.
            None => {
                self.last = Some((now, tenth));
                return false;
            }
            Some((when, before)) => {
                let since = now.saturating_duration_since(when);
                since >= Duration::from_secs(10)
                    || (tenth > before && since >= Duration::from_secs(1))
            }
        };
        if due {
            self.last = Some((now, tenth));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(completed: u64, total: Option<u64>) -> Progress {
        let mut progress = Progress::default();
        progress.completed_bytes = completed;
        progress.total_bytes = total;
        progress
    }

    #[test]
    fn lines_come_after_a_tenth_or_ten_seconds() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut pace = Pace::default();
        assert!(
            !pace.is_due(at(0), &progress(0, Some(100))),
            "the start has its own line"
        );
        assert!(
            !pace.is_due(at(500), &progress(50, Some(100))),
            "twice in a second"
        );
        assert!(
            pace.is_due(at(1000), &progress(50, Some(100))),
            "another tenth"
        );
        assert!(!pace.is_due(at(9000), &progress(55, Some(100))), "neither");
        assert!(
            pace.is_due(at(11_000), &progress(55, Some(100))),
            "ten seconds"
        );
        assert!(
            !pace.is_due(at(20_000), &progress(55, None)),
            "neither, with no length"
        );
        assert!(
            pace.is_due(at(21_000), &progress(55, None)),
            "ten seconds, with no length"
        );
    }
}
