//! The rules of the house, held against the source: who may import whom, where `unsafe` may
//! stand, who knows bincode.

mod circles;
mod imports;
mod modules;
mod source;
mod tests;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::LazyLock;

use self::circles::circles;
use self::imports::House;
use self::source::{Sources, line_of, sources, words};

/// What each file or folder of `src` may import by `crate::` beyond its own room. The longest row
/// that fits a file applies.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    // The public face.
    ("lib", &[]),
    // Its network options are the configuration of the HTTP client.
    (
        "download",
        &["engine", "http", "options", "DownloadHandle", "Error"],
    ),
    // It reads the checkpoint that a download is to resume from.
    (
        "download/resume",
        &[
            "inspect",
            "options",
            "Download",
            "Error",
            "ErrorKind",
            "Remedy",
        ],
    ),
    // It checks the options, and makes the engine's job of them.
    (
        "download/build",
        &[
            "engine",
            "error",
            "http",
            "integrity",
            "object",
            "options",
            "storage",
        ],
    ),
    ("options", &["integrity", "object"]),
    (
        "handle",
        &["engine", "Error", "ErrorKind", "Event", "Report"],
    ),
    (
        "inspect",
        &["checkpoint", "object", "storage", "Error", "ErrorKind"],
    ),
    ("event", &["report", "error"]),
    ("report", &["options"]),
    ("error", &["http", "storage", "checkpoint"]),
    // The machinery. HTTP and storage meet in the engine alone, and nothing below it knows
    // `crate::Error`.
    (
        "engine",
        &[
            "http",
            "storage",
            "checkpoint",
            "integrity",
            "object",
            "options",
            "event",
            "report",
            "error",
        ],
    ),
    // The schedule is arithmetic: neither network nor disk.
    ("engine/schedule", &["integrity", "object", "report"]),
    ("checkpoint", &["object", "integrity", "storage"]),
    // Their configuration is made of public options.
    ("http", &["object", "options"]),
    ("storage", &["object", "options"]),
    ("integrity", &[]),
    ("object", &[]),
    // What stands beside it.
    (
        "internals",
        &[
            "checkpoint",
            "engine",
            "integrity",
            "object",
            "options",
            "storage",
        ],
    ),
    ("origin", &[]),
    // It measures by the public interface.
    (
        "bench",
        &[
            "origin",
            "Bottleneck",
            "Connections",
            "DownloadBuilder",
            "DownloadHandle",
            "Error",
            "ErrorKind",
            "Event",
            "PartSize",
            "Ranges",
            "Report",
            "Samples",
        ],
    ),
    ("manual", &[]),
    ("fuzzing", &["checkpoint", "http", "integrity", "object"]),
    // The command is a crate of its own, which uses `partwise::…`.
    ("main", &["cli"]),
    ("cli", &[]),
];

/// The entries of a folder from top to bottom. A file imports only from rows below its own entry's.
const TOP_TO_BOTTOM: &[(&str, &[&[&str]])] = &[
    (
        "engine",
        &[
            &["mod"],
            &["internals", "sim"],
            &["run"],
            &["output"],
            &["transfer"],
            &["remote"],
            &["summary"],
            &["context"],
            &["refresh"],
            &["patience"],
            &["control"],
            &["schedule"],
            &["failures", "metrics", "blocking", "job"],
        ],
    ),
    (
        "engine/output",
        &[
            &["mod"],
            &["stream", "destination"],
            &["file", "stdout", "discard"],
            &["digests", "outcome", "reorder_buffer", "kept_blocks"],
            &["virtual_file"],
        ],
    ),
    (
        "engine/output/file",
        &[
            &["mod"],
            &["leftovers", "open"],
            &["publish", "restore", "claim", "removal"],
            &["ownership"],
            &["checkpointer"],
            &["page", "read_back", "samples"],
        ],
    ),
];

static SOURCES: LazyLock<Sources> = LazyLock::new(sources);
static HOUSE: LazyLock<House> = LazyLock::new(|| House::read(&SOURCES));

#[test]
fn rooms_import_what_they_may_and_nothing_else() {
    let broken = forbidden_imports(&HOUSE);
    assert!(broken.is_empty(), "\n{broken}");
}

fn forbidden_imports(house: &House) -> String {
    let mut broken = String::new();
    for file in &house.files {
        let place = place_of(file);
        let rows = MAY_IMPORT.iter().filter(|(row, _)| is_within(&place, row));
        let Some((row, allowed)) = rows.max_by_key(|(row, _)| row.len()) else {
            let _ = writeln!(broken, "{}: no row in MAY_IMPORT", file.display());
            continue;
        };
        let room = place.split('/').next().unwrap();
        let mut told = BTreeSet::new();
        for import in house.imports.iter().filter(|import| import.from == *file) {
            let head = import.head.as_str();
            if head != room && !allowed.contains(&head) && told.insert(head) {
                let _ = writeln!(
                    broken,
                    "{}:{}: `{row}` may not import `{head}`; it may import {allowed:?}",
                    file.display(),
                    import.line
                );
            }
        }
    }
    broken
}

#[test]
fn folders_import_downwards_only() {
    let broken = upward_imports(&HOUSE);
    assert!(broken.is_empty(), "\n{broken}");
}

fn upward_imports(house: &House) -> String {
    let mut broken = String::new();
    for (folder, rows) in TOP_TO_BOTTOM {
        let row_of = |file: &Path| {
            let entry = entry_of(file, folder)?;
            let row = rows.iter().position(|row| row.contains(&entry.as_str()));
            Some((entry, row))
        };
        for file in &house.files {
            if let Some((entry, None)) = row_of(file) {
                let _ = writeln!(
                    broken,
                    "`{folder}` has no row for `{entry}` in TOP_TO_BOTTOM"
                );
            }
        }
        let mut told = BTreeSet::new();
        for import in &house.imports {
            let file = import.file.as_deref();
            let rows = (row_of(&import.from), file.and_then(row_of));
            let (Some((from, Some(own))), Some((to, Some(its)))) = rows else {
                continue;
            };
            if from != to && its <= own && told.insert((&import.from, file, &import.name)) {
                let _ = writeln!(
                    broken,
                    "{}:{}: `{from}` may not import `{}` from `{to}`, not below it in `{folder}`",
                    import.from.display(),
                    import.line,
                    import.name
                );
            }
        }
    }
    broken
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let circles = circles(&HOUSE);
    assert!(circles.is_empty(), "\n{circles}");
}

/// Without this, a path that the resolver can't follow would be an import that no rule sees.
#[test]
fn every_file_is_read_and_every_path_leads_to_an_item() {
    let unread = SOURCES.keys().filter(|file| !HOUSE.files.contains(*file));
    assert_eq!(unread.collect::<Vec<_>>(), [""; 0], "files of no crate");
    assert_eq!(HOUSE.lost, [""; 0], "paths that lead nowhere");
}

#[test]
fn each_place_has_one_row_and_each_row_a_place() {
    let is_place = |row: &str| {
        let mut places = HOUSE.files.iter().map(|file| place_of(file));
        places.any(|place| is_within(&place, row))
    };
    let rooms = MAY_IMPORT.iter().map(|(row, _)| (*row).to_owned());
    let entries = TOP_TO_BOTTOM.iter().flat_map(|(folder, rows)| {
        let entries = rows.iter().flat_map(|row| row.iter());
        entries.map(move |entry| format!("{folder}/{entry}"))
    });
    for mut rows in [rooms.collect::<Vec<_>>(), entries.collect()] {
        rows.sort();
        for pair in rows.windows(2) {
            assert_ne!(pair[0], pair[1], "two rows for one place");
        }
        for row in rows {
            let row = row.strip_suffix("/mod").unwrap_or(&row);
            assert!(is_place(row), "a row for `{row}`, which is not in src");
        }
    }
}

/// `src/engine/job.rs` is the place `engine/job`, and `src/engine/mod.rs` is `engine/mod`.
fn place_of(file: &Path) -> String {
    let below_src = file.strip_prefix("src").unwrap();
    below_src.with_extension("").to_str().unwrap().to_owned()
}

/// Whether the place is the row's file, or in the row's folder.
fn is_within(place: &str, row: &str) -> bool {
    Path::new(place).starts_with(row)
}

/// The name of the folder's file or folder that `file` is or is in.
fn entry_of(file: &Path, folder: &str) -> Option<String> {
    let place = place_of(file);
    let below = Path::new(&place).strip_prefix(folder).ok()?;
    let entry = below.components().next()?.as_os_str();
    Some(entry.to_str()?.to_owned())
}

#[test]
fn unsafe_code_is_in_one_file() {
    only_in("unsafe", &["src/storage/mmap.rs"]);
}

#[test]
fn one_file_knows_bincode() {
    only_in(
        "bincode",
        &[
            "src/checkpoint/format.rs",
            "src/checkpoint/format/tests.rs",
            "src/checkpoint/format/v1.rs",
        ],
    );
}

#[track_caller]
fn only_in(word: &str, files: &[&str]) {
    let mut found = Vec::new();
    let mut broken = String::new();
    for (path, code) in SOURCES.iter() {
        let places = words(code).filter(|(_, found)| *found == word);
        for line in places.map(|(at, _)| line_of(code, at)) {
            if files.iter().any(|file| Path::new(file) == path) {
                found.push(path.clone());
            } else {
                let _ = writeln!(
                    broken,
                    "{}:{line}: `{word}` may stand in {files:?} alone",
                    path.display()
                );
            }
        }
    }
    assert!(broken.is_empty(), "\n{broken}");
    assert!(
        !found.is_empty(),
        "`{word}` stands nowhere: is {files:?} still the right place?"
    );
}
