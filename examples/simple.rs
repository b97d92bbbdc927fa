//! Downloads a URL and shows how far it is.
//!
//! `cargo run --example simple -- https://example.org/v.mp4`

use futures::StreamExt;
use partwise::{Download, Event};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("expected a URL")?;

    // Every option error surfaces here, before anything is sent.
    let download = Download::builder(url).build()?;

    // It runs by itself from here on. What an earlier run left is taken over where it is of the same object.
    let handle = download.start();

    // The stream ends with the download. State changes come once each and in order, progress as fast as it is read.
    let mut events = handle.events();
    while let Some(event) = events.next().await {
        match event {
            Event::Probed {
                length: Some(length),
                parts,
                ..
            } => eprintln!("{length} bytes in {parts} parts"),
            Event::Resumed { bytes, .. } => eprintln!("{bytes} bytes are there already"),
            Event::Restarted { reason } => eprintln!("starts over: {reason}"),
            Event::Progress(progress) => eprintln!(
                "{} bytes, {} bytes a second, {} connections",
                progress.completed_bytes, progress.bytes_per_second, progress.connections
            ),
            Event::Retrying { reason, delay, .. } => {
                eprintln!("again in {:.1} s: {reason}", delay.as_secs_f64());
            }
            Event::Warning { message } => eprintln!("warning: {message}"),
            _ => {}
        }
    }

    // Here the file is whole, verified and at its final name; or it is not there, and the error says why.
    let report = handle.finish().await?;
    println!("{}: {} bytes", report.output.display(), report.bytes);
    Ok(())
}
