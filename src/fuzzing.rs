//! The parsers of untrusted bytes, exposed only to the fuzz targets in `tests/fuzz`.

use std::time::{Duration, SystemTime};

use crate::object::{ContentRange, EntityTag, SelectionSpec};
use crate::{checkpoint, http, integrity};

/// A half-open range of bytes.
pub type Stretch = (u64, u64);

/// Puts the envelope of a checkpoint around any body.
#[must_use]
pub fn seal(body: &[u8]) -> Vec<u8> {
    checkpoint::seal(body)
}

/// A decoded checkpoint.
#[derive(Debug, PartialEq)]
pub struct DecodedCheckpoint(checkpoint::Checkpoint);

impl DecodedCheckpoint {
    /// Decodes a checkpoint; `None` if the bytes are not one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        checkpoint::decode(bytes).ok().map(Self)
    }

    /// Encodes the checkpoint.
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        checkpoint::encode(&self.0).ok()
    }

    /// The number of parts, of completed parts and of CRCs.
    #[must_use]
    pub fn counts(&self) -> (u32, u32, usize) {
        let parts = self.0.plan().map_or(0, |plan| plan.parts());
        (parts, self.0.completed.count(), self.0.crcs.len())
    }

    /// The object's length and the selected bytes.
    #[must_use]
    pub fn selected(&self) -> (u64, Vec<Stretch>) {
        let selection = self.0.selected();
        let extents = selection.extents().iter();
        let stretches = extents.map(|extent| (extent.start(), extent.end()));
        (self.0.length, stretches.collect())
    }
}

/// Parses a `Content-Range` into its range and its total.
#[must_use]
pub fn content_range(value: &str) -> Option<(Option<Stretch>, Option<u64>)> {
    Some(match ContentRange::parse(value).ok()? {
        ContentRange::Satisfied { range, total } => (Some((range.start(), range.end())), total),
        ContentRange::Unsatisfied { total } => (None, Some(total)),
    })
}

/// Parses a `Retry-After` into its pause and the longest possible pause.
#[must_use]
pub fn retry_after(value: &str, now: SystemTime) -> Option<(Duration, Duration)> {
    let pause = http::parse_retry_after(value, now)?;
    Some((pause, http::LONGEST_RETRY_AFTER))
}

/// Parses an entity tag into its text and whether it is weak.
#[must_use]
pub fn entity_tag(value: &str) -> Option<(String, bool)> {
    let tag = EntityTag::parse(value).ok()?;
    Some((tag.to_string(), tag.is_weak()))
}

/// The digests in the fields of a reply: field name and `ALGO=HEX`.
#[must_use]
pub fn digests(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    integrity::whole_object_digests(fields.iter().copied())
        .into_iter()
        .map(|found| (found.source, found.digest.to_string()))
        .collect()
}

/// Parses a checksum and formats it again.
#[must_use]
pub fn digest(text: &str) -> Option<String> {
    let digest = integrity::Digest::parse(text).ok()?;
    Some(digest.to_string())
}

/// The bytes that these ranges select in an object of `length` bytes, and their number.
#[must_use]
pub fn selection(text: &str, length: u64) -> Option<(Vec<Stretch>, u64)> {
    let selection = SelectionSpec::parse(text).ok()?.resolve(length).ok()?;
    let extents = selection.extents().iter();
    let stretches = extents.map(|extent| (extent.start(), extent.end()));
    Some((stretches.collect(), selection.length()))
}
