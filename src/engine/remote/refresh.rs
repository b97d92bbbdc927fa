//! A new URL for one that has expired.

use std::process::Stdio;

use crate::engine::context::Context;
use crate::error::{Error, ErrorKind};
use crate::http::Source;

/// The environment variable that holds the old URL.
const OLD_URL: &str = "PARTWISE_URL";

/// Runs the caller's command and returns the source under the URL that it prints; `None` where the
/// job has no such command.
///
/// Cancel safe: dropping it kills the command.
///
/// # Errors
///
/// `Refused` where the command fails or prints no URL.
pub(crate) async fn refreshed(context: &Context<'_>) -> Result<Option<Source>, Error> {
    let Some(command) = &context.job.refresh_command else {
        return Ok(None);
    };
    let failed =
        |why: String| Error::new(ErrorKind::Refused, "the refresh command gave no URL", why);
    let mut child = tokio::process::Command::new("/bin/sh");
    child
        .arg("-c")
        .arg(command)
        .env(OLD_URL, context.source.given_url())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    let output = child.output().await;
    let output = output.map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(format!("it ended with {}", output.status)));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let url = text.lines().next().unwrap_or_default().trim();
    if url.is_empty() {
        return Err(failed("the first line of its output is empty".to_owned()));
    }
    let source = context.source.refreshed(url);
    source.map(Some).map_err(|error| failed(error.to_string()))
}
