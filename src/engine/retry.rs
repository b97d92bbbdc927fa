//! Whether a failed request is worth another attempt, the pause before it, and the event that
//! announces it.

use std::time::Duration;

use super::control::events::EventBus;
use super::metrics::Metrics;
use crate::event::Event;
use crate::http::{self, HttpError, Verdict};

/// The pause before the next attempt, after `attempts` of them failed in a row; `None` where the
/// error is final or `retries` are used up.
///
/// A pause that the server asked for (`Retry-After`, RFC 9110, section 10.2.3) is kept; otherwise
/// it grows with the number of attempts, with full jitter.
pub(crate) fn delay(error: &HttpError, attempts: u32, retries: u32) -> Option<Duration> {
    match http::verdict(error) {
        Verdict::Retry { after } | Verdict::Throttled { after } if attempts <= retries => {
            Some(after.unwrap_or_else(|| http::backoff(attempts, fastrand::f64())))
        }
        _ => None,
    }
}

/// Counts and announces a retry at `part`, and waits for `delay`.
///
/// Cancel safe: the retry counts from the first poll on.
pub(crate) async fn pause(
    metrics: &Metrics,
    events: &EventBus,
    part: u32,
    error: &HttpError,
    delay: Duration,
) {
    metrics.retried();
    tracing::debug!(part, %error, ?delay, "retrying");
    events.emit(Event::Retrying {
        part,
        reason: error.to_string(),
        delay,
    });
    tokio::time::sleep(delay).await;
}
