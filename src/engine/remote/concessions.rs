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
    /// Whether no condition is sent any more.
    is_unconditional: bool,
    /// Whether the whole object is asked for.
    is_whole: bool,
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
        let refusal = Refusal::of(error, has_ranges)?;
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
        let is_last_byte = refusal == Refusal::Range && wanted.len() == 1;
        if has_ranges && is_last_byte && !self.end_is_exclusive {
            self.end_is_exclusive = true;
            return Some(Concession::ExclusiveEnd);
        }
        if refusal == Refusal::Ranges {
            let is_new = !std::mem::replace(&mut self.is_whole, true);
            return is_new.then_some(Concession::Whole);
        }
        if self.longest.is_none() && refusal == Refusal::Range {
            self.longest = Some(SHORT);
            return Some(Concession::Short);
        }
        if has_condition && !self.is_unconditional {
            self.is_unconditional = true;
            return Some(Concession::Unconditional);
        }
        if !has_ranges && !self.is_whole {
            self.is_whole = true;
            return Some(Concession::Whole);
        }
        None
    }
}

/// What a server may have refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// The range, or the condition.
    Range,
    /// The condition.
    Condition,
    /// Ranges altogether, which it had before.
    Ranges,
}

impl Refusal {
    /// `None` for a failure that has another cause. Once a server `has_ranges`, that it refuses
    /// access tells nothing of the range.
    fn of(error: &HttpError, has_ranges: bool) -> Option<Self> {
        if error.is_precondition() {
            return Some(Self::Condition);
        }
        match error.kind() {
            HttpErrorKind::Unsatisfied => return Some(Self::Range),
            HttpErrorKind::NotRanged => return Some(Self::Ranges),
            _ => {}
        }
        match error.status()? {
            StatusCode::NOT_IMPLEMENTED => Some(Self::Condition),
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => (!has_ranges).then_some(Self::Range),
            StatusCode::BAD_REQUEST
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::INTERNAL_SERVER_ERROR => Some(Self::Range),
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
        std::iter::from_fn(|| concessions.next(error, wanted, true, has_ranges)).collect()
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
            let is_of_access = [403, 404].contains(&refused);
            let with_ranges = if is_of_access {
                vec![]
            } else {
                vec![Short, Unconditional]
            };
            assert_eq!(all(&error, true), with_ranges, "{refused}");
        }
        let no_ranges = HttpError::scripted(HttpErrorKind::NotRanged, None);
        assert_eq!(all(&no_ranges, true), [Whole]);
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
