//! The fields of a reply that name a version, also where they are not well formed.

use std::fmt;
use std::time::SystemTime;

use super::EntityTag;

/// Dates that archivers and package managers give to every file, in seconds since 1970: that of
/// ZIP, that of Gradle and that of npm.
const CONSTANT_DATES: [u64; 3] = [315_532_800, 318_211_200, 499_162_500];
/// So do others with the zero of Unix, or with one of the seconds after it.
const FIRST_DAY: u64 = 86_400;

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

impl Tag {
    /// A field value, also one that is not well formed.
    pub(crate) fn of_field(value: &[u8]) -> Self {
        Self::of_text(&text_of(value))
    }

    /// The tag as it may be sent; `None` for one that is not well formed.
    pub(crate) fn parsed(&self) -> Option<&EntityTag> {
        self.parsed.as_ref()
    }

    pub(crate) fn is_strong(&self) -> bool {
        self.parsed.as_ref().is_some_and(|tag| !tag.is_weak())
    }

    /// The text as the server sent it; each byte is one character.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The tag with this [`text`](Self::text).
    pub(crate) fn of_text(text: &str) -> Self {
        let parsed = EntityTag::parse(text).ok();
        let text = text.to_owned();
        Self { text, parsed }
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
        Self::of_text(&text_of(value))
    }

    /// The date; `None` for text that is none.
    pub(crate) fn parsed(&self) -> Option<SystemTime> {
        self.parsed
    }

    /// The text as the server sent it; each byte is one character.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The date with this [`text`](Self::text).
    pub(crate) fn of_text(text: &str) -> Self {
        let parsed = httpdate::parse_http_date(text).ok();
        let text = text.to_owned();
        Self { text, parsed }
    }

    /// Whether two objects with this date may well be two: every file of a server may have it.
    pub(crate) fn is_constant(&self) -> bool {
        let since = self
            .parsed
            .map(|date| date.duration_since(SystemTime::UNIX_EPOCH));
        match since {
            Some(Ok(since)) => {
                let seconds = since.as_secs();
                seconds < FIRST_DAY || CONSTANT_DATES.contains(&seconds)
            }
            Some(Err(_)) => true,
            None => false,
        }
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
