//! What was typed. What it means is found out in `settings`.

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use partwise::{Connections, PartSize};

use super::exit::Failure;
use super::value;

const EXIT_CODES: &str = "\
Exit codes:
  0  every file is whole at its final name, or nothing newer is there
  1  unexpected                       5  a checksum does not match
  2  the command line is wrong        6  a local file: disk full, in the way, locked
  3  the network or the server        7  access refused (401, 403)
  4  the object changed               129, 130, 143  stopped by SIGHUP, SIGINT, SIGTERM";

/// Reads the command line.
///
/// # Errors
///
/// A failure with exit code 2. A request for help or for the version is not one.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Typed, Failure> {
    match Cli::try_parse_from(arguments) {
        Ok(cli) => Ok(Typed::Command(cli.into_command())),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            ) =>
        {
            Ok(Typed::Help(error))
        }
        Err(error) => Err(Failure::from(error)),
    }
}

/// What a command line comes to.
#[derive(Debug)]
pub(crate) enum Typed {
    /// Help or the version was asked for; this is its text.
    Help(clap::Error),
    /// Something is to be done.
    Command(Command),
}

/// Downloads files over many connections, resumes by itself, and publishes only what is whole and verified.
#[derive(Debug, Parser)]
#[command(
    name = "partwise",
    version,
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    override_usage = "partwise [OPTIONS] <URL>...\n       partwise <COMMAND> ...",
    after_help = EXIT_CODES
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    get: Box<GetArgs>,
}

impl Cli {
    /// `partwise <URL>...` is `partwise get <URL>...`.
    fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Get(self.get))
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Download, resuming whatever an earlier run left (the same as `partwise <URL>...`)
    #[command(
        override_usage = "partwise get [OPTIONS] <URL>...",
        after_help = EXIT_CODES
    )]
    Get(Box<GetArgs>),
    /// Measure throughput over connections × part sizes; with no URL, against an embedded server
    Bench(Box<BenchArgs>),
    /// Show what a checkpoint holds, without the network
    Inspect(InspectArgs),
    /// Download from an embedded server, be interrupted half-way, resume and verify: needs nothing
    Demo,
    /// Print the completions for a shell
    Completions(CompletionsArgs),
    /// Print the manual page
    Man,
}

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// What to download: http:// or https://
    #[arg(value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) urls: Vec<String>,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    #[command(flatten)]
    pub(crate) speed: SpeedArgs,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    #[command(flatten)]
    pub(crate) trust: TrustArgs,
    #[command(flatten)]
    pub(crate) show: ShowArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "What")]
pub(crate) struct SourceArgs {
    /// Many downloads: a URL a line (tabs between mirrors), indented out=, dir=, checksum= lines under it;
    /// `-` reads standard input
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) input_file: Option<PathBuf>,
    /// Only these bytes, end to end in the file: 100-200, 100-, -100, or 0-100,200-300
    #[arg(long, value_name = "RANGES", allow_hyphen_values = true)]
    pub(crate) range: Option<String>,
    /// Another source of the same object; repeatable
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) mirror: Vec<String>,
    /// Ask this URL for the metadata (a signature binds its method) [default: the URL itself]
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) head_url: Option<String>,
    /// Run through the shell when access is refused: its first line of output is the new URL, $PARTWISE_URL the old one
    #[arg(long, value_name = "CMD", value_hint = ValueHint::CommandString)]
    pub(crate) refresh_cmd: Option<String>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Where to")]
pub(crate) struct PlaceArgs {
    /// Name of the file; `-` writes the bytes in order to standard output [default: from the URL]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    /// Folder that it goes into, made where it is missing
    #[arg(short, long, value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
    /// Replace a file that stands at the final name
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Throw an earlier run's partial file away
    #[arg(long)]
    pub(crate) fresh: bool,
    /// How bytes reach the file; `auto` takes a memory map wherever that is safe
    #[arg(long, value_enum, value_name = "HOW", default_value = "auto")]
    pub(crate) writer: WriterChoice,
    /// Skip the flushes that make it safe against power loss
    #[arg(long)]
    pub(crate) no_sync: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Speed")]
pub(crate) struct SpeedArgs {
    /// Connections for one file; `auto` finds the number by measuring
    #[arg(short, long, value_name = "N|auto", default_value = "auto", value_parser = value::connections)]
    pub(crate) connections: Connections,
    /// Ceiling that `auto` may reach
    #[arg(long, value_name = "N", default_value = "32")]
    pub(crate) max_connections: NonZeroU32,
    /// Files at once
    #[arg(short = 'j', long, value_name = "N", default_value = "2")]
    pub(crate) max_downloads: NonZeroU32,
    /// Smallest stretch that is recorded as done: bytes, or with K, M, G, KiB, MiB, GiB
    #[arg(short, long, value_name = "SIZE|auto", default_value = "auto", value_parser = value::part_size)]
    pub(crate) part_size: PartSize,
    /// Bytes a second over all connections of the run: K, M, G, KiB, MiB, GiB [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = value::size)]
    pub(crate) limit_rate: Option<u64>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct NetworkArgs {
    /// Send this header, to the URL's own origin alone; repeatable
    #[arg(short = 'H', long, value_name = "NAME: VALUE")]
    pub(crate) header: Vec<String>,
    /// Basic authentication
    #[arg(long, value_name = "USER[:PASS]", conflicts_with = "bearer")]
    pub(crate) user: Option<String>,
    /// Bearer authentication
    #[arg(long, value_name = "TOKEN")]
    pub(crate) bearer: Option<String>,
    /// Take user and password from $NETRC or ~/.netrc
    #[arg(long)]
    pub(crate) netrc: bool,
    /// User-Agent to send [default: partwise/VERSION]
    #[arg(short = 'A', long, value_name = "TEXT")]
    pub(crate) user_agent: Option<String>,
    /// HTTP or SOCKS5 proxy [default: the environment's]
    #[arg(long, value_name = "URL", conflicts_with = "no_proxy")]
    pub(crate) proxy: Option<String>,
    /// Use no proxy, whatever the environment says
    #[arg(long)]
    pub(crate) no_proxy: bool,
    /// Trust the certificates in this PEM file as well
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) cacert: Option<PathBuf>,
    /// Show the certificate in this PEM file to the server
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) cert: Option<PathBuf>,
    /// Private key of that certificate, in a PEM file of its own
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Do not check the server's certificate
    #[arg(short = 'k', long)]
    pub(crate) insecure: bool,
    /// Version of HTTP; with 2, all transfers share one TCP connection
    #[arg(long, value_enum, value_name = "VERSION", default_value = "1.1")]
    pub(crate) http_version: HttpChoice,
    /// Attempts of one range after the first, counted from the last progress
    #[arg(long, value_name = "N", default_value = "8")]
    pub(crate) retries: u32,
    /// Longest wait for a connection, in seconds
    #[arg(long, value_name = "S", allow_negative_numbers = true, default_value = "10", value_parser = value::seconds)]
    pub(crate) connect_timeout: Duration,
    /// Longest wait for a byte, in seconds
    #[arg(long, value_name = "S", allow_negative_numbers = true, default_value = "15", value_parser = value::seconds)]
    pub(crate) stall_timeout: Duration,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Conditions and checks")]
pub(crate) struct TrustArgs {
    /// Compare the file before it is published: sha-256, sha-512, sha-1, md5, blake3, crc32c, crc64, crc64nvme;
    /// repeatable
    #[arg(long, value_name = "ALGO=HEX")]
    pub(crate) checksum: Vec<String>,
    /// When the object changes while it is being downloaded
    #[arg(long, value_enum, value_name = "WHAT", default_value = "fail")]
    pub(crate) on_change: OnChangeChoice,
    /// When to read an earlier run's parts back; `auto` does after an unclean end, a reboot, or with mirrors
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto")]
    pub(crate) verify: VerifyChoice,
    /// Only the version with this entity tag
    #[arg(long, value_name = "ETAG")]
    pub(crate) if_match: Option<String>,
    /// Only a version with another entity tag
    #[arg(long, value_name = "ETAG")]
    pub(crate) if_none_match: Option<String>,
    /// Only a version newer than this HTTP date
    #[arg(long, value_name = "DATE")]
    pub(crate) if_modified_since: Option<String>,
    /// Only a version not newer than this HTTP date
    #[arg(long, value_name = "DATE")]
    pub(crate) if_unmodified_since: Option<String>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct ShowArgs {
    /// Progress on standard error; `auto` is a bar on a terminal and plain lines elsewhere
    #[arg(long, value_enum, value_name = "HOW", default_value = "auto")]
    pub(crate) progress: ProgressChoice,
    /// Say nothing but errors
    #[arg(short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Give an account of the transfer; twice: trace every request as well
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Print the report on standard output, one JSON object a file
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// What to fetch: http:// or https:// [default: an object of an embedded server on this machine]
    #[arg(value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) url: Option<String>,
    #[command(flatten)]
    pub(crate) sweep: SweepArgs,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    #[command(flatten)]
    pub(crate) results: ResultArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "What to measure")]
pub(crate) struct SweepArgs {
    /// Numbers of connections
    #[arg(
        short,
        long,
        value_name = "N,...",
        value_delimiter = ',',
        default_value = "1,2,4,8,16"
    )]
    pub(crate) connections: Vec<NonZeroU32>,
    /// Part sizes: `auto`, bytes, or with K, M, G, KiB, MiB, GiB
    #[arg(short, long, value_name = "SIZE,...", value_delimiter = ',', default_value = "1M,4M", value_parser = value::part_size)]
    pub(crate) part_sizes: Vec<PartSize>,
    /// Where the bytes go: nowhere, to memory, to a file with every sync [default: null,file; without a URL all]
    #[arg(long, value_enum, value_name = "SINK,...", value_delimiter = ',')]
    pub(crate) sinks: Vec<SinkChoice>,
    /// How often each combination is measured
    #[arg(long, value_name = "N", default_value = "3")]
    pub(crate) runs: NonZeroU32,
    /// Most bytes to fetch in all: K, M, G, KiB, MiB, GiB [default: 4G; without a URL 32G]
    #[arg(long, value_name = "SIZE", value_parser = value::size)]
    pub(crate) traffic: Option<u64>,
    /// Folder that the file sink writes in, a temporary one within it
    #[arg(short, long, value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
    /// How bytes reach memory and file; `auto` takes a memory map wherever that is safe
    #[arg(long, value_enum, value_name = "HOW", default_value = "auto")]
    pub(crate) writer: WriterChoice,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct ResultArgs {
    /// Print the results on standard output as JSON instead of a table
    #[arg(long, conflicts_with = "markdown")]
    pub(crate) json: bool,
    /// Print them as Markdown
    #[arg(long)]
    pub(crate) markdown: bool,
    /// Write them to this file as well, as a page with plots that needs nothing else
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) html: Option<PathBuf>,
    /// No progress and no announcement, but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// A checkpoint (X.part.ckpt), or X or X.part beside one
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WriterChoice {
    Auto,
    Mmap,
    Pwrite,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SinkChoice {
    Null,
    Memory,
    File,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum HttpChoice {
    #[value(name = "1.1")]
    Http11,
    #[value(name = "2")]
    Http2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnChangeChoice {
    Fail,
    Restart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum VerifyChoice {
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressChoice {
    Auto,
    Bar,
    Json,
    None,
}
