//! A new URL for one that has expired.

use std::process::Stdio;

use crate::engine::context::Context;
use crate::error::{Error, ErrorKind};
use crate::http::Source;
use crate::options::Refresh;

/// The environment variable that holds the old URL.
const OLD_URL: &str = "PARTWISE_URL";

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
            let printed = run(command, &old).await;
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

/// The first line that a shell command prints.
async fn run(command: &str, old_url: &str) -> Result<String, String> {
    let mut child = tokio::process::Command::new("/bin/sh");
    child
        .arg("-c")
        .arg(command)
        .env(OLD_URL, old_url)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    let output = child.output().await.map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("it ended with {}", output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().next().map(str::trim) {
        None | Some("") => Err("the first line of its output is empty".to_owned()),
        Some(url) => Ok(url.to_owned()),
    }
}
