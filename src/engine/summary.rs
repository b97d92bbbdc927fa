//! The report of a download: what came, where the time went, what held it back.

use std::time::Duration;

use tokio::time::Instant;

use super::context::Context;
use crate::http::Pinned;
use crate::object::{Plan, Proof, Validator};
use crate::options::WriterKind;
use crate::report::{Account, Bottleneck, IdentityKind, Report, ValidatorKind};

/// Waiting for the disk for more than this share of the time makes the disk the bottleneck.
const DISK_BOUND: f64 = 0.3;
/// Keeping the processors busy for more than this share of the time makes them the bottleneck.
const CPU_BOUND: f64 = 0.6;
/// A download that reaches this share of its rate limit was held back by the limit.
const LIMIT_BOUND: f64 = 0.8;

/// A report of what was counted so far, for an object of `bytes` bytes.
pub(crate) fn report(context: &Context<'_>, bytes: u64) -> Report {
    let metrics = &context.metrics;
    let elapsed = metrics.elapsed();
    let fetched_bytes = metrics.fetched_bytes();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive rate that saturates"
    )]
    let bytes_per_second = (fetched_bytes as f64 / elapsed.as_secs_f64().max(1e-9)) as u64;
    Report {
        url: context.source.shown(),
        output: context.output.clone(),
        bytes,
        resumed_bytes: metrics.resumed_bytes(),
        fetched_bytes,
        wasted_bytes: fetched_bytes.saturating_sub(metrics.useful_bytes()),
        part_size: 0,
        parts: 0,
        connections: metrics.most_active(),
        attempts: metrics.attempts(),
        retries: metrics.retries(),
        elapsed,
        bytes_per_second,
        validator: ValidatorKind::None,
        etag: None,
        identity: IdentityKind::Length,
        spot_checks: metrics.spot_checks(),
        writer: WriterKind::Pwrite,
        integrity: Vec::new(),
        bottleneck: bottleneck(context, bytes_per_second, Duration::ZERO),
        account: account(context),
        samples: context.shared.samples(),
        not_modified: false,
        is_end_unproven: false,
        damaged_parts: metrics.damaged_parts(),
    }
}

/// The report of an object that was fetched in the parts of `plan`.
pub(crate) fn report_in_parts(context: &Context<'_>, plan: &Plan, pinned: &Pinned) -> Report {
    Report {
        part_size: plan.part_size(),
        parts: plan.parts(),
        ..report_of_version(context, plan.length(), pinned)
    }
}

/// The report of an object of `bytes` bytes, of this version.
pub(crate) fn report_of_version(context: &Context<'_>, bytes: u64, pinned: &Pinned) -> Report {
    let identity = pinned.identity();
    Report {
        validator: kind_of(&identity.validator()),
        etag: identity.tag.as_ref().map(ToString::to_string),
        identity: pinned.proof().into(),
        ..report(context, bytes)
    }
}

/// The report where an earlier run had finished all but its very last step.
pub(crate) fn finished_before(context: &Context<'_>, bytes: u64) -> Report {
    Report {
        resumed_bytes: bytes,
        ..report(context, bytes)
    }
}

/// The report where a condition said that the server has nothing newer.
pub(crate) fn not_modified(context: &Context<'_>) -> Report {
    Report {
        not_modified: true,
        ..report(context, 0)
    }
}

/// The report with the time that publishing took: the caller waited for the last sync as well.
pub(crate) fn published(context: &Context<'_>, report: Report, publishing: Duration) -> Report {
    Report {
        elapsed: context.metrics.elapsed(),
        account: account(context),
        bottleneck: bottleneck(context, report.bytes_per_second, publishing),
        ..report
    }
}

/// Where the time went so far.
fn account(context: &Context<'_>) -> Account {
    let metrics = &context.metrics;
    let ends = metrics.ends();
    let since = |end: Option<Instant>| end.map_or(Duration::ZERO, |at| at.elapsed());
    Account {
        first_byte: metrics.first_byte(),
        tail: since(ends.full),
        closing: since(ends.busy),
        transfers: metrics.transfer_time(),
        reply_wait: metrics.reply_wait(),
        disk_wait: metrics.disk_wait(),
        cpu: metrics.processor_time(),
        connections_kept: metrics.wanted().max(metrics.most_active().min(1)),
        refusals: metrics.refusals(),
        stalls: metrics.stalls(),
        replaced: metrics.replacements(),
    }
}

/// What held the download back, as far as counters tell. `publishing` is the time of the last sync
/// and the rename.
fn bottleneck(context: &Context<'_>, bytes_per_second: u64, publishing: Duration) -> Bottleneck {
    let elapsed = context.metrics.elapsed().as_secs_f64();
    let processors = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let account = account(context);
    let limited = |limit: u64| bytes_per_second as f64 >= limit as f64 * LIMIT_BOUND;
    if context.job.limit_rate.is_some_and(limited) {
        Bottleneck::LimitRate
    } else if account.disk_wait.as_secs_f64() > DISK_BOUND * account.transfers.as_secs_f64()
        || publishing.as_secs_f64() > DISK_BOUND * elapsed
    {
        Bottleneck::Disk
    } else if account.cpu.as_secs_f64() > CPU_BOUND * elapsed * processors {
        Bottleneck::Cpu
    } else if account.refusals > 0 {
        Bottleneck::Server
    } else {
        Bottleneck::Network
    }
}

/// The kind of a validator, as an event and a report name it.
pub(crate) fn kind_of(validator: &Validator) -> ValidatorKind {
    match validator {
        Validator::Strong(_) => ValidatorKind::StrongEtag,
        Validator::Weak { .. } => ValidatorKind::WeakEtag,
        Validator::LastModified(_) => ValidatorKind::LastModified,
        Validator::None => ValidatorKind::None,
    }
}

impl From<Proof> for IdentityKind {
    fn from(proof: Proof) -> Self {
        match proof {
            Proof::None => Self::Length,
            Proof::LastModified => Self::LastModified,
            Proof::WeakTag => Self::WeakEtag,
            Proof::StrongTag => Self::StrongEtag,
            Proof::Digest => Self::Digest,
            Proof::VersionId => Self::VersionId,
        }
    }
}
