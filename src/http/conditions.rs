//! The conditions that a caller sets on the whole download (RFC 9110, section 13.1).

use std::time::SystemTime;

use hyper::header::{
    HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_UNMODIFIED_SINCE,
};

use super::error::HttpError;
use crate::object::{Date, EntityTag, Identity, Tag};

/// The conditions, sent with the probe as they are written here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    pub(crate) if_match: Option<String>,
    pub(crate) if_none_match: Option<String>,
    pub(crate) if_modified_since: Option<String>,
    pub(crate) if_unmodified_since: Option<String>,
}

/// The result of checking a reply's fields against the conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Holds,
    NotModified,
    Failed(&'static str),
}

impl Conditions {
    /// # Errors
    ///
    /// `Configuration` for a text that no header may contain.
    pub(super) fn fields(&self) -> Result<HeaderMap, HttpError> {
        let mut fields = HeaderMap::new();
        let given: [(HeaderName, &Option<String>); 4] = [
            (IF_MATCH, &self.if_match),
            (IF_NONE_MATCH, &self.if_none_match),
            (IF_MODIFIED_SINCE, &self.if_modified_since),
            (IF_UNMODIFIED_SINCE, &self.if_unmodified_since),
        ];
        for (name, value) in given {
            let Some(value) = value else { continue };
            let value = HeaderValue::from_str(value).map_err(|_| {
                HttpError::configuration(format!(
                    "`{name}` holds a character that no header may hold: `{value}`"
                ))
            })?;
            fields.insert(name, value);
        }
        Ok(fields)
    }

    /// Whether the caller wants only a version that it does not have, so that 304 is a valid
    /// answer.
    pub(super) fn ask_for_another(&self) -> bool {
        self.if_none_match.is_some() || self.if_modified_since.is_some()
    }

    /// Whether the caller sets none.
    pub(crate) fn are_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a version that an earlier run fetched is one that these conditions want.
    pub(crate) fn allow(&self, identity: &Identity) -> bool {
        self.judge(identity) == Judgement::Holds
    }

    /// Evaluates the conditions locally, in the order of RFC 9110, section 13.2.2: many servers
    /// ignore them.
    pub(super) fn judge(&self, identity: &Identity) -> Judgement {
        let tag = identity.tag.as_ref().and_then(Tag::parsed);
        let last_modified = identity.date.as_ref().and_then(Date::parsed);
        if let Some(listed) = &self.if_match {
            if !matches_strongly(listed, tag) {
                return Judgement::Failed(match tag {
                    Some(_) => "the entity tag is none of those of If-Match",
                    None => "the server names no entity tag that If-Match could be held against",
                });
            }
        } else if is_later(last_modified, self.if_unmodified_since.as_deref()) == Some(true) {
            return Judgement::Failed("it was modified after the date of If-Unmodified-Since");
        }
        let is_known = match &self.if_none_match {
            Some(listed) => matches_weakly(listed, tag),
            None => is_later(last_modified, self.if_modified_since.as_deref()) == Some(false),
        };
        if is_known {
            Judgement::NotModified
        } else {
            Judgement::Holds
        }
    }
}

/// Whether the object's date is after the condition's. `None` if either is missing or not a date.
fn is_later(last_modified: Option<SystemTime>, condition: Option<&str>) -> Option<bool> {
    let limit = httpdate::parse_http_date(condition?).ok()?;
    Some(last_modified? > limit)
}

fn matches_strongly(listed: &str, tag: Option<&EntityTag>) -> bool {
    listed.trim() == "*"
        || tag.is_some_and(|tag| !tag.is_weak() && tags(listed).any(|text| text == tag.as_str()))
}

fn matches_weakly(listed: &str, tag: Option<&EntityTag>) -> bool {
    let opaque = |text: &str| text.trim_start_matches("W/").to_owned();
    listed.trim() == "*"
        || tag.is_some_and(|tag| tags(listed).any(|text| opaque(text) == opaque(tag.as_str())))
}

/// The members of a list of entity tags. A comma inside the quotes belongs to the tag.
fn tags(listed: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    listed
        .split(move |c| {
            is_quoted ^= c == '"';
            c == ',' && !is_quoted
        })
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const EARLY: &str = "Thu, 01 Jan 1970 00:00:10 GMT";
    const LATE: &str = "Thu, 01 Jan 1970 00:00:20 GMT";

    fn judge(conditions: &Conditions, tag: Option<&str>, date: Option<u64>) -> &'static str {
        let date = date.map(|s| SystemTime::UNIX_EPOCH + Duration::from_secs(s));
        let date = date.map(|date| Date::of_text(&httpdate::fmt_http_date(date)));
        match conditions.judge(&Identity::of(tag.map(Tag::of_text), date)) {
            Judgement::Holds => "holds",
            Judgement::NotModified => "not modified",
            Judgement::Failed(_) => "failed",
        }
    }

    #[test]
    fn entity_tag_table() {
        let cases = [
            ("\"a\"", Some("\"a\""), "holds", "not modified"),
            ("\"x,y\", \"a\"", Some("\"x,y\""), "holds", "not modified"),
            ("\"b\" , \"c\"", Some("\"a\""), "failed", "holds"),
            ("*", None, "holds", "not modified"),
            ("W/\"a\"", Some("W/\"a\""), "failed", "not modified"),
            ("\"a\"", Some("W/\"a\""), "failed", "not modified"),
            ("\"a\"", None, "failed", "holds"),
            ("a", Some("\"a\""), "failed", "holds"),
        ];
        for (listed, tag, of_match, of_none_match) in cases {
            let listed = || Some(listed.to_owned());
            let conditions = Conditions {
                if_match: listed(),
                ..Conditions::default()
            };
            assert_eq!(judge(&conditions, tag, None), of_match, "{:?}", listed());
            let conditions = Conditions {
                if_none_match: listed(),
                ..Conditions::default()
            };
            assert_eq!(
                judge(&conditions, tag, None),
                of_none_match,
                "{:?}",
                listed()
            );
        }
    }

    #[test]
    fn date_table() {
        let cases = [
            (EARLY, Some(10), "holds", "not modified"),
            (EARLY, Some(11), "failed", "holds"),
            (LATE, Some(11), "holds", "not modified"),
            (LATE, None, "holds", "holds"),
            ("junk", Some(11), "holds", "holds"),
        ];
        for (date, modified, of_unmodified, of_modified) in cases {
            let date = || Some(date.to_owned());
            let conditions = Conditions {
                if_unmodified_since: date(),
                ..Conditions::default()
            };
            assert_eq!(judge(&conditions, None, modified), of_unmodified);
            let conditions = Conditions {
                if_modified_since: date(),
                ..Conditions::default()
            };
            assert_eq!(judge(&conditions, None, modified), of_modified);
        }
    }

    #[test]
    fn a_tag_goes_before_a_date() {
        let conditions = Conditions {
            if_match: Some("\"a\"".to_owned()),
            if_none_match: Some("\"b\"".to_owned()),
            if_modified_since: Some(LATE.to_owned()),
            if_unmodified_since: Some(EARLY.to_owned()),
        };
        assert_eq!(judge(&conditions, Some("\"a\""), Some(15)), "holds");
        assert_eq!(judge(&Conditions::default(), None, None), "holds");
    }

    #[test]
    fn what_no_header_may_hold_is_refused() {
        let conditions = Conditions {
            if_match: Some("\"a\r\nX: y\"".to_owned()),
            ..Conditions::default()
        };
        assert!(conditions.fields().is_err());
    }
}
