//! The caller's shell command for a new URL: with a time limit, and an end with partwise.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, copy, sink};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// The environment variable that holds the old URL.
const OLD_URL: &str = "PARTWISE_URL";
/// How long a run may take.
const TIME_LIMIT: Duration = Duration::from_secs(60);
/// The most bytes of output that are kept.
const LONGEST_OUTPUT: u64 = 64 << 10;
/// Waits until the other end of its standard input is closed, and ends its process group.
const WATCH: &str = "read -r line; kill -KILL 0";

/// The first line that the command prints.
///
/// Cancel safe: dropping it kills the command.
///
/// # Errors
///
/// Why it printed none in time.
pub(super) async fn url(command: &str, old_url: &str) -> Result<String, String> {
    let ended = timeout(TIME_LIMIT, output(command, old_url)).await;
    let ended = ended.map_err(|_| format!("it took longer than {} s", TIME_LIMIT.as_secs()))?;
    let (status, printed) = ended.map_err(|error| error.to_string())?;
    if !status.success() {
        return Err(format!("it ended with {status}"));
    }
    let text = String::from_utf8_lossy(&printed);
    match text.lines().next().map(str::trim) {
        None | Some("") => Err("the first line of its output is empty".to_owned()),
        Some(url) => Ok(url.to_owned()),
    }
}

async fn output(command: &str, old_url: &str) -> io::Result<(ExitStatus, Vec<u8>)> {
    let group = Group::new()?;
    let mut shell = group.spawn(command, old_url)?;
    let stdout = shell.stdout.take();
    let ending = async {
        let status = shell.wait().await;
        // What the command left running may hold its standard output open.
        drop(group);
        status
    };
    let (status, printed) = tokio::join!(ending, beginning(stdout));
    Ok((status?, printed?))
}

/// Reads to the end, and keeps the first bytes.
async fn beginning(output: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    if let Some(mut output) = output {
        (&mut output)
            .take(LONGEST_OUTPUT)
            .read_to_end(&mut kept)
            .await?;
        copy(&mut output, &mut sink()).await?;
    }
    Ok(kept)
}

/// A process group, which is killed when this is dropped, and also when this process ends without
/// that, by a signal say.
struct Group {
    /// The leader. It holds the group's id until it is reaped, which is after the drop, and the
    /// pipe that closes with this process.
    watch: Child,
}

impl Group {
    fn new() -> io::Result<Self> {
        let watch = Command::new("/bin/sh")
            .args(["-c", WATCH])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { watch })
    }

    fn id(&self) -> Option<i32> {
        self.watch.id().and_then(|id| i32::try_from(id).ok())
    }

    /// Starts a shell command in the group.
    fn spawn(&self, command: &str, old_url: &str) -> io::Result<Child> {
        let id = self.id().ok_or(io::ErrorKind::NotFound)?;
        Command::new("/bin/sh")
            .arg("-c")
            .arg(command)
            .env(OLD_URL, old_url)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .process_group(id)
            .kill_on_drop(true)
            .spawn()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.id().and_then(Pid::from_raw) {
            // The kernel refuses only if no process of the group is left.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn printed(command: &str) -> Result<String, String> {
        url(command, "http://h/old").await
    }

    #[tokio::test]
    async fn the_first_line_counts() {
        let command = "echo \" $PARTWISE_URL?new \"; echo more";
        assert_eq!(printed(command).await.unwrap(), "http://h/old?new");
        assert_eq!(
            printed("echo").await.unwrap_err(),
            "the first line of its output is empty"
        );
        assert_eq!(
            printed("exit 7").await.unwrap_err(),
            "it ended with exit status: 7"
        );
        assert_eq!(
            printed("echo x; head -c 1000000 /dev/zero").await.unwrap(),
            "x"
        );
    }

    #[tokio::test]
    async fn what_a_command_leaves_running_ends_with_it() {
        let found = printed("sleep 600 & echo http://h/new").await;
        assert_eq!(found.unwrap(), "http://h/new");
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_takes_too_long_is_ended() {
        let error = printed("sleep 600 & wait").await.unwrap_err();
        assert_eq!(error, "it took longer than 60 s");
    }
}
