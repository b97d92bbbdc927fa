//! Lists of downloads, in the form of aria2's input files.
//!
//! A line has one URL, or several URLs of the same object separated by tabs. Indented lines below
//! it are its options. Blank lines and lines that begin with `#` are ignored.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::exit::{Exit, Failure};
use super::text;

/// One download of an input file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// File and line of the entry.
    pub(crate) place: String,
    pub(crate) url: String,
    pub(crate) mirrors: Vec<String>,
    pub(crate) out: Option<PathBuf>,
    pub(crate) dir: Option<PathBuf>,
    pub(crate) checksums: Vec<String>,
}

/// Reads the input file at `path`; `-` is standard input.
///
/// # Errors
///
/// Fails if the file can't be read (exit code 6) or a line is wrong (exit code 2). The message
/// names the file and the line.
pub(crate) fn read(path: &Path) -> Result<Vec<Entry>, Failure> {
    let (name, content) = if path == Path::new("-") {
        let mut content = Vec::new();
        let read = io::stdin().lock().read_to_end(&mut content);
        ("standard input".to_owned(), read.map(|_| content))
    } else {
        (text::path(path), std::fs::read(path))
    };
    let content =
        content.map_err(|error| Failure::new(Exit::FILE, format!("input file {name}"), error))?;
    parse(&name, &content)
}

/// Parses an input file. `name` is its name in messages.
pub(super) fn parse(name: &str, content: &[u8]) -> Result<Vec<Entry>, Failure> {
    let content = content
        .strip_prefix("\u{feff}".as_bytes())
        .unwrap_or(content);
    let mut entries: Vec<Entry> = Vec::new();
    for (index, line) in content.split(|byte| *byte == b'\n').enumerate() {
        let place = format!("{name}:{}", index + 1);
        let wrong = |why: &dyn fmt::Display| Failure::usage(&place, why);
        let line = std::str::from_utf8(line).map_err(|_| wrong(&"expected UTF-8 text"))?;
        let line = line.strip_suffix('\r').unwrap_or(line);
        let typed = line.trim();
        if typed.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with([' ', '\t']) {
            let entry = entries
                .last_mut()
                .ok_or_else(|| wrong(&"expected a URL before its options"))?;
            entry.option(typed).map_err(|why| wrong(&why))?;
        } else {
            entries.push(Entry::begin(place, line));
        }
    }
    Ok(entries)
}

impl Entry {
    fn begin(place: String, line: &str) -> Self {
        let mut urls = line
            .split('\t')
            .map(str::trim)
            .filter(|url| !url.is_empty())
            .map(str::to_owned);
        Self {
            place,
            url: urls.next().unwrap_or_default(),
            mirrors: urls.collect(),
            ..Self::default()
        }
    }

    fn option(&mut self, typed: &str) -> Result<(), String> {
        // The value may be a secret of another tool's option, so no message shows it.
        let (name, value) = typed
            .split_once('=')
            .ok_or("expected out=FILE, dir=DIR or checksum=ALGO=HEX")?;
        let (name, value) = (name.trim_end(), value.trim_start());
        if value.is_empty() {
            return Err(format!("{name}=: expected a value"));
        }
        match name {
            "out" if value == "-" => {
                return Err("out=-: standard output takes one download, not a list".to_owned());
            }
            "out" => self.out = Some(value.into()),
            "dir" => self.dir = Some(value.into()),
            "checksum" => self.checksums.push(value.to_owned()),
            _ => return Err(format!("option {name}: expected out, dir or checksum")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::exit::Colour;
    use super::*;

    fn refused(content: &str) -> String {
        let failure = parse("list.txt", content.as_bytes()).expect_err(content);
        assert_eq!(failure.exit(), Exit::USAGE);
        failure.lines(Colour::Off)
    }

    #[test]
    fn urls_mirrors_options_and_comments() {
        let list = "\u{feff}# videos\r\n\r\nhttp://a/1\thttp://b/1 \r\n  out=one.mp4\r\n\tdir=x y\r\n  checksum=md5=00\r\n  \
                    checksum=sha-1=11\r\n# more\r\nhttp://a/2";
        let entries = parse("list.txt", list.as_bytes()).expect("a good list");
        assert_eq!(
            entries,
            [
                Entry {
                    place: "list.txt:3".into(),
                    url: "http://a/1".into(),
                    mirrors: vec!["http://b/1".into()],
                    out: Some("one.mp4".into()),
                    dir: Some("x y".into()),
                    checksums: vec!["md5=00".into(), "sha-1=11".into()],
                },
                Entry {
                    place: "list.txt:9".into(),
                    url: "http://a/2".into(),
                    ..Entry::default()
                },
            ]
        );
    }

    #[test]
    fn an_error_names_file_and_line() {
        assert_eq!(
            refused("\n  out=x"),
            "partwise: error: list.txt:2: expected a URL before its options"
        );
        assert_eq!(
            refused("http://a/\n  split=5"),
            "partwise: error: list.txt:2: option split: expected out, dir or checksum"
        );
        assert_eq!(
            refused("http://a/\n out="),
            "partwise: error: list.txt:2: out=: expected a value"
        );
        assert!(refused("http://a/\n out=-").contains("list.txt:2: out=-: "));
        assert!(refused("http://a/\n secret").contains("list.txt:2: expected out=FILE"));
    }

    #[test]
    fn what_is_no_text_is_refused_with_its_line() {
        let failure = parse("list.txt", b"http://a/\n\xff").expect_err("not UTF-8");
        assert_eq!(
            failure.lines(Colour::Off),
            "partwise: error: list.txt:2: expected UTF-8 text"
        );
    }

    #[test]
    fn an_empty_file_is_an_empty_list() {
        assert_eq!(parse("list.txt", b"\n\n# nothing\n"), Ok(vec![]));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(content in "[ \t\r\n#=a-z:/\u{feff}é]*|\\PC*") {
            if let Ok(entries) = parse("list.txt", content.as_bytes()) {
                prop_assert!(entries.iter().all(|entry| !entry.url.is_empty()));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(content: Vec<u8>) {
            let _ = parse("list.txt", &content);
        }
    }
}
