//! Interprets the options: a list of downloads, and how to show them.

use std::num::NonZeroUsize;
use std::path::Path;

use partwise::{Download, DownloadBuilder};

use super::args::{GetArgs, ProgressChoice, ShowArgs, SpeedArgs};
use super::exit::{self, Failure};
use super::input_file::{self, Entry};
use super::trace::Trace;
use super::{options, text};

/// The resolved options of `get`.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The downloads, in the order of the list.
    pub(crate) jobs: Vec<Job>,
    /// The number of downloads that run at once.
    pub(crate) at_once: NonZeroUsize,
    pub(crate) display: Display,
    pub(crate) closing: Closing,
    /// What to trace; `None` for nothing.
    pub(crate) trace: Option<Trace>,
    /// Whether to print the report on standard output as JSON.
    pub(crate) json_report: bool,
}

/// One download, ready to start.
#[derive(Debug)]
pub(crate) struct Job {
    /// The name of the download before its file has one.
    pub(crate) label: String,
    pub(crate) download: Download,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Display {
    /// A bar, redrawn in place.
    Bar,
    /// Occasional lines, without control sequences. `opening` adds one with the object's length
    /// before the first byte.
    Lines { opening: bool },
    /// Every event as a line of JSON.
    Json,
    /// No progress, only notices that a user should see.
    Notices,
    /// Only errors.
    Quiet,
}

/// How much to print about a finished download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    Nothing,
    Line,
    Account,
}

impl Settings {
    /// Interprets `args`.
    ///
    /// # Errors
    ///
    /// Fails for a contradiction or a wrong value (exit code 2), or if an input file can't be read
    /// (6).
    pub(crate) fn resolve(args: &GetArgs) -> Result<Self, Failure> {
        let display = display(&args.show, options::to_stdout(&args.place))?;
        let jobs = described(args)?
            .into_iter()
            .map(Described::ready)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            jobs,
            at_once: at_once(&args.speed),
            display,
            closing: closing(&args.show, display),
            trace: Trace::resolve(args.show.verbose)?,
            json_report: args.show.json,
        })
    }
}

fn at_once(args: &SpeedArgs) -> NonZeroUsize {
    usize::try_from(args.max_downloads.get())
        .ok()
        .and_then(NonZeroUsize::new)
        .unwrap_or(NonZeroUsize::MIN)
}

/// One download with all options set and not yet checked.
#[derive(Debug)]
struct Described {
    /// File and line of the input file; empty for the command line.
    place: String,
    label: String,
    builder: DownloadBuilder,
}

impl Described {
    fn ready(self) -> Result<Job, Failure> {
        let download = self
            .builder
            .build()
            .map_err(|error| Failure::from(error).within(&self.place))?;
        Ok(Job {
            label: self.label,
            download,
        })
    }
}

fn described(args: &GetArgs) -> Result<Vec<Described>, Failure> {
    let entries = entries(args)?;
    contradictions(args, entries.len())?;
    let sharing = at_once(&args.speed).get().min(entries.len());
    entries
        .into_iter()
        .map(|entry| describe(args, entry, sharing))
        .collect()
}

/// The list of downloads: the URLs of the command line, then those of the input file.
fn entries(args: &GetArgs) -> Result<Vec<Entry>, Failure> {
    let mut entries: Vec<Entry> = args
        .urls
        .iter()
        .map(|url| Entry {
            url: url.clone(),
            ..Entry::default()
        })
        .collect();
    if let Some(file) = &args.source.input_file {
        entries.extend(input_file::read(file)?);
        if entries.is_empty() {
            return Err(Failure::usage(
                "--input-file",
                "expected at least one URL, found none",
            ));
        }
    }
    if entries.is_empty() {
        return Err(Failure::usage("command line", "no URL was given")
            .with_hint("name a URL, or a file of them with -i"));
    }
    Ok(entries)
}

fn contradictions(args: &GetArgs, downloads: usize) -> Result<(), Failure> {
    if options::to_stdout(&args.place) && args.show.json {
        return Err(Failure::usage(
            "--json",
            "standard output takes the report or, with -o -, the bytes, but not both",
        ));
    }
    if downloads < 2 {
        return Ok(());
    }
    let (source, trust) = (&args.source, &args.trust);
    let one_only = [
        ("--output", args.place.output.is_some()),
        ("--mirror", !source.mirror.is_empty()),
        ("--head-url", source.head_url.is_some()),
        ("--checksum", !trust.checksum.is_empty()),
        ("--if-match", trust.if_match.is_some()),
        ("--if-none-match", trust.if_none_match.is_some()),
    ];
    match one_only.into_iter().find(|(_, given)| *given) {
        Some((option, _)) => {
            let why = format!("expected one download, found {downloads}");
            let hint = "an input file (-i) gives each download its own name, checksums and mirrors";
            Err(Failure::usage(option, why).with_hint(hint))
        }
        None => Ok(()),
    }
}

fn describe(args: &GetArgs, entry: Entry, sharing: usize) -> Result<Described, Failure> {
    looks_like_url(&entry.url).map_err(|failure| failure.within(&entry.place))?;
    let label = match entry.out.as_ref().or(args.place.output.as_ref()) {
        Some(file) if file != Path::new("-") => {
            text::path(Path::new(file.file_name().unwrap_or(file.as_os_str())))
        }
        _ => text::label(&entry.url),
    };
    let place = entry.place.clone();
    let builder = options::describe(args, entry, sharing)?;
    Ok(Described {
        place,
        label,
        builder,
    })
}

/// Rejects a mistyped command or a URL without a scheme. The library checks the URL itself.
pub(crate) fn looks_like_url(typed: &str) -> Result<(), Failure> {
    if typed.contains("://") {
        return Ok(());
    }
    let end = typed.find(['?', '#']).unwrap_or(typed.len());
    let shown = typed[..end].rsplit('@').next().unwrap_or_default();
    let failure = Failure::usage(
        format!("URL {shown}"),
        "expected http:// or https://, found neither",
    );
    Err(match shown {
        "get" | "bench" | "inspect" | "demo" | "completions" | "man" | "help" => failure.with_hint(
            format!("put the command before all options: partwise {shown} ..."),
        ),
        _ => failure.with_hint("see 'partwise --help'"),
    })
}

fn display(args: &ShowArgs, to_stdout: bool) -> Result<Display, Failure> {
    match args.progress {
        ProgressChoice::Bar | ProgressChoice::Json if args.quiet => Err(Failure::usage(
            "--quiet",
            "contradicts --progress, which asks for output",
        )),
        _ if args.quiet => Ok(Display::Quiet),
        ProgressChoice::None => Ok(Display::Notices),
        ProgressChoice::Json => Ok(Display::Json),
        // A bar consists of control sequences, which only a terminal understands.
        ProgressChoice::Auto | ProgressChoice::Bar if exit::stderr_is_terminal() => {
            Ok(Display::Bar)
        }
        // The reader of standard output may go away at once, and then nothing is said.
        ProgressChoice::Auto | ProgressChoice::Bar => Ok(Display::Lines {
            opening: !to_stdout,
        }),
    }
}

fn closing(args: &ShowArgs, display: Display) -> Closing {
    match display {
        // The last event contains the report, and every line stays JSON.
        Display::Quiet | Display::Json => Closing::Nothing,
        _ if args.verbose > 0 => Closing::Account,
        _ => Closing::Line,
    }
}

#[cfg(test)]
mod tests {
    use super::super::args::{self, Command, Typed};
    use super::super::exit::{Colour, Exit};
    use super::*;

    fn typed(line: &[&str]) -> Result<Settings, Failure> {
        let line = std::iter::once("partwise")
            .chain(line.iter().copied())
            .map(Into::into);
        match args::parse(line)? {
            Typed::Command(Command::Get(args)) => Settings::resolve(&args),
            other => panic!("not a download: {other:?}"),
        }
    }

    fn builders(line: &[&str]) -> Vec<Described> {
        let line = std::iter::once("partwise")
            .chain(line.iter().copied())
            .map(Into::into);
        match args::parse(line) {
            Ok(Typed::Command(Command::Get(args))) => {
                described(&args).expect("a good command line")
            }
            other => panic!("not a download: {other:?}"),
        }
    }

    fn refused(line: &[&str]) -> String {
        let failure = typed(line).expect_err("a contradiction");
        assert_eq!(failure.exit(), Exit::USAGE, "{line:?}");
        failure.lines(Colour::Off)
    }

    #[test]
    fn get_may_be_left_out() {
        let short = builders(&["http://h/a", "-c", "3"]);
        let long = builders(&["get", "-c", "3", "http://h/a"]);
        assert_eq!(format!("{short:?}"), format!("{long:?}"));
        assert_eq!(short[0].label, "a");
    }

    #[test]
    fn a_list_comes_from_the_command_line_and_the_input_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let list = folder.path().join("list");
        std::fs::write(
            &list,
            "http://h/2\thttp://m/2\n  out=two\n  dir=d2\n  checksum=crc32c=00000022\n",
        )
        .expect("written");
        let list = list.to_str().expect("UTF-8");
        let described = builders(&["http://h/1", "-i", list, "-d", "d1", "--limit-rate", "10"]);
        let shown: Vec<String> = described.iter().map(|one| format!("{one:?}")).collect();
        assert_eq!(shown.len(), 2);
        assert!(shown[0].contains("dir: \"d1\""), "{}", shown[0]);
        assert!(
            shown[0].contains("limit_rate: Some(5)"),
            "two at once share it: {}",
            shown[0]
        );
        for part in [
            "label: \"two\"",
            "dir: \"d2\"",
            "File(\"two\")",
            "[Checksum(crc32c=00000022)]",
        ] {
            assert!(shown[1].contains(part), "{part} is not in {}", shown[1]);
        }
    }

    #[test]
    fn a_missing_input_file_is_a_local_failure() {
        let failure = typed(&["-i", "/nonexistent/list"]).expect_err("no such file");
        assert_eq!(failure.exit(), Exit::FILE);
    }

    #[test]
    fn contradictions_are_refused() {
        let two = ["http://h/1", "http://h/2"];
        for option in [
            ["-o", "x"],
            ["-o", "-"],
            ["--mirror", "http://m/"],
            ["--head-url", "http://m/"],
            ["--checksum", "md5=0"],
            ["--if-match", "\"e\""],
        ] {
            let told = refused(&[two.as_slice(), &option].concat());
            assert!(told.contains("expected one download, found 2"), "{told}");
        }
        for line in [
            ["http://h/1", "-o", "-", "--json"].as_slice(),
            &["http://h/1", "-q", "-v"],
            &["http://h/1", "-q", "--progress", "json"],
            &["http://h/1", "--proxy", "http://p", "--no-proxy"],
            &["http://h/1", "--user", "a", "--bearer", "b"],
            &["http://h/1", "--key", "k"],
            &["http://h/1", "-p", "0"],
            &["http://h/1", "-c", "0"],
            &["http://h/1", "-j", "0"],
            &["http://h/1", "--stall-timeout", "0"],
            &["-v"],
            &["inspct"],
            &["-v", "inspect", "x"],
        ] {
            assert!(refused(line).starts_with("partwise: error: "), "{line:?}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        for line in [
            ["http://h/", "-H", "s3cret"].as_slice(),
            &["user:s3cret@h", "-v"],
            &["h/x?sig=s3cret", "-v"],
            &["http://h/", "--bearer", "s3cret", "--user", "a:s3cret"],
        ] {
            let told = refused(line);
            assert!(!told.contains("s3cret"), "{told}");
        }
    }

    #[test]
    fn quiet_and_json_leave_nothing_else_on_standard_error() {
        let of = |line: &[&str]| {
            typed(&[&["http://h/1"], line].concat()).map(|s| (s.display, s.closing))
        };
        assert_eq!(of(&["-q"]), Ok((Display::Quiet, Closing::Nothing)));
        assert_eq!(
            of(&["--progress", "json"]),
            Ok((Display::Json, Closing::Nothing))
        );
        assert_eq!(
            of(&["--progress", "none"]),
            Ok((Display::Notices, Closing::Line))
        );
        assert_eq!(
            of(&["--progress", "none", "-v"]),
            Ok((Display::Notices, Closing::Account))
        );
    }
}
