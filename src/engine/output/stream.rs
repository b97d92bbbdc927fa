//! An object of unknown length: one stream, into a file that grows or to standard output.
//!
//! Nothing is kept for a resume, because nothing tells how long the object is nor, mostly, which
//! version of it a second request would get. A file's stream that breaks restarts from the
//! beginning.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::digests;
use super::file::publish::{self, Whole};
use super::file::{claim, page, restore};
use super::outcome::{Outcome, judge_request};
use super::stdout::write_all;
use crate::engine::blocking;
use crate::engine::context::{Context, RequestFailed};
use crate::engine::metrics::TICK;
use crate::engine::remote::object::{Discovered, announce_stream};
use crate::engine::schedule::slowness::Slowness;
use crate::engine::summary::report_of_version;
use crate::engine::transfer::closing;
use crate::engine::transfer::commit::CommitError;
use crate::engine::transfer::rate_limit::Limiter;
use crate::error::Error;
use crate::event::{Event, Progress};
use crate::http::{self, Body, HttpError, Metadata, Pinned, Source};
use crate::integrity::Hasher;
use crate::object::{ByteRange, Plan};
use crate::report::Report;
use crate::storage::{self, DiskFile, Folder, Names, Sink, StorageError, Volume};

/// Downloads the object that is the body of the probe's own reply into a file.
pub(crate) async fn to_file(
    context: &Context<'_>,
    volume: Arc<Folder>,
    names: Names,
    object: Discovered,
) -> Result<Outcome, Error> {
    // The reply to GET is the stream where HEAD told no length, and GET does not either.
    let Some(body) = object.stream else {
        return Ok(Outcome::LengthMissing);
    };
    announce_stream(context, &object.metadata);
    context.metrics.begin_with(0);
    page::warn(context, &object.metadata);
    context
        .events()
        .warn("the server does not tell the length: one connection, and no resume");
    let is_open_ended = body.ends_with_connection();
    let sink = open_empty(context, &volume, &names, &object.metadata).await?;
    let version = version_of(&object.metadata);
    context.metrics.attempted();
    let poured = tokio::select! {
        biased;
        intent = context.control().halted() => {
            context.rest(intent).await?;
            return Ok(Outcome::Paused);
        }
        poured = pour(context, body, Growing(&sink)) => poured,
    };
    match poured {
        Ok(length) => {
            context.metrics.useful(length);
            let looking = look(context, &object.source, &version);
            if let Err(failed) = context.unless_ended(looking).await? {
                return judge_request(context, &failed, false);
            }
            let whole = Whole {
                sink,
                plan: Plan::auto(length),
                parts: None,
                version,
                sent: object.metadata.fields,
            };
            let report = publish::publish(context, whole, volume, names).await?;
            Ok(finished(context, report, is_open_ended))
        }
        Err(Broken::Output(error)) => Err(error.into()),
        Err(Broken::Body(error)) => Ok(Outcome::StreamLost(RequestFailed { error, attempts: 1 })),
    }
}

/// The end of a stream. Where only the end of the connection told it, and no digest proved it, that
/// is said.
fn finished(context: &Context<'_>, report: Report, is_open_ended: bool) -> Outcome {
    let is_end_unproven = is_open_ended && report.integrity.is_empty();
    if is_end_unproven {
        context.events().warn(
            "the object is of unknown length, and only the end of the connection told its end: \
             nothing proves that it came whole",
        );
    }
    Outcome::finished(Report {
        is_end_unproven,
        ..report
    })
}

/// A new partial file, in place of what an earlier run left.
async fn open_empty(
    context: &Context<'_>,
    volume: &Arc<Folder>,
    names: &Names,
    metadata: &Metadata,
) -> Result<Sink<DiskFile>, Error> {
    for _ in 0..storage::TRIES {
        let useless = match restore::take_over(context, volume, names).await? {
            Some((file, Some(checkpoint))) => {
                if !context.job.fresh {
                    page::refuse(context, &checkpoint, None, metadata)?;
                }
                context.restarted("the server does not tell the length any more");
                Some(file)
            }
            Some((file, None)) => Some(file),
            None => None,
        };
        let claim = claim::blank(context, metadata);
        let created = claim::create(context, volume, names, claim, useless).await?;
        if let Some(file) = created {
            return Ok(Sink::growing(file, volume.path(names.part())));
        }
    }
    Err(storage::replaced(&**volume, names.part()).into())
}

/// The version that the probe's own reply brings. Its length is not known.
fn version_of(metadata: &Metadata) -> Pinned {
    let version = metadata.pinned(0);
    version.comes_with_probe();
    version
}

/// Looks at the object once more, where it may have been overwritten while it came.
///
/// # Errors
///
/// `Changed` for another version.
async fn look(
    context: &Context<'_>,
    source: &Source,
    version: &Pinned,
) -> Result<(), RequestFailed> {
    if !version.wants_look() {
        return Ok(());
    }
    let looking = http::look(&context.job.client, source, version);
    closing::look(context.events(), looking)
        .await
        .map_err(|error| RequestFailed { error, attempts: 1 })
}

/// Downloads the object that is the body of the probe's own reply to standard output.
pub(crate) async fn to_stdout(context: &Context<'_>, object: Discovered) -> Result<Outcome, Error> {
    let Some(body) = object.stream else {
        return Ok(Outcome::LengthMissing);
    };
    announce_stream(context, &object.metadata);
    context.metrics.begin_with(0);
    let is_open_ended = body.ends_with_connection();
    let version = version_of(&object.metadata);
    context.metrics.attempted();
    let mut hashers = digests::hashers(context, &object.metadata.fields);
    let pouring = pour(context, body, Stdout(&mut hashers));
    let bytes = match context.unless_ended(pouring).await? {
        Ok(bytes) => bytes,
        Err(Broken::Output(error)) => return Err(CommitError::Output(error).into()),
        // What went out can't be taken back, so there is no second try.
        Err(Broken::Body(error)) => {
            return Err(context.request_failed(&RequestFailed { error, attempts: 1 }));
        }
    };
    context.metrics.useful(bytes);
    let found: Vec<_> = hashers.into_iter().map(Hasher::finish).collect();
    let integrity = digests::compare_all(context, &object.metadata.fields, &found)?;
    let looking = look(context, &object.source, &version);
    if let Err(failed) = context.unless_ended(looking).await? {
        return Err(context.request_failed(&failed));
    }
    let report = Report {
        integrity,
        ..report_of_version(context, bytes, &version)
    };
    Ok(finished(context, report, is_open_ended))
}

/// Takes the bytes of a stream in order.
trait StreamOutput {
    type Error;

    /// Takes the bytes that follow those before `position`.
    fn take(
        &mut self,
        position: u64,
        bytes: Bytes,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// A file that grows.
struct Growing<'a>(&'a Sink<DiskFile>);

impl StreamOutput for Growing<'_> {
    type Error = StorageError;

    async fn take(&mut self, position: u64, bytes: Bytes) -> Result<(), StorageError> {
        let range = ByteRange::at(position, bytes.len() as u64).unwrap_or(ByteRange::whole(0));
        self.0.window(range)?.write(position, &bytes)
    }
}

/// Standard output, with the digests of what goes there.
struct Stdout<'a>(&'a mut [Hasher]);

impl StreamOutput for Stdout<'_> {
    type Error = io::Error;

    async fn take(&mut self, _position: u64, bytes: Bytes) -> io::Result<()> {
        for hasher in self.0.iter_mut() {
            hasher.update(&bytes);
        }
        blocking::run(move || write_all(&bytes)).await
    }
}

/// Why a stream did not come whole.
enum Broken<E> {
    Body(HttpError),
    Output(E),
}

/// Pours the body out. Returns its length in bytes.
async fn pour<O: StreamOutput>(
    context: &Context<'_>,
    mut body: Body,
    mut output: O,
) -> Result<u64, Broken<O::Error>> {
    let _active = context.metrics.start_transfer();
    let limiter = context.job.limit_rate.map(Limiter::new);
    let begun = Instant::now();
    let lowest = context.job.lowest_speed;
    let mut slowness = lowest.map(|lowest| Slowness::new(lowest, 0, begun));
    let mut announced = begun;
    let mut announced_bytes = 0;
    let mut position = 0;
    while let Some(bytes) = body.chunk().await.map_err(Broken::Body)? {
        let start = position;
        position += bytes.len() as u64;
        context.metrics.fetched(bytes.len() as u64);
        if let Some(limiter) = &limiter {
            limiter.pass(bytes.len()).await;
        }
        let came = Instant::now();
        let taken = output.take(start, bytes).await;
        taken.map_err(Broken::Output)?;
        let now = Instant::now();
        if let Some(slowness) = &mut slowness {
            // The server is not to blame for the output.
            slowness.excuse(now - came);
        }
        let is_too_slow = |slowness: &mut Slowness| slowness.is_too_slow(position, now);
        if let Some(lowest) = lowest
            && slowness.as_mut().is_some_and(is_too_slow)
        {
            return Err(Broken::Body(lowest.missed()));
        }
        if now - announced >= TICK {
            context.events().emit(Event::Progress(Progress {
                new_bytes: position - announced_bytes,
                completed_bytes: position,
                bytes_per_second: rate(position, now - begun),
                connections: 1,
                ..Progress::default()
            }));
            (announced, announced_bytes) = (now, position);
        }
    }
    if body.lacks_goodbye() {
        context.events().warn(
            "the connection ended without a goodbye of TLS (close_notify), and the server told no length: \
             whether the object is whole, only a checksum tells",
        );
    }
    Ok(position)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a positive rate that saturates"
)]
fn rate(bytes: u64, span: Duration) -> u64 {
    (bytes as f64 / span.as_secs_f64().max(1e-9)) as u64
}
