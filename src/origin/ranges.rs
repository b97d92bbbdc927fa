//! Parses the `Range` header (RFC 9110, section 14.2) for the server.

use std::ops::Range;

/// The bytes that a `Range` header selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selected {
    /// The whole object: there is no header, or the server ignores it.
    Whole,
    /// These ranges, in the requested order; at least one, none empty.
    Parts(Vec<Range<u64>>),
    /// No byte: answer 416.
    Unsatisfiable,
}

/// Parses a `Range` header for an object of `length` bytes.
///
/// A malformed header or another unit is ignored, as section 14.2 allows. Ranges past the end are
/// left out of a list.
pub(super) fn select(header: Option<&str>, length: u64) -> Selected {
    let Some(specs) = header.and_then(parse) else {
        return Selected::Whole;
    };
    let parts: Vec<_> = specs
        .iter()
        .filter_map(|spec| spec.within(length))
        .collect();
    if parts.is_empty() {
        Selected::Unsatisfiable
    } else {
        Selected::Parts(parts)
    }
}

#[derive(Clone, Copy)]
enum Spec {
    From(u64),
    Between(u64, u64),
    Last(u64),
}

impl Spec {
    fn parse(text: &str) -> Option<Self> {
        match text.trim().split_once('-')? {
            ("", count) => Some(Self::Last(number(count)?)),
            (first, "") => Some(Self::From(number(first)?)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::Between(first, last))
            }
        }
    }

    fn within(self, length: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::From(first) => first..length,
            Self::Between(first, last) => first..last.saturating_add(1).min(length),
            Self::Last(count) => length.saturating_sub(count)..length,
        };
        (range.start < range.end).then_some(range)
    }
}

fn parse(header: &str) -> Option<Vec<Spec>> {
    let (unit, set) = header.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    set.split(',').map(Spec::parse).collect()
}

/// Parses digits; a number that overflows counts as `u64::MAX`.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::Selected::{Parts, Unsatisfiable, Whole};
    use super::*;

    #[test]
    fn every_form() {
        let parts =
            |bounds: &[(u64, u64)]| Parts(bounds.iter().map(|(start, end)| *start..*end).collect());
        let table = [
            (None, 10, Whole),
            (Some("bytes=0-0"), 10, parts(&[(0, 1)])),
            (Some("bytes=2-5"), 10, parts(&[(2, 6)])),
            (Some("bytes=2-"), 10, parts(&[(2, 10)])),
            (Some("bytes=-3"), 10, parts(&[(7, 10)])),
            (Some("bytes=-30"), 10, parts(&[(0, 10)])),
            (Some("bytes=9-9"), 10, parts(&[(9, 10)])),
            (Some("bytes=9-99"), 10, parts(&[(9, 10)])),
            (Some("bytes=10-"), 10, Unsatisfiable),
            (Some("bytes=10-20"), 10, Unsatisfiable),
            (Some("bytes=-0"), 10, Unsatisfiable),
            (Some("bytes=0-"), 0, Unsatisfiable),
            (Some("bytes=0-1, 4-5"), 10, parts(&[(0, 2), (4, 6)])),
            (
                Some("bytes=4-5,0-1,-1"),
                10,
                parts(&[(4, 6), (0, 2), (9, 10)]),
            ),
            (Some("bytes=0-1,10-11"), 10, parts(&[(0, 2)])),
            (Some("BYTES=1-1"), 10, parts(&[(1, 2)])),
            (Some("bytes=0-99999999999999999999"), 10, parts(&[(0, 10)])),
            (Some("bytes=99999999999999999999-"), 10, Unsatisfiable),
            (Some("bytes=5-3"), 10, Whole),
            (Some("bytes=+1-3"), 10, Whole),
            (Some("bytes=a-b"), 10, Whole),
            (Some("bytes=-"), 10, Whole),
            (Some("bytes="), 10, Whole),
            (Some("bytes 0-1"), 10, Whole),
            (Some("seconds=0-1"), 10, Whole),
        ];
        for (header, length, expected) in table {
            assert_eq!(select(header, length), expected, "{header:?} of {length}");
        }
    }
}
