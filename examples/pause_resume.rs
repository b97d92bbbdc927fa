//! Pauses, resumes and stops a download, then starts it again from its checkpoint.
//!
//! `cargo run --example pause_resume -- https://example.org/v.mp4`

use std::time::Duration;

use partwise::{Download, DownloadHandle, Error, ErrorKind};
use tokio::time::{sleep, timeout};

const A_WHILE: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("expected a URL")?;

    let handle = start(&url)?;
    sleep(A_WHILE).await;

    // `Ok` means that no request is under way and that a checkpoint on disk names every completed
    // part. A kill of the process would lose nothing now.
    match handle.pause().await {
        Ok(()) => println!("paused: {}", strip(&handle)),
        Err(_) => println!("the download ended before the pause"),
    }
    handle.resume()?;
    sleep(A_WHILE).await;

    // A stop ends the download and keeps the completed parts. Dropping the handle does the same
    // without waiting.
    handle.stop().await;
    match handle.finish().await {
        Ok(report) => {
            println!("{} is already complete", report.output.display());
            return Ok(());
        }
        Err(error) if error.kind() == ErrorKind::Stopped => match error.checkpoint() {
            Some(checkpoint) => println!("stopped; can resume from {}", checkpoint.display()),
            None => println!("stopped before the first checkpoint"),
        },
        Err(error) => return Err(error.into()),
    }

    // A second run of the same program would do the same: it finds the checkpoint and requests only
    // the missing parts. The URL may differ, for example after a signature has expired, as long as
    // the object is the same.
    let handle = start(&url)?;
    let mut waiting = Box::pin(handle.finish());
    let report = loop {
        match timeout(A_WHILE, &mut waiting).await {
            Ok(finished) => break finished?,
            Err(_) => println!("still downloading"),
        }
    };
    println!(
        "{}: {} bytes, of which {} were resumed and {} fetched",
        report.output.display(),
        report.bytes,
        report.resumed_bytes,
        report.fetched_bytes
    );
    Ok(())
}

fn start(url: &str) -> Result<DownloadHandle, Error> {
    Ok(Download::builder(url).build()?.start())
}

/// Draws which tenths of the object are complete.
fn strip(handle: &DownloadHandle) -> String {
    let cell = |percent| match percent {
        0 => '.',
        100 => '#',
        _ => '-',
    };
    handle.coverage(10).into_iter().map(cell).collect()
}
