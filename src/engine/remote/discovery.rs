//! Finding out what there is to download, with retries.

use super::mirrors;
use crate::engine::context::Session;
use crate::event::Event;
use crate::http::{self, Body, HttpError, Metadata, Probed, RangeSupport, Source, Verdict};

/// How often the source that was asked for is tried before its mirrors are.
const PATIENT_ATTEMPTS: u32 = 2;

/// The outcome of a probe.
pub(crate) enum Discovery {
    Object(Box<Discovered>),
    /// The caller's condition says that nothing newer is there.
    NotModified,
}

/// An object as the server describes it.
pub(crate) struct Discovered {
    pub(crate) metadata: Metadata,
    /// The object itself, where the probe's reply was it.
    pub(crate) stream: Option<Body>,
    pub(crate) source: Source,
    /// How the source failed that was asked for, where `source` is a mirror in its place.
    pub(crate) stands_in_for: Option<RequestFailed>,
}

impl Discovered {
    /// Whether there are no ranges.
    pub(crate) fn is_whole(&self) -> bool {
        self.stream.is_some() || self.metadata.ranges == RangeSupport::No
    }
}

/// Why a request failed in the end.
pub(crate) struct RequestFailed {
    pub(crate) error: HttpError,
    /// How often it was tried.
    pub(crate) attempts: u32,
}

/// Asks for the metadata as often as the retries allow; of a mirror, where there is one that answers instead.
///
/// Cancel safe: dropping it drops the request.
pub(crate) async fn discover(session: &Session<'_>) -> Result<Discovery, RequestFailed> {
    let job = session.job;
    let mut attempts = 0;
    loop {
        let probed = if session.ask_by_get {
            http::probe_by_get(&job.client, &job.source, &job.conditions).await
        } else {
            http::probe(&job.client, &job.source, &job.conditions).await
        };
        attempts += 1;
        let error = match probed {
            Ok(Probed::Found { metadata, stream }) => {
                return Ok(Discovery::Object(Box::new(Discovered {
                    metadata,
                    stream,
                    source: job.source.clone(),
                    stands_in_for: None,
                })));
            }
            Ok(Probed::NotModified) => return Ok(Discovery::NotModified),
            Err(error) => error,
        };
        let after = match http::verdict(&error) {
            Verdict::Retry { after } | Verdict::Throttled { after } if attempts <= job.retries => {
                Some(after)
            }
            _ => None,
        };
        let mut failed = RequestFailed { error, attempts };
        if after.is_none() || attempts == PATIENT_ATTEMPTS {
            failed = match mirrors::stand_in(session, failed).await {
                Ok(found) => return Ok(Discovery::Object(Box::new(found))),
                Err(failed) => failed,
            };
        }
        let Some(after) = after else {
            return Err(failed);
        };
        let delay = after.unwrap_or_else(|| http::backoff(attempts, fastrand::f64()));
        session.metrics.retried();
        session.shared.events.emit(Event::Retrying {
            part: 0,
            reason: failed.error.to_string(),
            delay,
        });
        tokio::time::sleep(delay).await;
    }
}
