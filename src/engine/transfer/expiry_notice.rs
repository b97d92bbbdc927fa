//! The word that a URL expires before the download will be over.

use std::time::{Duration, SystemTime};

/// How long a transfer is measured before its end is estimated.
const LEAST_SPAN: Duration = Duration::from_secs(5);

/// Tells once that the URL expires before the estimated end.
#[derive(Debug)]
pub(super) struct ExpiryNotice {
    /// `None` once it was told, and where the URL does not tell when it expires.
    expiry: Option<SystemTime>,
}

impl ExpiryNotice {
    /// For a URL that expires then. One that seems to have expired already tells nothing.
    pub(super) fn new(expiry: Option<SystemTime>, now: SystemTime) -> Self {
        Self {
            expiry: expiry.filter(|expiry| *expiry > now),
        }
    }

    /// The notice, where the end is estimated to be this far away, after a measurement of this
    /// span.
    pub(super) fn take(
        &mut self,
        measured: Duration,
        eta: Duration,
        now: SystemTime,
    ) -> Option<String> {
        let is_before = |expiry: &SystemTime| now.checked_add(eta).is_none_or(|end| *expiry < end);
        let expiry = self
            .expiry
            .filter(|_| measured >= LEAST_SPAN)
            .filter(is_before)?;
        self.expiry = None;
        Some(format!(
            "the URL expires on {}, before the estimated end; a refresh command could give a fresh one \
             in time",
            httpdate::fmt_http_date(expiry)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn after(seconds: u64) -> SystemTime {
        NOW + Duration::from_secs(seconds)
    }

    #[test]
    fn it_is_told_once_where_the_end_comes_later() {
        let mut notice = ExpiryNotice::new(Some(after(3600)), NOW);
        let eta = Duration::from_secs;
        assert_eq!(notice.take(eta(4), eta(7200), after(4)), None);
        assert_eq!(notice.take(eta(5), eta(3590), after(5)), None);
        let told = notice.take(eta(5), eta(3596), after(5)).unwrap();
        assert!(
            told.starts_with("the URL expires on Thu, 01 Jan 1970 01:00:00 GMT, before"),
            "{told}"
        );
        assert_eq!(notice.take(eta(5), eta(7200), after(5)), None);
    }

    #[test]
    fn a_date_that_has_passed_tells_nothing() {
        let mut notice = ExpiryNotice::new(Some(NOW), after(1));
        assert_eq!(notice.take(LEAST_SPAN, LEAST_SPAN, after(10)), None);
    }
}
