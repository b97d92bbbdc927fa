//! One download, from the first request to the published file.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::checkpoint;
use crate::download::OnChange;
use crate::engine::blocking;
use crate::engine::context::{OpenDestination, Session};
use crate::engine::control::Intent;
use crate::engine::control::shared::Shared;
use crate::engine::job::Job;
use crate::engine::output::discard;
use crate::engine::output::file::publish;
use crate::engine::output::file::{Object, prepare};
use crate::engine::output::stdout;
use crate::engine::output::stream;
use crate::engine::remote::Remote;
use crate::engine::remote::discovery::{Discovery, RequestFailed, discover};
use crate::engine::remote::mirrors;
use crate::engine::remote::refresh::refresh_url;
use crate::engine::transfer::worker::TransferError;
use crate::engine::transfer::{self, Failure, TransferEnd};
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::http::{self, HttpErrorKind, Verdict};
use crate::report::Report;
use crate::storage::{Names, Volume};

/// How often a changed object is begun anew before the run gives up: an object that changes all the time has no
/// version to download.
const MOST_RESTARTS: u32 = 5;
/// How often an expired URL is replaced without a byte of progress in between.
const MOST_REFRESHES: u32 = 3;

/// Starts a download on the current Tokio runtime.
pub(crate) fn start(job: Job) -> (Arc<Shared>, JoinHandle<Result<Report, Error>>) {
    let shared = Arc::new(Shared::new());
    let ended = EndOnDrop(Arc::clone(&shared));
    let task = tokio::spawn(async move {
        let shared = &ended.0;
        let outcome = drive(&job, shared).await;
        if let Ok(report) = &outcome {
            shared
                .events
                .emit(Event::Finished(Box::new(report.clone())));
        }
        outcome
    });
    (shared, task)
}

/// Tells everybody that the engine has ended, whichever way it does.
struct EndOnDrop(Arc<Shared>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.events.close();
        self.0.control.end();
    }
}

/// What one go at the object led to.
pub(crate) enum Outcome {
    Finished(Box<Report>),
    /// The object changed on its server.
    Changed(Error),
    /// The metadata that HEAD gave was wrong or missing: once more, by GET; or once more after a pause.
    Again,
    /// A stream that can't be gone on with broke.
    StreamLost(RequestFailed),
    /// Access was refused; what came is committed.
    Refused {
        error: Error,
        progressed: bool,
    },
}

impl Outcome {
    pub(crate) fn finished(report: Report) -> Self {
        Self::Finished(Box::new(report))
    }
}

async fn drive(job: &Job, shared: &Shared) -> Result<Report, Error> {
    let mut session = Session::new(job, shared).await?;
    let outcome = bring(&mut session).await;
    conclude(&session, outcome).await
}

async fn bring(session: &mut Session<'_>) -> Result<Report, Error> {
    if let OpenDestination::Folder { volume, names } = session.place.clone()
        && let Some(report) = look_first(session, volume, names).await?
    {
        return Ok(report);
    }
    let mut patience = Patience::default();
    loop {
        let run = one_go(session).await?;
        if let Some(report) = patience.after(session, run).await? {
            return Ok(report);
        }
    }
}

/// The last of every download. One that was cancelled leaves nothing behind, wherever it was when the caller cancelled it;
/// any other that can be gone on with tells of its checkpoint, be it an earlier run's.
pub(crate) async fn conclude<V: Volume>(
    session: &Session<'_, V>,
    outcome: Result<Report, Error>,
) -> Result<Report, Error> {
    let (error, volume, names) = match (outcome, session.place.clone()) {
        (Err(error), OpenDestination::Folder { volume, names }) => (error, volume, names),
        (outcome, _) => return outcome,
    };
    match error.kind() {
        ErrorKind::Cancelled => {
            publish::remove_partial(volume, names).await?;
            Err(error)
        }
        ErrorKind::Stopped | ErrorKind::Network | ErrorKind::Changed | ErrorKind::Refused
            if error.checkpoint().is_none() =>
        {
            let found = blocking::run(move || checkpoint::load(&*volume, &names)).await;
            let is_there = matches!(found, Ok(Some(_)));
            let path = session.checkpoint_path().filter(|_| is_there);
            Err(error.with_checkpoint(path))
        }
        _ => Err(error),
    }
}

/// How often a download began anew, and why.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    restarts: u32,
    refreshes: u32,
    losses: u32,
}

impl Patience {
    /// Makes ready for the next go at the object, where there is to be one; else the report or the error of the end.
    pub(crate) async fn after<V: Volume>(
        &mut self,
        session: &mut Session<'_, V>,
        run: Outcome,
    ) -> Result<Option<Report>, Error> {
        match run {
            Outcome::Finished(report) => return Ok(Some(*report)),
            Outcome::Again => {}
            Outcome::Changed(error) => {
                if session.job.on_change == OnChange::Fail || self.restarts == MOST_RESTARTS {
                    return Err(error);
                }
                self.restarts += 1;
                session.fresh = true;
                session.restarted(error.why());
            }
            Outcome::StreamLost(failed) => {
                self.losses += 1;
                pause_before_retry(session, failed, self.losses).await?;
            }
            Outcome::Refused { error, progressed } => {
                self.refreshes = if progressed { 1 } else { self.refreshes + 1 };
                if self.refreshes > MOST_REFRESHES || !refresh_url(session).await? {
                    return Err(error);
                }
            }
        }
        Ok(None)
    }
}

/// Looks whether the way is free before anything is asked of a server. A report where an earlier run had come to its
/// very last step.
pub(crate) async fn look_first<V: Volume>(
    session: &Session<'_, V>,
    volume: Arc<V>,
    names: Names,
) -> Result<Option<Report>, Error> {
    let earlier = publish::sweep(session, volume, names).await?;
    match earlier {
        publish::Earlier::Nothing => Ok(None),
        publish::Earlier::Finished { length } if !session.job.fresh => {
            Ok(Some(session.finished_before(length)))
        }
        publish::Earlier::Immovable => Err(Error::new(
            ErrorKind::File,
            format!("can't write {}", session.output().display()),
            "what stands there is not a regular file",
        )
        .with_hint("choose another file with --output")),
        _ if session.job.overwrite => Ok(None),
        publish::Earlier::Damaged => Err(Error::new(
            ErrorKind::File,
            format!("{} is not whole", session.output().display()),
            "the machine went down before its bytes were on disk",
        )
        .with_hint("--overwrite downloads it again")),
        publish::Earlier::Taken | publish::Earlier::Finished { .. } => Err(Error::new(
            ErrorKind::File,
            format!("can't write {}", session.output().display()),
            "a file with that name is there already",
        )
        .with_hint("--overwrite replaces it once the new one is whole; -o NAME writes another")),
    }
}

async fn pause_before_retry<V: Volume>(
    session: &Session<'_, V>,
    failed: RequestFailed,
    losses: u32,
) -> Result<(), Error> {
    let after = match http::verdict(&failed.error) {
        Verdict::Retry { after } | Verdict::Throttled { after }
            if losses <= session.job.retries =>
        {
            after
        }
        _ => {
            return Err(session.request_failed(&RequestFailed {
                attempts: losses,
                ..failed
            }));
        }
    };
    let delay = after.unwrap_or_else(|| http::backoff(losses, fastrand::f64()));
    session.metrics.retried();
    session.shared.events.emit(Event::Retrying {
        part: 0,
        reason: failed.error.to_string(),
        delay,
    });
    tokio::select! {
        intent = session.shared.control.ending() => Err(session.ended_by(intent, None)),
        () = tokio::time::sleep(delay) => Ok(()),
    }
}

async fn one_go(session: &mut Session<'_>) -> Result<Outcome, Error> {
    let discovered = tokio::select! {
        biased;
        intent = session.shared.control.ending() => return Err(session.ended_by(intent, None)),
        discovered = discover(session) => discovered,
    };
    let object = match discovered {
        Ok(Discovery::Object(mut object)) => {
            session.stands_in_for = object.stands_in_for.take();
            *object
        }
        Ok(Discovery::NotModified) => return Ok(Outcome::finished(session.not_modified())),
        Err(failed) => return judge(session, &failed, None, false),
    };
    let mirrors = tokio::select! {
        biased;
        intent = session.shared.control.ending() => return Err(session.ended_by(intent, None)),
        mirrors = mirrors::accept(session, &object) => mirrors,
    };
    match (session.place.clone(), object.metadata.length) {
        (OpenDestination::Stdout, _) => stdout::download(session, object, mirrors).await,
        (OpenDestination::Scratch(scratch), _) => {
            discard::download(session, scratch, object, mirrors).await
        }
        (OpenDestination::Folder { volume, names }, Some(length)) => {
            let object = Object::found(session, length, object, mirrors)?;
            in_parts(session, volume, names, object).await
        }
        (OpenDestination::Folder { volume, names }, None) => {
            stream::download(session, volume, names, object).await
        }
    }
}

/// One go at an object of known length, into a file.
pub(crate) async fn in_parts<V: Volume, R: Remote>(
    session: &mut Session<'_, V>,
    volume: Arc<V>,
    names: Names,
    object: Object<R>,
) -> Result<Outcome, Error> {
    let mut prepared = prepare(session, volume, names, object).await?;
    session.fresh = false;
    let before = prepared.transfer.dispatcher.completed_parts();
    let outcome = transfer::run(
        &prepared.transfer,
        &mut prepared.checkpointer,
        session.shared,
    )
    .await;
    let checkpoint = session.checkpoint_path();
    let (error, attempts) = match outcome {
        Ok(TransferEnd::Complete) => {
            return publish::finish(session, prepared)
                .await
                .map(Outcome::finished);
        }
        Ok(TransferEnd::Stopped) => return Err(session.ended_by(Intent::Stop, checkpoint)),
        Ok(TransferEnd::Cancelled) => return Err(session.ended_by(Intent::Cancel, None)),
        Err(Failure::Transfer(TransferError::Http { error, attempts })) => (error, attempts),
        Err(Failure::Transfer(TransferError::Storage(error))) => {
            return Err(Error::from(error).with_checkpoint(checkpoint));
        }
        Err(Failure::Commit(error)) => return Err(Error::from(error).with_checkpoint(checkpoint)),
    };
    let completed = prepared.transfer.dispatcher.completed_parts();
    if completed == 0 && error.found_length().is_some() && !session.ask_by_get {
        // Only the length differs and nothing came yet: HEAD was wrong, not the object new.
        session.ask_by_get = true;
        session.fresh = true;
        return Ok(Outcome::Again);
    }
    judge(
        session,
        &RequestFailed { error, attempts },
        checkpoint,
        completed > before,
    )
}

/// What follows from a request that failed for good.
pub(crate) fn judge<V: Volume>(
    session: &Session<'_, V>,
    failed: &RequestFailed,
    checkpoint: Option<PathBuf>,
    progressed: bool,
) -> Result<Outcome, Error> {
    let error = session.request_failed(failed).with_checkpoint(checkpoint);
    match failed.error.kind() {
        HttpErrorKind::Changed(_) => Ok(Outcome::Changed(error)),
        HttpErrorKind::Refused(_) => Ok(Outcome::Refused { error, progressed }),
        _ => Err(error),
    }
}
