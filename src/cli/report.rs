//! Prints the report of a finished download.

use std::path::Path;
use std::time::Duration;

use partwise::{Account, Bottleneck, IdentityKind, Report, WriterKind};

use super::exit::{Exit, Failure};
use super::settings::Closing;
use super::{output, text};

/// The lines for standard error after a finished download, if any.
pub(crate) fn closing(report: &Report, closing: Closing) -> Option<String> {
    match closing {
        Closing::Nothing => None,
        Closing::Line => Some(line(report)),
        Closing::Account => Some(format!("{}\n{}", line(report), account(report))),
    }
}

/// Prints the report as a line of JSON on standard output.
///
/// # Errors
///
/// Fails if standard output can't be written.
pub(crate) fn json(report: &Report) -> Result<(), Failure> {
    let mut line =
        text::json(report).map_err(|error| Failure::new(Exit::UNEXPECTED, "report", error))?;
    line.push('\n');
    output::write(line.as_bytes())
}

fn line(report: &Report) -> String {
    let name = text::path(&report.output);
    if report.not_modified {
        return format!("not modified: {name} is up to date");
    }
    let bytes = text::bytes(report.bytes);
    let saved = if report.output == Path::new("-") {
        format!("wrote {bytes} to standard output")
    } else {
        format!("saved {name}  {bytes}")
    };
    let (elapsed, rate) = (
        text::duration(report.elapsed),
        text::rate(report.bytes_per_second),
    );
    let mut line = format!("{saved} in {elapsed} ({rate})");
    if report.resumed_bytes > 0 {
        line = format!("{line}, {} resumed", text::bytes(report.resumed_bytes));
    }
    if report.damaged_parts > 0 {
        let damaged = text::count(u64::from(report.damaged_parts), "damaged part");
        line = format!("{line}, {damaged} fetched again");
    }
    if report.is_end_unproven {
        line.push_str(", of unknown length: can't be proved whole");
    }
    line
}

fn account(report: &Report) -> String {
    let rows = [
        (
            "object",
            format!("{} bytes in {}", report.bytes, parts(report)),
        ),
        ("version told by", version(report)),
        (
            "received",
            format!(
                "{}, {} wasted",
                text::bytes(report.fetched_bytes),
                text::bytes(report.wasted_bytes)
            ),
        ),
        ("requests", requests(report)),
        ("in the way", hindrances(&report.account)),
        ("time", times(report)),
        ("of connections", shares(&report.account)),
        ("processors", processors(report)),
        ("written by", writer(report.writer).to_owned()),
        ("integrity", integrity(report)),
        ("held back by", bottleneck(report.bottleneck).to_owned()),
    ];
    let rows: Vec<String> = rows
        .iter()
        .map(|(name, value)| format!("  {name:<16}{value}"))
        .collect();
    rows.join("\n")
}

fn parts(report: &Report) -> String {
    if report.parts == 0 {
        return "one stream".to_owned();
    }
    let parts = text::count(u64::from(report.parts), "part");
    format!("{parts} of {}", text::bytes(report.part_size))
}

fn version(report: &Report) -> String {
    let etag = text::visible(report.etag.as_deref().unwrap_or_default());
    let told = match report.identity {
        IdentityKind::VersionId => "version id".to_owned(),
        IdentityKind::Digest => "digest of the whole object".to_owned(),
        IdentityKind::StrongEtag => format!("strong entity tag {etag}"),
        IdentityKind::WeakEtag => format!("weak or malformed entity tag {etag}"),
        IdentityKind::LastModified => "modification date".to_owned(),
        _ if report.parts == 0 => "nothing".to_owned(),
        _ => "its length only".to_owned(),
    };
    match report.spot_checks {
        0 => told,
        blocks => format!("{told}, and {} compared", text::count(blocks, "block")),
    }
}

fn requests(report: &Report) -> String {
    let retries = if report.retries == 1 {
        "1 retry".to_owned()
    } else {
        format!("{} retries", report.retries)
    };
    let connections = text::count(u64::from(report.connections), "connection");
    format!(
        "{} over at most {connections}, {} wanted at the end, {retries}",
        text::count(report.attempts, "attempt"),
        report.account.connections_kept
    )
}

fn hindrances(account: &Account) -> String {
    format!(
        "{}, {}, {} given up for crawling",
        text::count(account.refusals, "refusal"),
        text::count(account.stalls, "stall"),
        text::count(account.replaced, "connection")
    )
}

/// The wall time, in the order in which it passed.
fn times(report: &Report) -> String {
    let account = &report.account;
    let Some(first_byte) = account.first_byte else {
        return format!("{}; no byte was fetched", text::short(report.elapsed));
    };
    let fetching = report.elapsed.saturating_sub(first_byte + account.closing);
    format!(
        "{} to the first byte, {} of transfers, {} to verify, sync and publish the file",
        text::short(first_byte),
        text::short(fetching),
        text::short(account.closing)
    )
}

/// How the connections spent their time.
fn shares(account: &Account) -> String {
    let share = |part: Duration| {
        let share = part.as_secs_f64() / account.transfers.as_secs_f64().max(1e-9);
        (share * 100.0).clamp(0.0, 100.0)
    };
    let (replies, disk) = (share(account.reply_wait), share(account.disk_wait));
    format!(
        "{replies:.0} % waiting for replies, {disk:.0} % for the disk, {:.0} % receiving and writing",
        (100.0 - replies - disk).max(0.0)
    )
}

fn processors(report: &Report) -> String {
    let cpu = report.account.cpu;
    let gibibytes = report.fetched_bytes as f64 / f64::from(1 << 30);
    let each = if gibibytes > 0.0 {
        format!(", {:.2} s per GiB", cpu.as_secs_f64() / gibibytes)
    } else {
        String::new()
    };
    format!("{} busy{each}", text::short(cpu))
}

fn writer(writer: WriterKind) -> &'static str {
    match writer {
        WriterKind::Mmap => "memory map",
        WriterKind::Pwrite => "positional writes",
    }
}

fn integrity(report: &Report) -> String {
    let checks = &report.integrity;
    if report.is_end_unproven {
        return "nothing; the end of the connection told the end of the object".to_owned();
    }
    if checks.is_empty() {
        return "length and version of every part; no digest of the whole file".to_owned();
    }
    let checks: Vec<String> = checks
        .iter()
        .map(|check| {
            let verdict = if check.verified {
                "matches"
            } else {
                "not compared"
            };
            format!(
                "{} from {} {verdict}",
                text::visible(&check.algorithm),
                text::visible(&check.source)
            )
        })
        .collect();
    checks.join(", ")
}

fn bottleneck(bottleneck: Bottleneck) -> &'static str {
    match bottleneck {
        Bottleneck::Network => "the network",
        Bottleneck::Server => "the server",
        Bottleneck::Disk => "the disk",
        Bottleneck::Cpu => "the processors",
        Bottleneck::LimitRate => "the rate limit",
    }
}
