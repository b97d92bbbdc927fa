//! How long a request is, where a lease is cut, and when a second fetch saves time.

use std::time::Duration;

/// Length of the shortest request while no rate is known, in bytes.
const SMALLEST_REQUEST: u64 = 1 << 20;
/// Length that a request may always reach, and the limit while no rate is known, in bytes.
const USUAL_REQUEST: u64 = 16 << 20;
/// Length of the longest request where several connections share the work, in bytes. It keeps
/// work near the front of the file.
const LONGEST_REQUEST: u64 = 256 << 20;
/// Longest duration of a request at the measured rate. Starting a request may cost a packet loss;
/// a sender recovers from it in a fraction of this time.
const LONG_REQUEST: Duration = Duration::from_secs(30);
/// Shortest duration of a request, as a multiple of the time to first byte.
const SHORTEST_IN_FIRST_BYTES: f64 = 4.0;
/// Shortest duration of a request, however short the time to first byte is.
const SHORTEST_DURATION: Duration = Duration::from_millis(10);
/// Longest duration of a worthwhile second fetch, as a fraction of the time the lease has left.
const HEDGE_GAIN: f64 = 0.5;
/// A lease that ends sooner than this is not hedged.
const HEDGE_LEAST: Duration = Duration::from_millis(100);
/// Shortest duration of a worthwhile stolen tail: the theft costs the victim its connection.
const THEFT_LEAST: Duration = Duration::from_millis(10);
/// Assumed rate of a stalled transfer, as a fraction of the usual rate.
const STALLED_RATE: f64 = 0.01;
/// Greatest factor by which the assumed rate of a connection differs from the usual rate.
const RATE_SPREAD: f64 = 4.0;

/// What is known of an active transfer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Observed {
    /// The position in the file of the next byte to arrive.
    pub(crate) position: u64,
    /// Recent bytes per second; `None` while it is not known.
    pub(crate) rate: Option<f64>,
    /// Bytes per second since the start, the wait for the first byte included: the rate is hardly
    /// lower than that.
    pub(crate) mean: f64,
    /// Whether the caller's own limit holds it up, so that no other connection would be faster.
    pub(crate) is_limited: bool,
}

/// What is known of the link to the servers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LinkEstimate {
    /// The number of transfers that share the work, at least 1.
    pub(crate) connections: u32,
    /// The usual rate of one transfer, in bytes per second; 0 where unknown.
    pub(crate) rate: f64,
    /// The rate of the requesting connection over its last lease, in bytes per second, including
    /// the time to first byte; `None` where the connection is new.
    pub(crate) own: Option<f64>,
    /// The usual time to first byte.
    pub(crate) first_byte: Duration,
}

impl LinkEstimate {
    /// The expected rate of the requesting connection, in bytes per second.
    fn expected_rate(&self) -> f64 {
        let usual = assumed_rate(Observed::default(), self);
        self.own.map_or(usual, |own| {
            own.clamp(usual / RATE_SPREAD, usual * RATE_SPREAD)
        })
    }
}

/// How many bytes to request at once when `free` bytes are left.
///
/// A connection gets its share of them, within bounds that keep a request worth its round trip.
/// Requests thus get shorter towards the end, and the connections finish together.
///
/// A single connection requests everything: between two requests the line idles for a round trip,
/// and the burst after it may overflow the queues along the path.
pub(super) fn request_length(link: &LinkEstimate, free: u64) -> u64 {
    if link.connections <= 1 {
        return free;
    }
    let even = free / u64::from(link.connections.max(1));
    if link.rate <= 0.0 {
        return even.clamp(SMALLEST_REQUEST, USUAL_REQUEST);
    }
    let rate = link.expected_rate();
    let worth = (link.first_byte.as_secs_f64() * SHORTEST_IN_FIRST_BYTES)
        .max(SHORTEST_DURATION.as_secs_f64());
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, and is clamped"
    )]
    let (share, shortest, longest) = (
        (even as f64 * rate / link.rate) as u64,
        (rate * worth) as u64,
        (rate * LONG_REQUEST.as_secs_f64()) as u64,
    );
    let longest = longest.clamp(USUAL_REQUEST, LONGEST_REQUEST);
    share.clamp(shortest.min(USUAL_REQUEST), longest)
}

/// How many of a lease's last `left` bytes the requesting connection takes over, for both to finish
/// together, where the lease was `seen` so. `None` where the theft saves no time.
pub(super) fn tail_to_steal(left: u64, seen: Observed, link: &LinkEstimate) -> Option<f64> {
    let left = left as f64;
    let own = assumed_rate(seen, link);
    let thief = match link.rate > 0.0 {
        true => link.expected_rate(),
        false => own,
    };
    let first_byte = link.first_byte.as_secs_f64();
    // (left - tail) / own = first_byte + tail / thief
    let tail = (left / own - first_byte) / (1.0 / own + 1.0 / thief);
    (tail / thief >= first_byte.max(THEFT_LEAST.as_secs_f64())).then_some(tail)
}

/// Whether a second fetch of `again` bytes saves time on a lease that has `left` seconds to go.
pub(super) fn gains_from_hedge(left: f64, again: u64, link: &LinkEstimate) -> bool {
    let second = link.first_byte.as_secs_f64() + again as f64 / link.expected_rate();
    second < left * HEDGE_GAIN && left > HEDGE_LEAST.as_secs_f64()
}

/// The rate to assume for a transfer, in bytes per second, at least [`STALLED_RATE`] of the usual.
///
/// Without a measurement it is the usual rate, but at least the mean. Without these it is 1, so
/// durations are comparable.
fn assumed_rate(seen: Observed, link: &LinkEstimate) -> f64 {
    let usual = if link.rate > 0.0 { link.rate } else { 1.0 };
    let unmeasured = usual.max(seen.mean);
    seen.rate.unwrap_or(unmeasured).max(usual * STALLED_RATE)
}

/// The seconds until a transfer reaches `end`.
pub(super) fn seconds_left(end: u64, seen: Observed, link: &LinkEstimate) -> f64 {
    end.saturating_sub(seen.position) as f64 / assumed_rate(seen, link)
}
