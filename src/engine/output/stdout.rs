//! Bytes in order to standard output.
//!
//! Parts come over several connections into a bounded window of memory and leave it from the front.
//! Nothing is kept for a resume.

use std::io::{self, Write};
use std::sync::Arc;

use tokio::sync::watch;

use super::digests;
use super::kept_blocks::KeptBlocks;
use super::outcome::{Brought, Outcome, judge_transfer};
use super::reorder_buffer::ReorderBuffer;
use super::virtual_file::VirtualFile;
use crate::engine::blocking;
use crate::engine::context::Context;
use crate::engine::remote::Remote;
use crate::engine::remote::object::{Object, Wanted, announce};
use crate::engine::remote::probe::ProbeMethod;
use crate::engine::schedule::dispatcher::Dispatcher;
use crate::engine::schedule::parts::CompletedParts;
use crate::engine::summary::report_in_parts;
use crate::engine::transfer::commit::{CommitError, CommitKind, Committer};
use crate::engine::transfer::drawn_blocks::DrawnBlocks;
use crate::engine::transfer::replies::Replies;
use crate::engine::transfer::written_blocks::WrittenBlock;
use crate::engine::transfer::{Layout, Transfer};
use crate::error::{Error, ErrorKind, Remedy};
use crate::integrity::Hasher;
use crate::object::{ByteRange, PartBitmap, PartIndex, Plan, Proof};
use crate::report::Report;

/// The name of standard output in messages and the report.
pub(crate) const NAME: &str = "-";

/// Bytes that may wait in memory for those before them.
const WINDOW: u64 = 64 << 20;

/// The largest part, in bytes: some of them fit into the window.
const LARGEST_PART: u64 = 16 << 20;

/// What went to standard output so far, over every URL of the run. It can't be taken back.
#[derive(Default)]
pub(crate) struct Written {
    parts: u32,
    hashers: Vec<Hasher>,
    blocks: KeptBlocks,
    /// Of the URL under which the last part came.
    url: String,
}

/// Downloads an object of known length to standard output, from the first part that was not written
/// yet.
pub(crate) async fn in_parts<R: Remote>(
    context: &Context<'_>,
    written: &mut Written,
    object: Object<R>,
) -> Result<Outcome, Error> {
    let (pinned, found_by) = (object.pinned.clone(), object.found_by);
    let plan = match plan(context, &object.wanted) {
        Ok(plan) => plan,
        // HEAD may have named a wrong length.
        Err(_) if found_by == ProbeMethod::Head => return Ok(Outcome::LengthMissing),
        Err(error) => return Err(error),
    };
    let sent = object.metadata.fields.clone();
    announce(context, &object.metadata, &plan);
    if written.parts == 0 {
        written.hashers = digests::hashers(context, &sent);
    }
    let parts_before = written.parts;
    let completed = written.completed(&plan);
    context.metrics.begin_with(completed.bytes(&plan));
    let layout = Layout {
        plan,
        blocks: plan.one_block_a_part(),
        completed,
        doubtful: written.doubtful(context, &object),
    };
    let buffer = Arc::new(ReorderBuffer::new(plan));
    let target = VirtualFile::new(Arc::clone(&buffer), NAME);
    let transfer = Transfer::new(context, object, layout, target);
    // Before the writer runs, blocks may have to be compared.
    transfer.dispatcher.set_reach(reach(&plan, parts_before));
    let mut writer = StdoutWriter {
        buffer,
        plan,
        replies: Arc::clone(&transfer.replies),
        written,
    };
    let ended = transfer.run(&mut writer, context.control()).await;
    let brought = Brought {
        found_by,
        parts_before,
        parts_now: written.parts,
    };
    match judge_transfer(context, ended, brought)? {
        None => {}
        // What went out of the old version can't be taken back.
        Some(Outcome::Changed(error) | Outcome::Differs { error, .. }) if written.parts > 0 => {
            return Err(error.with_remedy(Remedy::StartAgain));
        }
        Some(Outcome::StreamLost(failed)) if written.parts > 0 => {
            return Err(context.request_failed(&failed));
        }
        Some(outcome) => return Ok(outcome),
    }
    let hashers = std::mem::take(&mut written.hashers).into_iter();
    let found: Vec<_> = hashers.map(Hasher::finish).collect();
    // What the probe sent belongs to another version then.
    let sent = if pinned.is_overruled() {
        &[]
    } else {
        &sent[..]
    };
    let integrity = digests::compare_all(context, sent, &found)?;
    Ok(Outcome::finished(Report {
        integrity,
        ..report_in_parts(context, &plan, &pinned)
    }))
}

/// The parts in which the bytes come. Whole parts wait in memory, so none is larger than
/// [`LARGEST_PART`].
fn plan(context: &Context<'_>, wanted: &Wanted) -> Result<Plan, Error> {
    let plan = wanted.plan(context.job)?;
    let length = plan.length();
    Plan::new(length, plan.part_size().min(LARGEST_PART)).map_err(|_| {
        let why = format!("a length of {length} bytes is more than standard output can take");
        Error::new(ErrorKind::Network, context.subject(), why).lasting()
    })
}

/// The first part that may not come yet, where this many were written.
fn reach(plan: &Plan, written: u32) -> u32 {
    let ahead = u32::try_from(WINDOW / plan.part_size()).unwrap_or(u32::MAX);
    written.saturating_add(ahead.max(2))
}

impl Written {
    pub(crate) fn is_empty(&self) -> bool {
        self.parts == 0
    }

    /// Blocks that are to be compared with what the source has now, unless it names the same
    /// version by a strong tag, or something stronger, under the same URL.
    fn doubtful<R>(&mut self, context: &Context<'_>, object: &Object<R>) -> Vec<WrittenBlock> {
        let url = format!(
            "{}?{}",
            context.source.key_text(),
            context.source.query_text()
        );
        let before = std::mem::replace(&mut self.url, url);
        let is_same_url = before == self.url && object.stands_in_for.is_none();
        let proof = object.pinned.proof();
        if proof >= Proof::Digest || (is_same_url && proof >= Proof::StrongTag) {
            return Vec::new();
        }
        self.blocks.blocks()
    }

    /// The parts of `plan` that were written.
    fn completed(&self, plan: &Plan) -> CompletedParts {
        let completed = PartBitmap::first(self.parts, plan.parts());
        let crcs = vec![0; completed.count() as usize];
        CompletedParts { completed, crcs }
    }
}

/// Writes parts to standard output in order, and makes room for the next ones.
struct StdoutWriter<'a> {
    buffer: Arc<ReorderBuffer>,
    plan: Plan,
    replies: Arc<Replies>,
    written: &'a mut Written,
}

impl Committer for StdoutWriter<'_> {
    async fn run(
        &mut self,
        dispatcher: &Dispatcher,
        _proven: &(dyn Fn() -> CompletedParts + Sync),
        over: &mut watch::Receiver<bool>,
    ) -> Result<(), CommitError> {
        loop {
            // Listens before it looks, so it misses no completed part in between.
            let changed = dispatcher.changed.notified();
            self.write_up_to(dispatcher.front()).await?;
            dispatcher.set_reach(reach(&self.plan, self.written.parts));
            if *over.borrow() {
                return Ok(());
            }
            tokio::select! {
                () = changed => {}
                _ = over.changed() => {}
            }
        }
    }

    async fn blocks(
        &mut self,
        drawn: Vec<DrawnBlocks>,
        _of_replies: Vec<ByteRange>,
    ) -> Result<Vec<WrittenBlock>, CommitError> {
        Ok(match drawn.is_empty() {
            // Among those that were kept there may be some of a mirror that is to be trusted.
            true => Vec::new(),
            false => self.written.blocks.blocks(),
        })
    }

    async fn drain(&mut self) -> Result<(), CommitError> {
        self.write_up_to(self.plan.parts()).await
    }

    async fn commit(
        &mut self,
        parts: CompletedParts,
        _kind: CommitKind,
    ) -> Result<(), CommitError> {
        let all = parts.completed.parts();
        let mut missing = parts.completed.missing_runs();
        self.write_up_to(missing.next().map_or(all, |run| run.start))
            .await
    }
}

impl StdoutWriter<'_> {
    async fn write_up_to(&mut self, front: u32) -> Result<(), CommitError> {
        while self.written.parts < front {
            let bytes = self.buffer.take(self.written.parts);
            for hasher in &mut self.written.hashers {
                hasher.update(&bytes);
            }
            let range = self.plan.range(PartIndex(self.written.parts));
            let begins = self.replies.begins_in(range);
            self.written.blocks.add(range.start(), &bytes, &begins);
            blocking::run(move || write_all(&bytes))
                .await
                .map_err(CommitError::Output)?;
            self.written.parts += 1;
        }
        Ok(())
    }
}

/// Writes the bytes to standard output, after what the program has printed there. Blocks.
pub(super) fn write_all(bytes: &[u8]) -> io::Result<()> {
    let mut printed = io::stdout().lock();
    printed.flush()?;
    Descriptor(printed).write_all(bytes)
}

/// The descriptor of standard output. The standard library's own writer takes a closed descriptor
/// for a success.
struct Descriptor(io::StdoutLock<'static>);

impl Write for Descriptor {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(&self.0, bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
