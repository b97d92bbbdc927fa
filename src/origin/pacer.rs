//! Limits the rate of sending.

use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Limits a rate: each write gets a time slot after the previous one and waits for the slot's end.
pub(super) struct Pacer {
    rate: Option<NonZeroU64>,
    // Held for a few instructions, never over an await.
    free_from: Mutex<Instant>,
}

impl Pacer {
    /// Makes a limit of `rate` bytes per second; `None` for no limit.
    pub(super) fn new(rate: Option<NonZeroU64>) -> Self {
        Self {
            rate,
            free_from: Mutex::new(Instant::now()),
        }
    }

    /// The most bytes to send at once: those of 20 ms, so that the stream is smooth.
    pub(super) fn grain(&self) -> u64 {
        self.rate.map_or(u64::MAX, |rate| (rate.get() / 50).max(1))
    }

    /// Waits until these bytes may be sent.
    pub(super) async fn pace(&self, bytes: u64) {
        let Some(rate) = self.rate else {
            return;
        };
        let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(rate.get());
        let slot = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        let turn = {
            let mut free_from = self
                .free_from
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *free_from = (*free_from).max(Instant::now()) + slot;
            *free_from
        };
        sleep_until(turn).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_go_at_the_rate() {
        let pacer = Pacer::new(NonZeroU64::new(1000));
        let start = Instant::now();
        assert_eq!(pacer.grain(), 20);
        tokio::join!(pacer.pace(500), pacer.pace(500));
        assert_eq!(start.elapsed().as_millis(), 1000);
        Pacer::new(None).pace(u64::MAX).await;
        assert_eq!(start.elapsed().as_millis(), 1000);
    }
}
