//! How one pass at an object ended, and what follows from it.

use crate::engine::context::{Context, RequestFailed};
use crate::engine::control::Intent;
use crate::engine::remote::probe::ProbeMethod;
use crate::engine::transfer::written_blocks::Doubt;
use crate::engine::transfer::{TransferEnd, TransferError};
use crate::error::{Error, Remedy};
use crate::http::{self, HttpErrorKind};
use crate::options::Connections;
use crate::report::Report;

/// How one pass at an object ended.
pub(crate) enum Outcome {
    Finished(Box<Report>),
    /// The object changed on its server.
    Changed(Error),
    /// A block that came before differs from what the server has now.
    Differs {
        error: Error,
        doubt: Doubt,
    },
    /// The length that `HEAD` told was wrong, and no byte came yet.
    LengthWrong,
    /// `HEAD` told no length.
    LengthMissing,
    /// A stream that can't be resumed ended by a pause, which is over.
    Paused,
    /// A stream that can't be resumed broke.
    StreamLost(RequestFailed),
    /// The server refused access; what came is committed.
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

/// What a transfer brought, for the judgement of its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Brought {
    /// How the object was found whose parts these are.
    pub(crate) found_by: ProbeMethod,
    /// Parts that were complete when the transfer began, and that are complete now.
    pub(crate) parts_before: u32,
    pub(crate) parts_now: u32,
}

/// What follows from the end of a transfer; `None` where every part is complete.
///
/// # Errors
///
/// The error that ends the download.
pub(crate) fn judge_transfer(
    context: &Context<'_>,
    ended: Result<TransferEnd, TransferError>,
    brought: Brought,
) -> Result<Option<Outcome>, Error> {
    let failed = match ended {
        Ok(TransferEnd::Complete) => return Ok(None),
        Ok(TransferEnd::Stopped) => return Err(context.ended_by(Intent::Stop)),
        Ok(TransferEnd::Cancelled) => return Err(context.ended_by(Intent::Cancel)),
        Err(TransferError::Commit(error)) => return Err(error.into()),
        Err(TransferError::Storage(error)) => return Err(error.into()),
        Err(TransferError::Differs { failed, doubt }) => {
            let error = context.request_failed(&failed);
            return Ok(Some(Outcome::Differs { error, doubt }));
        }
        Err(TransferError::StreamLost(failed)) => return Ok(Some(Outcome::StreamLost(failed))),
        Err(TransferError::Request(failed)) => failed,
    };
    let is_length_wrong = failed.error.found_length().is_some()
        && brought.parts_now == 0
        && brought.found_by == ProbeMethod::Head;
    if is_length_wrong {
        return Ok(Some(Outcome::LengthWrong));
    }
    let outcome = judge_request(context, &failed, brought.parts_now > brought.parts_before)?;
    Ok(Some(match outcome {
        // Servers behind one name may each have a tag of their own.
        Outcome::Changed(error) if brought.parts_now == 0 && !has_one_connection(context) => {
            Outcome::Changed(error.with_remedy(Remedy::OneConnection))
        }
        outcome => outcome,
    }))
}

fn has_one_connection(context: &Context<'_>) -> bool {
    matches!(context.job.connections, Connections::Fixed(count) if count.get() == 1)
}

/// What follows from a request that failed for good.
///
/// # Errors
///
/// The error that ends the download.
pub(crate) fn judge_request(
    context: &Context<'_>,
    failed: &RequestFailed,
    progressed: bool,
) -> Result<Outcome, Error> {
    let error = context.request_failed(failed);
    match failed.error.kind() {
        HttpErrorKind::Changed(_) => Ok(Outcome::Changed(error)),
        HttpErrorKind::Refused(_) => Ok(Outcome::Refused { error, progressed }),
        // Something came under this URL before.
        _ if context.job.refresh.is_some()
            && http::may_have_expired(&failed.error, context.metrics.fetched_bytes() > 0) =>
        {
            Ok(Outcome::Refused { error, progressed })
        }
        _ => Err(error),
    }
}
