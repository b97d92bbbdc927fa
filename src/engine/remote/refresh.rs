//! A new URL for one that has expired.

use std::process::Stdio;

use crate::engine::context::Session;
use crate::error::{Error, ErrorKind};
use crate::storage::Volume;

/// The variable that holds the old URL.
const OLD_URL: &str = "PARTWISE_URL";

/// Runs the caller's command and goes on under the URL that it prints. Returns whether there is such a command.
pub(crate) async fn refresh_url<V: Volume>(session: &Session<'_, V>) -> Result<bool, Error> {
    let Some(command) = &session.job.refresh_command else {
        return Ok(false);
    };
    let failed =
        |why: String| Error::new(ErrorKind::Refused, "the refresh command gave no URL", why);
    let mut child = tokio::process::Command::new("/bin/sh");
    child
        .arg("-c")
        .arg(command)
        .env(OLD_URL, session.job.source.given_url())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    let output = tokio::select! {
        intent = session.shared.control.ending() => return Err(session.ended_by(intent, None)),
        output = child.output() => output.map_err(|error| failed(error.to_string()))?,
    };
    if !output.status.success() {
        return Err(failed(format!("it ended with {}", output.status)));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let url = text.lines().next().unwrap_or_default().trim();
    if url.is_empty() {
        return Err(failed("the first line of its output is empty".to_owned()));
    }
    session
        .job
        .source
        .replace_url(url)
        .map_err(|error| failed(error.to_string()))?;
    Ok(true)
}
