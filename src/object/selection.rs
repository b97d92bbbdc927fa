//! The selected bytes of the object, and their positions in the file.

use std::fmt;

use super::ByteRange;

/// One range of a `Range` field or option (RFC 9110, section 14.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RangeSpec {
    /// `first-last`, both inclusive.
    FromTo(u64, u64),
    /// `first-`: from `first` to the end.
    From(u64),
    /// `-n`: the last n bytes.
    Suffix(u64),
}

/// `100-200`, `100-` or `-100`.
impl fmt::Display for RangeSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FromTo(first, last) => write!(f, "{first}-{last}"),
            Self::From(first) => write!(f, "{first}-"),
            Self::Suffix(length) => write!(f, "-{length}"),
        }
    }
}

/// The requested ranges, such as `0-100,200-300`, before the object's length is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SelectionSpec {
    // INVARIANT: empty means the whole object.
    specs: Vec<RangeSpec>,
}

/// Why a list of ranges can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SelectionError {
    #[error("`{0}` is none of `a-b`, `a-`, `-n`")]
    Syntax(String),
    #[error("`{0}` ends before it begins")]
    Order(String),
    #[error("`{range}` lies outside the object's {length} bytes")]
    Outside { range: String, length: u64 },
    #[error("the ranges add up to more than 2^64 bytes")]
    Overflow,
}

impl SelectionSpec {
    /// Parses a comma-separated list.
    pub(crate) fn parse(text: &str) -> Result<Self, SelectionError> {
        let specs = text
            .split(',')
            .map(|item| parse_one(item.trim()))
            .collect::<Result<_, _>>()?;
        Ok(Self { specs })
    }

    /// The bytes from `first` to `last`, both inclusive.
    pub(crate) fn from_to(first: u64, last: u64) -> Result<Self, SelectionError> {
        let spec = RangeSpec::FromTo(first, last);
        if last < first {
            return Err(SelectionError::Order(spec.to_string()));
        }
        Ok(Self { specs: vec![spec] })
    }

    /// Whether the whole object is selected.
    pub(crate) fn is_whole(&self) -> bool {
        self.specs.is_empty()
    }

    /// The bytes that the ranges select in an object of `length` bytes. A range that exceeds the
    /// end is truncated; a suffix longer than the object selects the whole object; an empty range
    /// is an error.
    pub(crate) fn resolve(&self, length: u64) -> Result<Selection, SelectionError> {
        if self.is_whole() {
            return Ok(Selection::whole(length));
        }
        let extents = self
            .specs
            .iter()
            .map(|spec| resolve_one(*spec, length))
            .collect::<Result<_, _>>()?;
        Selection::from_extents(extents).ok_or(SelectionError::Overflow)
    }
}

/// The ranges in the form in which they are parsed; empty for the whole object.
impl fmt::Display for SelectionSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, spec) in self.specs.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{spec}")?;
        }
        Ok(())
    }
}

fn parse_one(item: &str) -> Result<RangeSpec, SelectionError> {
    let syntax = || SelectionError::Syntax(item.to_owned());
    let number = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        plain
            .then(|| digits.parse::<u64>().ok())
            .flatten()
            .ok_or_else(syntax)
    };
    match item.split_once('-').ok_or_else(syntax)? {
        ("", suffix) => Ok(RangeSpec::Suffix(number(suffix)?)),
        (first, "") => Ok(RangeSpec::From(number(first)?)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return Err(SelectionError::Order(item.to_owned()));
            }
            Ok(RangeSpec::FromTo(first, last))
        }
    }
}

fn resolve_one(spec: RangeSpec, length: u64) -> Result<ByteRange, SelectionError> {
    let (start, end) = match spec {
        RangeSpec::FromTo(first, last) => (first, last.saturating_add(1).min(length)),
        RangeSpec::From(first) => (first, length),
        RangeSpec::Suffix(n) => (length.saturating_sub(n), length),
    };
    ByteRange::new(start, end)
        .filter(|range| !range.is_empty())
        .ok_or_else(|| SelectionError::Outside {
            range: spec.to_string(),
            length,
        })
}

/// The selected bytes of an object, end to end in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selection {
    // INVARIANT: no extent is empty, except that of an empty object; their lengths add up to
    // `length`.
    extents: Vec<ByteRange>,
    length: u64,
}

impl Selection {
    /// Every byte of an object of `length` bytes.
    pub(crate) fn whole(length: u64) -> Self {
        Self {
            extents: vec![ByteRange::whole(length)],
            length,
        }
    }

    /// Selects these bytes in this order; `None` if their lengths overflow.
    pub(crate) fn from_extents(extents: Vec<ByteRange>) -> Option<Self> {
        let length = extents
            .iter()
            .try_fold(0u64, |sum, extent| sum.checked_add(extent.len()))?;
        Some(Self { extents, length })
    }

    /// The number of bytes in the file.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn extents(&self) -> &[ByteRange] {
        &self.extents
    }

    /// Whether one pass over the object gives all bytes in their order.
    pub(crate) fn is_ascending(&self) -> bool {
        self.extents
            .is_sorted_by(|one, next| one.end() <= next.start())
    }

    /// The range in the object of the first of the file's bytes `wanted`, as far as it is
    /// contiguous there. `None` if `wanted` is empty or starts past the end of the file.
    pub(crate) fn locate(&self, wanted: ByteRange) -> Option<ByteRange> {
        if wanted.is_empty() {
            return None;
        }
        let mut before = 0;
        for extent in &self.extents {
            let skip = wanted.start() - before;
            if skip < extent.len() {
                let length = (extent.len() - skip).min(wanted.len());
                return ByteRange::at(extent.start() + skip, length);
            }
            before += extent.len();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(start: u64, end: u64) -> ByteRange {
        ByteRange::new(start, end).unwrap()
    }

    #[test]
    fn ranges_ascend_where_one_pass_gives_them() {
        let of = |extents: &[(u64, u64)]| {
            let extents = extents.iter().map(|(start, end)| range(*start, *end));
            Selection::from_extents(extents.collect()).unwrap()
        };
        assert!(Selection::whole(10).is_ascending());
        assert!(of(&[(0, 5), (5, 6), (8, 9)]).is_ascending());
        assert!(!of(&[(5, 6), (0, 5)]).is_ascending());
        assert!(!of(&[(0, 5), (4, 6)]).is_ascending());
    }

    #[test]
    fn the_four_forms() {
        let resolve = |text: &str| SelectionSpec::parse(text).unwrap().resolve(1000);
        assert_eq!(resolve("100-200").unwrap().extents(), [range(100, 201)]);
        assert_eq!(resolve("100-").unwrap().extents(), [range(100, 1000)]);
        assert_eq!(resolve("-100").unwrap().extents(), [range(900, 1000)]);
        assert_eq!(resolve("-5000").unwrap().extents(), [range(0, 1000)]);
        assert_eq!(resolve("990-5000").unwrap().extents(), [range(990, 1000)]);
        let two = resolve("200-300, 0-100").unwrap();
        assert_eq!(two.extents(), [range(200, 301), range(0, 101)]);
        assert_eq!(two.length(), 202);
    }

    #[test]
    fn what_is_refused() {
        for text in ["", "a-b", "1", "-", "1-2-3", "+1-2", "0-1,", "1 - 2"] {
            assert!(
                matches!(SelectionSpec::parse(text), Err(SelectionError::Syntax(_))),
                "{text:?}"
            );
        }
        assert!(matches!(
            SelectionSpec::parse("5-3"),
            Err(SelectionError::Order(_))
        ));
        for text in ["1000-", "1000-2000", "-0"] {
            let outside = SelectionSpec::parse(text).unwrap().resolve(1000);
            assert!(
                matches!(outside, Err(SelectionError::Outside { .. })),
                "{text:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_lies_in_the_object(
            text in "\\PC{0,40}|([0-9]{0,20}-[0-9]{0,20},?){1,4}",
            length: u64,
        ) {
            let Ok(selection) = SelectionSpec::parse(&text).and_then(|spec| spec.resolve(length)) else {
                return Ok(());
            };
            prop_assert!(selection.extents().iter().all(|extent| !extent.is_empty() && extent.end() <= length));
            let written: Vec<_> = selection.extents().iter().map(ToString::to_string).collect();
            let again = SelectionSpec::parse(&written.join(",")).and_then(|spec| spec.resolve(length));
            prop_assert_eq!(again, Ok(selection));
        }

        #[test]
        fn locating_walks_the_extents(
            extents in prop::collection::vec((0..1000u64, 1..50u64), 1..6),
            step in 1..70u64,
        ) {
            let extents: Vec<_> = extents.iter().map(|(at, len)| ByteRange::at(*at, *len).unwrap()).collect();
            let expected: Vec<u64> = extents.iter().flat_map(|e| e.start()..e.end()).collect();
            let selection = Selection::from_extents(extents).unwrap();
            let mut walked = Vec::new();
            while let Some(found) = selection.locate(
                range(walked.len() as u64, selection.length().min(walked.len() as u64 + step)),
            ) {
                walked.extend(found.start()..found.end());
            }
            prop_assert_eq!(walked, expected);
        }
    }
}
