//! How long requests are, where a lease is cut, and when a second fetch gains time. Pure arithmetic.

use std::time::Duration;

/// The shortest request while nothing is known yet, in bytes.
const SMALLEST_REQUEST: u64 = 1 << 20;
/// Requests stay at or below this while rates are unknown, and may always reach it, in bytes.
const USUAL_REQUEST: u64 = 16 << 20;
/// No request is longer where several share, so that work proceeds from the front, in bytes.
const LONGEST_REQUEST: u64 = 256 << 20;
/// A request may last this long at the measured rate: several times what a sender takes to recover from the loss that the
/// start of one may cost it.
const LONG_REQUEST: Duration = Duration::from_secs(30);
/// A request lasts at least this many times the wait for its first byte,
const WORTH_A_ROUND_TRIP: f64 = 4.0;
/// and at least this long.
const WORTH_A_REQUEST: Duration = Duration::from_millis(10);
/// A lease is hedged when a second fetch is expected to take less than this share of the time it has left.
const HEDGE_GAIN: f64 = 0.5;
/// A lease that ends sooner than this is not hedged.
const HEDGE_LEAST: Duration = Duration::from_millis(100);
/// A stolen tail takes at least this long to fetch: the theft costs its victim's connection.
const THEFT_LEAST: Duration = Duration::from_millis(10);
/// A transfer that stands still is reckoned with this share of the usual rate.
const STANDSTILL: f64 = 0.01;
/// A connection is reckoned with at least the inverse of this and at most this times the usual rate.
const UNEVEN: f64 = 4.0;

/// What is known of a transfer that is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Observed {
    /// The next byte that it will bring; a position in the file.
    pub(crate) position: u64,
    /// Bytes a second, lately; `None` where it is too young to tell.
    pub(crate) rate: Option<f64>,
}

/// What is known of the line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pace {
    /// Transfers that share the work; at least 1.
    pub(crate) connections: u32,
    /// Bytes a second that one transfer usually makes; 0 where unknown.
    pub(crate) rate: f64,
    /// Bytes a second that the connection which asks made with its last lease, waiting included; `None` where it is new.
    pub(crate) own: Option<f64>,
    /// The usual wait for a reply's first byte.
    pub(crate) first_byte: Duration,
}

impl Pace {
    /// Bytes a second that the connection which asks is expected to make.
    fn newcomer(&self) -> f64 {
        let usual = reckon(None, self);
        self.own
            .map_or(usual, |own| own.clamp(usual / UNEVEN, usual * UNEVEN))
    }
}

/// How many bytes to ask for at once when `free` are left: the connection's share of them, so that requests get shorter towards
/// the end and the connections run dry together, within bounds that keep a request worth its round trip.
///
/// All of them where nobody is to share: between two requests nothing comes for a round trip, and what the server then sends
/// at once may be more than the queues on the way hold.
pub(super) fn request_length(pace: &Pace, free: u64) -> u64 {
    if pace.connections <= 1 {
        return free;
    }
    let even = free / u64::from(pace.connections.max(1));
    if pace.rate <= 0.0 {
        return even.clamp(SMALLEST_REQUEST, USUAL_REQUEST);
    }
    let rate = pace.newcomer();
    let worth =
        (pace.first_byte.as_secs_f64() * WORTH_A_ROUND_TRIP).max(WORTH_A_REQUEST.as_secs_f64());
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, and is clamped"
    )]
    let (share, shortest, longest) = (
        (even as f64 * rate / pace.rate) as u64,
        (rate * worth) as u64,
        (rate * LONG_REQUEST.as_secs_f64()) as u64,
    );
    let longest = longest.clamp(USUAL_REQUEST, LONGEST_REQUEST);
    share.clamp(shortest.min(USUAL_REQUEST), longest)
}

/// The bytes that a newcomer takes off the end of a lease with `left` bytes, which comes in at `measured`: both end together.
/// `None` where that gains nothing.
pub(super) fn tail_to_steal(left: u64, measured: Option<f64>, pace: &Pace) -> Option<f64> {
    let left = left as f64;
    let own = reckon(measured, pace);
    let newcomer = pace.newcomer();
    let wait = pace.first_byte.as_secs_f64();
    // (left - tail) / own = wait + tail / newcomer
    let tail = (left / own - wait) / (1.0 / own + 1.0 / newcomer);
    (tail / newcomer >= wait.max(THEFT_LEAST.as_secs_f64())).then_some(tail)
}

/// Whether to fetch `again` bytes a second time, of a lease that has `left` seconds to go.
pub(super) fn gains_from_hedge(left: f64, again: u64, pace: &Pace) -> bool {
    let second = pace.first_byte.as_secs_f64() + again as f64 / pace.newcomer();
    second < left * HEDGE_GAIN && left > HEDGE_LEAST.as_secs_f64()
}

/// A rate to reckon with: the measured one, or else the line's, or else a guess that makes all lengths comparable.
fn reckon(measured: Option<f64>, pace: &Pace) -> f64 {
    let usual = if pace.rate > 0.0 { pace.rate } else { 1.0 };
    measured.unwrap_or(usual).max(usual * STANDSTILL)
}

pub(super) fn seconds_left(end: u64, seen: Observed, pace: &Pace) -> f64 {
    end.saturating_sub(seen.position) as f64 / reckon(seen.rate, pace)
}
