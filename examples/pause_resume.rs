//! Pauses a download after a while, goes on, stops it, and starts again from its checkpoint.
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

    // `Ok` means: no request is under way, and every completed part is in a checkpoint on disk. The process could be
    // killed now and nothing would be lost.
    match handle.pause().await {
        Ok(()) => println!("paused: {}", strip(&handle)),
        Err(_) => println!("it was over before it could be paused"),
    }
    handle.resume()?;
    sleep(A_WHILE).await;

    // A stop ends the download and keeps what it has; dropping the handle does the same without waiting for it.
    handle.stop().await;
    match handle.finish().await {
        Ok(report) => {
            println!("{} is whole already", report.output.display());
            return Ok(());
        }
        Err(error) if error.kind() == ErrorKind::Stopped => match error.checkpoint() {
            Some(checkpoint) => println!("stopped; goes on from {}", checkpoint.display()),
            None => println!("stopped before there was anything to keep"),
        },
        Err(error) => return Err(error.into()),
    }

    // A second run of the same program would do just this: it finds the checkpoint and asks for the missing parts
    // alone. The URL may be another one, as with a signature that has expired, as long as the object is the same.
    let handle = start(&url)?;
    let mut waiting = Box::pin(handle.finish());
    let report = loop {
        match timeout(A_WHILE, &mut waiting).await {
            Ok(finished) => break finished?,
            Err(_) => println!("still at it"),
        }
    };
    println!(
        "{}: {} bytes, of which {} were there and {} came now",
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

/// Which tenths of the object are there.
fn strip(handle: &DownloadHandle) -> String {
    let cell = |percent| match percent {
        0 => '.',
        100 => '#',
        _ => '-',
    };
    handle.coverage(10).into_iter().map(cell).collect()
}
