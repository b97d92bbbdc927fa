//! The rate limit over all connections of a run: a token bucket that may go into debt.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// How much may come at once after a lull, as time at the full rate.
const BURST: Duration = Duration::from_millis(100);

/// Lets a given number of bytes a second pass.
#[derive(Debug)]
pub(crate) struct Limiter {
    bytes_per_second: f64,
    // When the bytes that passed so far are paid for. Held for arithmetic alone, never across an await.
    paid_until: Mutex<Instant>,
}

impl Limiter {
    /// `bytes_per_second` of 0 counts as 1.
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second: bytes_per_second.max(1) as f64,
            paid_until: Mutex::new(Instant::now()),
        }
    }

    /// Waits until `bytes` that came in are within the rate.
    ///
    /// Cancel safe: the bytes count from the first poll on, and they did come in.
    pub(crate) async fn pass(&self, bytes: usize) {
        let until = self.charge(bytes, Instant::now());
        if let Some(until) = until {
            sleep_until(until).await;
        }
    }

    /// Books `bytes` and says until when to wait, if at all.
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
    async fn the_rate_holds_over_all_who_share_it() {
        let limiter = Limiter::new(1_000_000);
        let start = Instant::now();
        for _ in 0..5 {
            tokio::join!(limiter.pass(300_000), limiter.pass(700_000));
        }
        let elapsed = start.elapsed().as_secs_f64();
        assert!((4.9..=5.1).contains(&elapsed), "{elapsed}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lull_is_not_saved_up() {
        let limiter = Limiter::new(1_000_000);
        tokio::time::advance(Duration::from_secs(60)).await;
        let start = Instant::now();
        limiter.pass(2_000_000).await;
        assert!(start.elapsed() >= Duration::from_millis(1_890));
    }
}
