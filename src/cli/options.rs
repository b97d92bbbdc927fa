//! Passes every option of `get` to the library.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use partwise::{Download, DownloadBuilder, HttpDate};

use super::args::{GetArgs, NetworkArgs, PlaceArgs, SourceArgs, SpeedArgs, TrustArgs};
use super::exit::Failure;
use super::input_file::Entry;
use super::words::SEE_HELP;

/// Describes the download of `entry`, one of `sharing` downloads that run at once.
///
/// # Errors
///
/// Fails for a header without a colon, and for ranges, a checksum or a date that can't be parsed.
/// [`DownloadBuilder::build`] checks the other values.
pub(crate) fn describe(
    args: &GetArgs,
    entry: Entry,
    sharing: usize,
) -> Result<DownloadBuilder, Failure> {
    let at_place = |failure: Failure| failure.within(&entry.place);
    let builder = Download::builder(entry.url);
    let builder = with_place(builder, &args.place, entry.out, entry.dir);
    let builder = with_source(builder, &args.source, entry.mirrors).map_err(at_place)?;
    let builder = with_speed(builder, &args.speed, sharing);
    let builder = with_network(builder, &args.network)?;
    with_trust(builder, &args.trust, entry.checksums).map_err(at_place)
}

/// Whether the bytes go to standard output.
pub(crate) fn to_stdout(place: &PlaceArgs) -> bool {
    place.output.as_deref() == Some(Path::new("-"))
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
        .writer(args.writer)
}

fn with_source(
    mut builder: DownloadBuilder,
    args: &SourceArgs,
    mirrors: Vec<String>,
) -> Result<DownloadBuilder, Failure> {
    for mirror in args.mirror.iter().cloned().chain(mirrors) {
        builder = builder.mirror(mirror);
    }
    builder = builder.trust_mirrors(args.trust_mirrors);
    let ranges = parsed("the ranges", &args.range)?;
    builder = apply(builder, &ranges, DownloadBuilder::ranges);
    builder = apply(builder, &args.head_url, DownloadBuilder::head_url);
    let refresh = &args.refresh_cmd;
    Ok(apply(builder, refresh, DownloadBuilder::refresh_command))
}

/// Sets the options of speed. The `sharing` downloads that run at once divide the rate limit.
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

/// Sets the options of the network.
///
/// # Errors
///
/// Fails for a header without a colon.
pub(crate) fn with_network(
    mut builder: DownloadBuilder,
    args: &NetworkArgs,
) -> Result<DownloadBuilder, Failure> {
    for header in &args.header {
        // A header may be a secret, so no message shows it.
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
    if let Some((rate, span)) = args.lowest_speed {
        builder = builder.lowest_speed(rate, span);
    }
    Ok(builder
        .netrc(args.netrc)
        .no_proxy(args.no_proxy)
        .insecure(args.insecure)
        .retries(args.retries)
        .wait_online(args.wait_online)
        .connect_timeout(args.connect_timeout)
        .stall_timeout(args.stall_timeout)
        .http_version(args.http_version))
}

fn with_trust(
    mut builder: DownloadBuilder,
    args: &TrustArgs,
    checksums: Vec<String>,
) -> Result<DownloadBuilder, Failure> {
    for checksum in args.checksum.iter().cloned().chain(checksums) {
        builder = builder.checksum(parse("the checksum", &checksum)?);
    }
    builder = apply(builder, &args.if_match, DownloadBuilder::if_match);
    builder = apply(builder, &args.if_none_match, DownloadBuilder::if_none_match);
    let date: Option<HttpDate> = parsed("--if-modified-since", &args.if_modified_since)?;
    builder = apply(builder, &date, DownloadBuilder::if_modified_since);
    let date: Option<HttpDate> = parsed("--if-unmodified-since", &args.if_unmodified_since)?;
    builder = apply(builder, &date, DownloadBuilder::if_unmodified_since);
    Ok(builder.on_change(args.on_change).verify(args.verify))
}

fn parsed<T: FromStr<Err: Display>>(
    what: &str,
    typed: &Option<String>,
) -> Result<Option<T>, Failure> {
    typed.as_deref().map(|text| parse(what, text)).transpose()
}

fn parse<T: FromStr<Err: Display>>(what: &str, typed: &str) -> Result<T, Failure> {
    typed
        .parse()
        .map_err(|error| Failure::usage(format!("{what} can't be used"), error).with_hint(SEE_HELP))
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

#[cfg(test)]
mod tests {
    use super::super::args::{self, Command, Typed};
    use super::super::exit::Exit;
    use super::*;

    const URL: &str = "http://h/a";

    fn described(options: &[&str]) -> DownloadBuilder {
        try_described(options).expect("good options")
    }

    fn try_described(options: &[&str]) -> Result<DownloadBuilder, Failure> {
        let line = ["partwise", URL].iter().chain(options).map(Into::into);
        let Ok(Typed::Command(Command::Get(args))) = args::parse(line) else {
            panic!("not a download: {options:?}");
        };
        let entry = Entry {
            url: URL.to_owned(),
            ..Entry::default()
        };
        describe(&args, entry, 1)
    }

    #[test]
    fn every_option_reaches_the_builder() {
        for (line, part) in [
            ("-o x.bin", r#"output: File("x.bin")"#),
            ("-o -", "output: Stdout"),
            ("-d dir", r#"dir: "dir""#),
            ("-c 4", "connections: Fixed(4)"),
            ("--max-connections 9", "max_connections: 9"),
            ("-p 2M", "part_size: Bytes(2097152)"),
            ("--range -100", "ranges: Some(Ranges(-100))"),
            ("--netrc", "netrc: true"),
            ("-A agent", r#"user_agent: Some("agent")"#),
            ("--no-proxy", "no_proxy: true"),
            ("--cacert ca.pem", r#"ca_certificate: Some("ca.pem")"#),
            ("--cert c.pem", r#"client_certificate: Some("c.pem")"#),
            ("--cert c.pem --key k.pem", r#"client_key: Some("k.pem")"#),
            ("-k", "insecure: true"),
            ("--http-version 2", "http_version: Http2"),
            ("--if-match e", r#"if_match: Some("e")"#),
            ("--if-none-match n", r#"if_none_match: Some("n")"#),
            (
                "--checksum crc32c=00000001 --checksum crc32c=00000002",
                "checksums: [Checksum(crc32c=00000001), Checksum(crc32c=00000002)]",
            ),
            ("--limit-rate 1M", "limit_rate: Some(1048576)"),
            ("--retries 3", "retries: 3"),
            ("--wait-online 0", "wait_online: 0ns"),
            ("--lowest-speed 1K,5", "lowest_speed: Some((1024, 5s))"),
            ("--connect-timeout 2.5", "connect_timeout: 2.5s"),
            ("--stall-timeout 7", "stall_timeout: 7s"),
            ("--fresh", "fresh: true"),
            ("--verify always", "verify: Always"),
            ("--overwrite", "overwrite: true"),
            ("--on-change restart", "on_change: Restart"),
            ("--writer pwrite", "writer: Pwrite"),
            ("--no-sync", "sync: false"),
        ] {
            let options: Vec<&str> = line.split(' ').collect();
            let shown = format!("{:?}", described(&options));
            assert!(shown.contains(part), "{part} is not in {shown}");
        }
    }

    #[test]
    fn dates_reach_the_builder() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (option, field) in [
            ("--if-modified-since", "if_modified_since"),
            ("--if-unmodified-since", "if_unmodified_since"),
        ] {
            let shown = format!("{:?}", described(&[option, date]));
            let part = format!("{field}: Some(HttpDate({date}))");
            assert!(shown.contains(&part), "{part} is not in {shown}");
        }
    }

    #[test]
    fn what_can_t_be_parsed_is_named() {
        for (line, told) in [
            (
                ["--range", "x"],
                "the ranges can't be used: `x` is none of `a-b`, `a-`, `-n`",
            ),
            (
                ["--checksum", "md5"],
                "the checksum can't be used: `md5` is not of the form ALGO=HEX",
            ),
            (
                ["--if-modified-since", "d"],
                "--if-modified-since can't be used: expected an HTTP date such as \
                 `Sun, 06 Nov 1994 08:49:37 GMT`, found `d`",
            ),
        ] {
            let failure = try_described(&line).expect_err("not parsed");
            assert_eq!(failure.exit(), Exit::USAGE);
            assert_eq!(failure.message(), told);
            assert_eq!(failure.hint(), Some(SEE_HELP));
        }
    }

    #[test]
    fn options_that_may_hold_a_secret_reach_the_builder_and_are_not_shown() {
        let plain = || Download::builder(URL);
        for (line, expected) in [
            (
                "--head-url http://h/SECRET",
                plain().head_url("http://h/SECRET"),
            ),
            (
                "--mirror http://SECRET --mirror http://n",
                plain().mirror("http://SECRET").mirror("http://n"),
            ),
            ("--refresh-cmd SECRET", plain().refresh_command("SECRET")),
            ("-H X-A:SECRET:c", plain().header("X-A", "SECRET:c")),
            (
                "--user me:SECRET:w",
                plain().user("me", Some("SECRET:w".to_owned())),
            ),
            ("--user SECRET", plain().user("SECRET", None)),
            ("--bearer SECRET", plain().bearer("SECRET")),
            ("--proxy http://SECRET:1", plain().proxy("http://SECRET:1")),
        ] {
            let options: Vec<&str> = line.split(' ').collect();
            let described = described(&options);
            assert!(described == expected, "{line}");
            assert!(!format!("{described:?}").contains("SECRET"), "{line}");
        }
    }

    #[test]
    fn an_option_that_is_given_twice_counts_as_given_last() {
        let twice = [
            "-p", "1M", "-c", "2", "-p", "2M", "-c", "3", "--writer", "mmap", "--writer", "pwrite",
        ];
        let once = ["-p", "2M", "-c", "3", "--writer", "pwrite"];
        assert!(described(&twice) == described(&once));
        let headers = ["-H", "A: b", "-H", "C: d"];
        let both = Download::builder(URL).header("A", "b").header("C", "d");
        assert!(described(&headers) == both, "repeatable ones add up");
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        assert!(described(&[]) == Download::builder(URL));
    }
}
