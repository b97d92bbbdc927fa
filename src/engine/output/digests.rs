//! Whole-object digests: which ones are expected, and whether the bytes have them.

use crate::engine::blocking;
use crate::engine::context::Context;
use crate::engine::schedule::parts::CompletedParts;
use crate::error::{Error, ErrorKind, Remedy};
use crate::integrity::{Algorithm, Digest, Hasher, combine_parts, whole_object_digests};
use crate::object::Plan;
use crate::report::Integrity;
use crate::storage::{PartFile, Sink, StorageError};

/// Bytes that are read at once.
const READ: usize = 1 << 20;

/// The fields of a reply that may carry digests of the whole object.
pub(crate) type Sent = [(String, String)];

/// A digest that the bytes must have, and its source.
struct Expected {
    source: String,
    digest: Digest,
}

/// Compares a whole file with every digest that is expected of it.
///
/// `parts` are the CRCs of all its parts, where it was written in parts.
///
/// # Errors
///
/// `Checksum` where one differs; `File` where the file can't be read.
pub(crate) async fn verify_file<F: PartFile>(
    context: &Context<'_>,
    sink: &Sink<F>,
    plan: &Plan,
    parts: Option<&CompletedParts>,
    sent: &Sent,
) -> Result<Vec<Integrity>, Error> {
    let mut hashers = hashers(context, sent);
    let mut found = Vec::new();
    let is_crc64 = |hasher: &Hasher| hasher.algorithm() == Algorithm::Crc64;
    // A mirror may have been taken because of this digest alone, so it must be computed from the
    // file. The CRCs of the parts don't do: of two connections that bring the same part the slower
    // one may be the last to write.
    if let Some(parts) = parts
        && context.job.mirrors.is_empty()
        && hashers.iter().any(is_crc64)
    {
        hashers.retain(|hasher| !is_crc64(hasher));
        found.push(crc64_of(plan, parts));
    }
    if !hashers.is_empty() {
        let (sink, length) = (sink.clone(), plan.length());
        found.extend(blocking::run(move || read_digests(&sink, length, hashers)).await?);
    }
    compare_all(context, sent, &found)
}

/// A hasher for each algorithm of which a digest is expected.
pub(crate) fn hashers(context: &Context<'_>, sent: &Sent) -> Vec<Hasher> {
    let expected = expected(context, sent);
    let is_expected = |algorithm: &Algorithm| {
        expected
            .iter()
            .any(|expected| expected.digest.algorithm() == *algorithm)
    };
    let algorithms = Algorithm::ALL.into_iter().filter(is_expected);
    algorithms.map(Hasher::new).collect()
}

/// Compares every expected digest with what was found.
///
/// # Errors
///
/// `Checksum` for the first that differs.
pub(crate) fn compare_all(
    context: &Context<'_>,
    sent: &Sent,
    found: &[Digest],
) -> Result<Vec<Integrity>, Error> {
    expected(context, sent)
        .iter()
        .map(|expected| compare(context, expected, found))
        .collect()
}

/// The digests that the caller gave, and those that the server sent of the whole object, if that is
/// what is fetched.
fn expected(context: &Context<'_>, sent: &Sent) -> Vec<Expected> {
    let given = context.job.checksums.iter().map(|digest| Expected {
        source: Integrity::CALLER.to_owned(),
        digest: digest.clone(),
    });
    let sent = if context.job.selection.is_whole() {
        let fields = sent.iter();
        whole_object_digests(fields.map(|(name, value)| (name.as_str(), value.as_str())))
    } else {
        Vec::new()
    };
    let sent = sent.into_iter().map(|sent| Expected {
        source: sent.source,
        digest: sent.digest,
    });
    given.chain(sent).collect()
}

/// The CRC-64/XZ of the whole file, combined from those of its parts without reading a byte.
fn crc64_of(plan: &Plan, parts: &CompletedParts) -> Digest {
    let lengths = parts.completed.iter().map(|part| plan.range(part).len());
    Digest::from_crc64(combine_parts(parts.crcs.iter().copied().zip(lengths)))
}

fn read_digests<F: PartFile>(
    sink: &Sink<F>,
    length: u64,
    mut hashers: Vec<Hasher>,
) -> Result<Vec<Digest>, StorageError> {
    let mut buffer = vec![0; READ];
    let mut position = 0;
    while position < length {
        let left = usize::try_from(length - position).unwrap_or(usize::MAX);
        let now = &mut buffer[..left.min(READ)];
        sink.read_at(position, now)?;
        for hasher in &mut hashers {
            hasher.update(now);
        }
        position += now.len() as u64;
    }
    Ok(hashers.into_iter().map(Hasher::finish).collect())
}

fn compare(
    context: &Context<'_>,
    expected: &Expected,
    found: &[Digest],
) -> Result<Integrity, Error> {
    let algorithm = expected.digest.algorithm();
    let found = found.iter().find(|found| found.algorithm() == algorithm);
    let hex = found.map_or_else(String::new, Digest::hex);
    if hex != expected.digest.hex() {
        return Err(Error::new(
            ErrorKind::Checksum,
            format!("{} is not what it should be", context.output.display()),
            format_args!(
                "{} of the bytes: expected {} ({}), found {hex}",
                algorithm.name(),
                expected.digest.hex(),
                expected.source
            ),
        )
        .with_remedy(Remedy::StartFresh));
    }
    Ok(Integrity {
        algorithm: algorithm.name().to_owned(),
        source: expected.source.clone(),
        value: hex,
        verified: true,
    })
}
