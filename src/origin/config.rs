//! The configuration of an origin.

use std::num::NonZeroU64;
use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use hyper::header::HeaderMap;

use super::object::Object;

/// Which entity tag an object has (RFC 9110, section 8.8.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Etag {
    /// A strong tag, made of seed and length.
    #[default]
    Strong,
    /// A weak tag: the strong one with `W/` before it.
    Weak,
    /// No entity tag.
    None,
}

impl Etag {
    pub(super) fn of(self, object: &Object) -> Option<String> {
        match self {
            Self::Strong => Some(format!("\"{}\"", object.tag())),
            Self::Weak => Some(format!("W/\"{}\"", object.tag())),
            Self::None => None,
        }
    }
}

/// The checked configuration of an origin.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) etag: Etag,
    pub(super) modified: Option<SystemTime>,
    pub(super) ranges: RangePolicy,
    pub(super) length: LengthPolicy,
    pub(super) head: Option<StatusCode>,
    pub(super) rate: Option<NonZeroU64>,
    pub(super) rate_per_connection: Option<NonZeroU64>,
    pub(super) hold_after: Option<u64>,
    pub(super) headers: HeaderMap,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RangePolicy {
    Served,
    Ignored,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LengthPolicy {
    Told,
    Chunked,
}

/// The first version's modification date: 2024-01-01, long enough ago to be a strong validator
/// (section 8.8.2.2).
const FIRST_MODIFIED: Duration = Duration::from_secs(1_704_067_200);

impl Default for Config {
    fn default() -> Self {
        Self {
            etag: Etag::Strong,
            modified: Some(SystemTime::UNIX_EPOCH + FIRST_MODIFIED),
            ranges: RangePolicy::Served,
            length: LengthPolicy::Told,
            head: None,
            rate: None,
            rate_per_connection: None,
            hold_after: None,
            headers: HeaderMap::new(),
        }
    }
}
