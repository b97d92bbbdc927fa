//! The last step: the bytes are compared with every digest that is expected, and the file gets its
//! final name.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::{Instrument, debug_span};

use crate::engine::blocking;
use crate::engine::context::Context;
use crate::engine::output::digests;
use crate::engine::schedule::parts::CompletedParts;
use crate::engine::summary;
use crate::error::Error;
use crate::http::Pinned;
use crate::object::Plan;
use crate::report::Report;
use crate::storage::{self, Collision, Names, Published, Sink, Volume};

/// A file of which every byte is written.
pub(crate) struct Whole<F> {
    pub(crate) sink: Sink<F>,
    pub(crate) plan: Plan,
    /// The CRC of every part; `None` where the file was written as one stream without parts.
    pub(crate) parts: Option<CompletedParts>,
    /// The fields of the probe's reply that may carry digests.
    pub(crate) sent: Vec<(String, String)>,
    pub(crate) version: Pinned,
}

/// Verifies a whole file and gives it its final name.
///
/// # Errors
///
/// `Checksum` where a digest differs; `File` where the file can't be read, synced or renamed.
pub(crate) async fn publish<V: Volume>(
    context: &Context<'_>,
    whole: Whole<V::File>,
    volume: Arc<V>,
    names: Names,
) -> Result<Report, Error> {
    let Whole {
        sink,
        plan,
        parts,
        sent,
        version,
    } = whole;
    let length = plan.length();
    let integrity = digests::verify_file(context, &sink, &plan, parts.as_ref(), &sent).await?;
    let described = match parts {
        Some(_) => summary::report_in_parts(context, &plan, &version),
        // A stream without parts has no part size either.
        None => summary::report_of_version(context, length, &version),
    };
    let report = Report {
        writer: sink.kind(),
        integrity,
        ..described
    };
    let collision = if context.job.overwrite {
        Collision::Replace
    } else {
        Collision::Refuse
    };
    let durability = context.job.durability;
    let begun = Instant::now();
    let published = blocking::run(move || {
        storage::publish(&*volume, &names, sink.file(), length, collision, durability)
    })
    .instrument(debug_span!("publish", bytes = length))
    .await?;
    if let Published::Leftover(error) = published {
        context
            .events()
            .warn(format!("the file is whole, but {error}"));
    }
    Ok(summary::published(context, report, begun.elapsed()))
}
