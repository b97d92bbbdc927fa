//! A new URL for one that has expired.

mod command;

use crate::engine::context::Context;
use crate::error::{Error, ErrorKind};
use crate::http::Source;
use crate::options::Refresh;

/// Asks the caller for a new URL and returns the source under it; `None` where the job can't ask.
///
/// Cancel safe: dropping it kills the caller's command, and drops the future of the caller's
/// function.
///
/// # Errors
///
/// `Refused` where the caller gives no URL.
pub(crate) async fn refreshed(context: &Context<'_>) -> Result<Option<Source>, Error> {
    let old = context.source.given_url();
    let (what, url) = match &context.job.refresh {
        None => return Ok(None),
        Some(Refresh::Command(command)) => {
            let what = "the refresh command gave no URL";
            let printed = command::url(command, &old, context.events()).await;
            (what, printed.map_err(|why| refused(what, why))?)
        }
        Some(Refresh::Function(function)) => {
            let what = "the refresh function gave no URL";
            let returned = function(old).await;
            let failed = |error| refused(what, "it returned an error").with_source(error);
            (what, returned.map_err(failed)?)
        }
    };
    let source = context.source.refreshed(url.trim());
    source.map(Some).map_err(|error| refused(what, error))
}

fn refused(what: &str, why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Refused, what, why)
}
