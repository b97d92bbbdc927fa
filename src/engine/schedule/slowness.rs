//! Notices a transfer, or a whole download, that is slower than the caller puts up with.

use std::time::Duration;

use tokio::time::Instant;

use super::lease::{Activity, RateMeter};
use crate::engine::job::LowestSpeed;

/// Follows the rate of a whole download.
#[derive(Debug)]
pub(crate) struct Slowness {
    lowest: LowestSpeed,
    /// When enough bytes had arrived the last time, and how many those were in all.
    since: Instant,
    bytes: u64,
}

impl Slowness {
    /// Begins now, after `bytes` bytes.
    pub(crate) fn new(lowest: LowestSpeed, bytes: u64, now: Instant) -> Self {
        Self {
            lowest,
            since: now,
            bytes,
        }
    }

    /// Begins anew: what was before says nothing of the server.
    pub(crate) fn restart(&mut self, bytes: u64, now: Instant) {
        (self.since, self.bytes) = (now, bytes);
    }

    /// Does not count this time as slow.
    pub(crate) fn excuse(&mut self, span: Duration) {
        self.since += span;
    }

    /// Whether the download has been too slow for too long, now that `bytes` bytes have arrived in
    /// all.
    pub(crate) fn is_too_slow(&mut self, bytes: u64, now: Instant) -> bool {
        let span = self.lowest.longest();
        let enough = self.lowest.bytes_per_second as f64 * span.as_secs_f64();
        if (bytes - self.bytes) as f64 >= enough {
            self.restart(bytes, now);
        }
        now - self.since >= span
    }
}

/// Whether a lease, measured at `now`, has been slower than `lowest` for its span. Time in which
/// its worker did not wait for the network does not count.
pub(super) fn is_lease_too_slow(meter: &mut RateMeter, lowest: LowestSpeed, now: Instant) -> bool {
    let is_slow = meter.lease.activity() == Activity::Waiting
        && meter
            .rate
            .is_some_and(|rate| rate < lowest.bytes_per_second as f64);
    if !is_slow {
        meter.slow_since = None;
        return false;
    }
    now - *meter.slow_since.get_or_insert(now) >= lowest.span
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use futures::future::AbortHandle;

    use super::*;
    use crate::engine::schedule::lease::ActiveLease;
    use crate::engine::schedule::scheduler::LeaseId;
    use crate::object::ByteRange;

    const SECOND: Duration = Duration::from_secs(1);
    const LOWEST: LowestSpeed = LowestSpeed {
        bytes_per_second: 1000,
        span: Duration::from_secs(10),
    };

    /// The second at which a download of so many bytes a second is given up.
    fn given_up(rate: impl Fn(u32) -> u64) -> Option<u32> {
        let begun = Instant::now();
        let mut slowness = Slowness::new(LOWEST, 0, begun);
        let mut bytes = 0;
        (1..100).find(|second| {
            bytes += rate(*second);
            slowness.is_too_slow(bytes, begun + SECOND * *second)
        })
    }

    #[test]
    fn a_download_is_given_up_after_two_spans_below_the_lowest_speed() {
        assert_eq!(given_up(|_| 999), Some(20));
        assert_eq!(given_up(|_| 1000), None);
        assert_eq!(
            given_up(|second| if second < 19 { 500 } else { 20_000 }),
            None
        );
        assert_eq!(
            given_up(|second| if second <= 10 { 20_000 } else { 0 }),
            Some(30)
        );
    }

    /// The tenth of a second at which a lease of so many bytes a second counts as too slow.
    fn replaced(activity: Activity, rate: u64) -> Option<u32> {
        let begun = Instant::now();
        let lease = ActiveLease::new(
            LeaseId(0),
            ByteRange::whole(1 << 30),
            AbortHandle::new_pair().0,
        );
        lease.does(activity);
        let mut meter = RateMeter::new(Arc::new(lease), begun);
        (1..300).find(|tick| {
            let now = begun + SECOND / 10 * *tick;
            meter.lease.advance(u64::from(*tick) * rate / 10);
            meter.measure(now, SECOND / 100);
            is_lease_too_slow(&mut meter, LOWEST, now)
        })
    }

    #[test]
    fn a_lease_is_replaced_after_one_span_in_which_it_waits_for_slow_bytes() {
        assert!(replaced(Activity::Waiting, 900).is_some_and(|tick| (100..110).contains(&tick)));
        assert_eq!(replaced(Activity::Waiting, 1200), None);
        assert_eq!(replaced(Activity::Writing, 900), None);
    }
}
