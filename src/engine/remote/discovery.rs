//! Discovery: what there is to download, asked with retries.

use tokio::time::Instant;

use super::mirrors;
use super::object::Discovered;
use super::probe::{ProbeMethod, probe};
use crate::engine::context::{Context, RequestFailed};
use crate::engine::failures::Failures;
use crate::engine::patience::Next;
use crate::http::Probed;

/// Attempts at the source that was asked for before its mirrors are asked.
const ATTEMPTS_BEFORE_MIRRORS: u32 = 2;

/// The outcome of a discovery.
pub(crate) enum Discovery {
    Object(Box<Discovered>),
    /// A condition of the caller says that the server has nothing newer.
    NotModified,
}

/// Asks the source for the metadata as often as the retries allow, and then its mirrors.
///
/// Cancel safe: dropping it drops the request.
///
/// # Errors
///
/// The last failed request, where neither the source nor a mirror answers.
pub(crate) async fn discover(
    context: &Context<'_>,
    method: ProbeMethod,
) -> Result<Discovery, RequestFailed> {
    let patience = &context.patience;
    let mut failures = Failures::none(Instant::now());
    let mut failed_attempts = 0;
    loop {
        let turn = patience.turn().await;
        let error = match probe(context, &context.source, method).await {
            Ok(Probed::Found { metadata, stream }) => {
                patience.answered(metadata.first_byte);
                return Ok(Discovery::Object(Box::new(Discovered {
                    metadata,
                    stream,
                    source: context.source.clone(),
                    found_by: method,
                    stands_in_for: None,
                })));
            }
            Ok(Probed::NotModified) => return Ok(Discovery::NotModified),
            Err(error) => error,
        };
        let next = patience.judge(turn, &error, || failures.add(Instant::now()));
        failed_attempts += 1;
        let attempts = match next {
            Next::Again(_) => failed_attempts,
            Next::GiveUp { attempts } => attempts,
        };
        let mut failed = RequestFailed { error, attempts };
        let is_over = matches!(next, Next::GiveUp { .. });
        if is_over || failed_attempts == ATTEMPTS_BEFORE_MIRRORS {
            failed = match mirrors::stand_in(context, method, failed).await {
                Ok(found) => {
                    patience.answered(found.metadata.first_byte);
                    return Ok(Discovery::Object(Box::new(found)));
                }
                Err(failed) => failed,
            };
        }
        match next {
            Next::Again(pause) => patience.pause(0, &failed.error, pause).await,
            Next::GiveUp { .. } => return Err(failed),
        }
    }
}
