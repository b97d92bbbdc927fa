//! Byte ranges and the two header fields that carry them (RFC 9110, sections 14.1.2 and 14.4).

use std::fmt;

/// A half-open run of byte positions, `start..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ByteRange {
    start: u64,
    // INVARIANT: start <= end.
    end: u64,
}

impl ByteRange {
    /// The range `start..end`; `None` if `end` is before `start`.
    pub(crate) fn new(start: u64, end: u64) -> Option<Self> {
        (start <= end).then_some(Self { start, end })
    }

    /// The range `0..length`.
    pub(crate) fn whole(length: u64) -> Self {
        Self {
            start: 0,
            end: length,
        }
    }

    /// The range of `length` bytes from `start`; `None` if its end overflows.
    pub(crate) fn at(start: u64, length: u64) -> Option<Self> {
        Some(Self {
            start,
            end: start.checked_add(length)?,
        })
    }

    pub(crate) fn start(self) -> u64 {
        self.start
    }

    /// The first position after the range.
    pub(crate) fn end(self) -> u64 {
        self.end
    }

    pub(crate) fn len(self) -> u64 {
        self.end - self.start
    }

    pub(crate) fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Whether this range contains every position of `other`.
    pub(crate) fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// The value of a `Range` field that asks for these bytes: `bytes=first-last`.
    /// `None` for an empty range, which the syntax can't express.
    pub(crate) fn to_header(self) -> Option<String> {
        (!self.is_empty()).then(|| format!("bytes={}-{}", self.start, self.end - 1))
    }
}

/// Formats the range as `first-last`, both inclusive, like header fields.
impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            write!(f, "empty at {}", self.start)
        } else {
            write!(f, "{}-{}", self.start, self.end - 1)
        }
    }
}

/// A parsed `Content-Range` field of unit `bytes` (RFC 9110, section 14.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContentRange {
    /// `bytes first-last/total`; `total` is `None` for `*`.
    Satisfied {
        range: ByteRange,
        total: Option<u64>,
    },
    /// `bytes */total`, from a 416 reply.
    Unsatisfied { total: u64 },
}

/// Why a `Content-Range` field can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ContentRangeError {
    #[error("its unit is not `bytes`")]
    Unit,
    #[error("it is not of the form `bytes first-last/total`")]
    Syntax,
    #[error("it names a position beyond 2^64")]
    Overflow,
    #[error("its last position lies before its first, or at or past its total")]
    Order,
}

impl ContentRange {
    /// Parses the field's value.
    pub(crate) fn parse(value: &str) -> Result<Self, ContentRangeError> {
        let (unit, rest) = value
            .trim()
            .split_once([' ', '\t'])
            .ok_or(ContentRangeError::Syntax)?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return Err(ContentRangeError::Unit);
        }
        let (positions, total) = rest
            .trim_start()
            .split_once('/')
            .ok_or(ContentRangeError::Syntax)?;
        if positions == "*" {
            return Ok(Self::Unsatisfied {
                total: number(total)?,
            });
        }
        let total = match total {
            "*" => None,
            digits => Some(number(digits)?),
        };
        let (first, last) = positions.split_once('-').ok_or(ContentRangeError::Syntax)?;
        let (first, last) = (number(first)?, number(last)?);
        let end = last.checked_add(1).ok_or(ContentRangeError::Overflow)?;
        if last < first || total.is_some_and(|total| last >= total) {
            return Err(ContentRangeError::Order);
        }
        let range = ByteRange::new(first, end).ok_or(ContentRangeError::Order)?;
        Ok(Self::Satisfied { range, total })
    }
}

/// Parses `1*DIGIT`, without the sign that `str::parse` accepts.
fn number(digits: &str) -> Result<u64, ContentRangeError> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ContentRangeError::Syntax);
    }
    digits.parse().map_err(|_| ContentRangeError::Overflow)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn satisfied(first: u64, last: u64, total: Option<u64>) -> ContentRange {
        ContentRange::Satisfied {
            range: ByteRange::new(first, last + 1).unwrap(),
            total,
        }
    }

    #[test]
    fn content_range_table() {
        use ContentRangeError::{Order, Overflow, Syntax, Unit};
        let cases = [
            ("bytes 0-0/1", Ok(satisfied(0, 0, Some(1)))),
            ("Bytes 5-9/10", Ok(satisfied(5, 9, Some(10)))),
            (" bytes  5-9/10 ", Ok(satisfied(5, 9, Some(10)))),
            ("bytes 5-9/*", Ok(satisfied(5, 9, None))),
            ("bytes */10", Ok(ContentRange::Unsatisfied { total: 10 })),
            ("bytes */*", Err(Syntax)),
            ("bytes 5-3/10", Err(Order)),
            ("bytes 5-10/10", Err(Order)),
            ("items 0-0/1", Err(Unit)),
            ("bytes=0-0/1", Err(Syntax)),
            ("bytes 0-0", Err(Syntax)),
            ("bytes -1-0/1", Err(Syntax)),
            ("bytes +0-0/1", Err(Syntax)),
            ("bytes 0-18446744073709551615/*", Err(Overflow)),
            ("bytes 0-18446744073709551616/*", Err(Overflow)),
            ("", Err(Syntax)),
        ];
        for (text, expected) in cases {
            assert_eq!(ContentRange::parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn an_empty_range_has_no_header() {
        assert_eq!(ByteRange::whole(0).to_header(), None);
        assert_eq!(
            ByteRange::new(100, 201).unwrap().to_header().unwrap(),
            "bytes=100-200"
        );
    }

    proptest! {
        #[test]
        fn what_is_asked_reads_back(start in 0..u64::MAX / 2, len in 1..u64::MAX / 2, more in 0..1000u64) {
            let range = ByteRange::at(start, len).unwrap();
            let header = range.to_header().unwrap().replace('=', " ");
            let total = range.end().checked_add(more).unwrap();
            prop_assert_eq!(
                ContentRange::parse(&format!("{header}/{total}")),
                Ok(ContentRange::Satisfied { range, total: Some(total) })
            );
        }

        #[test]
        fn any_text_is_refused_or_well_ordered(text in "(bytes )?[ 0-9*/-]{0,24}|\\PC{0,40}") {
            if let Ok(ContentRange::Satisfied { range, total }) = ContentRange::parse(&text) {
                prop_assert!(!range.is_empty());
                prop_assert!(total.is_none_or(|total| range.end() <= total));
            }
        }
    }
}
