//! An object of unknown length: one stream into a file that grows.
//!
//! Nothing is kept for a resume, because nothing tells how far the object goes nor, mostly, which version of it a
//! second request would give. A stream that breaks is begun anew.

use std::sync::Arc;

use tokio::time::Instant;

use super::file::kind_of;
use crate::engine::blocking;
use crate::engine::context::Session;
use crate::engine::control::Intent;
use crate::engine::output::file::publish::{self, Whole};
use crate::engine::remote::discovery::{Discovered, RequestFailed};
use crate::engine::run::Outcome;
use crate::engine::transfer::rate_limit::Limiter;
use crate::error::Error;
use crate::event::{Event, Progress};
use crate::http::{Body, HttpError};
use crate::object::{ByteRange, Plan};
use crate::storage::{self, DiskFile, Durability, Folder, Names, Sink, StorageError, Volume};

/// Downloads the object that the probe's own reply is.
pub(crate) async fn download(
    session: &mut Session<'_>,
    volume: Arc<Folder>,
    names: Names,
    object: Discovered,
) -> Result<Outcome, Error> {
    let Discovered {
        metadata, stream, ..
    } = object;
    let Some(body) = stream else {
        // HEAD told no length; GET may, and its reply is the stream where it does not.
        session.ask_by_get = true;
        return Ok(Outcome::Again);
    };
    session.shared.events.emit(Event::Probed {
        length: None,
        validator: kind_of(&metadata.validator),
        part_size: 0,
        parts: 0,
        ranges: false,
    });
    session
        .shared
        .events
        .warn("the server does not tell the length: one connection, and no resume");
    let sink = {
        let (volume, names) = (Arc::clone(&volume), names.clone());
        let durability = session.job.durability;
        blocking::run(move || open_empty(&volume, &names, durability)).await?
    };
    session.metrics.attempted();
    let poured = tokio::select! {
        biased;
        intent = session.shared.control.halted() => return halted(session, intent).await,
        poured = pour(session, &sink, body) => poured?,
    };
    match poured {
        Poured::Whole { length } => {
            session.metrics.useful(length);
            let whole = Whole {
                sink,
                plan: Plan::auto(length),
                parts: None,
                metadata,
            };
            let report = publish::publish(session, whole, volume, names).await?;
            Ok(Outcome::finished(report))
        }
        Poured::Broken(error) => Ok(Outcome::StreamLost(RequestFailed { error, attempts: 1 })),
    }
}

fn open_empty(
    volume: &Folder,
    names: &Names,
    durability: Durability,
) -> Result<Sink<DiskFile>, StorageError> {
    let (file, _) = storage::open_locked(volume, names.part())?;
    storage::empty(volume, names, &file, durability)?;
    Ok(Sink::growing(file, volume.path(names.part())))
}

async fn halted(session: &Session<'_>, intent: Intent) -> Result<Outcome, Error> {
    let intent = if intent == Intent::Pause {
        session.shared.events.emit(Event::Paused);
        session.shared.control.rest().await
    } else {
        intent
    };
    match intent {
        Intent::Run | Intent::Pause => Ok(Outcome::Again),
        Intent::Stop | Intent::Cancel => Err(session.ended_by(intent, None)),
    }
}

/// How a stream ended.
enum Poured {
    Whole { length: u64 },
    Broken(HttpError),
}

async fn pour(
    session: &Session<'_>,
    sink: &Sink<DiskFile>,
    mut body: Body,
) -> Result<Poured, StorageError> {
    let _underway = session.metrics.underway();
    let limiter = session.job.limit_rate.map(Limiter::new);
    let begun = Instant::now();
    let mut told = begun;
    let mut position = 0;
    loop {
        let bytes = match body.chunk().await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(Poured::Whole { length: position }),
            Err(error) => return Ok(Poured::Broken(error)),
        };
        let length = bytes.len() as u64;
        session.metrics.fetched(length);
        if let Some(limiter) = &limiter {
            limiter.pass(bytes.len()).await;
        }
        let range = ByteRange::at(position, length).unwrap_or(ByteRange::whole(0));
        sink.window(range)?.write(position, &bytes)?;
        position += length;
        let now = Instant::now();
        if now - told >= crate::engine::transfer::TICK {
            session.shared.events.emit(Event::Progress(Progress {
                new_bytes: length,
                completed_bytes: position,
                bytes_per_second: rate(position, now - begun),
                connections: 1,
                ..Progress::default()
            }));
            told = now;
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a positive rate that saturates"
)]
fn rate(bytes: u64, span: std::time::Duration) -> u64 {
    (bytes as f64 / span.as_secs_f64().max(1e-9)) as u64
}
