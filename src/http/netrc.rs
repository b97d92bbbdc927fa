//! The `netrc` file: a user and password per machine.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::HttpError;
use super::source::UserInfo;

/// The longest netrc file that is read, in bytes.
const LONGEST_FILE: u64 = 1 << 20;

/// The entries of a netrc file.
pub(super) struct Netrc {
    // INVARIANT: only the last entry, the `default`, may have no machine.
    entries: Vec<NetrcEntry>,
}

#[derive(Default)]
struct NetrcEntry {
    machine: Option<String>,
    login: Option<String>,
    password: Option<String>,
}

impl Netrc {
    /// Reads `$NETRC`, else `~/.netrc`. If the latter is missing, there are no entries.
    ///
    /// # Errors
    ///
    /// `Configuration` if the file can't be read or its syntax is broken.
    pub(super) fn read() -> Result<Self, HttpError> {
        let (file, is_named) = match env::var_os("NETRC") {
            Some(file) => (PathBuf::from(file), true),
            None => match env::home_dir() {
                Some(home) => (home.join(".netrc"), false),
                None => return Ok(Self::empty()),
            },
        };
        match read_limited(&file) {
            Ok(text) => Self::parse(&text).map_err(|why| {
                HttpError::configuration(format!("{} is no netrc file: {why}", file.display()))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_named => Ok(Self::empty()),
            Err(error) => Err(HttpError::configuration(format!(
                "cannot read the netrc file {}: {error}",
                file.display()
            ))
            .with_source(error)),
        }
    }

    /// User and password for a host, from the first entry that matches.
    pub(super) fn find(&self, host: &str) -> Option<UserInfo> {
        let entry = self.entries.iter().find(|entry| {
            entry
                .machine
                .as_ref()
                .is_none_or(|machine| machine.eq_ignore_ascii_case(host))
        })?;
        Some(UserInfo {
            name: entry.login.clone()?,
            password: entry.password.clone(),
        })
    }

    fn empty() -> Self {
        Self {
            entries: Vec::new(),
        }
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let mut tokens = Tokens { rest: text };
        let mut entries: Vec<NetrcEntry> = Vec::new();
        while let Some(word) = tokens.next()? {
            let mut value = || tokens.next()?.ok_or("a keyword without its value");
            match word.as_str() {
                "machine" => entries.push(NetrcEntry {
                    machine: Some(value()?),
                    ..NetrcEntry::default()
                }),
                "default" => entries.push(NetrcEntry::default()),
                "login" => entries.last_mut().ok_or(ORPHAN)?.login = Some(value()?),
                "password" => entries.last_mut().ok_or(ORPHAN)?.password = Some(value()?),
                "account" => drop(value()?),
                "macdef" => tokens.skip_macro(),
                // The word may be a misplaced password: do not repeat it.
                _ => return Err("an unknown keyword"),
            }
        }
        if let Some(default) = entries.iter().position(|entry| entry.machine.is_none()) {
            entries.truncate(default + 1);
        }
        Ok(Self { entries })
    }
}

const ORPHAN: &str = "a login or password before any machine";

fn read_limited(file: &Path) -> io::Result<String> {
    if fs::metadata(file)?.len() > LONGEST_FILE {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    fs::read_to_string(file)
}

/// Splits a netrc file into words at white space. `"…"` with backslash escapes is one word; a word
/// that begins with `#` begins a comment.
struct Tokens<'a> {
    rest: &'a str,
}

impl Tokens<'_> {
    fn next(&mut self) -> Result<Option<String>, &'static str> {
        self.rest = self.rest.trim_start();
        while self.rest.starts_with('#') {
            self.skip_line();
            self.rest = self.rest.trim_start();
        }
        if let Some(quoted) = self.rest.strip_prefix('"') {
            return self.quoted(quoted).map(Some);
        }
        let end = self
            .rest
            .find(char::is_whitespace)
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok((!word.is_empty()).then(|| word.to_owned()))
    }

    fn quoted(&mut self, text: &str) -> Result<String, &'static str> {
        let mut word = String::new();
        let mut characters = text.char_indices();
        while let Some((position, c)) = characters.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[position + 2..];
                    return Ok(word);
                }
                '\\' => match characters.next() {
                    Some((_, 'n')) => word.push('\n'),
                    Some((_, 'r')) => word.push('\r'),
                    Some((_, 't')) => word.push('\t'),
                    Some((_, escaped)) => word.push(escaped),
                    None => break,
                },
                _ => word.push(c),
            }
        }
        Err("a quoted word without its end")
    }

    fn skip_line(&mut self) {
        self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest);
    }

    /// A macro ends with an empty line.
    fn skip_macro(&mut self) {
        while !self.rest.is_empty() {
            self.skip_line();
            let line = self.rest.split('\n').next().unwrap_or_default();
            if line.trim().is_empty() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(file: &str, host: &str) -> Option<(String, Option<String>)> {
        let user = Netrc::parse(file).unwrap().find(host)?;
        Some((user.name, user.password))
    }

    fn pair(name: &str, password: &str) -> Option<(String, Option<String>)> {
        Some((name.to_owned(), Some(password.to_owned())))
    }

    #[test]
    fn table() {
        let file = "# machine no login x\nmachine a.example login u password p\nmachine B\n  login \"u 2\" account x\n  \
                    password \"p\\\"2\\\\\"\nmacdef init\nmachine m login no password no\n\nmachine c password only\n\
                    default login d password dp\nmachine late login l password lp\n";
        let cases = [
            ("a.example", pair("u", "p")),
            ("A.EXAMPLE", pair("u", "p")),
            ("b", pair("u 2", "p\"2\\")),
            ("m", pair("d", "dp")),
            ("c", None),
            ("no", pair("d", "dp")),
            ("late", pair("d", "dp")),
        ];
        for (host, expected) in cases {
            assert_eq!(found(file, host), expected, "{host}");
        }
        assert_eq!(found("machine a login u", "b"), None);
        assert_eq!(
            found("machine a login u", "a"),
            Some(("u".to_owned(), None))
        );
        assert_eq!(found("", "a"), None);
    }

    #[test]
    fn broken_files_are_refused() {
        for file in [
            "login x",
            "machine",
            "machine a hunter2",
            "machine a password \"x",
        ] {
            let why = Netrc::parse(file).err().unwrap();
            assert!(!why.contains("hunter2"), "{why}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "(machine|login|password|macdef|default|\"|\\\\|#|\n| |\\PC){0,40}") {
            let _ = Netrc::parse(&text).map(|netrc| netrc.find("a"));
        }
    }
}
