//! The last steps: the bytes are held against every digest there is, and the file gets its name.

use std::sync::Arc;

use tokio::time::Instant;

use super::checkpointer::CommitKind;
use super::open::read_back;
use super::restore;
use super::{Prepared, kind_of};
use crate::checkpoint::{self, Checkpoint};
use crate::engine::blocking;
use crate::engine::context::Session;
use crate::engine::remote::Remote;
use crate::engine::schedule::dispatcher::CompletedParts;
use crate::engine::transfer::Committer;
use crate::error::{Error, ErrorKind};
use crate::http::Metadata;
use crate::integrity::{Algorithm, Digest, Hasher, combine_parts, whole_object_digests};
use crate::object::Plan;
use crate::report::{Integrity, Report, WriterKind};
use crate::storage::{
    self, Names, Operation, PartFile, Published, Sink, SinkKind, StorageError, Volume,
};

/// Bytes that are read at once.
const READ: usize = 1 << 20;

/// A digest that the file is to have, and who says so.
struct Expected {
    source: String,
    digest: Digest,
}

/// A file of which every part is there.
pub(crate) struct Whole<F> {
    pub(crate) sink: Sink<F>,
    pub(crate) plan: Plan,
    /// Every part's CRC; `None` where the file was written as one stream without parts.
    pub(crate) parts: Option<CompletedParts>,
    pub(crate) metadata: Metadata,
}

/// Verifies and publishes the file of a transfer that is complete.
pub(crate) async fn finish<V: Volume, R: Remote>(
    session: &Session<'_, V>,
    prepared: Prepared<V, R>,
) -> Result<Report, Error> {
    let checkpoint = session.checkpoint_path();
    let Prepared {
        transfer,
        mut checkpointer,
        volume,
        names,
        metadata,
    } = prepared;
    let snapshot = transfer.dispatcher.snapshot();
    let whole = Whole {
        sink: transfer.sink.clone(),
        plan: transfer.plan,
        parts: Some(snapshot.clone()),
        metadata,
    };
    drop(transfer);
    let published = publish(session, whole, volume, names).await;
    // Not after any other error: what failed may have been a sync, and then no further commit could be believed.
    if published
        .as_ref()
        .is_err_and(|error| error.kind() == ErrorKind::Checksum)
    {
        // Somebody may have changed what was there: the next run is to read it all back before it trusts it.
        // Where this fails, the first error is the one to tell.
        let _ = checkpointer.commit(snapshot, CommitKind::Periodic).await;
    }
    published.map_err(|error| error.with_checkpoint(checkpoint))
}

/// Verifies a whole file and gives it its name.
pub(crate) async fn publish<V: Volume>(
    session: &Session<'_, V>,
    whole: Whole<V::File>,
    volume: Arc<V>,
    names: Names,
) -> Result<Report, Error> {
    let (collision, durability) = (session.collision(), session.job.durability);
    let Whole {
        sink,
        plan,
        parts,
        metadata,
    } = whole;
    let length = plan.length();
    // A stream without parts has no part size either.
    let (part_size, part_count) = match parts {
        Some(_) => (plan.part_size(), plan.parts()),
        None => (0, 0),
    };
    let integrity = verify(session, &sink, &plan, parts.as_ref(), &metadata).await?;
    let report = Report {
        part_size,
        parts: part_count,
        validator: kind_of(&metadata.validator),
        etag: metadata.etag.as_ref().map(ToString::to_string),
        writer: writer_of(sink.kind()),
        integrity,
        ..session.report(length)
    };
    let publishing = Instant::now();
    let published = blocking::run(move || {
        storage::publish(&*volume, &names, sink.file(), length, collision, durability)
    })
    .await?;
    if let Published::Leftover(error) = published {
        session
            .shared
            .events
            .warn(format!("the file is whole, but {error}"));
    }
    // The last sync is part of the time that the caller waited.
    Ok(Report {
        elapsed: session.begun.elapsed(),
        account: session.account(),
        bottleneck: session.bottleneck(report.bytes_per_second, publishing.elapsed()),
        ..report
    })
}

async fn verify<V: Volume>(
    session: &Session<'_, V>,
    sink: &Sink<V::File>,
    plan: &Plan,
    parts: Option<&CompletedParts>,
    metadata: &Metadata,
) -> Result<Vec<Integrity>, Error> {
    let mut hashers = hashers(session, metadata);
    let mut found = Vec::new();
    let is_crc64 = |hasher: &Hasher| hasher.algorithm() == Algorithm::Crc64;
    // A mirror may have been taken on the strength of this digest alone: then the file is what it must speak of. Of two
    // connections that bring the same part the slower may be the last to write.
    if let Some(parts) = parts
        && session.job.mirrors.is_empty()
        && hashers.iter().any(is_crc64)
    {
        hashers.retain(|hasher| !is_crc64(hasher));
        found.push(crc64_of(plan, parts));
    }
    if !hashers.is_empty() {
        let (sink, length) = (sink.clone(), plan.length());
        found.extend(blocking::run(move || read_digests(&sink, length, hashers)).await?);
    }
    compare_all(session, metadata, &found)
}

/// A hasher for each algorithm that there is a digest of.
pub(crate) fn hashers<V: Volume>(session: &Session<'_, V>, metadata: &Metadata) -> Vec<Hasher> {
    let expected = expected(session, metadata);
    let wanted = |algorithm: &Algorithm| {
        expected
            .iter()
            .any(|expected| expected.digest.algorithm() == *algorithm)
    };
    let algorithms = Algorithm::ALL.into_iter().filter(wanted);
    algorithms.map(Hasher::new).collect()
}

/// Holds every digest that there is against what was found.
pub(crate) fn compare_all<V: Volume>(
    session: &Session<'_, V>,
    metadata: &Metadata,
    found: &[Digest],
) -> Result<Vec<Integrity>, Error> {
    expected(session, metadata)
        .iter()
        .map(|expected| compare(session, expected, found))
        .collect()
}

/// Digests that the caller gave, and those that the server sent of the whole object, where that is what was fetched.
fn expected<V: Volume>(session: &Session<'_, V>, metadata: &Metadata) -> Vec<Expected> {
    let given = session.job.checksums.iter().map(|digest| Expected {
        source: "--checksum".to_owned(),
        digest: digest.clone(),
    });
    let sent = if session.job.selection.is_whole() {
        let fields = metadata.fields.iter();
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

/// How bytes reach the file, as a report says it.
pub(crate) fn writer_of(kind: SinkKind) -> WriterKind {
    match kind {
        SinkKind::Mmap => WriterKind::Mmap,
        SinkKind::Pwrite => WriterKind::Pwrite,
    }
}

/// The CRC-64/XZ of the whole file, out of those of its parts: no byte is read again.
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

fn compare<V: Volume>(
    session: &Session<'_, V>,
    expected: &Expected,
    found: &[Digest],
) -> Result<Integrity, Error> {
    let algorithm = expected.digest.algorithm();
    let found = found.iter().find(|found| found.algorithm() == algorithm);
    let hex = found.map_or_else(String::new, Digest::hex);
    if hex != expected.digest.hex() {
        return Err(Error::new(
            ErrorKind::Checksum,
            format!("{} is not what it should be", session.output().display()),
            format_args!(
                "{} of the bytes: expected {} ({}), found {hex}",
                algorithm.name(),
                expected.digest.hex(),
                expected.source
            ),
        )
        .with_hint("the partial file is kept; --fresh downloads everything again"));
    }
    Ok(Integrity {
        algorithm: algorithm.name().to_owned(),
        source: expected.source.clone(),
        value: hex,
        verified: true,
    })
}

/// Removes the partial file and its checkpoint, for good.
pub(crate) async fn remove_partial<V: Volume>(volume: Arc<V>, names: Names) -> Result<(), Error> {
    Ok(blocking::run(move || storage::remove_partial(&*volume, &names)).await?)
}

/// What stands at the final name before anything is asked of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Earlier {
    Nothing,
    Taken,
    /// By what is no file: a folder, a FIFO, a device.
    Immovable,
    /// The whole file of a run that was interrupted between giving it its name and removing its checkpoint; now
    /// that is done.
    Finished {
        length: u64,
    },
    /// The file of such a run, of which bytes were lost: it was not synced when the machine went down.
    Damaged,
}

/// What was found at the final name.
enum Swept {
    Free,
    Immovable,
    /// With the checkpoint that was left beside it, if it is this file's.
    File(Option<Box<Checkpoint>>),
}

/// Does what is left of an earlier run's last steps.
pub(crate) async fn sweep<V: Volume>(
    session: &Session<'_, V>,
    volume: Arc<V>,
    names: Names,
) -> Result<Earlier, Error> {
    let durability = session.job.durability;
    let swept = {
        let (volume, names) = (Arc::clone(&volume), names.clone());
        blocking::run(move || {
            let checkpoint = checkpoint::load(&*volume, &names).ok().flatten();
            if !storage::sweep(&*volume, &names, durability)? {
                return Ok(Swept::Free);
            }
            let output = names.output();
            let is_replaceable = volume.is_replaceable(output).map_err(|error| {
                StorageError::io(Operation::Inspect, volume.path(output), error)
            })?;
            if !is_replaceable {
                return Ok(Swept::Immovable);
            }
            let left_over = checkpoint::load(&*volume, &names).ok().flatten().is_some();
            let length = volume.length(names.output()).ok().flatten();
            let of_this_file = checkpoint.filter(|checkpoint| {
                !left_over
                    && checkpoint.completed.is_full()
                    && Some(checkpoint.file_length()) == length
            });
            Ok::<_, StorageError>(Swept::File(of_this_file.map(Box::new)))
        })
        .await?
    };
    match swept {
        Swept::Free => Ok(Earlier::Nothing),
        Swept::Immovable => Ok(Earlier::Immovable),
        Swept::File(None) => Ok(Earlier::Taken),
        Swept::File(Some(checkpoint)) => judge_published(session, volume, names, *checkpoint).await,
    }
}

/// A file that was synced before it got its name is whole. One that was not may have lost bytes with the power.
async fn judge_published<V: Volume>(
    session: &Session<'_, V>,
    volume: Arc<V>,
    names: Names,
    checkpoint: Checkpoint,
) -> Result<Earlier, Error> {
    let length = checkpoint.file_length();
    if !restore::must_verify(session.job.verify, &checkpoint, session.boot) {
        return Ok(Earlier::Finished { length });
    }
    let path = volume.path(names.output());
    let opened = blocking::run(move || volume.open(names.output())).await;
    let (Ok(plan), Ok(file)) = (checkpoint.plan(), opened) else {
        return Ok(Earlier::Taken);
    };
    let sink = Sink::growing(file, path);
    let parts = CompletedParts {
        completed: checkpoint.completed,
        crcs: checkpoint.crcs,
    };
    let good = read_back(session, &sink, plan, parts).await?;
    Ok(if good.completed.is_full() {
        Earlier::Finished { length }
    } else {
        Earlier::Damaged
    })
}
