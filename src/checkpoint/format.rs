//! Encodes and decodes a checkpoint, as `src/manual/checkpoint_format.md` specifies. The only user
//! of bincode.

mod v1;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bincode::config;
use bincode::error::DecodeError;
use bincode::{Decode, Encode};

use super::model::{Checkpoint, Standing};
use crate::integrity::Crc64;
use crate::object::{ByteRange, Date, Identity, MAX_PARTS, PartBitmap, Tag};
use crate::storage::{FileStamp, FileTime, StorageError};

/// The format version that is written, and the newest that can be read.
pub(crate) const FORMAT_VERSION: u32 = 2;

pub(super) const MAGIC: [u8; 8] = *b"PARTWISE";
/// The length of magic, version and body length.
const HEAD: usize = 8 + 4 + 8;
const TAIL: usize = 8;
/// The longest body: bitmap and CRCs of the most parts, and 2 MiB for the rest.
const MAX_BODY: usize = MAX_PARTS as usize / 8 + MAX_PARTS as usize * 8 + (2 << 20);

/// The longest file that is written or read, in bytes.
pub(super) const MAX_FILE: usize = HEAD + MAX_BODY + TAIL;

/// Why a checkpoint can't be used, or can't be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckpointError {
    #[error(transparent)]
    Storage(StorageError),
    #[error("it is longer than {limit} bytes")]
    TooLong { limit: usize },
    #[error("it is cut short: at least {least} bytes expected, {found} found")]
    TooShort { least: usize, found: usize },
    /// Bytes that partwise did not write, damaged or not.
    #[error("it is no checkpoint: it begins with `{found}`")]
    Foreign { found: String },
    #[error("its first bytes are damaged: it begins with `{found}`")]
    Magic { found: String },
    #[error("its checksum is wrong: {expected:016x} expected, {found:016x} found")]
    Checksum { expected: u64, found: u64 },
    /// The checkpoint is intact and from a later partwise. It must not be discarded without asking.
    #[error(
        "its format is version {found}, and this partwise reads up to version {FORMAT_VERSION}"
    )]
    Newer { found: u32 },
    #[error("its format is version {found}, which never was")]
    Version { found: u32 },
    #[error("its body should be {expected} bytes long and is {found}")]
    Length { expected: u64, found: usize },
    #[error("its body can't be read: {0}")]
    Body(String),
    #[error("its body is followed by {0} bytes that mean nothing")]
    Trailing(usize),
    #[error("its {field} makes no sense: {why}")]
    Field { field: &'static str, why: String },
}

impl CheckpointError {
    /// The error of a file of these bytes, which another program wrote.
    pub(super) fn foreign(bytes: &[u8]) -> Self {
        let first = bytes[..bytes.len().min(MAGIC.len())].escape_ascii();
        let found = first.to_string();
        Self::Foreign { found }
    }

    /// Whether partwise wrote the file and it is unusable, so that starting over loses nothing. A
    /// checkpoint of a newer format is not damaged, nor is one that can't be read at the moment.
    pub(crate) fn is_damage(&self) -> bool {
        !matches!(
            self,
            Self::Storage(_) | Self::Newer { .. } | Self::Foreign { .. }
        )
    }
}

/// The body of a checkpoint file. The order of the fields is the format.
#[derive(Encode, Decode)]
struct BodyFields {
    generation: u64,
    length: u64,
    part_size: u64,
    selection: Vec<(u64, u64)>,
    etag: Option<String>,
    last_modified: Option<String>,
    version_id: Option<String>,
    digests: Vec<(String, String)>,
    media: Option<String>,
    coding: Option<String>,
    origin: String,
    path: String,
    url_key: [u8; 16],
    url_hash: [u8; 32],
    query_hash: Option<[u8; 32]>,
    completed: Vec<u8>,
    crcs: Vec<u64>,
    boot_id: Option<[u8; 16]>,
    clean: bool,
    standing: u8,
    file: Option<FileFields>,
}

/// A partial file at one moment, in the body of a checkpoint file.
#[derive(Encode, Decode)]
struct FileFields {
    inode: u64,
    born: Option<(i64, u32)>,
    length: u64,
    modified: (i64, u32),
    changed: (i64, u32),
}

/// Encodes a checkpoint.
///
/// # Errors
///
/// Strings or selection are so long that [`decode`] would refuse the file.
pub(crate) fn encode(checkpoint: &Checkpoint) -> Result<Vec<u8>, CheckpointError> {
    let body = bincode::encode_to_vec(BodyFields::from(checkpoint), config::legacy())
        .map_err(|error| CheckpointError::Body(error.to_string()))?;
    if body.len() > MAX_BODY {
        return Err(CheckpointError::TooLong { limit: MAX_FILE });
    }
    Ok(seal(&body))
}

/// Puts the envelope of the written version around any body.
pub(crate) fn seal(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD + body.len() + TAIL);
    bytes.extend(MAGIC);
    bytes.extend(FORMAT_VERSION.to_le_bytes());
    bytes.extend((body.len() as u64).to_le_bytes());
    bytes.extend(body);
    let crc = Crc64::of(&bytes);
    bytes.extend(crc.to_le_bytes());
    bytes
}

/// Decodes a checkpoint. Allocates at most about sixteen times the length of `bytes`.
pub(crate) fn decode(bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
    let (format, body) = open_envelope(bytes)?;
    let fields = match format {
        1 => read_body::<v1::BodyFields>(body)?.into(),
        _ => read_body::<BodyFields>(body)?,
    };
    let checkpoint = fields.check()?;
    Ok(Checkpoint {
        format,
        ..checkpoint
    })
}

fn read_body<B: Decode<()>>(body: &[u8]) -> Result<B, CheckpointError> {
    let (fields, consumed) = decode_body(body).map_err(|e| CheckpointError::Body(e.to_string()))?;
    if consumed != body.len() {
        return Err(CheckpointError::Trailing(body.len() - consumed));
    }
    Ok(fields)
}

/// Checks the envelope and returns the format version and the body. Magic, version and the CRC in
/// the last eight bytes have the same place in every version of the format, so a newer file can be
/// told from a damaged one.
fn open_envelope(bytes: &[u8]) -> Result<(u32, &[u8]), CheckpointError> {
    if bytes.len() > MAX_FILE {
        return Err(CheckpointError::TooLong { limit: MAX_FILE });
    }
    if !is_of_partwise(bytes) {
        return Err(CheckpointError::foreign(bytes));
    }
    let short = CheckpointError::TooShort {
        least: HEAD + TAIL,
        found: bytes.len(),
    };
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else {
        return Err(short);
    };
    let Some((body, tail)) = rest.split_last_chunk::<TAIL>() else {
        return Err(short);
    };
    let (magic, numbers) = head.split_at(MAGIC.len());
    if magic != MAGIC {
        let found = magic.escape_ascii().to_string();
        return Err(CheckpointError::Magic { found });
    }
    let expected = u64::from_le_bytes(*tail);
    let found = Crc64::of(&bytes[..bytes.len() - TAIL]);
    if expected != found {
        return Err(CheckpointError::Checksum { expected, found });
    }
    let (version, length) = numbers.split_at(4);
    let version = u32::from_le_bytes(version.try_into().expect("split after four bytes"));
    match version {
        1..=FORMAT_VERSION => {}
        0 => return Err(CheckpointError::Version { found: 0 }),
        found => return Err(CheckpointError::Newer { found }),
    }
    let expected = u64::from_le_bytes(length.try_into().expect("eight of twelve bytes are left"));
    if expected != body.len() as u64 {
        let found = body.len();
        return Err(CheckpointError::Length { expected, found });
    }
    Ok((version, body))
}

/// Whether partwise wrote these bytes. Of a damaged checkpoint the magic may be cut short or have a
/// wrong byte; a power cut may leave zeros in its place, or an empty file.
pub(super) fn is_of_partwise(bytes: &[u8]) -> bool {
    let magic = &bytes[..bytes.len().min(MAGIC.len())];
    let wrong = magic.iter().zip(MAGIC).filter(|(found, of)| **found != *of);
    let most = usize::from(magic.len() == MAGIC.len());
    wrong.count() <= most || magic.iter().all(|byte| *byte == 0)
}

/// Decodes the body. bincode takes its limit as a constant and allocates up to it for a length that
/// it has not verified: a limit just above the body's length keeps a crafted length from allocating
/// much more than the file's length.
fn decode_body<B: Decode<()>>(body: &[u8]) -> Result<(B, usize), DecodeError> {
    fn limited<B: Decode<()>, const LIMIT: usize>(body: &[u8]) -> Result<(B, usize), DecodeError> {
        bincode::decode_from_slice(body, config::legacy().with_limit::<LIMIT>())
    }
    match body.len() {
        0..=0x1000 => limited::<B, 0x1000>(body),
        0x1001..=0x1_0000 => limited::<B, 0x1_0000>(body),
        0x1_0001..=0x10_0000 => limited::<B, 0x10_0000>(body),
        0x10_0001..=0x100_0000 => limited::<B, 0x100_0000>(body),
        _ => limited::<B, MAX_BODY>(body),
    }
}

impl From<v1::BodyFields> for BodyFields {
    fn from(body: v1::BodyFields) -> Self {
        Self {
            generation: body.generation,
            length: body.length,
            part_size: body.part_size,
            selection: body.selection,
            etag: body.etag,
            last_modified: body.last_modified.and_then(http_date),
            version_id: None,
            digests: Vec::new(),
            media: None,
            coding: None,
            origin: body.origin,
            path: body.path,
            url_key: body.url_key,
            url_hash: body.url_hash,
            query_hash: None,
            completed: body.completed,
            crcs: body.crcs,
            boot_id: body.boot_id,
            clean: body.clean,
            standing: 1,
            file: None,
        }
    }
}

/// The date in the form that HTTP gives it; `None` beyond the year 9999, which no server sends.
fn http_date(seconds: u64) -> Option<String> {
    const LAST: u64 = 253_402_300_799;
    let since = Duration::from_secs(seconds.min(LAST + 1));
    let date = SystemTime::UNIX_EPOCH.checked_add(since)?;
    (seconds <= LAST).then(|| httpdate::fmt_http_date(date))
}

impl From<&Checkpoint> for BodyFields {
    fn from(checkpoint: &Checkpoint) -> Self {
        let identity = &checkpoint.identity;
        let time = |time: FileTime| (time.seconds, time.nanoseconds);
        let file = checkpoint.file.map(|file| FileFields {
            inode: file.inode,
            born: file.born.map(time),
            length: file.length,
            modified: time(file.modified),
            changed: time(file.changed),
        });
        Self {
            generation: checkpoint.generation,
            length: checkpoint.length,
            part_size: checkpoint.part_size,
            selection: checkpoint
                .selection
                .iter()
                .map(|extent| (extent.start(), extent.end()))
                .collect(),
            etag: identity.tag.as_ref().map(|tag| tag.text().to_owned()),
            last_modified: identity.date.as_ref().map(|date| date.text().to_owned()),
            version_id: identity.version_id.clone(),
            digests: identity.digests.clone().into_iter().collect(),
            media: checkpoint.media.clone(),
            coding: checkpoint.coding.clone(),
            origin: checkpoint.origin.clone(),
            path: checkpoint.path.clone(),
            url_key: checkpoint.url_key,
            url_hash: checkpoint.url_hash,
            query_hash: checkpoint.query_hash,
            completed: checkpoint.completed.to_bytes(),
            crcs: checkpoint.crcs.clone(),
            boot_id: checkpoint.boot_id,
            clean: checkpoint.clean,
            standing: match checkpoint.standing {
                Standing::Claimed => 0,
                Standing::Partial => 1,
                Standing::Refused => 2,
            },
            file,
        }
    }
}

impl BodyFields {
    /// Converts the fields into a checkpoint and checks that they are consistent.
    fn check(self) -> Result<Checkpoint, CheckpointError> {
        let selection = check_selection(&self.selection, self.length)?;
        for (name, text) in [("origin", &self.origin), ("path", &self.path)] {
            if text.chars().any(char::is_control) {
                return Err(field(name, "it holds a control character"));
            }
        }
        let standing = match self.standing {
            0 => Standing::Claimed,
            1 => Standing::Partial,
            2 => Standing::Refused,
            found => {
                return Err(field(
                    "standing",
                    format!("{found}, where at most 2 is known"),
                ));
            }
        };
        let time = |(seconds, nanoseconds)| FileTime {
            seconds,
            nanoseconds,
        };
        let identity = Identity {
            tag: self.etag.as_deref().map(Tag::of_text),
            date: self.last_modified.as_deref().map(Date::of_text),
            version_id: self.version_id,
            digests: ordered(self.digests)?,
        };
        let mut checkpoint = Checkpoint {
            format: FORMAT_VERSION,
            generation: self.generation,
            length: self.length,
            part_size: self.part_size,
            selection,
            identity,
            media: self.media,
            coding: self.coding,
            origin: self.origin,
            path: self.path,
            url_key: self.url_key,
            url_hash: self.url_hash,
            query_hash: self.query_hash,
            completed: PartBitmap::new(0),
            crcs: self.crcs,
            boot_id: self.boot_id,
            clean: self.clean,
            standing,
            file: self.file.map(|file| FileStamp {
                inode: file.inode,
                born: file.born.map(time),
                length: file.length,
                modified: time(file.modified),
                changed: time(file.changed),
            }),
        };
        let parts = checkpoint
            .plan()
            .map_err(|error| field("part size", error.to_string()))?
            .parts();
        checkpoint.completed = PartBitmap::from_bytes(parts, &self.completed).ok_or_else(|| {
            let found = self.completed.len();
            field("bitmap", format!("{parts} parts expected, {found} bytes found, or bits past the last part are set"))
        })?;
        let (expected, found) = (checkpoint.completed.count(), checkpoint.crcs.len());
        if expected as usize != found {
            let why = format!("{expected} completed parts, {found} CRCs");
            return Err(field("list of CRCs", why));
        }
        Ok(checkpoint)
    }
}

fn check_selection(
    selection: &[(u64, u64)],
    length: u64,
) -> Result<Vec<ByteRange>, CheckpointError> {
    let mut sum = 0u64;
    selection
        .iter()
        .map(|(start, end)| {
            let range = ByteRange::new(*start, *end)
                .filter(|range| !range.is_empty() && range.end() <= length)
                .ok_or_else(|| field("selection", format!("{start}..{end} of {length} bytes")))?;
            sum = sum
                .checked_add(range.len())
                .ok_or_else(|| field("selection", "it adds up to more than 2^64 bytes"))?;
            Ok(range)
        })
        .collect()
}

/// The digests by their names, each of which occurs once and after those that precede it.
fn ordered(digests: Vec<(String, String)>) -> Result<BTreeMap<String, String>, CheckpointError> {
    if !digests.is_sorted_by(|one, next| one.0 < next.0) {
        return Err(field(
            "list of digests",
            "it is not in the order of its names",
        ));
    }
    Ok(digests.into_iter().collect())
}

fn field(field: &'static str, why: impl Into<String>) -> CheckpointError {
    let why = why.into();
    CheckpointError::Field { field, why }
}

#[cfg(test)]
pub(super) mod tests;
