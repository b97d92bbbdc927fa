//! Downloads that keep nothing: every byte is fetched and checked, and then dropped, or written to
//! memory that is given back at the end.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use super::outcome::{Brought, Outcome, judge_transfer};
use super::virtual_file::{VirtualFile, WriteAt};
use crate::engine::blocking;
use crate::engine::context::Context;
use crate::engine::remote::Remote;
use crate::engine::remote::object::{Object, announce};
use crate::engine::schedule::dispatcher::Dispatcher;
use crate::engine::schedule::parts::CompletedParts;
use crate::engine::summary::report_in_parts;
use crate::engine::transfer::commit::{CommitError, CommitKind, Committer};
use crate::engine::transfer::drawn_blocks::DrawnBlocks;
use crate::engine::transfer::window::WriteTarget;
use crate::engine::transfer::written_blocks::WrittenBlock;
use crate::engine::transfer::{Layout, Transfer};
use crate::error::Error;
use crate::object::{ByteRange, Plan};
use crate::options::{Writer, WriterKind};
use crate::report::Report;
use crate::storage::{DiskFile, Operation, PartFile, Sink, StorageError};

/// The name of the output in messages and the report, if bytes are dropped.
pub(crate) const NOWHERE: &str = "/dev/null";
/// The name of the output in messages and the report, if bytes go to memory.
pub(crate) const MEMORY: &str = "/dev/shm";

/// Downloads an object and drops its bytes.
pub(crate) async fn to_nowhere<R: Remote>(
    context: &Context<'_>,
    object: Object<R>,
) -> Result<Outcome, Error> {
    let plan = object.wanted.plan(context.job)?;
    let target = VirtualFile::new(Arc::new(Nowhere), NOWHERE);
    in_parts(context, plan, target, WriterKind::Pwrite, object).await
}

/// Downloads an object to memory of this process, and gives the memory back.
pub(crate) async fn to_memory<R: Remote>(
    context: &Context<'_>,
    object: Object<R>,
) -> Result<Outcome, Error> {
    let plan = object.wanted.plan(context.job)?;
    let choice = context.job.writer;
    let sink = blocking::run(move || memory(plan.length(), choice)).await?;
    let writer = sink.kind();
    in_parts(context, plan, sink, writer, object).await
}

fn memory(length: u64, choice: Writer) -> Result<Sink<DiskFile>, StorageError> {
    let path = PathBuf::from(MEMORY);
    let file = DiskFile::in_memory()
        .and_then(|file| file.reserve(length).map(|()| file))
        .map_err(|error| StorageError::io(Operation::Reserve, &path, error))?;
    let kind = match choice {
        Writer::Auto | Writer::Mmap => WriterKind::Mmap,
        Writer::Pwrite => WriterKind::Pwrite,
    };
    Sink::new(file, path, kind, length, choice)
}

async fn in_parts<R: Remote, W: WriteTarget>(
    context: &Context<'_>,
    plan: Plan,
    target: W,
    writer: WriterKind,
    object: Object<R>,
) -> Result<Outcome, Error> {
    let (pinned, found_by) = (object.pinned.clone(), object.found_by);
    announce(context, &object.metadata, &plan);
    context.metrics.begin_with(0);
    let layout = Layout {
        plan,
        blocks: plan.in_blocks(context.job.block_size),
        completed: CompletedParts::none(&plan),
        doubtful: Vec::new(),
    };
    let transfer = Transfer::new(context, object, layout, target);
    let ended = transfer.run(&mut NoCommit, context.control()).await;
    let brought = Brought {
        found_by,
        parts_before: 0,
        parts_now: transfer.dispatcher.completed_parts(),
    };
    if let Some(outcome) = judge_transfer(context, ended, brought)? {
        return Ok(outcome);
    }
    Ok(Outcome::finished(Report {
        writer,
        ..report_in_parts(context, &plan, &pinned)
    }))
}

/// Commits nothing.
struct NoCommit;

impl Committer for NoCommit {
    async fn run(
        &mut self,
        _dispatcher: &Dispatcher,
        _proven: &(dyn Fn() -> CompletedParts + Sync),
        over: &mut watch::Receiver<bool>,
    ) -> Result<(), CommitError> {
        // An error means that the sender is gone, and the transfer with it.
        let _ = over.wait_for(|over| *over).await;
        Ok(())
    }

    async fn blocks(
        &mut self,
        _drawn: Vec<DrawnBlocks>,
        _of_replies: Vec<ByteRange>,
    ) -> Result<Vec<WrittenBlock>, CommitError> {
        Ok(Vec::new())
    }

    async fn commit(
        &mut self,
        _parts: CompletedParts,
        _kind: CommitKind,
    ) -> Result<(), CommitError> {
        Ok(())
    }
}

/// Takes every byte and keeps none.
struct Nowhere;

impl WriteAt for Nowhere {
    fn write_at(&self, _position: u64, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }
}
