//! The contents of a checkpoint.

use crate::object::{ByteRange, Identity, PartBitmap, Plan, PlanError, Selection};
use crate::storage::FileStamp;

/// The durable state of one download at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// The format version of the file that it was read from; the newest for one to be written.
    pub(crate) format: u32,
    /// Counts the commits of this download; the later checkpoint has the greater number.
    pub(crate) generation: u64,
    /// Length of the object in bytes.
    pub(crate) length: u64,
    /// The part size in bytes.
    pub(crate) part_size: u64,
    /// The bytes of the object that are end to end in the file; empty for the whole object.
    pub(crate) selection: Vec<ByteRange>,
    /// What tells this version of the object from others.
    pub(crate) identity: Identity,
    /// The object's media type in lower case, without its parameters.
    pub(crate) media: Option<String>,
    /// The content coding in which the object is stored.
    pub(crate) coding: Option<String>,
    /// The URL's origin, `scheme://host[:port]`.
    pub(crate) origin: String,
    /// The URL's path, without query and fragment.
    pub(crate) path: String,
    /// The key of both hashes, random for each download.
    pub(crate) url_key: [u8; 16],
    /// [`hash_url`] of the URL without user information, query and fragment.
    pub(crate) url_hash: [u8; 32],
    /// [`hash_url`] of the query; `None` where an older partwise wrote the checkpoint.
    pub(crate) query_hash: Option<[u8; 32]>,
    // INVARIANT: as many parts as `plan()` has.
    pub(crate) completed: PartBitmap,
    // INVARIANT: one CRC-64/XZ for each completed part, in the order of the parts.
    pub(crate) crcs: Vec<u64>,
    /// The boot of the machine in which the checkpoint was written; `None` if the system does not
    /// report it, or if every part must be read back before it is trusted.
    pub(crate) boot_id: Option<[u8; 16]>,
    /// Whether the run ended cleanly, with every written byte committed.
    pub(crate) clean: bool,
    pub(crate) standing: Standing,
    /// The partial file when the checkpoint was written; `None` before there was one, and where an
    /// older partwise wrote the checkpoint.
    pub(crate) file: Option<FileStamp>,
}

/// What a checkpoint says of its partial file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The file is about to be made, or was made and holds nothing that counts.
    Claimed,
    /// The file holds the completed parts.
    Partial,
    /// The file is whole, and its bytes did not match a digest.
    Refused,
}

impl Checkpoint {
    /// The length of the file in bytes: that of the selection, or of the object. Saturates; no plan
    /// accepts a saturated length.
    pub(crate) fn file_length(&self) -> u64 {
        if self.selection.is_empty() {
            return self.length;
        }
        self.selection
            .iter()
            .fold(0, |sum, extent| sum.saturating_add(extent.len()))
    }

    /// The selected bytes of the object.
    pub(crate) fn selected(&self) -> Selection {
        let extents = || Selection::from_extents(self.selection.clone());
        match self.selection.as_slice() {
            [] => Selection::whole(self.length),
            _ => extents().unwrap_or_else(|| Selection::whole(self.length)),
        }
    }

    /// Whether the checkpoint belongs to this URL, given without user information, query and
    /// fragment. A query may be a signature, and a later run may have another one.
    pub(crate) fn is_of_url(&self, url: &str) -> bool {
        hash_url(&self.url_key, url) == self.url_hash
    }

    /// Whether the checkpoint belongs to a URL with this query. A query may name the object.
    pub(crate) fn is_of_query(&self, query: &str) -> bool {
        self.query_hash == Some(hash_url(&self.url_key, query))
    }

    /// The plan that cuts the file into parts.
    pub(crate) fn plan(&self) -> Result<Plan, PlanError> {
        Plan::new(self.file_length(), self.part_size)
    }
}

/// The keyed hash by which a resume recognises its URL, or the query of it. It reveals nothing about
/// a URL that can't be guessed.
pub(crate) fn hash_url(key: &[u8; 16], url: &str) -> [u8; 32] {
    let key = blake3::derive_key("partwise checkpoint url hash v1", key);
    *blake3::keyed_hash(&key, url.as_bytes()).as_bytes()
}

/// The identifier of this boot of the machine; `None` if the system does not report it.
pub(crate) fn boot_id() -> Option<[u8; 16]> {
    parse_uuid(&std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?)
}

fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text
        .trim()
        .chars()
        .filter(|c| *c != '-')
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
        .collect();
    (digits.len() == 32)
        .then(|| bytes.try_into().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_has_one_identity() {
        assert_eq!(boot_id(), boot_id());
        let parsed = parse_uuid("000102ff-0405-0607-0809-0a0b0c0d0e0f\n").unwrap();
        assert_eq!(
            parsed,
            [0, 1, 2, 255, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
        );
        for bad in [
            "",
            "000102ff-0405-0607-0809-0a0b0c0d0e0",
            "g00102ff-0405-0607-0809-0a0b0c0d0e0f",
            &"0".repeat(34),
        ] {
            assert_eq!(parse_uuid(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_hash_depends_on_key_and_url() {
        let hash = hash_url(&[1; 16], "http://h/a");
        assert_eq!(hash, hash_url(&[1; 16], "http://h/a"));
        assert_ne!(hash, hash_url(&[2; 16], "http://h/a"));
        assert_ne!(hash, hash_url(&[1; 16], "http://h/b"));
    }
}
