//! Discovery: what there is to download, asked with retries.

use super::mirrors;
use super::object::Discovered;
use super::probe::{ProbeMethod, probe};
use crate::engine::context::{Context, RequestFailed};
use crate::engine::retry;
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
    let mut attempts = 0;
    loop {
        attempts += 1;
        let error = match probe(context, &context.source, method).await {
            Ok(Probed::Found { metadata, stream }) => {
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
        let delay = retry::delay(&error, attempts, context.job.retries);
        let mut failed = RequestFailed { error, attempts };
        if delay.is_none() || attempts == ATTEMPTS_BEFORE_MIRRORS {
            failed = match mirrors::stand_in(context, method, failed).await {
                Ok(found) => return Ok(Discovery::Object(Box::new(found))),
                Err(failed) => failed,
            };
        }
        let Some(delay) = delay else {
            return Err(failed);
        };
        retry::pause(&context.metrics, context.events(), 0, &failed.error, delay).await;
    }
}
