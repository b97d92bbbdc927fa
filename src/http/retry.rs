//! Decides whether a failed request is tried again, and when. Pure: no clock, no randomness.

use std::time::{Duration, SystemTime};

use reqwest::StatusCode;

use super::error::{HttpError, HttpErrorKind};

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Try again after a pause; `after` is the pause that the server asked for, at most
    /// [`LONGEST_RETRY_AFTER`].
    Retry { after: Option<Duration> },
    /// The server is overloaded: lower the number of connections before counting an attempt.
    Throttled { after: Option<Duration> },
    /// Trying again can't help.
    Fatal,
}

/// The longest pause that a server may ask for. A longer one is the user's decision.
pub(crate) const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(120);

/// The upper bound of the first pause. A reset or a 502 often passes within a round trip or two.
const BACKOFF_BASE: Duration = Duration::from_millis(250);

/// The upper bound of every pause, reached at the eighth retry.
const BACKOFF_CAP: Duration = Duration::from_secs(30);

/// The verdict on an error. Errors are fatal unless they are listed here.
pub(crate) fn verdict(error: &HttpError) -> Verdict {
    let after = error.retry_after();
    match error.kind() {
        HttpErrorKind::Connect | HttpErrorKind::Closed => Verdict::Throttled { after: None },
        HttpErrorKind::Timeout
        | HttpErrorKind::Unreachable
        | HttpErrorKind::Stalled
        | HttpErrorKind::Transport
        | HttpErrorKind::Short { .. }
        | HttpErrorKind::Unsatisfied
        | HttpErrorKind::NotRanged
        | HttpErrorKind::Resolve { temporary: true } => Verdict::Retry { after: None },
        HttpErrorKind::Status(status) => match *status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                Verdict::Throttled { after }
            }
            StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_EARLY
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::GATEWAY_TIMEOUT => Verdict::Retry { after },
            // Stores say so where a connection was idle.
            StatusCode::BAD_REQUEST if error.code() == Some("RequestTimeout") => {
                Verdict::Retry { after }
            }
            _ => Verdict::Fatal,
        },
        _ => Verdict::Fatal,
    }
}

impl HttpError {
    /// The same failure, made retryable, because another source may succeed.
    pub(crate) fn passing(self) -> Self {
        match verdict(&self) {
            Verdict::Fatal => self.with_kind(HttpErrorKind::Transport),
            Verdict::Retry { .. } | Verdict::Throttled { .. } => self,
        }
    }
}

/// The longest pause before a retry: `min(30 s, 250 ms × 2^(attempt - 1))`, where `attempt` is 1
/// for the first retry.
pub(crate) fn longest_backoff(attempt: u32) -> Duration {
    let doublings = attempt.saturating_sub(1).min(16);
    BACKOFF_BASE.saturating_mul(1 << doublings).min(BACKOFF_CAP)
}

/// The pause before a retry: the longest one, or down to half of that. Requests that fail together
/// are spread, and a row of short pauses does not use up the attempts.
///
/// `random` is uniform in `0.0..1.0` and clamped to it.
pub(crate) fn backoff(attempt: u32, random: f64) -> Duration {
    // NaN passes clamp and makes mul_f64 panic: it counts as 0.
    let share = if random > 0.0 { random.min(1.0) } else { 0.0 };
    longest_backoff(attempt).mul_f64(0.5 + share / 2.0)
}

/// Parses `Retry-After` in seconds or as a date (RFC 9110, section 10.2.3) and clamps it to
/// `0..=120 s`; `None` if it is neither.
pub(crate) fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        let seconds = value.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let pause = date.duration_since(now).unwrap_or(Duration::ZERO);
    Some(pause.min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::explanation::Explanation;
    use proptest::prelude::*;

    const RETRY: Verdict = Verdict::Retry { after: None };
    const THROTTLED: Verdict = Verdict::Throttled { after: None };

    #[test]
    fn verdict_table_of_statuses() {
        let cases = [
            (400, Verdict::Fatal),
            (401, Verdict::Fatal),
            (403, Verdict::Fatal),
            (404, Verdict::Fatal),
            (407, Verdict::Fatal),
            (408, RETRY),
            (410, Verdict::Fatal),
            (425, RETRY),
            (429, THROTTLED),
            (500, RETRY),
            (501, Verdict::Fatal),
            (502, RETRY),
            (503, THROTTLED),
            (504, RETRY),
            (505, Verdict::Fatal),
            (204, Verdict::Fatal),
            (300, Verdict::Fatal),
            (599, Verdict::Fatal),
        ];
        for (status, expected) in cases {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(
                verdict(&HttpError::status_of(status, None)),
                expected,
                "{status}"
            );
        }
    }

    #[test]
    fn verdict_table_of_kinds() {
        let cases = [
            (HttpErrorKind::Configuration, Verdict::Fatal),
            (HttpErrorKind::Resolve { temporary: true }, RETRY),
            (HttpErrorKind::Resolve { temporary: false }, Verdict::Fatal),
            (HttpErrorKind::Connect, THROTTLED),
            (HttpErrorKind::Unreachable, RETRY),
            (HttpErrorKind::Tls, Verdict::Fatal),
            (HttpErrorKind::Timeout, RETRY),
            (HttpErrorKind::Stalled, RETRY),
            (HttpErrorKind::TooSlow, Verdict::Fatal),
            (HttpErrorKind::Closed, THROTTLED),
            (HttpErrorKind::Transport, RETRY),
            (
                HttpErrorKind::Short {
                    expected: 2,
                    found: 1,
                },
                RETRY,
            ),
            (HttpErrorKind::Unsatisfied, RETRY),
            (HttpErrorKind::NotRanged, RETRY),
            (HttpErrorKind::PreconditionFailed, Verdict::Fatal),
            (HttpErrorKind::Changed(String::new()), Verdict::Fatal),
            (HttpErrorKind::Protocol(String::new()), Verdict::Fatal),
            (HttpErrorKind::Unreadable { line: true }, Verdict::Fatal),
            (HttpErrorKind::Coding(String::new()), Verdict::Fatal),
            (HttpErrorKind::Redirect(String::new()), Verdict::Fatal),
        ];
        for (kind, expected) in cases {
            assert_eq!(
                verdict(&HttpError::new(kind.clone(), "")),
                expected,
                "{kind:?}"
            );
        }
    }

    #[test]
    fn what_the_server_asks_for_is_passed_on() {
        let after = Some(Duration::from_secs(3));
        let error = |status| HttpError::status_of(status, after);
        assert_eq!(
            verdict(&error(StatusCode::SERVICE_UNAVAILABLE)),
            Verdict::Throttled { after }
        );
        assert_eq!(
            verdict(&error(StatusCode::BAD_GATEWAY)),
            Verdict::Retry { after }
        );
    }

    #[test]
    fn a_store_that_waited_too_long_is_asked_again() {
        let refused = |code: &str| {
            HttpError::status_of(StatusCode::BAD_REQUEST, None).explained(&Explanation {
                code: Some(code.to_owned()),
                text: None,
            })
        };
        assert_eq!(verdict(&refused("RequestTimeout")), RETRY);
        assert_eq!(verdict(&refused("InvalidArgument")), Verdict::Fatal);
    }

    #[test]
    fn retry_after_table() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let date = |seconds| httpdate::fmt_http_date(now + Duration::from_secs(seconds));
        let (soon, late) = (date(7), date(100_000));
        let cases = [
            ("0", Some(0)),
            (" 5 ", Some(5)),
            ("120", Some(120)),
            ("86400", Some(120)),
            ("99999999999999999999999", Some(120)),
            (soon.as_str(), Some(7)),
            (late.as_str(), Some(120)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("-5", None),
            ("+5", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
            ("5\x1b", None),
        ];
        for (value, seconds) in cases {
            assert_eq!(
                parse_retry_after(value, now),
                seconds.map(Duration::from_secs),
                "{value:?}"
            );
        }
    }

    #[test]
    fn the_ceiling_doubles_up_to_the_cap() {
        let attempts = [1, 2, 3, 7, 8, 100, u32::MAX];
        let expected = [250, 500, 1000, 16_000, 30_000, 30_000, 30_000].map(Duration::from_millis);
        assert_eq!(attempts.map(|attempt| backoff(attempt, 1.0)), expected);
        assert_eq!(
            attempts.map(|attempt| backoff(attempt, 0.0) * 2),
            expected,
            "at least half of it"
        );
    }

    proptest! {
        #[test]
        fn no_pause_leaves_its_bounds(attempt in any::<u32>(), random in any::<f64>()) {
            let pause = backoff(attempt, random);
            prop_assert!(pause <= BACKOFF_CAP && pause >= BACKOFF_BASE / 2);
        }

        #[test]
        fn the_pause_a_server_asks_for_is_bounded(value in "\\PC{0,40}|[0-9]{1,30}|[0-9 +.e-]{0,12}", seconds: u32) {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.into());
            if let Some(pause) = parse_retry_after(&value, now) {
                prop_assert!(pause <= LONGEST_RETRY_AFTER);
            }
        }

        #[test]
        fn a_date_that_was_changed_is_refused_or_bounded(
            ahead in -1000..1000i64,
            at in any::<prop::sample::Index>(),
            change in "\\PC|[0-9A-Za-z ,:-]|",
        ) {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
            let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000u64.saturating_add_signed(ahead));
            let mut value = httpdate::fmt_http_date(then);
            let bounded = Duration::from_secs(ahead.max(0).unsigned_abs()).min(LONGEST_RETRY_AFTER);
            prop_assert_eq!(parse_retry_after(&value, now), Some(bounded));
            let at = at.index(value.len());
            value.replace_range(at..=at, &change);
            prop_assert!(parse_retry_after(&value, now).is_none_or(|pause| pause <= LONGEST_RETRY_AFTER));
        }
    }
}
