//! Which bytes of an object to download.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::object::{SelectionError, SelectionSpec};

/// Byte ranges of an object, in the order in which the file gets them, for
/// [`DownloadBuilder::ranges`](crate::DownloadBuilder::ranges).
///
/// The text form is a comma-separated list of ranges (RFC 9110, section 14.1.2). Positions are
/// inclusive and count from 0: `100-200` is 101 bytes, `100-` is everything from byte 100 on,
/// `-100` is the last 100 bytes. Ranges may overlap and need no order.
///
/// ```
/// use partwise::Ranges;
///
/// let ranges: Ranges = "0-99, 200-".parse()?;
/// assert_eq!(ranges.to_string(), "0-99,200-");
/// assert_eq!(Ranges::try_from(0..=99)?, "0-99".parse()?);
/// assert!("99-0".parse::<Ranges>().is_err());
/// # Ok::<(), partwise::ParseRangesError>(())
/// ```
///
/// Whether a range lies within the object is known only once the object's length is. A range
/// without any byte of the object then ends the download with
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage); a last position past the object's end is cut
/// there.
#[derive(Clone, PartialEq, Eq)]
pub struct Ranges(
    // INVARIANT: not empty, which would stand for the whole object.
    SelectionSpec,
);

impl Ranges {
    pub(crate) fn into_selection(self) -> SelectionSpec {
        self.0
    }
}

impl FromStr for Ranges {
    type Err = ParseRangesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        SelectionSpec::parse(text)
            .map(Self)
            .map_err(ParseRangesError)
    }
}

/// One range; an error where it ends before it begins.
impl TryFrom<RangeInclusive<u64>> for Ranges {
    type Error = ParseRangesError;

    fn try_from(range: RangeInclusive<u64>) -> Result<Self, Self::Error> {
        SelectionSpec::from_to(*range.start(), *range.end())
            .map(Self)
            .map_err(ParseRangesError)
    }
}

/// The text form, which parses to equal ranges.
impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ranges({self})")
    }
}

/// A text is no list of byte ranges: the first range that is wrong, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseRangesError(SelectionError);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_wrong_is_named() {
        let refused = |text: &str| text.parse::<Ranges>().unwrap_err().to_string();
        assert_eq!(refused("0-1,x"), "`x` is none of `a-b`, `a-`, `-n`");
        assert_eq!(refused(""), "`` is none of `a-b`, `a-`, `-n`");
        assert_eq!(refused("5-3"), "`5-3` ends before it begins");
        #[expect(clippy::reversed_empty_ranges, reason = "that is what is refused")]
        let reversed = Ranges::try_from(5..=3);
        assert_eq!(reversed.unwrap_err().to_string(), refused("5-3"));
    }

    #[test]
    fn debug_shows_the_text() {
        let ranges: Ranges = "-100".parse().unwrap();
        assert_eq!(format!("{ranges:?}"), "Ranges(-100)");
    }

    proptest! {
        #[test]
        fn the_text_form_survives(text in "([0-9]{0,20}-[0-9]{0,20},? ?){1,4}") {
            if let Ok(ranges) = text.parse::<Ranges>() {
                prop_assert_eq!(ranges.to_string().parse(), Ok(ranges));
            }
        }
    }
}
