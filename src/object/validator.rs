//! Validators, which tell one version of an object from another (RFC 9110, section 8.8).

use std::fmt;
use std::time::SystemTime;

/// The longest entity tag that is accepted, in bytes.
const LONGEST_TAG: usize = 1024;

/// An entity tag as the server sent it, with its quotes and weakness mark (RFC 9110, section
/// 8.8.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EntityTag {
    // INVARIANT: `"…"` or `W/"…"`, visible ASCII without a quote inside, at most LONGEST_TAG bytes.
    text: String,
}

/// Why a text is not an entity tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EntityTagError {
    #[error("it is not enclosed in double quotes")]
    Unquoted,
    #[error("it holds a character that an entity tag can't have")]
    Character,
    #[error("it is longer than {LONGEST_TAG} bytes")]
    TooLong,
}

impl EntityTag {
    /// Parses a field value.
    pub(crate) fn parse(value: &str) -> Result<Self, EntityTagError> {
        let text = value.trim();
        if text.len() > LONGEST_TAG {
            return Err(EntityTagError::TooLong);
        }
        let opaque = text
            .strip_prefix("W/")
            .unwrap_or(text)
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .ok_or(EntityTagError::Unquoted)?;
        // obs-text (0x80 and above) is legal in a tag, but libraries disagree on how to send it
        // back.
        if !opaque
            .bytes()
            .all(|b| b == 0x21 || (0x23..=0x7e).contains(&b))
        {
            return Err(EntityTagError::Character);
        }
        Ok(Self {
            text: text.to_owned(),
        })
    }

    pub(crate) fn is_weak(&self) -> bool {
        self.text.starts_with("W/")
    }

    /// The text as the server sent it.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for EntityTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The validator that pins the version of an object: the strongest one in the probe's reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Validator {
    /// Sent as `If-Match` with every range.
    Strong(EntityTag),
    /// Compared as text. Never sent as `If-Match`, where it can't match (RFC 9110, section 13.1.1).
    /// The date, if any, is sent as `If-Unmodified-Since`.
    Weak {
        tag: EntityTag,
        last_modified: Option<SystemTime>,
    },
    /// Sent as `If-Unmodified-Since`.
    LastModified(SystemTime),
    /// The reply names neither tag nor date; only the length is known.
    None,
}

impl Validator {
    /// The strongest validator in these two fields.
    pub(crate) fn from_fields(tag: Option<EntityTag>, last_modified: Option<SystemTime>) -> Self {
        match (tag, last_modified) {
            (Some(tag), _) if !tag.is_weak() => Self::Strong(tag),
            (Some(tag), last_modified) => Self::Weak { tag, last_modified },
            (None, Some(date)) => Self::LastModified(date),
            (None, None) => Self::None,
        }
    }

    /// The value of `If-Match`; `None` if this validator may not be sent in it.
    pub(crate) fn if_match(&self) -> Option<&EntityTag> {
        match self {
            Self::Strong(tag) => Some(tag),
            _ => None,
        }
    }

    /// The value of `If-Unmodified-Since`; `None` if `If-Match` is sent or there is no date.
    pub(crate) fn if_unmodified_since(&self) -> Option<SystemTime> {
        match self {
            Self::Weak { last_modified, .. } => *last_modified,
            Self::LastModified(date) => Some(*date),
            Self::Strong(_) | Self::None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn tag(text: &str) -> EntityTag {
        EntityTag::parse(text).unwrap()
    }

    fn date(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn entity_tag_table() {
        use EntityTagError::{Character, TooLong, Unquoted};
        let huge = format!("\"{}\"", "x".repeat(2000));
        let cases = [
            ("\"a\"", Ok(false)),
            (" \"\" ", Ok(false)),
            ("W/\"a-b\"", Ok(true)),
            ("\"5f-3\"", Ok(false)),
            ("a", Err(Unquoted)),
            ("\"", Err(Unquoted)),
            ("w/\"a\"", Err(Unquoted)),
            ("\"a\"b\"", Err(Character)),
            ("\"a b\"", Err(Character)),
            ("\"a\x1bb\"", Err(Character)),
            ("\"ä\"", Err(Character)),
            (huge.as_str(), Err(TooLong)),
        ];
        for (text, expected) in cases {
            assert_eq!(
                EntityTag::parse(text).map(|t| t.is_weak()),
                expected,
                "{text:?}"
            );
        }
    }

    #[test]
    fn the_ladder() {
        let strong = Validator::from_fields(Some(tag("\"a\"")), Some(date(1)));
        assert_eq!(strong.if_match(), Some(&tag("\"a\"")));
        assert_eq!(strong.if_unmodified_since(), None);
        let weak = Validator::from_fields(Some(tag("W/\"a\"")), Some(date(1)));
        assert_eq!(weak.if_match(), None);
        assert_eq!(weak.if_unmodified_since(), Some(date(1)));
        let dated = Validator::from_fields(None, Some(date(1)));
        assert_eq!(dated.if_unmodified_since(), Some(date(1)));
        assert_eq!(Validator::from_fields(None, None), Validator::None);
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_printable(text in "\\PC{0,40}|(W/)?\"[!-~]{0,20}\"") {
            if let Ok(tag) = EntityTag::parse(&text) {
                prop_assert!(tag.as_str().bytes().all(|b| b.is_ascii_graphic()));
                prop_assert_eq!(EntityTag::parse(tag.as_str()), Ok(tag));
            }
        }

        #[test]
        fn a_tag_that_was_changed_is_refused_or_sent_back_as_it_came(
            tag in "(W/)?\"[!#-~]{0,20}\"",
            at in any::<prop::sample::Index>(),
            change in "\\PC|[\\x00- \"]|",
        ) {
            let mut text = tag;
            let at = at.index(text.len());
            text.replace_range(at..=at, &change);
            if let Ok(tag) = EntityTag::parse(&text) {
                prop_assert_eq!(tag.as_str(), text.trim());
            }
        }
    }
}
