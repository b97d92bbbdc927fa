//! Bytes in order to standard output. Parts come over several connections into a bounded window of memory and leave it
//! from the front; nothing is kept for a resume.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use super::file::{self, Object, kind_of};
use super::reorder_buffer::ReorderBuffer;
use super::virtual_file::VirtualFile;
use crate::engine::blocking;
use crate::engine::context::Session;
use crate::engine::control::Intent;
use crate::engine::output::file::checkpointer::{CommitError, CommitKind};
use crate::engine::output::file::open;
use crate::engine::output::file::publish;
use crate::engine::remote::discovery::{Discovered, RequestFailed};
use crate::engine::remote::pool::Server;
use crate::engine::run::{Outcome, judge};
use crate::engine::schedule::dispatcher::{CompletedParts, Dispatcher};
use crate::engine::transfer::rate_limit::Limiter;
use crate::engine::transfer::worker::TransferError;
use crate::engine::transfer::{self, Committer, Failure, TransferEnd};
use crate::error::Error;
use crate::event::Event;
use crate::http::{Body, HttpError};
use crate::integrity::Hasher;
use crate::object::{PartBitmap, PartIndex, Plan};
use crate::report::Report;
use crate::storage::Sink;

/// Bytes that may wait in memory for those before them.
const WINDOW: u64 = 64 << 20;

/// Downloads to standard output.
pub(crate) async fn download(
    session: &mut Session<'_>,
    object: Discovered,
    mirrors: Vec<Server>,
) -> Result<Outcome, Error> {
    if let Some(length) = object.metadata.length {
        return in_parts(session, length, object, mirrors).await;
    }
    let Discovered {
        metadata, stream, ..
    } = object;
    let Some(body) = stream else {
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
    session.metrics.attempted();
    let poured = tokio::select! {
        biased;
        intent = session.shared.control.ending() => return Err(session.ended_by(intent, None)),
        poured = pour(session, body) => poured,
    };
    match poured {
        Ok(bytes) | Err(Poured::ReaderGone { bytes }) => {
            session.metrics.useful(bytes);
            Ok(Outcome::finished(session.report(bytes)))
        }
        Err(Poured::Output(error)) => Err(CommitError::Output(error).into()),
        // What went out can't be taken back, so there is no second try.
        Err(Poured::Broken(error)) => {
            Err(session.request_failed(&RequestFailed { error, attempts: 1 }))
        }
    }
}

async fn in_parts(
    session: &mut Session<'_>,
    length: u64,
    object: Discovered,
    mirrors: Vec<Server>,
) -> Result<Outcome, Error> {
    let object = Object::found(session, length, object, mirrors)?;
    let length = object.wanted.selection.length();
    let plan = open::plan_for(session, length, None)?;
    let buffer = ReorderBuffer::new(plan);
    let sink = Sink::growing(VirtualFile(Arc::clone(&buffer)), PathBuf::from("-"));
    let (transfer, metadata) = file::new_transfer(
        session,
        plan,
        plan.one_block_a_part(),
        sink,
        out_already(plan, session),
        object,
    );
    file::announce(session, &metadata, &plan);
    let mut writer = StdoutWriter {
        buffer,
        plan,
        written: session.parts_out,
        hashers: std::mem::take(&mut session.hashers),
    };
    if session.parts_out == 0 {
        writer.hashers = publish::hashers(session, &metadata);
    }
    let outcome = transfer::run(&transfer, &mut writer, session.shared).await;
    session.parts_out = writer.written;
    let report = |session: &Session<'_>| Report {
        part_size: plan.part_size(),
        parts: plan.parts(),
        validator: kind_of(&metadata.validator),
        etag: metadata.etag.as_ref().map(ToString::to_string),
        ..session.report(length)
    };
    match outcome {
        Ok(TransferEnd::Complete) => {
            let found: Vec<_> = writer.hashers.into_iter().map(Hasher::finish).collect();
            let integrity = publish::compare_all(session, &metadata, &found)?;
            Ok(Outcome::finished(Report {
                integrity,
                ..report(session)
            }))
        }
        Ok(TransferEnd::Stopped) => Err(session.ended_by(Intent::Stop, None)),
        Ok(TransferEnd::Cancelled) => Err(session.ended_by(Intent::Cancel, None)),
        Err(Failure::Commit(CommitError::Output(error))) if is_gone(&error) => {
            Ok(Outcome::finished(report(session)))
        }
        Err(Failure::Commit(error)) => Err(error.into()),
        Err(Failure::Transfer(TransferError::Storage(error))) => Err(error.into()),
        Err(Failure::Transfer(TransferError::Http { error, attempts })) => {
            session.hashers = writer.hashers;
            let failed = RequestFailed { error, attempts };
            match judge(session, &failed, None, session.parts_out > 0)? {
                // What went out of the old version can't be taken back.
                Outcome::Changed(error) if session.parts_out > 0 => Err(error),
                run => Ok(run),
            }
        }
    }
}

/// The parts that went out under an earlier URL of this run.
fn out_already(plan: Plan, session: &Session<'_>) -> CompletedParts {
    let mut completed = PartBitmap::new(plan.parts());
    for part in 0..session.parts_out {
        completed.insert(PartIndex(part));
    }
    let crcs = vec![0; completed.count() as usize];
    CompletedParts { completed, crcs }
}

/// Writes parts out in order and lets the next ones come.
struct StdoutWriter {
    buffer: Arc<ReorderBuffer>,
    plan: Plan,
    /// Parts that went out.
    written: u32,
    /// What went out, digested.
    hashers: Vec<Hasher>,
}

impl Committer for StdoutWriter {
    async fn run(
        &mut self,
        dispatcher: &Dispatcher,
        over: &mut watch::Receiver<bool>,
    ) -> Result<(), CommitError> {
        let ahead = u32::try_from(WINDOW / self.plan.part_size()).unwrap_or(u32::MAX);
        loop {
            // Listens before it looks, so that no completed part is missed in between.
            let changed = dispatcher.changed.notified();
            self.write_out(dispatcher.front()).await?;
            dispatcher.set_reach(self.written.saturating_add(ahead.max(2)));
            if *over.borrow() {
                return Ok(());
            }
            tokio::select! {
                () = changed => {}
                _ = over.changed() => {}
            }
        }
    }

    async fn commit(
        &mut self,
        snapshot: CompletedParts,
        _moment: CommitKind,
    ) -> Result<(), CommitError> {
        let parts = snapshot.completed.parts();
        let mut missing = snapshot.completed.missing_runs();
        self.write_out(missing.next().map_or(parts, |run| run.start))
            .await
    }
}

impl StdoutWriter {
    async fn write_out(&mut self, front: u32) -> Result<(), CommitError> {
        while self.written < front {
            let bytes = self.buffer.take(self.written);
            for hasher in &mut self.hashers {
                hasher.update(&bytes);
            }
            blocking::run(move || write_all(&bytes)).await?;
            self.written += 1;
        }
        Ok(())
    }
}

fn write_all(bytes: &[u8]) -> Result<(), CommitError> {
    let mut output = std::io::stdout().lock();
    output
        .write_all(bytes)
        .and_then(|()| output.flush())
        .map_err(CommitError::Output)
}

/// A reader that has seen enough is no failure.
fn is_gone(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::BrokenPipe
}

/// Why a stream did not go out whole.
enum Poured {
    ReaderGone { bytes: u64 },
    Output(std::io::Error),
    Broken(HttpError),
}

async fn pour(session: &Session<'_>, mut body: Body) -> Result<u64, Poured> {
    let _underway = session.metrics.underway();
    let limiter = session.job.limit_rate.map(Limiter::new);
    let mut position = 0;
    while let Some(bytes) = body.chunk().await.map_err(Poured::Broken)? {
        session.metrics.fetched(bytes.len() as u64);
        if let Some(limiter) = &limiter {
            limiter.pass(bytes.len()).await;
        }
        position += bytes.len() as u64;
        match blocking::run(move || write_all(&bytes)).await {
            Ok(()) => {}
            Err(CommitError::Output(error)) if is_gone(&error) => {
                return Err(Poured::ReaderGone { bytes: position });
            }
            Err(CommitError::Output(error)) => return Err(Poured::Output(error)),
            Err(other) => return Err(Poured::Output(std::io::Error::other(other))),
        }
    }
    Ok(position)
}
