//! What reads other people's bytes, within reach of the fuzz targets in `tests/fuzz` and of nobody else.

use std::time::{Duration, SystemTime};

use crate::object::{ContentRange, EntityTag, SelectionSpec};
use crate::{checkpoint, http, integrity};

/// A stretch of bytes, half open.
pub type Stretch = (u64, u64);

/// The envelope of a checkpoint around any body.
#[must_use]
pub fn seal(body: &[u8]) -> Vec<u8> {
    checkpoint::seal(body)
}

/// A checkpoint that was decoded.
#[derive(Debug, PartialEq)]
pub struct DecodedCheckpoint(checkpoint::Checkpoint);

impl DecodedCheckpoint {
    /// The checkpoint that these bytes are, if they are one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        checkpoint::decode(bytes).ok().map(Self)
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        checkpoint::encode(&self.0).ok()
    }

    /// How many parts the plan has, how many are completed, and how many CRCs there are.
    #[must_use]
    pub fn counts(&self) -> (u32, u32, usize) {
        let parts = self.0.plan().map_or(0, |plan| plan.parts());
        (parts, self.0.completed.count(), self.0.crcs.len())
    }

    /// The object's length and the bytes of it that are wanted.
    #[must_use]
    pub fn selected(&self) -> (u64, Vec<Stretch>) {
        let selection = self.0.selected();
        let extents = selection.extents().iter();
        let stretches = extents.map(|extent| (extent.start(), extent.end()));
        (self.0.length, stretches.collect())
    }
}

/// The range, where there is one, and the total of a `Content-Range`.
#[must_use]
pub fn content_range(value: &str) -> Option<(Option<Stretch>, Option<u64>)> {
    Some(match ContentRange::parse(value).ok()? {
        ContentRange::Satisfied { range, total } => (Some((range.start(), range.end())), total),
        ContentRange::Unsatisfied { total } => (None, Some(total)),
    })
}

/// The pause that a `Retry-After` asks for, and the longest that is ever kept.
#[must_use]
pub fn retry_after(value: &str, now: SystemTime) -> Option<(Duration, Duration)> {
    let pause = http::parse_retry_after(value, now)?;
    Some((pause, http::LONGEST_RETRY_AFTER))
}

/// An entity tag as it would be sent back, and whether it is weak.
#[must_use]
pub fn entity_tag(value: &str) -> Option<(String, bool)> {
    let tag = EntityTag::parse(value).ok()?;
    Some((tag.to_string(), tag.is_weak()))
}

/// The digests in the fields of a reply: the field's name, and `ALGO=HEX`.
#[must_use]
pub fn digests(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    integrity::whole_object_digests(fields.iter().copied())
        .into_iter()
        .map(|found| (found.source, found.digest.to_string()))
        .collect()
}

/// A `--checksum` as it is printed.
#[must_use]
pub fn digest(text: &str) -> Option<String> {
    let digest = integrity::Digest::parse(text).ok()?;
    Some(digest.to_string())
}

/// The bytes that a `--range` means in an object of `length` bytes, and how many they are.
#[must_use]
pub fn selection(text: &str, length: u64) -> Option<(Vec<Stretch>, u64)> {
    let selection = SelectionSpec::parse(text).ok()?.resolve(length).ok()?;
    let extents = selection.extents().iter();
    let stretches = extents.map(|extent| (extent.start(), extent.end()));
    Some((stretches.collect(), selection.length()))
}
