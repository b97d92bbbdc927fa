//! When a signed URL expires, as its query tells.

use std::time::{Duration, SystemTime};

use reqwest::Url;
use time::format_description::well_known::Iso8601;
use time::{OffsetDateTime, PrimitiveDateTime};

/// Parameters with a date, and the seconds from then on for which the URL may be used: Amazon S3
/// (Signature Version 4), Google Cloud Storage (V4), Alibaba Cloud OSS (V4).
const SPANS: [(&str, &str); 3] = [
    ("x-amz-date", "x-amz-expires"),
    ("x-goog-date", "x-goog-expires"),
    ("x-oss-date", "x-oss-expires"),
];
/// Seconds since 1970: Amazon S3 (Version 2), CloudFront, Google Cloud Storage (V2), Alibaba Cloud
/// OSS (V1).
const SECONDS: &str = "expires";
/// The last second of the year 9998, after 1970. What lies beyond is no date of a URL.
const LATEST: u64 = 253_370_764_799;
/// A date: the signed expiry of a shared access signature of Azure Storage.
const DATE: &str = "se";

/// The moment at which a signed URL expires; `None` where its query tells none. The names of the
/// parameters are taken in any case.
pub(super) fn expiry(url: &Url) -> Option<SystemTime> {
    let value = |name: &str| {
        let mut pairs = url.query_pairs();
        pairs.find_map(|(found, value)| found.eq_ignore_ascii_case(name).then_some(value))
    };
    let of_span = SPANS.iter().find_map(|(date, seconds)| {
        let span = Duration::from_secs(value(seconds)?.parse().ok()?);
        moment(&value(date)?)?.checked_add(span)
    });
    let of_seconds = || {
        let since = Duration::from_secs(value(SECONDS)?.parse().ok()?);
        SystemTime::UNIX_EPOCH.checked_add(since)
    };
    let found = of_span
        .or_else(of_seconds)
        .or_else(|| moment(&value(DATE)?));
    found.filter(|at| {
        let since = at.duration_since(SystemTime::UNIX_EPOCH);
        since.is_ok_and(|since| (1..=LATEST).contains(&since.as_secs()))
    })
}

/// A date of ISO 8601 in UTC, in the basic or the extended format, with or without a time.
fn moment(text: &str) -> Option<SystemTime> {
    let parsed = OffsetDateTime::parse(text, &Iso8601::PARSING)
        .or_else(|_| {
            PrimitiveDateTime::parse(text, &Iso8601::PARSING).map(PrimitiveDateTime::assume_utc)
        })
        .or_else(|_| {
            time::Date::parse(text, &Iso8601::PARSING).map(|date| date.midnight().assume_utc())
        });
    let since = u64::try_from(parsed.ok()?.unix_timestamp()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(since))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stores_tell_it_each_in_its_own_way() {
        // 2026-11-26T16:00:00Z.
        let at = 1_795_708_800;
        let cases = [
            (
                "X-Amz-Algorithm=x&X-Amz-Date=20261126T150000Z&X-Amz-Expires=3600",
                Some(at),
            ),
            ("X-Goog-Date=20261126T155959Z&X-Goog-Expires=1", Some(at)),
            (
                "x-oss-date=20261126T155000Z&x-oss-expires=600&x-oss-signature=s",
                Some(at),
            ),
            ("OSSAccessKeyId=k&Expires=1795708800&Signature=s", Some(at)),
            ("expires=1795708800", Some(at)),
            ("sv=2024&se=2026-11-26T16%3A00%3A00Z&sig=s", Some(at)),
            ("se=2026-11-26T16:00Z", Some(at)),
            ("se=2026-11-26T17:00:00%2B01:00", Some(at)),
            ("se=2026-11-26", Some(at - 16 * 3600)),
            ("X-Amz-Date=20261126T150000Z", None),
            ("X-Amz-Expires=3600", None),
            (
                "X-Amz-Date=20261126T150000Z&X-Amz-Expires=18446744073709551615",
                None,
            ),
            ("Expires=18446744073709551615", None),
            ("Expires=1795708800000", None),
            ("Expires=0", None),
            ("se=1960-12-31", None),
            ("se=-9999-12-31", None),
            ("Expires=Thu, 26 Nov", None),
            ("se=x", None),
            ("", None),
        ];
        for (query, expected) in cases {
            let url = Url::parse(&format!("http://h/x?{query}")).unwrap();
            let expected = expected.map(|at| SystemTime::UNIX_EPOCH + Duration::from_secs(at));
            assert_eq!(expiry(&url), expected, "{query}");
        }
    }
}
