//! What the typed options mean: a list of downloads, and how to show them.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use partwise::{Download, DownloadBuilder, HttpVersion, OnChange, Verify, Writer};

use super::args::{
    GetArgs, HttpChoice, NetworkArgs, OnChangeChoice, PlaceArgs, ProgressChoice, ShowArgs,
    SourceArgs, SpeedArgs, TrustArgs, VerifyChoice, WriterChoice,
};
use super::exit::{self, Failure};
use super::input_file::{self, Entry};
use super::text;

/// What `get` has to do.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The downloads, in the order of the list.
    pub(crate) jobs: Vec<Job>,
    /// How many of them at once.
    pub(crate) at_once: NonZeroUsize,
    pub(crate) display: Display,
    pub(crate) closing: Closing,
    /// Whether the report goes to standard output as JSON.
    pub(crate) json_report: bool,
}

/// One download, ready to start.
#[derive(Debug)]
pub(crate) struct Job {
    /// What to call it before its file has a name.
    pub(crate) label: String,
    pub(crate) download: Download,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Display {
    /// A bar, redrawn in place.
    Bar,
    /// Now and then a line, without control sequences.
    Lines,
    /// Every event as a line of JSON.
    Json,
    /// No progress, but what a user should know.
    Notices,
    /// Nothing but errors.
    Quiet,
}

/// How much is said of a finished download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    Nothing,
    Line,
    Account,
}

impl Settings {
    /// Finds out what was meant.
    ///
    /// # Errors
    ///
    /// A contradiction or a wrong value (exit code 2), or an input file that can't be read (6).
    pub(crate) fn resolve(args: &GetArgs) -> Result<Self, Failure> {
        let display = display(&args.show)?;
        let jobs = described(args)?
            .into_iter()
            .map(Described::ready)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            jobs,
            at_once: at_once(&args.speed),
            display,
            closing: closing(&args.show, display),
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

/// One download, with every option set and none checked.
#[derive(Debug)]
struct Described {
    /// Where an input file has it; empty for the command line.
    place: String,
    label: String,
    builder: DownloadBuilder,
}

impl Described {
    fn ready(self) -> Result<Job, Failure> {
        let download = self
            .builder
            .build()
            .map_err(|error| placed(&self.place, error.into()))?;
        Ok(Job {
            label: self.label,
            download,
        })
    }
}

fn placed(place: &str, failure: Failure) -> Failure {
    if place.is_empty() {
        failure
    } else {
        failure.within(place)
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

/// The list: the URLs of the command line, then those of the input file.
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
    let to_stdout = to_stdout(&args.place);
    if to_stdout && args.show.json {
        return Err(Failure::usage(
            "--json",
            "standard output takes the report or, with -o -, the bytes, not both",
        ));
    }
    if downloads < 2 {
        return Ok(());
    }
    let one_only = [
        (
            "--output",
            args.place.output.is_some(),
            "name each in an input file with out=",
        ),
        (
            "--mirror",
            !args.source.mirror.is_empty(),
            "name each one's in an input file, with tabs between them",
        ),
        (
            "--head-url",
            args.source.head_url.is_some(),
            "download them one by one",
        ),
        (
            "--checksum",
            !args.trust.checksum.is_empty(),
            "name each in an input file with checksum=",
        ),
        (
            "--if-match",
            args.trust.if_match.is_some(),
            "download them one by one",
        ),
        (
            "--if-none-match",
            args.trust.if_none_match.is_some(),
            "download them one by one",
        ),
    ];
    match one_only.into_iter().find(|(_, given, _)| *given) {
        Some((option, _, instead)) => {
            let why = format!("expected one download, found {downloads}");
            Err(Failure::usage(option, why).with_hint(instead))
        }
        None => Ok(()),
    }
}

fn to_stdout(place: &PlaceArgs) -> bool {
    place.output.as_deref() == Some(Path::new("-"))
}

fn describe(args: &GetArgs, entry: Entry, sharing: usize) -> Result<Described, Failure> {
    looks_like_url(&entry.url).map_err(|failure| placed(&entry.place, failure))?;
    let label = match entry.out.as_ref().or(args.place.output.as_ref()) {
        Some(file) if file != Path::new("-") => {
            text::path(Path::new(file.file_name().unwrap_or(file.as_os_str())))
        }
        _ => text::label(&entry.url),
    };
    let builder = Download::builder(entry.url);
    let builder = with_place(builder, &args.place, entry.out, entry.dir);
    let builder = with_source(builder, &args.source, entry.mirrors);
    let builder = with_speed(builder, &args.speed, sharing);
    let builder = with_network(builder, &args.network)?;
    let builder = with_trust(builder, &args.trust, entry.checksums);
    Ok(Described {
        place: entry.place,
        label,
        builder,
    })
}

/// Tells a mistyped command or a forgotten scheme from a URL. The library looks closer.
fn looks_like_url(typed: &str) -> Result<(), Failure> {
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
            format!("a command comes before all options: partwise {shown} ..."),
        ),
        _ => failure.with_hint("see 'partwise --help'"),
    })
}

fn with_place(
    mut builder: DownloadBuilder,
    args: &PlaceArgs,
    out: Option<PathBuf>,
    dir: Option<PathBuf>,
) -> DownloadBuilder {
    builder = match out.or_else(|| args.output.clone()) {
        Some(_) if to_stdout(args) => builder.to_stdout(),
        Some(file) => builder.output(file),
        None => builder,
    };
    builder
        .dir(dir.unwrap_or_else(|| args.dir.clone()))
        .overwrite(args.overwrite)
        .fresh(args.fresh)
        .sync(!args.no_sync)
        .writer(match args.writer {
            WriterChoice::Auto => Writer::Auto,
            WriterChoice::Mmap => Writer::Mmap,
            WriterChoice::Pwrite => Writer::Pwrite,
        })
}

fn with_source(
    mut builder: DownloadBuilder,
    args: &SourceArgs,
    mirrors: Vec<String>,
) -> DownloadBuilder {
    for mirror in args.mirror.iter().cloned().chain(mirrors) {
        builder = builder.mirror(mirror);
    }
    builder = apply(builder, &args.range, DownloadBuilder::ranges);
    builder = apply(builder, &args.head_url, DownloadBuilder::head_url);
    apply(builder, &args.refresh_cmd, DownloadBuilder::refresh_command)
}

/// `sharing` downloads run at once; together they keep to the rate limit.
fn with_speed(builder: DownloadBuilder, args: &SpeedArgs, sharing: usize) -> DownloadBuilder {
    let builder = builder
        .connections(args.connections)
        .max_connections(args.max_connections.get())
        .part_size(args.part_size);
    let share = |limit: u64| (limit / u64::try_from(sharing.max(1)).unwrap_or(u64::MAX)).max(1);
    apply(
        builder,
        &args.limit_rate.map(share),
        DownloadBuilder::limit_rate,
    )
}

fn with_network(
    mut builder: DownloadBuilder,
    args: &NetworkArgs,
) -> Result<DownloadBuilder, Failure> {
    for header in &args.header {
        // A header may be a secret: it is not shown.
        let (name, value) = header
            .split_once(':')
            .ok_or_else(|| Failure::usage("--header", "expected 'NAME: VALUE', found no colon"))?;
        builder = builder.header(name.trim(), value.trim());
    }
    if let Some(user) = &args.user {
        builder = match user.split_once(':') {
            Some((name, password)) => builder.user(name, Some(password.to_owned())),
            None => builder.user(user, None),
        };
    }
    builder = apply(builder, &args.bearer, DownloadBuilder::bearer);
    builder = apply(builder, &args.user_agent, DownloadBuilder::user_agent);
    builder = apply(builder, &args.proxy, DownloadBuilder::proxy);
    builder = apply(builder, &args.cacert, DownloadBuilder::ca_certificate);
    builder = apply(builder, &args.cert, DownloadBuilder::client_certificate);
    builder = apply(builder, &args.key, DownloadBuilder::client_key);
    Ok(builder
        .netrc(args.netrc)
        .no_proxy(args.no_proxy)
        .insecure(args.insecure)
        .retries(args.retries)
        .connect_timeout(args.connect_timeout)
        .stall_timeout(args.stall_timeout)
        .http_version(match args.http_version {
            HttpChoice::Http11 => HttpVersion::Http11,
            HttpChoice::Http2 => HttpVersion::Http2,
        }))
}

fn with_trust(
    mut builder: DownloadBuilder,
    args: &TrustArgs,
    checksums: Vec<String>,
) -> DownloadBuilder {
    for checksum in args.checksum.iter().cloned().chain(checksums) {
        builder = builder.checksum(checksum);
    }
    builder = apply(builder, &args.if_match, DownloadBuilder::if_match);
    builder = apply(builder, &args.if_none_match, DownloadBuilder::if_none_match);
    builder = apply(
        builder,
        &args.if_modified_since,
        DownloadBuilder::if_modified_since,
    );
    builder = apply(
        builder,
        &args.if_unmodified_since,
        DownloadBuilder::if_unmodified_since,
    );
    builder
        .on_change(match args.on_change {
            OnChangeChoice::Fail => OnChange::Fail,
            OnChangeChoice::Restart => OnChange::Restart,
        })
        .verify(match args.verify {
            VerifyChoice::Auto => Verify::Auto,
            VerifyChoice::Always => Verify::Always,
            VerifyChoice::Never => Verify::Never,
        })
}

fn apply<T: Clone>(
    builder: DownloadBuilder,
    value: &Option<T>,
    option: impl FnOnce(DownloadBuilder, T) -> DownloadBuilder,
) -> DownloadBuilder {
    match value {
        Some(value) => option(builder, value.clone()),
        None => builder,
    }
}

fn display(args: &ShowArgs) -> Result<Display, Failure> {
    match args.progress {
        ProgressChoice::Bar | ProgressChoice::Json if args.quiet => Err(Failure::usage(
            "--quiet",
            "contradicts --progress, which asks for output",
        )),
        _ if args.quiet => Ok(Display::Quiet),
        ProgressChoice::None => Ok(Display::Notices),
        ProgressChoice::Json => Ok(Display::Json),
        // A bar is made of control sequences: elsewhere than on a terminal it would be rubbish.
        ProgressChoice::Auto | ProgressChoice::Bar if exit::stderr_is_terminal() => {
            Ok(Display::Bar)
        }
        ProgressChoice::Auto | ProgressChoice::Bar => Ok(Display::Lines),
    }
}

fn closing(args: &ShowArgs, display: Display) -> Closing {
    match display {
        // The last event says it all, and the lines stay JSON.
        Display::Quiet | Display::Json => Closing::Nothing,
        _ if args.verbose => Closing::Account,
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
    fn every_option_reaches_the_builder() {
        for (line, part) in [
            ("-o x.bin", r#"label: "x.bin""#),
            ("-o x.bin", r#"output: File("x.bin")"#),
            ("-o -", "output: Stdout"),
            ("-d dir", r#"dir: "dir""#),
            ("-c 4", "connections: Fixed(4)"),
            ("--max-connections 9", "max_connections: 9"),
            ("-p 2M", "part_size: Bytes(2097152)"),
            ("--range -100", r#"ranges: Some("-100")"#),
            ("--head-url http://h/x", r#"head_url: Some("http://h/x")"#),
            (
                "--mirror http://m --mirror http://n",
                r#"mirrors: ["http://m", "http://n"]"#,
            ),
            ("--refresh-cmd cmd", r#"refresh_command: Some("cmd")"#),
            ("-H X-A:b:c", r#"headers: [("X-A", "b:c")]"#),
            ("--user me:p:w", r#"user: Some(("me", Some("p:w")))"#),
            ("--user me", r#"user: Some(("me", None))"#),
            ("--bearer token", r#"bearer: Some("token")"#),
            ("--netrc", "netrc: true"),
            ("-A agent", r#"user_agent: Some("agent")"#),
            ("--proxy http://p:1", r#"proxy: Some("http://p:1")"#),
            ("--no-proxy", "no_proxy: true"),
            ("--cacert ca.pem", r#"ca_certificate: Some("ca.pem")"#),
            ("--cert c.pem", r#"client_certificate: Some("c.pem")"#),
            ("--cert c.pem --key k.pem", r#"client_key: Some("k.pem")"#),
            ("-k", "insecure: true"),
            ("--http-version 2", "http_version: Http2"),
            ("--if-match e", r#"if_match: Some("e")"#),
            ("--if-none-match n", r#"if_none_match: Some("n")"#),
            ("--if-modified-since d", r#"if_modified_since: Some("d")"#),
            (
                "--if-unmodified-since d",
                r#"if_unmodified_since: Some("d")"#,
            ),
            (
                "--checksum md5=0 --checksum sha-1=1",
                r#"checksums: ["md5=0", "sha-1=1"]"#,
            ),
            ("--limit-rate 1M", "limit_rate: Some(1048576)"),
            ("--retries 3", "retries: 3"),
            ("--connect-timeout 2.5", "connect_timeout: 2.5s"),
            ("--stall-timeout 7", "stall_timeout: 7s"),
            ("--fresh", "fresh: true"),
            ("--verify always", "verify: Always"),
            ("--overwrite", "overwrite: true"),
            ("--on-change restart", "on_change: Restart"),
            ("--writer pwrite", "writer: Pwrite"),
            ("--no-sync", "sync: false"),
        ] {
            let line: Vec<&str> = ["http://h/a"].into_iter().chain(line.split(' ')).collect();
            let shown = format!("{:?}", builders(&line));
            assert!(shown.contains(part), "{part} is not in {shown}");
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let described = builders(&["http://h/a"]);
        let (ours, library) = (&described[0].builder, Download::builder("http://h/a"));
        assert_eq!(format!("{ours:?}"), format!("{library:?}"));
    }

    #[test]
    fn a_list_comes_from_the_command_line_and_the_input_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let list = folder.path().join("list");
        std::fs::write(
            &list,
            "http://h/2\thttp://m/2\n  out=two\n  dir=d2\n  checksum=md5=22\n",
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
            "[\"http://m/2\"]",
            "[\"md5=22\"]",
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
