//! Everything that tells one version of an object from another (RFC 9110, section 8.8).

use std::fmt;
use std::time::SystemTime;

use super::{EntityTag, Validator};

/// The fields of replies that tell versions apart. Those that are pinned come from the first reply
/// that had each of them; those of one reply are its claims.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) tag: Option<Tag>,
    pub(crate) date: Option<Date>,
    /// The version of an object store, with the name of its field: `x-amz-version-id: 3HL4…`.
    pub(crate) version_id: Option<String>,
}

/// An `ETag` field, also one that is not well formed. That one is compared as text and never sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    text: String,
    parsed: Option<EntityTag>,
}

/// A `Last-Modified` field, also one that is not a date. That one is compared as text and never
/// sent.
#[derive(Clone, Debug)]
pub(crate) struct Date {
    text: String,
    parsed: Option<SystemTime>,
}

/// What a reply has in common with a pinned version, from the strongest down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Proof {
    /// Nothing.
    None,
    LastModified,
    /// A weak entity tag, or one that is not well formed.
    WeakTag,
    StrongTag,
    VersionId,
}

/// A field in which a reply contradicts the pinned version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Mismatch {
    #[error("the entity tag was {pinned} and is {found} now")]
    EntityTag { pinned: Tag, found: Tag },
    #[error("the modification date was {pinned} and is {found} now")]
    LastModified { pinned: Date, found: Date },
    #[error("the version was {pinned} and is {found} now")]
    VersionId { pinned: String, found: String },
}

impl Identity {
    /// The identity that these two well-formed fields make.
    #[cfg(test)]
    pub(crate) fn of(tag: Option<EntityTag>, date: Option<SystemTime>) -> Self {
        let date = date.map(httpdate::fmt_http_date);
        Self {
            tag: tag.map(|tag| Tag::of_field(tag.as_str().as_bytes())),
            date: date.map(|date| Date::of_field(date.as_bytes())),
            version_id: None,
        }
    }

    /// Compares the claims of a reply with this version. Every field that both have must agree;
    /// only equal strong tags outrank a date that differs.
    ///
    /// # Errors
    ///
    /// The first field that differs.
    pub(crate) fn compare(&self, claims: &Self) -> Result<Proof, Mismatch> {
        let mut proof = Proof::None;
        if let (Some(pinned), Some(found)) = (&self.date, &claims.date) {
            if pinned == found {
                proof = Proof::LastModified;
            } else if !self.shares_strong_tag(claims) {
                let (pinned, found) = (pinned.clone(), found.clone());
                return Err(Mismatch::LastModified { pinned, found });
            }
        }
        if let (Some(pinned), Some(found)) = (&self.tag, &claims.tag) {
            if pinned != found {
                let (pinned, found) = (pinned.clone(), found.clone());
                return Err(Mismatch::EntityTag { pinned, found });
            }
            proof = if pinned.is_strong() {
                Proof::StrongTag
            } else {
                Proof::WeakTag
            };
        }
        if let (Some(pinned), Some(found)) = (&self.version_id, &claims.version_id) {
            if pinned != found {
                let (pinned, found) = (pinned.clone(), found.clone());
                return Err(Mismatch::VersionId { pinned, found });
            }
            proof = Proof::VersionId;
        }
        Ok(proof)
    }

    /// Pins every field that the claims of a reply have and this version had not yet.
    pub(crate) fn learn(&mut self, claims: &Self) {
        self.tag = self.tag.take().or_else(|| claims.tag.clone());
        self.date = self.date.take().or_else(|| claims.date.clone());
        let version = self.version_id.take();
        self.version_id = version.or_else(|| claims.version_id.clone());
    }

    /// Whether any field tells versions apart.
    pub(crate) fn has_fields(&self) -> bool {
        self.tag.is_some() || self.date.is_some() || self.version_id.is_some()
    }

    /// The condition that requests for this version carry.
    pub(crate) fn validator(&self) -> Validator {
        let tag = self.tag.as_ref().and_then(|tag| tag.parsed.clone());
        let date = self.date.as_ref().and_then(|date| date.parsed);
        Validator::from_fields(tag, date)
    }

    fn shares_strong_tag(&self, other: &Self) -> bool {
        let strong = self.tag.as_ref().filter(|tag| tag.is_strong());
        strong.is_some() && self.tag == other.tag
    }
}

impl Tag {
    /// A field value, also one that is not well formed.
    pub(crate) fn of_field(value: &[u8]) -> Self {
        let text = text_of(value);
        let parsed = EntityTag::parse(&text).ok();
        Self { text, parsed }
    }

    pub(crate) fn is_strong(&self) -> bool {
        self.parsed.as_ref().is_some_and(|tag| !tag.is_weak())
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Date {
    /// A field value, also one that is not well formed.
    pub(crate) fn of_field(value: &[u8]) -> Self {
        let text = text_of(value);
        let parsed = httpdate::parse_http_date(&text).ok();
        Self { text, parsed }
    }
}

/// Dates are equal where both name the same second, in whichever of the three forms (RFC 9110,
/// section 5.6.7), or where both are the same text.
impl PartialEq for Date {
    fn eq(&self, other: &Self) -> bool {
        match (self.parsed, other.parsed) {
            (Some(one), Some(other)) => one == other,
            (None, None) => self.text == other.text,
            _ => false,
        }
    }
}

impl Eq for Date {}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The text of a field value without the spaces around it. Each byte counts as one character.
fn text_of(value: &[u8]) -> String {
    let bytes = value.trim_ascii().iter();
    bytes.map(|byte| char::from(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Thu, 01 Jan 1970 00:00:10 GMT";
    const LATER: &str = "Thu, 01 Jan 1970 00:00:11 GMT";

    fn identity(tag: Option<&str>, date: Option<&str>) -> Identity {
        Identity {
            tag: tag.map(|tag| Tag::of_field(tag.as_bytes())),
            date: date.map(|date| Date::of_field(date.as_bytes())),
            version_id: None,
        }
    }

    #[test]
    fn every_field_that_both_have_must_agree() {
        let proof = |pinned: &Identity, claims: &Identity| pinned.compare(claims).ok();
        let both = identity(Some("\"a\""), Some(DATE));
        let cases = [
            (Some("\"a\""), Some(DATE), Some(Proof::StrongTag)),
            // Equal strong tags outrank a date that differs, and nothing else does.
            (Some("\"a\""), Some(LATER), Some(Proof::StrongTag)),
            (Some("\"b\""), Some(DATE), None),
            (Some("W/\"a\""), Some(DATE), None),
            (Some("a"), None, None),
            (None, Some(DATE), Some(Proof::LastModified)),
            (None, Some(LATER), None),
            (None, None, Some(Proof::None)),
        ];
        for (tag, date, expected) in cases {
            assert_eq!(
                proof(&both, &identity(tag, date)),
                expected,
                "{tag:?} {date:?}"
            );
        }
        let weak = identity(Some("W/\"a\""), Some(DATE));
        assert_eq!(proof(&weak, &weak), Some(Proof::WeakTag));
        assert_eq!(proof(&weak, &identity(Some("W/\"a\""), Some(LATER))), None);
    }

    #[test]
    fn a_malformed_field_is_compared_as_text_and_never_sent() {
        let malformed = identity(Some("v1"), Some("yesterday"));
        assert_eq!(malformed.validator(), Validator::None);
        assert_eq!(malformed.compare(&malformed), Ok(Proof::WeakTag));
        for (tag, date) in [
            (Some("v2"), None),
            (Some("w/\"v1\""), None),
            (None, Some("today")),
        ] {
            assert!(
                malformed.compare(&identity(tag, date)).is_err(),
                "{tag:?} {date:?}"
            );
        }
        let bytes = Tag::of_field(b"\"\xe4\"");
        assert_eq!(bytes, Tag::of_field(b" \"\xe4\" "));
        assert_ne!(bytes, Tag::of_field(b"\"\xe5\""));
    }

    #[test]
    fn dates_are_seconds_in_any_form() {
        let form = |text: &str| Date::of_field(text.as_bytes());
        assert_eq!(form(DATE), form("Thursday, 01-Jan-70 00:00:10 GMT"));
        assert_ne!(form(DATE), form(LATER));
        assert_ne!(form(DATE), form("soon"));
    }

    #[test]
    fn each_field_is_pinned_by_the_first_reply_that_has_it() {
        let mut pinned = identity(None, Some(DATE));
        pinned.learn(&identity(Some("\"a\""), None));
        pinned.learn(&identity(Some("\"b\""), Some(LATER)));
        assert_eq!(pinned, identity(Some("\"a\""), Some(DATE)));
        let versioned = Identity {
            version_id: Some("x-amz-version-id: 1".to_owned()),
            ..Identity::default()
        };
        pinned.learn(&versioned);
        assert_eq!(pinned.compare(&versioned), Ok(Proof::VersionId));
        let other = Identity {
            version_id: Some("x-amz-version-id: 2".to_owned()),
            ..Identity::default()
        };
        assert!(pinned.compare(&other).is_err());
    }
}
