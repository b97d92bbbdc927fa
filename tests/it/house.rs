//! The rules of the house, held against the source: who may import whom, where `unsafe` may stand, who knows bincode.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// What each file or folder of `src` may import by `crate::` beyond itself.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    // The public face.
    ("lib", &[]),
    (
        "download",
        &[
            "engine",
            "http",
            "storage",
            "integrity",
            "object",
            "options",
            "error",
            "DownloadHandle",
            "Error",
        ],
    ),
    ("options", &[]),
    (
        "handle",
        &["engine", "Error", "ErrorKind", "Event", "Report"],
    ),
    (
        "inspect",
        &["checkpoint", "object", "storage", "Error", "ErrorKind"],
    ),
    ("event", &["report"]),
    ("report", &[]),
    ("error", &["http", "storage", "checkpoint"]),
    // The machinery. HTTP and storage meet in the engine alone, and nothing below it knows `crate::Error`.
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
    ("checkpoint", &["object", "integrity", "storage"]),
    ("http", &["object"]),
    ("storage", &["object"]),
    ("integrity", &[]),
    ("object", &[]),
    // What stands beside it.
    (
        "internals",
        &["checkpoint", "engine", "integrity", "object", "storage"],
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

#[test]
fn rooms_import_what_they_may_and_nothing_else() {
    let mut broken = String::new();
    for (path, code) in sources() {
        let room = room_of(&path);
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == room) else {
            let _ = writeln!(
                broken,
                "{}: the room `{room}` has no row in MAY_IMPORT",
                path.display()
            );
            continue;
        };
        for (line, name) in imports(&code, depth_of(&path)) {
            if name != room && !allowed.contains(&name.as_str()) {
                let _ = writeln!(
                    broken,
                    "{}:{line}: `{room}` may not import `{name}`; it may import {allowed:?}",
                    path.display()
                );
            }
        }
    }
    assert!(broken.is_empty(), "\n{broken}");
}

#[test]
fn unsafe_code_is_in_one_file() {
    only_in("unsafe", &["src/storage/mmap.rs"]);
}

#[test]
fn one_file_knows_bincode() {
    only_in(
        "bincode",
        &["src/checkpoint/format.rs", "src/checkpoint/format/tests.rs"],
    );
}

#[track_caller]
fn only_in(word: &str, files: &[&str]) {
    let mut found = Vec::new();
    let mut broken = String::new();
    for (path, code) in sources() {
        for line in words(&code)
            .filter(|(_, found)| *found == word)
            .map(|(at, _)| line_of(&code, at))
        {
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

/// Every Rust file below `src`, as a path from the package's root, and its code without comments and strings.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src")];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let code = bare(&fs::read_to_string(&path).unwrap());
                sources.push((path.strip_prefix(root).unwrap().to_owned(), code));
            }
        }
    }
    sources.sort();
    assert!(!sources.is_empty());
    sources
}

/// The first name below `src`, without `.rs`.
fn room_of(path: &Path) -> String {
    let below_src = path.components().nth(1).unwrap().as_os_str();
    let name = below_src.to_str().unwrap();
    name.strip_suffix(".rs").unwrap_or(name).to_owned()
}

/// How many `super::` lead from the file's own module to the crate's root.
fn depth_of(path: &Path) -> usize {
    let below_src = path.components().count() - 1;
    let is_folder_itself = path.file_name().is_some_and(|name| name == "mod.rs");
    let is_root = below_src == 1 && (path.ends_with("lib.rs") || path.ends_with("main.rs"));
    below_src - usize::from(is_folder_itself) - usize::from(is_root)
}

/// The names right below the crate's root that the code mentions by path, and the lines where it does. `depth` is
/// that of the file's own module.
fn imports(code: &str, depth: usize) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, word) in words(code) {
        let path = &code[at..];
        let below_root = match word {
            "crate" => path.strip_prefix("crate::"),
            "super" if !code[..at].ends_with("::") => {
                let steps = depth + inline_modules(&code[..at]);
                path.strip_prefix(&"super::".repeat(steps))
            }
            _ => None,
        };
        let line = line_of(code, at);
        if let Some(path) = below_root {
            found.extend(heads(path).into_iter().map(|head| (line, head)));
        }
    }
    found
}

/// How many modules that begin in this code have not ended in it.
fn inline_modules(code: &str) -> usize {
    let mut braces = Vec::new();
    let mut since_last = 0;
    for (at, character) in code.char_indices() {
        match character {
            '{' => {
                let mut last_words = words(&code[since_last..at]).map(|(_, word)| word);
                braces.push(last_words.any(|word| word == "mod"));
            }
            '}' => drop(braces.pop()),
            _ => {}
        }
        if matches!(character, '{' | '}' | ';') {
            since_last = at + 1;
        }
    }
    braces.into_iter().filter(|is_module| *is_module).count()
}

/// `a::b` has the head `a`; `{a::b, c::{d, e}}` has the heads `a` and `c`.
fn heads(path: &str) -> Vec<String> {
    let Some(list) = path.strip_prefix('{') else {
        let (_, first) = words(path).next().expect("a path goes on");
        return vec![first.to_owned()];
    };
    let mut depth = 0;
    let mut heads = Vec::new();
    let mut item = String::new();
    for character in list.chars() {
        match character {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                if let Some((_, head)) = words(&item).next() {
                    heads.push(head.to_owned());
                }
                item.clear();
                if character == '}' {
                    break;
                }
            }
            _ => item.push(character),
        }
    }
    heads
}

/// Identifiers and keywords, with their offsets.
fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_inside = |character: char| character.is_alphanumeric() || character == '_';
    code.split(move |character| !is_inside(character))
        .filter(|word| !word.is_empty())
        .map(move |word| (word.as_ptr().addr() - code.as_ptr().addr(), word))
}

fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// The code with comments, strings and characters blanked out; lines stay where they are.
fn bare(code: &str) -> String {
    let mut bare = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let skipped = skip(rest, bare.chars().next_back());
        if skipped == 0 {
            bare.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            let blank = |character| if character == '\n' { '\n' } else { ' ' };
            bare.extend(rest[..skipped].chars().map(blank));
            rest = &rest[skipped..];
        }
    }
    bare
}

/// The length of the comment, string or character that `code` begins with; 0 where it begins with neither.
fn skip(code: &str, before: Option<char>) -> usize {
    let upto = |end: &str, from: usize| {
        code[from..]
            .find(end)
            .map_or(code.len(), |at| from + at + end.len())
    };
    if code.starts_with("//") {
        return code.find('\n').unwrap_or(code.len());
    }
    if code.starts_with("/*") {
        return upto("*/", 2);
    }
    let in_word = before.is_some_and(|before| before.is_alphanumeric() || before == '_');
    if let Some(raw) = code
        .strip_prefix('r')
        .filter(|_| !in_word || before == Some('b'))
    {
        let hashes = raw.chars().take_while(|c| *c == '#').count();
        if raw[hashes..].starts_with('"') {
            return upto(&format!("\"{}", "#".repeat(hashes)), hashes + 2);
        }
    }
    let quoted = |quote: char| {
        let mut escaped = false;
        for (at, character) in code.char_indices().skip(1) {
            match character {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                _ if character == quote => return at + 1,
                _ => {}
            }
        }
        code.len()
    };
    let mut characters = code.chars();
    match (characters.next(), characters.next(), characters.next()) {
        (Some('"'), ..) => quoted('"'),
        // `'a'` and `'\n'`, but no lifetime.
        (Some('\''), Some('\\'), _) | (Some('\''), Some(_), Some('\'')) => quoted('\''),
        _ => 0,
    }
}

mod tests {
    use super::*;

    #[test]
    fn paths_are_seen_wherever_they_stand() {
        let code = bare(
            r##"
// use crate::cli::args;
use crate::http::{self, Body};
use crate::{Error, storage::{Sink, Window}, engine};
fn f<'a>(x: &'a crate::object::Plan) { let _ = "crate::report::Report"; let _ = r#"crate::event"#; }
let (a, b) = ('"', '\''); crate::error::x();
"##,
        );
        let found = imports(&code, 1);
        let expected = [
            (3, "http"),
            (4, "Error"),
            (4, "storage"),
            (4, "engine"),
            (5, "object"),
            (6, "error"),
        ];
        let expected = expected.map(|(line, name)| (line, name.to_owned()));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_way_out_by_super_is_seen() {
        let names = |code: &str, depth| {
            let found = imports(code, depth).into_iter();
            found.map(|(_, name)| name).collect::<Vec<_>>()
        };
        assert_eq!(names("use super::super::storage::Sink;", 2), ["storage"]);
        assert_eq!(names("use super::client::Client;", 2), [""; 0]);
        assert_eq!(
            names("fn f() {} mod tests { use super::super::client; }", 2),
            [""; 0]
        );
        assert_eq!(
            names("mod tests { use super::super::super::http; }", 2),
            ["http"]
        );
        assert_eq!(depth_of(Path::new("src/http/client.rs")), 2);
        assert_eq!(depth_of(Path::new("src/http/mod.rs")), 1);
        assert_eq!(depth_of(Path::new("src/http/client/tests.rs")), 3);
        assert_eq!(depth_of(Path::new("src/lib.rs")), 0);
    }

    #[test]
    fn words_are_whole() {
        let code = bare("let unsafe_because = 1; unsafe { x() } // unsafe\n");
        let found = words(&code).filter(|(_, word)| *word == "unsafe");
        assert_eq!(found.collect::<Vec<_>>(), [(24, "unsafe")]);
    }
}
