//! `partwise get`: runs a list of downloads.

use std::path::Path;
use std::time::Duration;

use futures::{StreamExt, stream};
use partwise::{DownloadHandle, Error, ErrorKind, Events, Report};
use tokio::time::{Instant, timeout_at};

use super::args::GetArgs;
use super::exit::{Exit, Failure};
use super::progress::{Console, PlaceInList, Verbosity, View};
use super::settings::{Closing, Job, Settings};
use super::signals::{Signal, Signals};
use super::{options, output, report, runtime, text, words};

/// How long a clean stop may take.
const GRACE: Duration = Duration::from_secs(2);

/// Runs the downloads that `args` name.
///
/// # Errors
///
/// Fails for a wrong command line, and for a closed standard output that the bytes should go to. A
/// failed download is printed and sets the exit code.
pub(crate) fn run(args: &GetArgs) -> Result<Exit, Failure> {
    let settings = Settings::resolve(args)?;
    if options::to_stdout(&args.place) {
        output::must_be_open()?;
    }
    runtime::run(all(settings))
}

async fn all(settings: Settings) -> Result<Exit, Failure> {
    let console = Console::new(settings.display);
    if let Some(trace) = settings.trace {
        console.trace(trace);
    }
    let run = Run {
        console,
        signals: Signals::listen()?,
        closing: settings.closing,
        json_report: settings.json_report,
        several: settings.jobs.len() > 1,
    };
    let ends: Vec<(usize, Exit)> = stream::iter(settings.jobs.into_iter().enumerate())
        .map(|(index, job)| run.one(index, job))
        .buffer_unordered(settings.at_once.get())
        .collect()
        .await;
    Ok(overall(ends, run.signals.arrived()))
}

/// The exit code of the run: the first that is not 0 in the order of the list, or that of a signal.
fn overall(mut ends: Vec<(usize, Exit)>, signal: Option<Signal>) -> Exit {
    ends.sort_unstable_by_key(|(index, _)| *index);
    let failed = ends
        .into_iter()
        .map(|(_, exit)| exit)
        .find(|exit| *exit != Exit::SUCCESS);
    match (failed, signal) {
        (None, _) => Exit::SUCCESS,
        // The signal is the reason why not every download finished.
        (Some(_), Some(signal)) => signal.exit(),
        (Some(exit), None) => exit,
    }
}

/// The state that all downloads of a run share.
#[derive(Debug)]
struct Run {
    console: Console,
    signals: Signals,
    closing: Closing,
    json_report: bool,
    several: bool,
}

/// How a download ended.
enum End {
    Finished(Box<Report>),
    Failed(Error),
    /// A signal stopped the download. The error names the checkpoint on disk, if there is one.
    Stopped(Signal, Option<Error>),
}

impl End {
    fn finished(report: Report) -> Self {
        Self::Finished(Box::new(words::report(report)))
    }
}

impl Run {
    async fn one(&self, index: usize, job: Job) -> (usize, Exit) {
        if let Some(signal) = self.signals.arrived() {
            return (index, signal.exit());
        }
        let verbosity = match self.closing {
            Closing::Account => Verbosity::Verbose,
            _ => Verbosity::Normal,
        };
        let place = self.several.then(|| PlaceInList {
            file: index,
            output: Some(job.download.output().to_string_lossy().into_owned()),
        });
        let view = self.console.view(job.label.clone(), place, verbosity);
        let end = self.follow(job.download.start(), view).await;
        (index, self.tell(&job.label, end))
    }

    /// Shows the download until it ends or a signal comes.
    async fn follow(&self, handle: DownloadHandle, mut view: View<'_>) -> End {
        let mut events = handle.events();
        let mut signals = self.signals.clone();
        tokio::select! {
            () = show(&handle, &mut events, &mut view) => match handle.finish().await {
                Ok(report) => End::finished(report),
                Err(error) => End::Failed(error),
            },
            signal = signals.stop() => {
                let deadline = Instant::now() + GRACE;
                // Keeps reading events until the download has stopped.
                let quiet = async { tokio::join!(handle.stop(), show(&handle, &mut events, &mut view)).0 };
                let _ = timeout_at(deadline, quiet).await;
                match timeout_at(deadline, handle.finish()).await {
                    Ok(Ok(report)) => End::finished(report),
                    Ok(Err(error)) if error.kind() == ErrorKind::Stopped => End::Stopped(signal, Some(error)),
                    Ok(Err(error)) => End::Failed(error),
                    Err(_) => End::Stopped(signal, None),
                }
            }
        }
    }

    fn tell(&self, label: &str, end: End) -> Exit {
        match end {
            End::Finished(report) => {
                if let Some(lines) = report::closing(&report, self.closing) {
                    self.console.line(&lines);
                }
                let printed = if self.json_report {
                    report::json(&report)
                } else {
                    Ok(())
                };
                match printed {
                    Ok(()) => Exit::SUCCESS,
                    Err(failure) => self.fail(&failure),
                }
            }
            // The reader closed the pipe itself, and may read standard error as well.
            End::Failed(error) if error.kind() == ErrorKind::ReaderGone => Exit::READER_GONE,
            End::Failed(error) => self.fail(&Failure::from(error)),
            End::Stopped(signal, error) => {
                self.console.line(&stopped(label, signal, error.as_ref()));
                signal.exit()
            }
        }
    }

    fn fail(&self, failure: &Failure) -> Exit {
        self.console.failure(failure);
        failure.exit()
    }
}

async fn show(handle: &DownloadHandle, events: &mut Events, view: &mut View<'_>) {
    while let Some(event) = events.next().await {
        view.show(&event, |cells| handle.coverage(cells));
    }
}

fn stopped(label: &str, signal: Signal, error: Option<&Error>) -> String {
    let is_behind = error.is_some_and(Error::is_checkpoint_behind);
    let kept = kept(error.and_then(Error::checkpoint), is_behind);
    format!("partwise: stopped by {}: {label}: {kept}", signal.name())
}

fn kept(checkpoint: Option<&Path>, is_behind: bool) -> String {
    let Some(checkpoint) = checkpoint else {
        return "nothing was kept that can be resumed".to_owned();
    };
    let kept = match is_behind {
        true => "the last checkpoint could not be written, what the one before it names is kept",
        false => "what is there is kept",
    };
    let path = text::path(checkpoint);
    format!("{kept}, see {path}\nhint: run the same command again to resume")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_of_the_list_gives_the_code() {
        let ends = vec![(2, Exit::NETWORK), (1, Exit::FILE), (0, Exit::SUCCESS)];
        assert_eq!(overall(ends.clone(), None), Exit::FILE);
        assert_eq!(overall(ends, Some(Signal::Terminate)), Exit::TERMINATE);
        assert_eq!(
            overall(vec![(0, Exit::SUCCESS)], Some(Signal::Hangup)),
            Exit::SUCCESS
        );
        assert_eq!(overall(vec![], None), Exit::SUCCESS);
    }

    #[test]
    fn a_stop_says_where_to_resume() {
        let path = Some(Path::new("d/v.part.ckpt"));
        assert_eq!(
            kept(path, false),
            "what is there is kept, see d/v.part.ckpt\nhint: run the same command again to resume"
        );
        assert_eq!(
            kept(path, true),
            "the last checkpoint could not be written, what the one before it names is kept, see \
             d/v.part.ckpt\nhint: run the same command again to resume"
        );
        assert_eq!(
            stopped("v", Signal::Interrupt, None),
            "partwise: stopped by SIGINT: v: nothing was kept that can be resumed"
        );
    }
}
