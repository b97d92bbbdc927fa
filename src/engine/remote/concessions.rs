//! What partwise concedes to a server that refuses ranges as they are usually asked for, before it
//! gives up.

use std::sync::{Mutex, MutexGuard, PoisonError};

use reqwest::StatusCode;

use crate::http::{HttpError, HttpErrorKind};
use crate::object::ByteRange;

/// The longest range that is asked for where longer ones are refused, in bytes.
const SHORT: u64 = 1 << 20;

/// What is conceded so far.
#[derive(Debug, Default)]
pub(super) struct Concessions {
    // Held to copy or to change, never across an await.
    granted: Mutex<Granted>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Granted {
    /// The longest range to ask for, in bytes.
    longest: Option<u64>,
    /// Whether the server takes the end of a range for the first byte after it.
    end_is_exclusive: bool,
    /// How many concessions there were.
    count: u32,
}

/// The next concession.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Concession {
    /// Shorter ranges.
    Short,
    /// The end of a range as the server takes it.
    ExclusiveEnd,
    /// No condition: the fields of each reply prove the version.
    Unconditional,
    /// One request for all, in one stream.
    Whole,
}

impl Concession {
    /// What the caller is told.
    pub(super) fn told(self) -> &'static str {
        match self {
            Self::Short => "asking for ranges of at most 1 MiB from now on",
            Self::ExclusiveEnd => {
                "the server seems to leave out the last byte of each range: \
                 asking for one more from now on"
            }
            Self::Unconditional => {
                "asking without a condition from now on; each reply must tell the version itself"
            }
            Self::Whole => "asking for the whole object in one stream",
        }
    }
}

impl Concessions {
    /// How many there were.
    pub(super) fn manner(&self) -> u32 {
        self.lock().count
    }

    /// The range to ask for where `wanted` is wanted.
    pub(super) fn asked(&self, wanted: ByteRange) -> ByteRange {
        let granted = *self.lock();
        let length = wanted.len().min(granted.longest.unwrap_or(u64::MAX));
        let more = u64::from(granted.end_is_exclusive && !wanted.is_empty());
        ByteRange::at(wanted.start(), length.saturating_add(more)).unwrap_or(wanted)
    }

    /// Grants what comes next after this failure of a request for `wanted`; `None` where nothing is
    /// left that may help. `has_condition` says that a condition is sent, and `has_ranges` that the
    /// server has answered with ranges.
    pub(super) fn next(
        &self,
        error: &HttpError,
        wanted: ByteRange,
        has_condition: bool,
        has_ranges: bool,
    ) -> Option<Concession> {
        let refusal = Refusal::of(error)?;
        let mut granted = self.lock();
        let next = granted.next(refusal, wanted, has_condition, has_ranges)?;
        granted.count += 1;
        Some(next)
    }

    fn lock(&self) -> MutexGuard<'_, Granted> {
        // Only assignments happen under the lock, so a panic elsewhere leaves the value consistent.
        self.granted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Granted {
    fn next(
        &mut self,
        refusal: Refusal,
        wanted: ByteRange,
        has_condition: bool,
        has_ranges: bool,
    ) -> Option<Concession> {
        if has_ranges && wanted.len() == 1 && !self.end_is_exclusive {
            self.end_is_exclusive = true;
            return Some(Concession::ExclusiveEnd);
        }
        if self.longest.is_none() && refusal == Refusal::OfTheRange {
            self.longest = Some(SHORT);
            return Some(Concession::Short);
        }
        // Once that is granted, the caller sends no condition any more.
        if has_condition {
            return Some(Concession::Unconditional);
        }
        (!has_ranges).then_some(Concession::Whole)
    }
}

/// What a server may have refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// The range, or the condition.
    OfTheRange,
    /// The condition.
    OfTheCondition,
}

impl Refusal {
    /// `None` for a failure that has another cause.
    fn of(error: &HttpError) -> Option<Self> {
        if error.is_precondition() {
            return Some(Self::OfTheCondition);
        }
        if *error.kind() == HttpErrorKind::Unsatisfied {
            return Some(Self::OfTheRange);
        }
        match error.status()? {
            StatusCode::NOT_IMPLEMENTED => Some(Self::OfTheCondition),
            StatusCode::BAD_REQUEST
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND
            | StatusCode::INTERNAL_SERVER_ERROR => Some(Self::OfTheRange),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: StatusCode) -> HttpError {
        let kind = match status {
            StatusCode::FORBIDDEN => HttpErrorKind::Refused(status),
            status => HttpErrorKind::Status(status),
        };
        HttpError::scripted(kind, None)
    }

    /// All that is conceded, one after the other.
    fn all(error: &HttpError, has_ranges: bool) -> Vec<Concession> {
        let concessions = Concessions::default();
        let wanted = ByteRange::whole(10 * SHORT);
        let mut has_condition = true;
        let next = || {
            let next = concessions.next(error, wanted, has_condition, has_ranges)?;
            has_condition &= next != Concession::Unconditional;
            Some(next)
        };
        std::iter::from_fn(next).take(3).collect()
    }

    #[test]
    fn ranges_get_shorter_then_lose_their_condition_and_then_give_way_to_one_stream() {
        use Concession::{Short, Unconditional, Whole};
        for refused in [400, 403, 404, 500] {
            let error = status(StatusCode::from_u16(refused).unwrap());
            assert_eq!(
                all(&error, false),
                [Short, Unconditional, Whole],
                "{refused}"
            );
            assert_eq!(all(&error, true), [Short, Unconditional], "{refused}");
        }
        let not_implemented = status(StatusCode::NOT_IMPLEMENTED);
        assert_eq!(all(&not_implemented, true), [Unconditional]);
        for final_one in [401, 410, 418, 502] {
            let error = status(StatusCode::from_u16(final_one).unwrap());
            assert_eq!(all(&error, false), [], "{final_one}");
        }
    }

    #[test]
    fn what_is_asked_follows_what_was_conceded() {
        let concessions = Concessions::default();
        let wanted = ByteRange::whole(10 * SHORT);
        assert_eq!(concessions.asked(wanted), wanted);
        let error = status(StatusCode::BAD_REQUEST);
        concessions.next(&error, wanted, true, true);
        assert_eq!(concessions.asked(wanted), ByteRange::whole(SHORT));
        let last = ByteRange::at(9, 1).unwrap();
        let unsatisfied = HttpError::scripted(HttpErrorKind::Unsatisfied, None);
        assert_eq!(
            concessions.next(&unsatisfied, last, true, true),
            Some(Concession::ExclusiveEnd)
        );
        assert_eq!(concessions.asked(last), ByteRange::at(9, 2).unwrap());
    }
}
