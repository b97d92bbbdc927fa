//! `partwise bench`: measures throughput and prints a recommendation.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use partwise::bench::{self, Course, Machine, Results, Server, Sink, Step, Sweep};
use partwise::{Download, DownloadBuilder};

use super::args::{BenchArgs, ResultArgs, SinkChoice, SweepArgs};
use super::exit::{self, Exit, Failure};
use super::options::with_network;
use super::settings::looks_like_url;
use super::signals::Signals;
use super::temporary::Temporary;
use super::{output, runtime, text};

/// Default traffic in bytes, for a remote server and for the loopback interface.
const TRAFFIC: u64 = 4 << 30;
const LOOPBACK_TRAFFIC: u64 = 32 << 30;
/// The name of the server inside this process, in messages.
const EMBEDDED: &str = "an embedded server on this machine";

/// Runs the measurements that `args` ask for.
///
/// # Errors
///
/// Fails for a wrong command line, or if something fails before the first measurement.
pub(crate) fn run(args: &BenchArgs) -> Result<Exit, Failure> {
    let course = course(args)?;
    let remote = remote(args)?;
    let page = args.results.html.as_deref();
    let is_new = page.is_some_and(|file| file.symlink_metadata().is_err());
    if let Some(file) = page {
        writable(file)?;
    }
    let outcome = runtime::run(measure(args, course, remote));
    if let (Err(_), Some(file), true) = (&outcome, page, is_new)
        && file.metadata().is_ok_and(|metadata| metadata.len() == 0)
    {
        // Without measurements the page would stay empty.
        let _ = std::fs::remove_file(file);
    }
    outcome
}

fn course(args: &BenchArgs) -> Result<Course, Failure> {
    let SweepArgs { sinks, traffic, .. } = &args.sweep;
    let (usual_sinks, usual_traffic) = match args.url {
        Some(_) => (&[Sink::Null, Sink::File][..], TRAFFIC),
        None => (
            &[Sink::Null, Sink::Memory, Sink::File][..],
            LOOPBACK_TRAFFIC,
        ),
    };
    let mut sinks: Vec<Sink> = sinks.iter().map(|choice| Sink::from(*choice)).collect();
    if sinks.is_empty() {
        sinks = usual_sinks.to_vec();
    }
    let sweep = Sweep {
        connections: distinct(args.sweep.connections.clone()),
        part_sizes: distinct(args.sweep.part_sizes.clone()),
        sinks: distinct(sinks),
        runs: args.sweep.runs,
        traffic: traffic.unwrap_or(usual_traffic),
    };
    let course = sweep
        .course()
        .map_err(|why| Failure::usage("--traffic", why))?;
    fits_in_memory(&course)?;
    Ok(course)
}

impl From<SinkChoice> for Sink {
    fn from(choice: SinkChoice) -> Self {
        match choice {
            SinkChoice::Null => Self::Null,
            SinkChoice::Memory => Self::Memory,
            SinkChoice::File => Self::File,
        }
    }
}

/// Removes duplicates, so each value is measured once.
fn distinct<T: PartialEq>(values: Vec<T>) -> Vec<T> {
    let mut distinct = Vec::with_capacity(values.len());
    for value in values {
        if !distinct.contains(&value) {
            distinct.push(value);
        }
    }
    distinct
}

/// Refuses runs that would fill the memory: they would measure the swap, or end another process.
fn fits_in_memory(course: &Course) -> Result<(), Failure> {
    let bytes = course.bytes_per_run();
    match Machine::available_memory() {
        Some(available) if course.has(Sink::Memory) && bytes > available / 2 => {
            let (half, bytes) = (text::bytes(available / 2), text::bytes(bytes));
            let why =
                format!("expected a run of at most {half}, half of the free memory, found {bytes}");
            let hint = "make the runs smaller with --traffic, or leave memory out of --sinks";
            Err(Failure::usage("--sinks memory", why).with_hint(hint))
        }
        _ => Ok(()),
    }
}

/// The download to measure; `None` for the embedded server.
fn remote(args: &BenchArgs) -> Result<Option<DownloadBuilder>, Failure> {
    let Some(url) = &args.url else {
        return Ok(None);
    };
    looks_like_url(url)?;
    let builder = with_network(Download::builder(url), &args.network)?;
    // Reports every option error before the announcement.
    builder.clone().discard().build()?;
    Ok(Some(builder))
}

/// Checks that the page can be written, before minutes of measuring.
fn writable(file: &Path) -> Result<(), Failure> {
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(file);
    opened.map(drop).map_err(|error| cant_write(file, error))
}

fn cant_write(file: &Path, error: io::Error) -> Failure {
    Failure::new(Exit::FILE, format!("write {}", text::path(file)), error)
}

async fn measure(
    args: &BenchArgs,
    course: Course,
    remote: Option<DownloadBuilder>,
) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    let host = args.url.as_deref().map_or(EMBEDDED.to_owned(), text::host);
    let face = Face::new(&args.results);
    face.say(&format!(
        "{}; --traffic SIZE sets the limit",
        course.announcement(&host)
    ));
    // Without the file sink, no folder has to be writable.
    let folder = match course.has(Sink::File) {
        true => Some(Temporary::within(&args.sweep.dir, ".partwise-bench")?),
        false => None,
    };
    let (server, template) = target(&course, remote).await?;
    let template = template.writer(args.sweep.writer);
    let stop = async {
        signals.stop().await;
    };
    let path = folder.as_ref().map_or(Path::new("."), Temporary::path);
    let results = bench::run(&course, &template, path, |step| face.show(step), stop).await?;
    drop((server, folder));
    face.finish();
    print(&results, &host, &args.results)?;
    match (signals.arrived(), results.failure) {
        (Some(signal), _) => Ok(signal.exit()),
        (None, Some(kind)) => {
            let why = results.ended_early.unwrap_or_default();
            Err(Failure::new(kind.into(), "bench ended early", why))
        }
        (None, None) => Ok(Exit::SUCCESS),
    }
}

/// The server and the download that the runs use: the URL, or the embedded server.
async fn target(
    course: &Course,
    remote: Option<DownloadBuilder>,
) -> Result<(Option<Server>, DownloadBuilder), Failure> {
    if let Some(builder) = remote {
        return Ok((None, builder));
    }
    let server = Server::start(course.bytes_per_run())
        .await
        .map_err(|error| Failure::new(Exit::UNEXPECTED, "start the server", error))?;
    let builder = Download::builder(server.url()).no_proxy(true);
    Ok((Some(server), builder))
}

fn print(results: &Results, host: &str, args: &ResultArgs) -> Result<(), Failure> {
    if let Some(file) = &args.html {
        let page = results.html(&format!("partwise bench: {host}"));
        std::fs::write(file, page).map_err(|error| cant_write(file, error))?;
    }
    let told = if args.json {
        let json = text::json(results)
            .map_err(|error| Failure::new(Exit::UNEXPECTED, "results", error))?;
        format!("{json}\n")
    } else if args.markdown {
        results.markdown()
    } else {
        results.table()
    };
    output::write(told.as_bytes())
}

/// Shows progress on standard error.
#[derive(Debug)]
enum Face {
    Bar(ProgressBar),
    Lines,
    Quiet,
}

impl Face {
    fn new(args: &ResultArgs) -> Self {
        if args.quiet {
            Self::Quiet
        } else if exit::stderr_is_terminal() {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
            let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg} {eta}");
            Self::Bar(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
        } else {
            Self::Lines
        }
    }

    /// Prints a line, above the bar if there is one.
    fn say(&self, line: &str) {
        let print = || {
            // If standard error is closed, the line has no other place.
            let _ = writeln!(io::stderr().lock(), "{line}");
        };
        match self {
            Self::Bar(bar) => bar.suspend(print),
            Self::Lines => print(),
            Self::Quiet => {}
        }
    }

    fn show(&self, step: Step) {
        match (self, step) {
            (Self::Bar(bar), Step::WarmUp) => {
                bar.enable_steady_tick(Duration::from_millis(200));
                bar.set_message("warm-up");
            }
            (Self::Bar(bar), Step::Began { cell, done, total }) => {
                bar.set_length(total as u64);
                bar.set_position(done as u64);
                let connections = text::count(u64::from(cell.connections.get()), "connection");
                bar.set_message(format!("{connections}, sink {}", cell.sink));
            }
            (
                Self::Lines,
                Step::Ended {
                    cell,
                    done,
                    total,
                    bytes_per_second,
                },
            ) if is_due(done, total) => {
                let connections = text::count(u64::from(cell.connections.get()), "connection");
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a positive rate that saturates"
                )]
                let rate = text::rate(bytes_per_second as u64);
                self.say(&format!(
                    "{done} of {total} runs: {connections}, sink {}: {rate}",
                    cell.sink
                ));
            }
            _ => {}
        }
    }

    fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// Whether to print a line after this run: ten lines in total, for any number of runs.
fn is_due(done: usize, total: usize) -> bool {
    done * 10 / total.max(1) != done.saturating_sub(1) * 10 / total.max(1)
}

#[cfg(test)]
mod tests {
    use super::super::args::{self, Command, Typed};
    use super::*;

    fn parsed(options: &[&str]) -> BenchArgs {
        let line = ["partwise", "bench"].iter().chain(options).map(Into::into);
        let Ok(Typed::Command(Command::Bench(args))) = args::parse(line) else {
            panic!("not a benchmark: {options:?}");
        };
        *args
    }

    #[test]
    fn the_traffic_depends_on_whose_line_it_is() {
        let remote = course(&parsed(&["http://h/a"])).unwrap();
        assert_eq!((remote.cells().len(), remote.traffic()), (20, 4 << 30));
        assert!(!remote.has(Sink::Memory));
        let here = course(&parsed(&["--sinks", "null"])).unwrap();
        assert_eq!((here.cells().len(), here.traffic()), (10, 32 << 30));
    }

    #[test]
    fn what_is_given_twice_is_measured_once() {
        let args = parsed(&["-c", "1,2,1", "-p", "1M,1024K", "--sinks", "file,null,file"]);
        let course = course(&args).unwrap();
        assert_eq!(course.cells().len(), 4);
        assert_eq!(course.runs(), 3);
    }

    #[test]
    fn too_little_traffic_is_a_wrong_command_line() {
        let failure = course(&parsed(&["--traffic", "5M", "--sinks", "null"])).unwrap_err();
        assert_eq!(failure.exit(), Exit::USAGE);
    }

    #[test]
    fn a_url_is_looked_at_before_anything_is_announced() {
        assert!(remote(&parsed(&[])).unwrap().is_none());
        assert!(remote(&parsed(&["http://h/a"])).unwrap().is_some());
        for wrong in ["h/a", "ftp://h/a"] {
            let failure = remote(&parsed(&[wrong])).unwrap_err();
            assert_eq!(failure.exit(), Exit::USAGE, "{wrong}");
        }
    }

    #[test]
    fn ten_lines_for_any_number_of_runs() {
        for total in [10, 37, 1000] {
            assert_eq!((1..=total).filter(|done| is_due(*done, total)).count(), 10);
        }
        assert_eq!((1..=3).filter(|done| is_due(*done, 3)).count(), 3);
    }
}
