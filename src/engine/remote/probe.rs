//! One question to one source: what is the object?

use tracing::{Instrument, debug_span, field};

use crate::engine::context::Context;
use crate::http::{self, HttpError, Probed, Source};

/// How metadata is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProbeMethod {
    /// `HEAD`, and `GET` where that tells too little.
    Head,
    /// `GET` with a range of one byte: `HEAD` was wrong.
    Get,
}

/// Asks one source once.
pub(super) async fn probe(
    context: &Context<'_>,
    source: &Source,
    method: ProbeMethod,
) -> Result<Probed, HttpError> {
    let (client, conditions) = (&context.job.client, &context.job.conditions);
    let span = debug_span!(
        "probe",
        ?method,
        server = field::Empty,
        status = field::Empty,
        length = field::Empty,
    );
    let probed = async {
        match method {
            ProbeMethod::Head => http::probe(client, source, conditions).await,
            ProbeMethod::Get => http::probe_by_get(client, source, conditions).await,
        }
    };
    let probed = probed.instrument(span.clone()).await;
    match &probed {
        Ok(Probed::Found { metadata, .. }) => {
            span.record("length", metadata.length);
        }
        Ok(Probed::NotModified) => {}
        Err(error) => span.in_scope(|| tracing::debug!(%error, "probe failed")),
    }
    probed
}
