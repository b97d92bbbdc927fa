//! The command line as it is typed. `settings` interprets it.

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use partwise::{Connections, HttpVersion, OnChange, PartSize, Verify, Writer};

use super::exit::Failure;
use super::value::{self, HTTP_VERSIONS, ON_CHANGE, VERIFY, WRITERS, one_of};

const EXIT_CODES: &str = "\
Exit codes:
  0  every file is complete at its final name, or the server has nothing newer
  1  unexpected                       5  a checksum does not match
  2  the command line is wrong        6  a local file: disk full, in the way, locked
  3  the network or the server        7  access refused (401, 403)
  4  the object changed               129, 130, 143  stopped by SIGHUP, SIGINT, SIGTERM
                                      141  the reader of -o - went away; nothing is printed";

/// Reads the command line.
///
/// # Errors
///
/// Fails with exit code 2 for a wrong command line. A request for help or for the version does not
/// fail.
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

/// A parsed command line.
#[derive(Debug)]
pub(crate) enum Typed {
    /// The text of the help or the version.
    Help(clap::Error),
    /// A command to run.
    Command(Command),
}

/// Downloads files over several connections, resumes interrupted downloads, and publishes only
/// complete, verified files.
#[derive(Debug, Parser)]
#[command(
    name = "partwise",
    version,
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true,
    args_override_self = true,
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
    /// Returns the command; `partwise <URL>...` means `partwise get <URL>...`.
    fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Get(self.get))
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Download and resume what an earlier run left (same as `partwise <URL>...`)
    #[command(
        override_usage = "partwise get [OPTIONS] <URL>...",
        after_help = EXIT_CODES
    )]
    Get(Box<GetArgs>),
    /// Measure throughput for connections × part sizes; without a URL, against an embedded server
    Bench(Box<BenchArgs>),
    /// Show what a checkpoint contains, without using the network
    Inspect(InspectArgs),
    /// Download from an embedded server, interrupt half-way, resume and verify; needs no network
    Demo,
    /// Print shell completions
    Completions(CompletionsArgs),
    /// Print the manual page
    Man,
}

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// URLs to download: http:// or https://
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
    /// Read downloads from FILE: one URL per line (mirrors after tabs), options in indented lines
    /// below it (out=, dir=, checksum=); `-` reads standard input
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) input_file: Option<PathBuf>,
    /// Download only these bytes, joined in the file: 100-200, 100-, -100, or 0-100,200-300
    #[arg(long, value_name = "RANGES", allow_hyphen_values = true)]
    pub(crate) range: Option<String>,
    /// Another source of the same object; repeatable
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) mirror: Vec<String>,
    /// Take every mirror whose length is the object's, whatever it says of its version
    #[arg(long)]
    pub(crate) trust_mirrors: bool,
    /// Request the metadata from this URL, for signatures that are valid for one method only
    /// [default: the URL itself]
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) head_url: Option<String>,
    /// Run CMD in the shell when access is refused, has run out or is about to; its first line of
    /// output is the new URL; $PARTWISE_URL contains the old one
    #[arg(long, value_name = "CMD", value_hint = ValueHint::CommandString)]
    pub(crate) refresh_cmd: Option<String>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Where to")]
pub(crate) struct PlaceArgs {
    /// File name; `-` writes the bytes in order to standard output [default: from the URL]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    /// Folder for the file, created if missing
    #[arg(short, long, value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
    /// Replace an existing file at the final name, with its permissions
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Discard the partial file of an earlier run
    #[arg(long)]
    pub(crate) fresh: bool,
    /// How to write the file; `auto` uses a memory map where that is safe
    #[arg(long, value_parser = one_of(WRITERS), value_name = "HOW", default_value = "auto")]
    pub(crate) writer: Writer,
    /// Skip the syncs that protect against power loss
    #[arg(long)]
    pub(crate) no_sync: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Speed")]
pub(crate) struct SpeedArgs {
    /// Connections per file; `auto` finds the number by measuring
    #[arg(short, long, value_name = "N|auto", default_value = "auto", value_parser = value::connections)]
    pub(crate) connections: Connections,
    /// Most connections that `auto` may use
    #[arg(long, value_name = "N", default_value = "32")]
    pub(crate) max_connections: NonZeroU32,
    /// Files to download at once
    #[arg(short = 'j', long, value_name = "N", default_value = "2")]
    pub(crate) max_downloads: NonZeroU32,
    /// Size of the parts that a checkpoint records: bytes, or with K, M, G, KiB, MiB, GiB
    #[arg(short, long, value_name = "SIZE|auto", default_value = "auto", value_parser = value::part_size)]
    pub(crate) part_size: PartSize,
    /// Most bytes per second over all connections of the run: K, M, G, KiB, MiB, GiB [default: no
    /// limit]
    #[arg(long, value_name = "SIZE", value_parser = value::size)]
    pub(crate) limit_rate: Option<u64>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct NetworkArgs {
    /// Send this header, only to the origin of the URL; repeatable
    #[arg(short = 'H', long, value_name = "NAME: VALUE")]
    pub(crate) header: Vec<String>,
    /// User and password for Basic authentication
    #[arg(long, value_name = "USER[:PASS]", conflicts_with = "bearer")]
    pub(crate) user: Option<String>,
    /// Token for Bearer authentication
    #[arg(long, value_name = "TOKEN")]
    pub(crate) bearer: Option<String>,
    /// Read user and password from $NETRC or ~/.netrc
    #[arg(long)]
    pub(crate) netrc: bool,
    /// User-Agent to send [default: partwise/VERSION]
    #[arg(short = 'A', long, value_name = "TEXT")]
    pub(crate) user_agent: Option<String>,
    /// HTTP or SOCKS5 proxy [default: from the environment]
    #[arg(long, value_name = "URL", conflicts_with = "no_proxy")]
    pub(crate) proxy: Option<String>,
    /// Use no proxy, even if the environment names one
    #[arg(long)]
    pub(crate) no_proxy: bool,
    /// Trust the certificates in this PEM file in addition to the system's
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) cacert: Option<PathBuf>,
    /// Authenticate with the client certificate in this PEM file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) cert: Option<PathBuf>,
    /// Private key of the client certificate, if it is in a separate PEM file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Do not check the server's certificate
    #[arg(short = 'k', long)]
    pub(crate) insecure: bool,
    /// HTTP version; with 2, all transfers share one TCP connection
    #[arg(long, value_parser = one_of(HTTP_VERSIONS), value_name = "VERSION", default_value = "1.1")]
    pub(crate) http_version: HttpVersion,
    /// Repeat a failed request N times, counted anew after each byte; pauses grow from 0.25 s to 30
    /// s. A server that does not answer at all is also given time: 2 minutes for 8, 7.5 s for 4,
    /// half of that if it has never answered
    #[arg(long, value_name = "N", default_value = "8")]
    pub(crate) retries: u32,
    /// Replace a connection that is slower than SIZE bytes a second for S seconds (default 30);
    /// fail where the whole download is slower than SIZE for twice as long
    #[arg(long, value_name = "SIZE[,S]", value_parser = value::lowest_speed)]
    pub(crate) lowest_speed: Option<(u64, Duration)>,
    /// Longest wait for a network that is gone (no route, no name server, no answer of a server
    /// that has answered before), in seconds; 0 makes that a failure like any other
    #[arg(long, value_name = "S", allow_negative_numbers = true, default_value = "600", value_parser = value::seconds_or_none)]
    pub(crate) wait_online: Duration,
    /// Longest wait for a connection, in seconds
    #[arg(long, value_name = "S", allow_negative_numbers = true, default_value = "10", value_parser = value::seconds)]
    pub(crate) connect_timeout: Duration,
    /// Longest wait for a byte, in seconds; where all connections fall silent at once, a new one is
    /// tried after 1 s
    #[arg(long, value_name = "S", allow_negative_numbers = true, default_value = "15", value_parser = value::seconds)]
    pub(crate) stall_timeout: Duration,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Conditions and checks")]
pub(crate) struct TrustArgs {
    /// Verify the file before publishing it: sha-256, sha-512, sha-1, md5, blake3, crc32c, crc64,
    /// crc64nvme; repeatable
    #[arg(long, value_name = "ALGO=HEX")]
    pub(crate) checksum: Vec<String>,
    /// What to do when the object changes during the download
    #[arg(long, value_parser = one_of(ON_CHANGE), value_name = "WHAT", default_value = "fail")]
    pub(crate) on_change: OnChange,
    /// When to read back the parts of an earlier run; `auto`: after an unclean end, a reboot, with
    /// mirrors, or if the partial file was changed since
    #[arg(long, value_parser = one_of(VERIFY), value_name = "WHEN", default_value = "auto")]
    pub(crate) verify: Verify,
    /// Download only the version with this entity tag
    #[arg(long, value_name = "ETAG")]
    pub(crate) if_match: Option<String>,
    /// Download only a version with another entity tag
    #[arg(long, value_name = "ETAG")]
    pub(crate) if_none_match: Option<String>,
    /// Download only a version newer than this HTTP date
    #[arg(long, value_name = "DATE")]
    pub(crate) if_modified_since: Option<String>,
    /// Download only a version not newer than this HTTP date
    #[arg(long, value_name = "DATE")]
    pub(crate) if_unmodified_since: Option<String>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct ShowArgs {
    /// Progress on standard error; `auto`: a bar on a terminal, plain lines elsewhere
    #[arg(long, value_enum, value_name = "HOW", default_value = "auto")]
    pub(crate) progress: ProgressChoice,
    /// Print only errors
    #[arg(short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Print an account of the transfer; twice: also trace every request
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Print the report on standard output, one JSON object per file
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// URL to measure: http:// or https:// [default: an object on an embedded server]
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
    /// Numbers of connections to measure
    #[arg(
        short,
        long,
        value_name = "N,...",
        value_delimiter = ',',
        default_value = "1,2,4,8,16"
    )]
    pub(crate) connections: Vec<NonZeroU32>,
    /// Part sizes to measure: `auto`, bytes, or with K, M, G, KiB, MiB, GiB
    #[arg(short, long, value_name = "SIZE,...", value_delimiter = ',', default_value = "1M,4M", value_parser = value::part_size)]
    pub(crate) part_sizes: Vec<PartSize>,
    /// Where to write the bytes: nowhere, to memory, to a synced file [default: null,file; without
    /// a URL: all]
    #[arg(long, value_enum, value_name = "SINK,...", value_delimiter = ',')]
    pub(crate) sinks: Vec<SinkChoice>,
    /// How often to measure each combination
    #[arg(long, value_name = "N", default_value = "3")]
    pub(crate) runs: NonZeroU32,
    /// Most bytes to fetch in total: K, M, G, KiB, MiB, GiB [default: 4G; without a URL: 32G]
    #[arg(long, value_name = "SIZE", value_parser = value::size)]
    pub(crate) traffic: Option<u64>,
    /// Folder in which the file sink creates a temporary folder
    #[arg(short, long, value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
    /// How to write to memory and file; `auto` uses a memory map where that is safe
    #[arg(long, value_parser = one_of(WRITERS), value_name = "HOW", default_value = "auto")]
    pub(crate) writer: Writer,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct ResultArgs {
    /// Print the results on standard output as JSON instead of a table
    #[arg(long, conflicts_with = "markdown")]
    pub(crate) json: bool,
    /// Print the results as Markdown
    #[arg(long)]
    pub(crate) markdown: bool,
    /// Also write the results to this file, as a self-contained page with plots
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) html: Option<PathBuf>,
    /// Print no progress and no announcement, only errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// A checkpoint (X.part.ckpt), or the file X or X.part beside it
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// Print the content as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell to print completions for
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SinkChoice {
    Null,
    Memory,
    File,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressChoice {
    Auto,
    Bar,
    Json,
    None,
}
