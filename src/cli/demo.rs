//! `partwise demo`: interrupts a download half-way, resumes and verifies it, and explains each
//! step.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use partwise::origin::{Logged, Object, Origin};
use partwise::{Download, DownloadHandle, ErrorKind, Event, Events, Inspection, Report};
use tokio::time::timeout;

use super::exit::{Exit, Failure};
use super::signals::Signals;
use super::temporary::Temporary;
use super::{inspect, output, runtime, text};

const SEED: u64 = 2026;
const NAME: &str = "demo.bin";
const LENGTH: u64 = 64 << 20;
const BYTES_PER_SECOND: u64 = 20 << 20;
/// The longest time that the demonstration may take.
const LONGEST: Duration = Duration::from_secs(60);
/// Lines of progress for the whole object.
const STEPS: u64 = 8;
const STRIP_CELLS: usize = 48;

/// Runs the demonstration.
///
/// # Errors
///
/// Fails if a promise does not hold.
pub(crate) fn run() -> Result<Exit, Failure> {
    runtime::run(stoppable())
}

async fn stoppable() -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    tokio::select! {
        ended = timeout(LONGEST, demo()) => match ended {
            Ok(shown) => shown.map(|()| Exit::SUCCESS),
            Err(_) => Err(broken(format!("expected an end within {}", text::duration(LONGEST)))),
        },
        signal = signals.stop() => Ok(signal.exit()),
    }
}

async fn demo() -> Result<(), Failure> {
    say(
        "partwise demo: interrupts a download half-way, resumes it and verifies it.\n\
         The server is part of this program, so no data leaves this machine.",
    )?;

    let origin = Origin::start(Object::new(SEED, LENGTH))
        .await
        .map_err(local("start the server"))?;
    let url = origin.url(NAME);
    let size = text::bytes(LENGTH);
    say(&format!(
        "\n1. A server has an object of {size}, generated from seed {SEED}:\n   {url}"
    ))?;

    let folder = Temporary::within(&std::env::temp_dir(), "partwise-demo")?;
    let rate = text::rate(BYTES_PER_SECOND);
    say(&format!(
        "\n2. The download starts, limited to {rate} to make it visible:"
    ))?;
    interrupted(&url, &folder).await?;

    say(&format!(
        "\n3. Half-way, the demo stops it as Ctrl-C would. {NAME}.part and {NAME}.part.ckpt stay.\n   \
         {NAME} does not exist: the file gets this name only when it is complete and verified."
    ))?;
    expect(!folder.path().join(NAME).exists(), || {
        format!("expected nothing at {NAME}, found a file")
    })?;

    let inspection = partwise::inspect(folder.path().join(NAME))?;
    say(&format!(
        "\n4. `partwise inspect {NAME}` shows:\n{}",
        inspect::describe(&inspection)
    ))?;
    let asked_before = origin.requests().len();

    say("\n5. The same download starts again:")?;
    let report = resumed(&url, &folder).await?;

    let requests = origin.requests();
    let ranges = ranges(requests.get(asked_before..).unwrap_or_default())?;
    say(&format!(
        "\n6. It requested only the missing bytes:\n{}",
        account(&inspection, &report, &ranges)?
    ))?;

    compare(&folder.path().join(NAME)).map_err(local("compare the file"))??;
    say(&format!(
        "\n7. All {LENGTH} bytes are equal to those that the server generates.\n\nVerified."
    ))
}

fn say(text: &str) -> Result<(), Failure> {
    output::write(format!("{text}\n").as_bytes())
}

/// The failure for a promise that does not hold.
fn broken(why: String) -> Failure {
    Failure::new(Exit::UNEXPECTED, "demo", why)
}

fn expect(kept: bool, otherwise: impl FnOnce() -> String) -> Result<(), Failure> {
    if kept {
        Ok(())
    } else {
        Err(broken(otherwise()))
    }
}

fn local(what: &'static str) -> impl FnOnce(io::Error) -> Failure {
    move |error| Failure::new(Exit::FILE, what, error)
}

fn start(url: &str, folder: &Temporary) -> Result<DownloadHandle, Failure> {
    let download = Download::builder(url)
        .dir(folder.path())
        .output(NAME)
        .no_proxy(true)
        .limit_rate(BYTES_PER_SECOND)
        .build()?;
    Ok(download.start())
}

/// Downloads one half, then stops.
async fn interrupted(url: &str, folder: &Temporary) -> Result<(), Failure> {
    let handle = start(url, folder)?;
    let mut events = handle.events();
    watch(&handle, &mut events, LENGTH / 2).await?;
    // Keeps reading events until the download has stopped.
    let ((), ()) = tokio::join!(handle.stop(), async {
        while events.next().await.is_some() {}
    });
    match handle.finish().await {
        Err(error) if error.kind() == ErrorKind::Stopped => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Err(broken(
            "expected to stop half-way, found the download finished".to_owned(),
        )),
    }
}

async fn resumed(url: &str, folder: &Temporary) -> Result<Report, Failure> {
    let handle = start(url, folder)?;
    let mut events = handle.events();
    watch(&handle, &mut events, u64::MAX).await?;
    Ok(handle.finish().await?)
}

/// Prints progress lines until `enough` bytes are complete or the download ends.
async fn watch(handle: &DownloadHandle, events: &mut Events, enough: u64) -> Result<(), Failure> {
    let mut shown = None;
    while let Some(event) = events.next().await {
        let Event::Progress(progress) = event else {
            continue;
        };
        let step = progress.completed_bytes / (LENGTH / STEPS);
        if shown != Some(step) {
            shown = Some(step);
            let (percent, rate) = (
                text::percent(progress.completed_bytes, LENGTH),
                text::rate(progress.bytes_per_second),
            );
            let connections = text::count(u64::from(progress.connections), "connection");
            let strip = text::strip(&handle.coverage(STRIP_CELLS));
            say(&format!("   {strip} {percent:>3} %  {rate}  {connections}"))?;
        }
        if progress.completed_bytes >= enough {
            break;
        }
    }
    Ok(())
}

/// The requested byte ranges, inclusive. A request without a range counts as one for the whole
/// object.
fn ranges(requests: &[Logged]) -> Result<Vec<(u64, u64)>, Failure> {
    let bodies = requests.iter().filter(|request| request.method == "GET");
    bodies
        .map(|request| match request.range.as_deref() {
            None => Ok((0, LENGTH - 1)),
            Some(range) => parse(range)
                .ok_or_else(|| broken(format!("expected one byte range, found {range}"))),
        })
        .collect()
}

fn parse(range: &str) -> Option<(u64, u64)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let last = if last.is_empty() {
        LENGTH - 1
    } else {
        last.parse().ok()?
    };
    Some((first.parse().ok()?, last))
}

/// Compares the second run with the checkpoint of the first, and describes it.
fn account(before: &Inspection, report: &Report, ranges: &[(u64, u64)]) -> Result<String, Failure> {
    let lacking = LENGTH.saturating_sub(before.completed_bytes);
    let kept = report.fetched_bytes.saturating_sub(report.wasted_bytes);
    expect(report.resumed_bytes == before.completed_bytes, || {
        format!(
            "expected {} bytes to be resumed, found {}",
            before.completed_bytes, report.resumed_bytes
        )
    })?;
    expect(kept == lacking, || {
        format!("expected {lacking} bytes to be fetched, found {kept}")
    })?;
    expect(!ranges.is_empty(), || {
        "expected requests in the server's log, found none".to_owned()
    })?;
    if let Some((first, last)) = ranges.iter().find(|range| !within(range, &before.missing)) {
        return Err(broken(format!(
            "expected requests for missing bytes only, found {first}-{last}"
        )));
    }
    Ok(format!(
        "   the object       {LENGTH:>10} bytes\n   resumed          {:>10} bytes\n   received now     {:>10} bytes in {}\n   \
         No request reaches into a completed part.",
        report.resumed_bytes,
        report.fetched_bytes,
        text::count(u64::try_from(ranges.len()).unwrap_or(u64::MAX), "request"),
    ))
}

/// Whether one of the `missing` ranges contains all of `range`.
fn within(range: &(u64, u64), missing: &[(u64, u64)]) -> bool {
    missing
        .iter()
        .any(|(first, last)| *first <= range.0 && range.1 <= *last)
}

/// Compares the file with the generator. The outer error is a failed read, the inner one a wrong
/// byte.
fn compare(path: &Path) -> io::Result<Result<(), Failure>> {
    let mut file = File::open(path)?;
    let found = file.metadata()?.len();
    if found != LENGTH {
        return Ok(Err(broken(format!(
            "expected {LENGTH} bytes, found {found}"
        ))));
    }
    let (mut expected, mut found) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    for offset in (0..LENGTH).step_by(1 << 20) {
        file.read_exact(&mut found)?;
        Object::fill(SEED, offset, &mut expected);
        if found != expected {
            return Ok(Err(broken(format!(
                "expected the generated bytes, found others after byte {offset}"
            ))));
        }
    }
    Ok(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_as_it_was_sent() {
        assert_eq!(parse("bytes=0-9"), Some((0, 9)));
        assert_eq!(parse("bytes=5-"), Some((5, LENGTH - 1)));
        for other in ["bytes=-5", "bytes=0-1,4-5", "lines=1-2", ""] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_range_that_reaches_into_a_completed_part_is_seen() {
        let missing = [(10, 19), (30, 39)];
        assert!(within(&(10, 19), &missing));
        assert!(within(&(31, 32), &missing));
        assert!(!within(&(9, 19), &missing));
        assert!(!within(&(15, 30), &missing));
        assert!(!within(&(0, 0), &missing));
    }
}
