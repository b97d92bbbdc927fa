//! Downloads that keep nothing: every byte is fetched, checked and checksummed, and dropped, or written to memory that is
//! given back at the end.

use std::io;
use std::path::PathBuf;

use tokio::sync::watch;

use super::file::{self, Object, kind_of};
use super::virtual_file::{VirtualFile, WriteAt};
use crate::engine::blocking;
use crate::engine::context::Session;
use crate::engine::control::Intent;
use crate::engine::output::file::checkpointer::{CommitError, CommitKind};
use crate::engine::output::file::open;
use crate::engine::output::file::publish;
use crate::engine::remote::HttpRemote;
use crate::engine::remote::discovery::{Discovered, RequestFailed};
use crate::engine::remote::pool::Server;
use crate::engine::run::{Outcome, judge};
use crate::engine::schedule::dispatcher::{CompletedParts, Dispatcher};
use crate::engine::transfer::worker::TransferError;
use crate::engine::transfer::{self, Committer, Failure, TransferEnd};
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
    mirrors: Vec<Server>,
) -> Result<Outcome, Error> {
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
            let sink = Sink::growing(VirtualFile(nothing), scratch.path());
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
) -> Result<Outcome, Error> {
    let none = CompletedParts {
        completed: PartBitmap::new(plan.parts()),
        crcs: Vec::new(),
    };
    let blocks = plan.in_blocks(session.job.block_size);
    let (transfer, metadata) = file::new_transfer(session, plan, blocks, sink, none, object);
    file::announce(session, &metadata, &plan);
    match transfer::run(&transfer, &mut NoCommit, session.shared).await {
        Ok(TransferEnd::Complete) => Ok(Outcome::finished(Report {
            part_size: plan.part_size(),
            parts: plan.parts(),
            validator: kind_of(&metadata.validator),
            etag: metadata.etag.as_ref().map(ToString::to_string),
            writer: publish::writer_of(transfer.sink.kind()),
            ..session.report(plan.length())
        })),
        Ok(TransferEnd::Stopped) => Err(session.ended_by(Intent::Stop, None)),
        Ok(TransferEnd::Cancelled) => Err(session.ended_by(Intent::Cancel, None)),
        Err(Failure::Commit(error)) => Err(error.into()),
        Err(Failure::Transfer(TransferError::Storage(error))) => Err(error.into()),
        Err(Failure::Transfer(TransferError::Http { error, attempts })) => {
            let progressed = transfer.dispatcher.completed_parts() > 0;
            judge(
                session,
                &RequestFailed { error, attempts },
                None,
                progressed,
            )
        }
    }
}

/// Commits nothing.
struct NoCommit;

impl Committer for NoCommit {
    async fn run(
        &mut self,
        _board: &Dispatcher,
        over: &mut watch::Receiver<bool>,
    ) -> Result<(), CommitError> {
        // An error means that the other side is gone, and with it the run.
        let _ = over.wait_for(|over| *over).await;
        Ok(())
    }

    async fn commit(
        &mut self,
        _snapshot: CompletedParts,
        _moment: CommitKind,
    ) -> Result<(), CommitError> {
        Ok(())
    }
}

/// Takes every byte and keeps none.
#[derive(Clone, Copy, Debug)]
struct Nothing {
    length: u64,
}

impl WriteAt for Nothing {
    fn length(&self) -> u64 {
        self.length
    }

    fn write_at(&self, _position: u64, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }
}
