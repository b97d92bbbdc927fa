//! Downloads a URL and shows its progress.
//!
//! `cargo run --example simple -- https://example.org/v.mp4`

use futures::StreamExt;
use partwise::{Download, Event};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("expected a URL")?;

    // Reports every option error, before anything is sent.
    let download = Download::builder(url).build()?;

    // The download runs in its own task. It resumes from the parts of an earlier run if they belong
    // to the same object.
    let handle = download.start();

    // The stream ends with the download. Every state change arrives once and in order; progress
    // arrives as fast as the stream is read.
    let mut events = handle.events();
    while let Some(event) = events.next().await {
        match event {
            Event::Probed {
                length: Some(length),
                parts,
                ..
            } => eprintln!("{length} bytes in {parts} parts"),
            Event::Resumed { bytes, .. } => eprintln!("{bytes} bytes are already complete"),
            Event::Restarted { reason } => eprintln!("starting over: {reason}"),
            Event::Progress(progress) => eprintln!(
                "{} bytes, {} bytes per second, {} connections",
                progress.completed_bytes, progress.bytes_per_second, progress.connections
            ),
            Event::Retrying { reason, delay, .. } => {
                eprintln!("retrying in {:.1} s: {reason}", delay.as_secs_f64());
            }
            Event::Warning { message } => eprintln!("warning: {message}"),
            Event::Failed(error) => {
                if let Some(remedy) = error.remedy() {
                    eprintln!("{remedy}");
                }
            }
            _ => {}
        }
    }

    // `Ok` means that the file is complete, verified and at its final name.
    let report = handle.finish().await?;
    println!("{}: {} bytes", report.output.display(), report.bytes);
    Ok(())
}
