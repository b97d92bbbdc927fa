//! A date as HTTP writes it.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// The last second that the format can express, 9999-12-31 23:59:59 UTC, in seconds since 1970.
const LAST_SECOND: u64 = 253_402_300_799;

/// A date in whole seconds, for
/// [`DownloadBuilder::if_modified_since`](crate::DownloadBuilder::if_modified_since) and
/// [`DownloadBuilder::if_unmodified_since`](crate::DownloadBuilder::if_unmodified_since).
///
/// It parses from the three forms of RFC 9110, section 5.6.7, and displays as the first of them, an
/// IMF-fixdate. From a [`SystemTime`] the fraction of a second is cut off; a time before 1970
/// becomes 1970, and one after the year 9999 its last second.
///
/// ```
/// use partwise::HttpDate;
/// use std::time::{Duration, SystemTime};
///
/// let date: HttpDate = "Sunday, 06-Nov-94 08:49:37 GMT".parse()?;
/// assert_eq!(date.to_string(), "Sun, 06 Nov 1994 08:49:37 GMT");
/// assert_eq!(date, HttpDate::from(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)));
/// # Ok::<(), partwise::ParseHttpDateError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpDate(
    // INVARIANT: whole seconds from 1970 to 9999, which is what the format can express.
    SystemTime,
);

impl From<SystemTime> for HttpDate {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        let seconds = since.map_or(0, |since| since.as_secs().min(LAST_SECOND));
        Self(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }
}

impl From<HttpDate> for SystemTime {
    fn from(date: HttpDate) -> Self {
        date.0
    }
}

impl FromStr for HttpDate {
    type Err = ParseHttpDateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match httpdate::parse_http_date(text) {
            Ok(time) => Ok(Self::from(time)),
            Err(_) => Err(ParseHttpDateError {
                found: text.escape_debug().collect(),
            }),
        }
    }
}

/// An IMF-fixdate, such as `Sun, 06 Nov 1994 08:49:37 GMT`.
impl fmt::Display for HttpDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        httpdate::HttpDate::from(self.0).fmt(f)
    }
}

impl fmt::Debug for HttpDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpDate({self})")
    }
}

/// A text is no HTTP date.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an HTTP date such as `Sun, 06 Nov 1994 08:49:37 GMT`, found `{found}`")]
pub struct ParseHttpDateError {
    found: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    #[test]
    fn the_three_forms_are_one_date() {
        for text in [
            DATE,
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            let date: HttpDate = text.parse().unwrap();
            assert_eq!(date.to_string(), DATE);
            assert_eq!(HttpDate::from(SystemTime::from(date)), date);
        }
        for text in ["", "d", "1994-11-06T08:49:37Z", "\u{1b}"] {
            let error = text.parse::<HttpDate>().unwrap_err().to_string();
            let found = format!("found `{}`", text.escape_debug());
            assert!(error.ends_with(&found), "{error}");
        }
    }

    #[test]
    fn every_time_has_a_date() {
        let epoch = SystemTime::UNIX_EPOCH;
        for (time, shown) in [
            (
                epoch - Duration::from_secs(5),
                "Thu, 01 Jan 1970 00:00:00 GMT",
            ),
            (
                epoch + Duration::from_millis(1_999),
                "Thu, 01 Jan 1970 00:00:01 GMT",
            ),
            (
                epoch + Duration::from_secs(LAST_SECOND + 1),
                "Fri, 31 Dec 9999 23:59:59 GMT",
            ),
        ] {
            let date = HttpDate::from(time);
            assert_eq!(date.to_string(), shown);
            assert_eq!(shown.parse(), Ok(date));
        }
    }
}
