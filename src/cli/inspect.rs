//! `partwise inspect`: shows what a checkpoint contains.

use partwise::Inspection;

use super::args::InspectArgs;
use super::exit::{Exit, Failure};
use super::{output, text};

const STRIP_CELLS: u32 = 64;

/// The number of missing ranges to list; the others are only counted.
const LISTED: usize = 12;

/// Prints what the checkpoint that `args` name contains.
///
/// # Errors
///
/// Fails if the checkpoint does not exist or can't be read.
pub(crate) fn run(args: &InspectArgs) -> Result<Exit, Failure> {
    let inspection = partwise::inspect(&args.file)?;
    let mut shown = if args.json {
        text::json(&inspection).map_err(|error| Failure::new(Exit::UNEXPECTED, "inspect", error))?
    } else {
        format!("{}\n{}", text::path(&args.file), describe(&inspection))
    };
    shown.push('\n');
    output::write(shown.as_bytes())?;
    Ok(Exit::SUCCESS)
}

/// Describes the checkpoint in indented lines, with a strip of the completed parts.
pub(crate) fn describe(inspection: &Inspection) -> String {
    let none = || "none".to_owned();
    let mut rows = vec![
        ("format", inspection.format.to_string()),
        (
            "object",
            format!(
                "{} ({} bytes)",
                text::bytes(inspection.length),
                inspection.length
            ),
        ),
        (
            "etag",
            inspection.etag.as_deref().map_or_else(none, text::visible),
        ),
        (
            "last modified",
            inspection
                .last_modified
                .as_deref()
                .map_or_else(none, text::visible),
        ),
        ("parts", parts(inspection)),
        ("completed", completed(inspection)),
        ("missing", missing(inspection)),
    ];
    rows.extend(
        listed(&inspection.missing)
            .into_iter()
            .map(|range| ("", range)),
    );
    let mut lines: Vec<String> = rows
        .iter()
        .map(|(name, value)| format!("  {name:<15}{value}").trim_end().to_owned())
        .collect();
    let coverage = text::coverage(inspection.length, &inspection.missing, STRIP_CELLS);
    lines.push(format!("  {}", text::strip(&coverage)));
    lines.join("\n")
}

fn parts(inspection: &Inspection) -> String {
    let parts = text::count(u64::from(inspection.parts), "part");
    format!(
        "{} of {parts}, {} each",
        inspection.completed_parts,
        text::bytes(inspection.part_size)
    )
}

fn completed(inspection: &Inspection) -> String {
    let percent = text::percent(inspection.completed_bytes, inspection.length);
    format!("{} ({percent} %)", text::bytes(inspection.completed_bytes))
}

fn missing(inspection: &Inspection) -> String {
    let bytes = text::bytes(inspection.length.saturating_sub(inspection.completed_bytes));
    match inspection.missing.len() {
        0 => "nothing".to_owned(),
        1 => format!("{bytes} in 1 range"),
        ranges => format!("{bytes} in {ranges} ranges"),
    }
}

fn listed(missing: &[(u64, u64)]) -> Vec<String> {
    let mut lines: Vec<String> = missing
        .iter()
        .take(LISTED)
        .map(|(first, last)| format!("{first}-{last}"))
        .collect();
    if missing.len() > LISTED {
        lines.push(format!("and {} more", missing.len() - LISTED));
    }
    lines
}
