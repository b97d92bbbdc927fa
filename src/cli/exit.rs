//! Exit codes and the printed form of a failure. No other module knows them.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use partwise::{Error, ErrorKind};

use super::text;
use super::words::{self, SEE_HELP};

/// The exit code of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit(u8);

impl Exit {
    pub(crate) const SUCCESS: Self = Self(0);
    pub(crate) const UNEXPECTED: Self = Self(1);
    pub(crate) const USAGE: Self = Self(2);
    pub(crate) const NETWORK: Self = Self(3);
    pub(crate) const CHANGED: Self = Self(4);
    pub(crate) const CHECKSUM: Self = Self(5);
    pub(crate) const FILE: Self = Self(6);
    pub(crate) const REFUSED: Self = Self(7);
    pub(crate) const HANGUP: Self = Self(129);
    pub(crate) const INTERRUPT: Self = Self(130);
    pub(crate) const READER_GONE: Self = Self(141);
    pub(crate) const TERMINATE: Self = Self(143);

    /// The exit code as a number.
    pub(crate) fn code(self) -> u8 {
        self.0
    }

    /// Ends the process at once, even if work is under way.
    pub(crate) fn now(self) -> ! {
        std::process::exit(i32::from(self.0))
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}

impl From<ErrorKind> for Exit {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Usage => Self::USAGE,
            ErrorKind::Network => Self::NETWORK,
            ErrorKind::Changed => Self::CHANGED,
            ErrorKind::Checksum => Self::CHECKSUM,
            ErrorKind::File => Self::FILE,
            ErrorKind::Refused => Self::REFUSED,
            // What a shell says of a program that SIGPIPE ended.
            ErrorKind::ReaderGone => Self::READER_GONE,
            // If a signal stopped the download, the signal sets the code; SIGINT is the usual one.
            ErrorKind::Stopped => Self::INTERRUPT,
            _ => Self::UNEXPECTED,
        }
    }
}

/// Why the command failed, ready to be printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    hint: Option<String>,
    help: Option<String>,
}

impl Failure {
    /// A failure of the command itself. `what` failed because of `why`.
    pub(crate) fn new(exit: Exit, what: impl AsRef<str>, why: impl std::fmt::Display) -> Self {
        Self {
            exit,
            message: format!("{}: {why}", what.as_ref()),
            hint: None,
            help: None,
        }
    }

    /// A wrong command line. `what` names the wrong option, `why` what was expected.
    pub(crate) fn usage(what: impl AsRef<str>, why: impl std::fmt::Display) -> Self {
        Self::new(Exit::USAGE, what, why)
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Puts the place that the failure comes from, such as a line of a file, before the message.
    /// Changes nothing for an empty place.
    pub(crate) fn within(mut self, place: &str) -> Self {
        if !place.is_empty() {
            self.message = format!("{place}: {}", self.message);
        }
        self
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// What failed, and why.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// What to do now.
    pub(crate) fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The lines for standard error.
    pub(crate) fn lines(&self, colour: Colour) -> String {
        let mut lines = format!(
            "partwise: {} {}",
            colour.red("error:"),
            text::visible(&self.message)
        );
        if let Some(hint) = &self.hint {
            lines.push_str("\nhint: ");
            lines.push_str(&text::visible(hint));
        }
        if let Some(help) = &self.help {
            lines.push_str("\n\n");
            lines.push_str(help.trim_end());
        }
        lines
    }

    /// Prints the failure on standard error.
    pub(crate) fn print(self) -> Exit {
        // If standard error is closed, only the exit code reports the failure.
        let _ = writeln!(io::stderr().lock(), "{}", self.lines(Colour::of_stderr()));
        self.exit
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self {
            exit: error.kind().into(),
            message: words::message(error),
            hint: words::hint(error),
            help: None,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        use clap::error::ErrorKind as Clap;
        if error.kind() == Clap::DisplayHelpOnMissingArgumentOrSubcommand {
            return Self {
                help: Some(error.render().to_string()),
                ..Self::usage("command line", "no URL was given")
            };
        }
        let text = error.render().to_string();
        let mut paragraphs = text.split("\n\n");
        let what = paragraphs.next().map(one_line).unwrap_or_default();
        let tips: Vec<String> = paragraphs
            .map(one_line)
            .filter_map(|line| Some(line.strip_prefix("tip: ")?.to_owned()))
            .collect();
        let hint = if tips.is_empty() {
            SEE_HELP.to_owned()
        } else {
            tips.join("; ")
        };
        let what = without_secrets(what.strip_prefix("error: ").unwrap_or(&what));
        Self::usage("command line", what).with_hint(hint)
    }
}

/// Removes user information, query and fragment from every URL between quotes.
fn without_secrets(message: &str) -> String {
    let shown = |quoted: &str| match quoted.split_once("://") {
        Some((scheme, rest)) => {
            let rest = rest.split(['?', '#']).next().unwrap_or_default();
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}/{path}")
        }
        None => quoted.to_owned(),
    };
    message.split('\'').map(shown).collect::<Vec<_>>().join("'")
}

fn one_line(paragraph: &str) -> String {
    paragraph
        .lines()
        .map(str::trim)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Whether output may contain control sequences for colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    On,
    Off,
}

impl Colour {
    /// `On` if standard error is a terminal that understands colours and `NO_COLOR` is not set
    /// (<https://no-color.org>).
    pub(crate) fn of_stderr() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if unwanted || !stderr_is_terminal() {
            Self::Off
        } else {
            Self::On
        }
    }

    fn red(self, text: &str) -> String {
        match self {
            Self::On => format!("\u{1b}[31m{text}\u{1b}[0m"),
            Self::Off => text.to_owned(),
        }
    }
}

/// Whether standard error understands control sequences.
pub(crate) fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_the_code_of_the_contract() {
        for (kind, code) in [
            (ErrorKind::Unexpected, 1),
            (ErrorKind::Cancelled, 1),
            (ErrorKind::Usage, 2),
            (ErrorKind::Network, 3),
            (ErrorKind::Changed, 4),
            (ErrorKind::Checksum, 5),
            (ErrorKind::File, 6),
            (ErrorKind::Refused, 7),
            (ErrorKind::Stopped, 130),
            (ErrorKind::ReaderGone, 141),
        ] {
            assert_eq!(Exit::from(kind), Exit(code), "{kind:?}");
        }
    }

    #[test]
    fn a_failure_says_what_why_and_what_to_do() {
        let failure = Failure::new(Exit::FILE, "x.mp4", "disk\u{1b} full").with_hint("make room");
        assert_eq!(
            failure.lines(Colour::Off),
            "partwise: error: x.mp4: disk\\u{1b} full\nhint: make room"
        );
        assert_eq!(failure.exit(), Exit(6));
    }

    #[test]
    fn a_url_in_a_wrong_command_line_keeps_its_secrets() {
        assert_eq!(
            without_secrets("unexpected argument 'https://me:pw@h/a?sig=1' found"),
            "unexpected argument 'https://h/a' found"
        );
        assert_eq!(without_secrets("no '<URL>' given"), "no '<URL>' given");
    }

    #[test]
    fn only_the_word_error_is_coloured() {
        let failure = Failure::usage("--range", "no");
        assert_eq!(
            failure.lines(Colour::On),
            "partwise: \u{1b}[31merror:\u{1b}[0m --range: no"
        );
    }
}
