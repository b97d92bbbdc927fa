//! Pauses a download from another task, resumes it, stops it, and starts again from its checkpoint.
//!
//! `cargo run --example pause_resume -- https://example.org/v.mp4`

use std::time::Duration;

use partwise::{Download, DownloadHandle, ErrorKind};
use tokio::time::sleep;

const A_WHILE: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("expected a URL")?;

    // Clones control the same download: one task pauses it, while this one awaits its end.
    let handle = Download::builder(&url).build()?.start();
    tokio::spawn(pause_and_stop(handle.clone()));
    let error = match handle.finish().await {
        Ok(report) => {
            println!("{} is already complete", report.output.display());
            return Ok(());
        }
        Err(error) if error.kind() == ErrorKind::Stopped => error,
        Err(error) => return Err(error.into()),
    };
    let Some(checkpoint) = error.checkpoint() else {
        println!("stopped before anything was committed");
        return Ok(());
    };
    println!("stopped; resuming from {}", checkpoint.display());

    // Another process could do this: the checkpoint is all that it needs, and a URL of the same
    // object. It need not be the same URL, because the signature of one may have expired.
    let download = Download::builder(&url).resume_from(checkpoint).build()?;
    let report = download.start().finish().await?;
    println!(
        "{}: {} bytes, of which {} were on disk and {} were fetched now",
        report.output.display(),
        report.bytes,
        report.resumed_bytes,
        report.fetched_bytes
    );
    Ok(())
}

async fn pause_and_stop(handle: DownloadHandle) {
    sleep(A_WHILE).await;
    // On `Ok` no request is under way, and every completed part is in a checkpoint on disk. A kill
    // would lose nothing.
    match handle.pause().await {
        Ok(()) => println!("paused: {}", strip(&handle)),
        Err(error) => return println!("{error}"),
    }
    sleep(A_WHILE).await;
    if let Err(error) = handle.resume() {
        return println!("{error}");
    }
    sleep(A_WHILE).await;
    handle.stop().await;
}

/// Which tenths of the object are downloaded.
fn strip(handle: &DownloadHandle) -> String {
    let cell = |percent| match percent {
        0 => '.',
        100 => '#',
        _ => '-',
    };
    handle.coverage(10).into_iter().map(cell).collect()
}
