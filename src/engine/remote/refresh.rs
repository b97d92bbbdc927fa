//! A new URL for one that has expired.

mod command;

use crate::engine::control::events::EventBus;
use crate::error::{Error, ErrorKind};
use crate::http::Source;
use crate::options::Refresh;

/// Asks the caller for a new URL and returns the source under it.
///
/// Cancel safe: dropping it kills the caller's command, and drops the future of the caller's
/// function.
///
/// # Errors
///
/// `Refused` where the caller gives no URL.
pub(crate) async fn refreshed(
    refresh: &Refresh,
    source: &Source,
    events: &EventBus,
) -> Result<Source, Error> {
    let old = source.given_url();
    let (what, url) = match refresh {
        Refresh::Command(command) => {
            let what = "the refresh command gave no URL";
            let printed = command::url(command, &old, events).await;
            (what, printed.map_err(|why| refused(what, why))?)
        }
        Refresh::Function(function) => {
            let what = "the refresh function gave no URL";
            let returned = function(old).await;
            let failed = |error| refused(what, "it returned an error").with_source(error);
            (what, returned.map_err(failed)?)
        }
    };
    let fresh = source.refreshed(url.trim());
    fresh.map_err(|error| refused(what, error))
}

fn refused(what: &str, why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Refused, what, why)
}
