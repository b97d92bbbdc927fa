//! Downloads that keep nothing: every byte is fetched, checked and checksummed, and dropped, or written to memory that is
//! given back at the end.

use std::io;
use std::path::PathBuf;

use tokio::sync::watch;

use super::file::{self, Object, kind_of};
use super::virtual_file::{Destination, Fileless};
use crate::engine::blocking;
use crate::engine::context::Session;
use crate::engine::control::Wish;
use crate::engine::output::file::checkpointer::{CommitError, Moment};
use crate::engine::output::file::open;
use crate::engine::output::file::publish;
use crate::engine::remote::HttpRemote;
use crate::engine::remote::discovery::{Discovered, Failed};
use crate::engine::remote::pool::Supply;
use crate::engine::run::{Run, judge};
use crate::engine::schedule::dispatcher::{Board, Snapshot};
use crate::engine::transfer::worker::TransferError;
use crate::engine::transfer::{Failure, Keeper, Outcome, transfer};
use crate::error::{Error, ErrorKind};
use crate::object::{PartBitmap, Plan};
use crate::report::Report;
use crate::storage::{DiskFile, Operation, PartFile, Sink, SinkKind, StorageError, WriterChoice};

/// Where the bytes go that nobody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scratch {
    Nothing,
    Memory,
}

impl Scratch {
    /// What stands for it in a report.
    pub(crate) fn path(self) -> PathBuf {
        PathBuf::from(match self {
            Self::Nothing => "/dev/null",
            Self::Memory => "/dev/shm",
        })
    }
}

/// Downloads to nowhere.
pub(crate) async fn download(
    session: &mut Session<'_>,
    scratch: Scratch,
    object: Discovered,
    mirrors: Vec<Supply>,
) -> Result<Run, Error> {
    let Some(length) = object.metadata.length else {
        return Err(Error::new(
            ErrorKind::Network,
            session.subject(),
            "the server does not tell the length, so that there is nothing to cut into parts",
        ));
    };
    let object = Object::found(session, length, object, mirrors)?;
    let plan = open::plan_for(session, object.wanted.selection.length(), None)?;
    match scratch {
        Scratch::Nothing => {
            let nothing = Nothing {
                length: plan.length(),
            };
            let sink = Sink::growing(Fileless(nothing), scratch.path());
            in_parts(session, plan, sink, object).await
        }
        Scratch::Memory => {
            let (path, choice) = (scratch.path(), session.job.writer);
            let sink = blocking::run(move || memory(path, plan.length(), choice)).await?;
            in_parts(session, plan, sink, object).await
        }
    }
}

fn memory(
    path: PathBuf,
    length: u64,
    choice: WriterChoice,
) -> Result<Sink<DiskFile>, StorageError> {
    let file = DiskFile::in_memory()
        .and_then(|file| file.reserve(length).map(|()| file))
        .map_err(|error| StorageError::io(Operation::Reserve, &path, error))?;
    let kind = match choice {
        WriterChoice::Auto | WriterChoice::Mmap => SinkKind::Mmap,
        WriterChoice::Pwrite => SinkKind::Pwrite,
    };
    Sink::new(file, path, kind, length, choice)
}

async fn in_parts<F: PartFile>(
    session: &mut Session<'_>,
    plan: Plan,
    sink: Sink<F>,
    object: Object<HttpRemote>,
) -> Result<Run, Error> {
    let none = Snapshot {
        completed: PartBitmap::new(plan.parts()),
        crcs: Vec::new(),
    };
    let grains = plan.in_grains(session.job.grain_size);
    let (crew, metadata) = file::crew(session, plan, grains, sink, none, object);
    file::announce(session, &metadata, &plan);
    match transfer(&crew, &mut Forget, session.link).await {
        Ok(Outcome::Complete) => Ok(Run::finished(Report {
            part_size: plan.part_size(),
            parts: plan.parts(),
            validator: kind_of(&metadata.validator),
            etag: metadata.etag.as_ref().map(ToString::to_string),
            writer: publish::writer_of(crew.sink.kind()),
            ..session.report(plan.length())
        })),
        Ok(Outcome::Stopped) => Err(session.ended_by(Wish::Stop, None)),
        Ok(Outcome::Cancelled) => Err(session.ended_by(Wish::Cancel, None)),
        Err(Failure::Commit(error)) => Err(error.into()),
        Err(Failure::Transfer(TransferError::Storage(error))) => Err(error.into()),
        Err(Failure::Transfer(TransferError::Http { error, attempts })) => {
            let progressed = crew.board.completed_parts() > 0;
            judge(session, &Failed { error, attempts }, None, progressed)
        }
    }
}

/// Commits nothing.
struct Forget;

impl Keeper for Forget {
    async fn run(
        &mut self,
        _board: &Board,
        over: &mut watch::Receiver<bool>,
    ) -> Result<(), CommitError> {
        // An error means that the other side is gone, and with it the run.
        let _ = over.wait_for(|over| *over).await;
        Ok(())
    }

    async fn commit(&mut self, _snapshot: Snapshot, _moment: Moment) -> Result<(), CommitError> {
        Ok(())
    }
}

/// Takes every byte and keeps none.
#[derive(Clone, Copy, Debug)]
struct Nothing {
    length: u64,
}

impl Destination for Nothing {
    fn length(&self) -> u64 {
        self.length
    }

    fn write_at(&self, _position: u64, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }
}
