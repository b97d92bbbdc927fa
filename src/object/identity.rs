//! Everything that tells one version of an object from another (RFC 9110, section 8.8).

use std::collections::BTreeMap;

use super::{Date, Tag, Validator};

/// The fields of replies that tell versions apart. Those that are pinned come from the first reply
/// that had each of them; those of one reply are its claims.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) tag: Option<Tag>,
    pub(crate) date: Option<Date>,
    /// The version of an object store, with the name of its field: `x-amz-version-id: 3HL4…`.
    pub(crate) version_id: Option<String>,
    /// Digests of the whole object as text, by field and algorithm: `x-goog-hash crc32c`.
    pub(crate) digests: BTreeMap<String, String>,
}

/// What a reply has in common with a pinned version, from the weakest up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Proof {
    /// At most the length.
    None,
    LastModified,
    /// A weak entity tag, or one that is not well formed.
    WeakTag,
    StrongTag,
    /// A digest of the whole object.
    Digest,
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
    #[error("the digest in `{name}` was {pinned} and is {found} now")]
    Digest {
        name: String,
        pinned: String,
        found: String,
    },
}

impl Identity {
    /// The identity that these two fields make.
    #[cfg(any(test, feature = "internals"))]
    pub(crate) fn of(tag: Option<Tag>, date: Option<Date>) -> Self {
        Self {
            tag,
            date,
            ..Self::default()
        }
    }

    /// Compares the claims of a reply with this version. Every field that both have must agree;
    /// only equal strong tags outrank a date that differs.
    ///
    /// # Errors
    ///
    /// The first field that differs.
    pub(crate) fn compare(&self, claims: &Self) -> Result<Proof, Mismatch> {
        let mut proof = self.compare_dates(claims)?;
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
        for (name, pinned) in &self.digests {
            let Some(found) = claims.digests.get(name) else {
                continue;
            };
            if pinned != found {
                let (pinned, found) = (pinned.clone(), found.clone());
                let name = name.clone();
                return Err(Mismatch::Digest {
                    name,
                    pinned,
                    found,
                });
            }
            proof = Proof::Digest;
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

    fn compare_dates(&self, claims: &Self) -> Result<Proof, Mismatch> {
        match (&self.date, &claims.date) {
            (Some(pinned), Some(found)) if pinned == found => Ok(if pinned.is_constant() {
                Proof::None
            } else {
                Proof::LastModified
            }),
            (Some(pinned), Some(found)) if self.shares_strong_tag(claims) != Some(true) => {
                let (pinned, found) = (pinned.clone(), found.clone());
                Err(Mismatch::LastModified { pinned, found })
            }
            _ => Ok(Proof::None),
        }
    }

    /// Pins every field that the claims of a reply have and this version had not yet.
    pub(crate) fn learn(&mut self, claims: &Self) {
        self.tag = self.tag.take().or_else(|| claims.tag.clone());
        self.date = self.date.take().or_else(|| claims.date.clone());
        let version = self.version_id.take();
        self.version_id = version.or_else(|| claims.version_id.clone());
        for (name, value) in &claims.digests {
            self.digests
                .entry(name.clone())
                .or_insert_with(|| value.clone());
        }
    }

    /// What these fields can prove at best, where a reply has them all.
    pub(crate) fn best_proof(&self) -> Proof {
        self.compare(self).unwrap_or(Proof::None)
    }

    /// Whether both have a field of the same name.
    pub(crate) fn shares_field(&self, other: &Self) -> bool {
        self.tag.is_some() && other.tag.is_some()
            || self.date.is_some() && other.date.is_some()
            || self.version_id.is_some() && other.version_id.is_some()
            || self
                .digests
                .keys()
                .any(|name| other.digests.contains_key(name))
    }

    /// Whether any field tells versions apart.
    pub(crate) fn has_fields(&self) -> bool {
        *self != Self::default()
    }

    /// The condition that requests for this version carry.
    pub(crate) fn validator(&self) -> Validator {
        let tag = self.tag.as_ref().and_then(Tag::parsed).cloned();
        let date = self.date.as_ref().and_then(Date::parsed);
        Validator::from_fields(tag, date)
    }

    /// Whether both have the same strong entity tag; `None` where not both have a strong one.
    pub(crate) fn shares_strong_tag(&self, other: &Self) -> Option<bool> {
        let strong = |tag: &&Tag| tag.is_strong();
        let tag = self.tag.as_ref().filter(strong)?;
        let found = other.tag.as_ref().filter(strong)?;
        Some(tag == found)
    }

    /// Whether both have the same date, and one that not every object may have.
    pub(crate) fn shares_date(&self, other: &Self) -> bool {
        let date = self.date.as_ref().filter(|date| !date.is_constant());
        date.is_some() && self.date == other.date
    }

    /// Whether all digests that both have are the same; `None` where they have none in common.
    pub(crate) fn shares_digest(&self, other: &Self) -> Option<bool> {
        let common = self.digests.iter().filter_map(|(name, digest)| {
            let found = other.digests.get(name)?;
            Some(digest == found)
        });
        common.reduce(|all, same| all && same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Tue, 14 Nov 2023 22:13:20 GMT";
    const LATER: &str = "Tue, 14 Nov 2023 22:13:21 GMT";

    fn identity(tag: Option<&str>, date: Option<&str>) -> Identity {
        Identity {
            tag: tag.map(|tag| Tag::of_field(tag.as_bytes())),
            date: date.map(|date| Date::of_field(date.as_bytes())),
            ..Identity::default()
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
        assert_eq!(form(DATE), form("Tuesday, 14-Nov-23 22:13:20 GMT"));
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

    #[test]
    fn a_date_that_every_file_may_have_proves_nothing() {
        for date in [
            "Thu, 01 Jan 1970 00:00:00 GMT",
            "Thu, 01 Jan 1970 00:00:01 GMT",
            "Tue, 01 Jan 1980 00:00:00 GMT",
            "Sat, 26 Oct 1985 08:15:00 GMT",
        ] {
            let constant = identity(None, Some(date));
            assert_eq!(constant.best_proof(), Proof::None, "{date}");
            // It still tells a change.
            assert!(constant.compare(&identity(None, Some(DATE))).is_err());
        }
    }

    #[test]
    fn digests_are_compared_by_field_and_algorithm() {
        let with = |digests: &[(&str, &str)]| Identity {
            digests: digests
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ..identity(Some("\"a\""), None)
        };
        let pinned = with(&[("x-goog-hash crc32c", "AAAA"), ("x-goog-hash md5", "BBBB")]);
        let same = with(&[("x-goog-hash md5", "BBBB"), ("repr-digest md5", "CCCC")]);
        assert_eq!(pinned.compare(&same), Ok(Proof::Digest));
        let other = with(&[("x-goog-hash crc32c", "AAAB")]);
        assert!(pinned.compare(&other).is_err());
        assert_eq!(pinned.compare(&with(&[])), Ok(Proof::StrongTag));
    }
}
