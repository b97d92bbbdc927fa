//! Evaluates conditional requests (RFC 9110, section 13.2.2).

use std::time::SystemTime;

use hyper::HeaderMap;
use hyper::header::{
    HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
};

/// The result of evaluating the conditions of a `GET` or `HEAD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evaluated {
    /// Answer as if there were no conditions.
    Proceed,
    /// Answer 304.
    NotModified,
    /// Answer 412.
    PreconditionFailed,
}

/// The current validators of the object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Validators<'a> {
    /// The entity tag with its quotes and, if it is weak, its `W/`.
    pub(super) etag: Option<&'a str>,
    /// The modification date; only whole seconds count.
    pub(super) modified: Option<SystemTime>,
}

/// Evaluates steps 1 to 4 of section 13.2.2.
pub(super) fn evaluate(headers: &HeaderMap, current: Validators<'_>) -> Evaluated {
    let demanded = if headers.contains_key(IF_MATCH) {
        lists(headers, &IF_MATCH, |tag| {
            current.matches(tag, Comparison::Strong)
        })
    } else {
        // The header is ignored if its date is malformed or the object has none (section 13.1.4).
        dates(headers, &IF_UNMODIFIED_SINCE, current)
            .is_none_or(|(since, modified)| modified <= since)
    };
    if !demanded {
        return Evaluated::PreconditionFailed;
    }
    let news = if headers.contains_key(IF_NONE_MATCH) {
        !lists(headers, &IF_NONE_MATCH, |tag| {
            current.matches(tag, Comparison::Weak)
        })
    } else {
        dates(headers, &IF_MODIFIED_SINCE, current).is_none_or(|(since, modified)| modified > since)
    };
    if news {
        Evaluated::Proceed
    } else {
        Evaluated::NotModified
    }
}

/// Evaluates step 5 of section 13.2.2: whether `If-Range` lets the `Range` header apply.
pub(super) fn range_applies(headers: &HeaderMap, current: Validators<'_>) -> bool {
    let Some(value) = headers.get(IF_RANGE) else {
        return true;
    };
    let Ok(text) = value.to_str() else {
        return false;
    };
    if text.contains('"') {
        current.matches(text.trim(), Comparison::Strong)
    } else {
        // An exact match, not "no later than" (section 13.1.5).
        dates(headers, &IF_RANGE, current).is_some_and(|(date, modified)| modified == date)
    }
}

#[derive(Clone, Copy)]
enum Comparison {
    Strong,
    Weak,
}

impl Validators<'_> {
    /// Compares entity tags (section 8.8.3.2). `*` matches every object, even one without a tag.
    fn matches(self, tag: &str, comparison: Comparison) -> bool {
        if tag == "*" {
            return true;
        }
        let Some(own) = self.etag else {
            return false;
        };
        match comparison {
            Comparison::Strong => own == tag && !own.starts_with("W/"),
            Comparison::Weak => opaque(own) == opaque(tag),
        }
    }
}

fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// Whether `wanted` accepts any tag in any line of a header.
fn lists(headers: &HeaderMap, name: &HeaderName, wanted: impl Fn(&str) -> bool) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|line| tags(line).any(&wanted))
}

/// The entity tags of a list, or `*`. A comma inside the quotes belongs to the tag.
fn tags(list: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    list.split(move |character| {
        quoted ^= character == '"';
        character == ',' && !quoted
    })
    .map(str::trim)
}

/// A header's date and the object's, both in whole seconds.
fn dates(
    headers: &HeaderMap,
    name: &HeaderName,
    current: Validators<'_>,
) -> Option<(httpdate::HttpDate, httpdate::HttpDate)> {
    let date = headers.get(name)?.to_str().ok()?.parse().ok()?;
    Some((date, current.modified?.into()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Evaluated::{NotModified, PreconditionFailed, Proceed};
    use super::*;

    const BEFORE: &str = "Mon, 01 Jan 2024 00:00:00 GMT";
    const EQUAL: &str = "Tue, 02 Jan 2024 00:00:00 GMT";
    const AFTER: &str = "Wed, 03 Jan 2024 00:00:00 GMT";

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    /// A modification date with a fraction of a second, like a file system's.
    fn modified() -> Option<SystemTime> {
        let date: SystemTime = httpdate::parse_http_date(EQUAL).unwrap();
        Some(date + Duration::from_millis(700))
    }

    fn strong() -> Validators<'static> {
        Validators {
            etag: Some("\"a\""),
            modified: modified(),
        }
    }

    fn weak() -> Validators<'static> {
        Validators {
            etag: Some("W/\"a\""),
            ..strong()
        }
    }

    fn bare() -> Validators<'static> {
        Validators {
            etag: None,
            modified: None,
        }
    }

    #[test]
    fn every_condition_alone() {
        let table = [
            (strong(), "if-match", "\"a\"", Proceed),
            (strong(), "if-match", "\"b\"", PreconditionFailed),
            (strong(), "if-match", "\"b\", \"a\"", Proceed),
            (strong(), "if-match", "\"b,\"a\"", PreconditionFailed),
            (strong(), "if-match", "*", Proceed),
            (strong(), "if-match", "W/\"a\"", PreconditionFailed),
            (strong(), "if-match", "a", PreconditionFailed),
            (weak(), "if-match", "W/\"a\"", PreconditionFailed),
            (weak(), "if-match", "\"a\"", PreconditionFailed),
            (bare(), "if-match", "\"a\"", PreconditionFailed),
            (bare(), "if-match", "*", Proceed),
            (strong(), "if-unmodified-since", BEFORE, PreconditionFailed),
            (strong(), "if-unmodified-since", EQUAL, Proceed),
            (strong(), "if-unmodified-since", AFTER, Proceed),
            (strong(), "if-unmodified-since", "yesterday", Proceed),
            (bare(), "if-unmodified-since", BEFORE, Proceed),
            (strong(), "if-none-match", "\"a\"", NotModified),
            (strong(), "if-none-match", "\"b\"", Proceed),
            (strong(), "if-none-match", "W/\"a\"", NotModified),
            (strong(), "if-none-match", "\"b\",W/\"a\"", NotModified),
            (strong(), "if-none-match", "*", NotModified),
            (weak(), "if-none-match", "\"a\"", NotModified),
            (bare(), "if-none-match", "\"a\"", Proceed),
            (strong(), "if-modified-since", BEFORE, Proceed),
            (strong(), "if-modified-since", EQUAL, NotModified),
            (strong(), "if-modified-since", AFTER, NotModified),
            (strong(), "if-modified-since", "tomorrow", Proceed),
            (bare(), "if-modified-since", AFTER, Proceed),
        ];
        for (current, name, value, expected) in table {
            assert_eq!(
                evaluate(&headers(&[(name, value)]), current),
                expected,
                "{name}: {value} against {:?}",
                current.etag
            );
        }
    }

    #[test]
    fn the_order_of_conditions() {
        type Lines<'a> = &'a [(&'static str, &'a str)];
        let table: [(Lines<'_>, Evaluated); 7] = [
            // If-Match is true: If-Unmodified-Since is ignored.
            (
                &[("if-match", "\"a\""), ("if-unmodified-since", BEFORE)],
                Proceed,
            ),
            (
                &[("if-match", "\"b\""), ("if-unmodified-since", AFTER)],
                PreconditionFailed,
            ),
            // If-None-Match is present: If-Modified-Since is ignored.
            (
                &[("if-none-match", "\"b\""), ("if-modified-since", AFTER)],
                Proceed,
            ),
            (
                &[("if-none-match", "\"a\""), ("if-modified-since", BEFORE)],
                NotModified,
            ),
            // 412 before 304.
            (
                &[("if-match", "\"b\""), ("if-none-match", "\"a\"")],
                PreconditionFailed,
            ),
            (
                &[("if-unmodified-since", BEFORE), ("if-none-match", "\"a\"")],
                PreconditionFailed,
            ),
            // Two lines are one list.
            (&[("if-match", "\"b\""), ("if-match", "\"a\"")], Proceed),
        ];
        for (lines, expected) in table {
            assert_eq!(evaluate(&headers(lines), strong()), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_range_counts_only_for_the_same_version() {
        let table = [
            (strong(), "\"a\"", true),
            (strong(), "\"b\"", false),
            (weak(), "W/\"a\"", false),
            (bare(), "\"a\"", false),
            (strong(), EQUAL, true),
            (strong(), AFTER, false),
            (strong(), BEFORE, false),
            (strong(), "nonsense", false),
            (bare(), EQUAL, false),
        ];
        for (current, value, expected) in table {
            assert_eq!(
                range_applies(&headers(&[("if-range", value)]), current),
                expected,
                "If-Range: {value}"
            );
        }
        assert!(range_applies(&HeaderMap::new(), strong()));
    }
}
