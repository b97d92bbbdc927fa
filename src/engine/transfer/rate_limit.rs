//! Limits the rate over all connections of a run, with a token bucket that may go into debt.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// How much may pass at once after an idle time, as time at the full rate.
const BURST: Duration = Duration::from_millis(100);

/// Lets a given number of bytes per second pass.
#[derive(Debug)]
pub(crate) struct Limiter {
    bytes_per_second: f64,
    // When the bytes so far are within the rate. Held for arithmetic only, never across an await.
    paid_until: Mutex<Instant>,
}

impl Limiter {
    /// Creates a limiter. A `bytes_per_second` of 0 counts as 1.
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second: bytes_per_second.max(1) as f64,
            paid_until: Mutex::new(Instant::now()),
        }
    }

    /// Waits until the `bytes` that arrived are within the rate.
    ///
    /// Cancel safe: the bytes count from the first poll on, whether or not the wait is complete.
    pub(crate) async fn pass(&self, bytes: usize) {
        let until = self.charge(bytes, Instant::now());
        if let Some(until) = until {
            sleep_until(until).await;
        }
    }

    /// Counts `bytes`, and returns when they are within the rate; `None` where they are already.
    fn charge(&self, bytes: usize, now: Instant) -> Option<Instant> {
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second);
        let mut paid_until = self
            .paid_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let start = (*paid_until).max(now.checked_sub(BURST).unwrap_or(now));
        *paid_until = start + cost;
        (*paid_until > now).then_some(*paid_until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_rate_holds_over_all_connections() {
        let limiter = Limiter::new(1_000_000);
        let start = Instant::now();
        for _ in 0..5 {
            tokio::join!(limiter.pass(300_000), limiter.pass(700_000));
        }
        let elapsed = start.elapsed().as_secs_f64();
        assert!((4.9..=5.1).contains(&elapsed), "{elapsed}");
    }

    #[tokio::test(start_paused = true)]
    async fn idle_time_is_not_saved_up() {
        let limiter = Limiter::new(1_000_000);
        tokio::time::advance(Duration::from_secs(60)).await;
        let start = Instant::now();
        limiter.pass(2_000_000).await;
        assert!(start.elapsed() >= Duration::from_millis(1_890));
    }
}
