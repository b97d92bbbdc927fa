//! Shows running downloads on standard error: as bars, lines or JSON.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::Instant;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use partwise::{ErrorKind, Event, Progress};
use serde::Serialize;

use super::exit::{Colour, Failure};
use super::pace::Pace;
use super::settings::Display;
use super::text;
use super::trace::Trace;
use super::trouble::Trouble;
use super::words;

/// Standard error, shared by all downloads of a run: bars at the bottom, lines above them.
#[derive(Debug)]
pub(crate) struct Console {
    display: Display,
    colour: Colour,
    bars: MultiProgress,
}

impl Console {
    pub(crate) fn new(display: Display) -> Self {
        let target = match display {
            Display::Bar => ProgressDrawTarget::stderr_with_hz(10),
            _ => ProgressDrawTarget::hidden(),
        };
        Self {
            display,
            colour: Colour::of_stderr(),
            bars: MultiProgress::with_draw_target(target),
        }
    }

    /// Prints a line, above the bars if there are any.
    pub(crate) fn line(&self, line: &str) {
        // If standard error is closed, the line has no other place.
        self.bars.suspend(|| {
            let _ = writeln!(io::stderr().lock(), "{line}");
        });
    }

    /// Starts `trace`, with its lines above the bars.
    pub(crate) fn trace(&self, trace: Trace) {
        trace.start(self.bars.clone());
    }

    pub(crate) fn failure(&self, failure: &Failure) {
        self.line(&failure.lines(self.colour));
    }

    /// Starts to show one download. `place` is its place in a list of several.
    pub(crate) fn view(
        &self,
        label: String,
        place: Option<PlaceInList>,
        verbosity: Verbosity,
    ) -> View<'_> {
        let face = match self.display {
            Display::Bar => Face::Bar(self.bars.add(bar(&label))),
            Display::Lines { opening } => Face::Lines {
                opening,
                pace: Pace::default(),
            },
            Display::Json => Face::Json,
            Display::Notices => Face::Notices,
            Display::Quiet => Face::Quiet,
        };
        View {
            console: self,
            label,
            place,
            verbosity,
            is_offline: false,
            trouble: Trouble::default(),
            face,
        }
    }
}

/// How many notices to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verbosity {
    Normal,
    Verbose,
}

/// One download's place on the console. Dropping it removes its bar.
#[derive(Debug)]
pub(crate) struct View<'a> {
    console: &'a Console,
    label: String,
    place: Option<PlaceInList>,
    verbosity: Verbosity,
    /// Whether the network is gone.
    is_offline: bool,
    trouble: Trouble,
    face: Face,
}

#[derive(Debug)]
enum Face {
    Bar(ProgressBar),
    Lines { opening: bool, pace: Pace },
    Json,
    Notices,
    Quiet,
}

impl View<'_> {
    /// Shows an event. `coverage` returns how much of each of that many equal ranges is complete,
    /// in percent.
    pub(crate) fn show(&mut self, event: &Event, coverage: impl FnOnce(usize) -> Vec<u8>) {
        self.is_offline = match event {
            Event::Offline => true,
            Event::Progress(progress) => self.is_offline && progress.new_bytes == 0,
            Event::Online { .. } => false,
            _ => self.is_offline,
        };
        if let Some(notice) = self.trouble.notice(event, Instant::now())
            && self.tells_trouble()
        {
            self.say(&notice);
        }
        match (&mut self.face, event) {
            (Face::Quiet, _) => {}
            (Face::Json, Event::Failed(error)) if error.kind() == ErrorKind::ReaderGone => {}
            (Face::Json, Event::Failed(error)) => self.json(&FailedLine::of(&error.into())),
            (Face::Json, Event::Finished(report)) => {
                let report = Box::new(words::report((**report).clone()));
                // The report has the path already.
                if let Some(place) = &mut self.place {
                    place.output = None;
                }
                self.json(&Event::Finished(report));
            }
            (Face::Json, _) => self.json(event),
            (Face::Bar(bar), Event::Progress(progress)) => {
                let state = match self.is_offline {
                    true => WAITING.to_owned(),
                    false if self.trouble.is_told() => NO_ANSWER.to_owned(),
                    false => state(progress),
                };
                bar.set_message(format!("{}  {state}", self.label));
                bar.set_prefix(text::strip(&coverage(STRIP_CELLS)));
            }
            (
                Face::Bar(bar),
                Event::Verifying {
                    verified_bytes,
                    total_bytes,
                },
            ) => {
                bar.set_message(format!(
                    "{}  {}",
                    self.label,
                    verifying(*verified_bytes, *total_bytes)
                ));
            }
            (Face::Bar(bar), Event::Offline) => {
                bar.set_message(format!("{}  {WAITING}", self.label));
            }
            (Face::Bar(_), Event::Online { .. }) => {}
            (Face::Lines { pace, .. }, Event::Progress(progress)) => {
                if pace.is_due(Instant::now(), progress) {
                    self.say(&state(progress));
                }
            }
            _ => {
                if let Some(notice) = self.notice(event) {
                    self.say(&notice);
                }
            }
        }
    }

    /// Whether failed attempts have no lines of their own.
    fn tells_trouble(&self) -> bool {
        self.verbosity == Verbosity::Normal && !matches!(self.face, Face::Json | Face::Quiet)
    }

    fn say(&self, what: &str) {
        self.console.line(&format!("{}: {what}", self.label));
    }

    fn json(&self, event: &impl Serialize) {
        let line = JsonLine {
            event,
            place: self.place.as_ref(),
        };
        // Only a path that is not UTF-8 can't be written as JSON.
        if let Ok(line) = text::json(&line) {
            self.console.line(&line);
        }
    }

    /// The line for an event, if it has one.
    fn notice(&self, event: &Event) -> Option<String> {
        let told = !matches!(self.face, Face::Notices);
        let verbose = self.verbosity == Verbosity::Verbose;
        Some(match event {
            Event::Probed { length, ranges, .. }
                if told && (verbose || matches!(self.face, Face::Lines { opening: true, .. })) =>
            {
                let length = length.map_or_else(|| "length unknown".to_owned(), text::bytes);
                let ranges = if *ranges {
                    ""
                } else {
                    ", no byte ranges: one stream, no resume"
                };
                format!("{length}{ranges}")
            }
            Event::Resumed { bytes, parts } if told => {
                format!(
                    "resuming: {} in {} complete",
                    text::bytes(*bytes),
                    text::count(u64::from(*parts), "part")
                )
            }
            Event::Verifying {
                verified_bytes: 0,
                total_bytes,
            } if told => {
                format!(
                    "reading back {} from an earlier run",
                    text::bytes(*total_bytes)
                )
            }
            Event::Offline => WAITING.to_owned(),
            Event::Refreshed => "going on under a fresh URL".to_owned(),
            Event::Online { gone } => {
                format!("the network is back after {}", text::duration(*gone))
            }
            Event::Restarted { reason } => format!("starting over: {}", text::visible(reason)),
            Event::Retrying {
                part,
                reason,
                delay,
            } if verbose => {
                let (reason, delay) = (text::visible(reason), text::duration(*delay));
                format!("part {part}: {reason}; retrying in {delay}")
            }
            Event::Warning { message } => format!("warning: {}", text::visible(message)),
            _ => return None,
        })
    }
}

impl Drop for View<'_> {
    fn drop(&mut self) {
        if let Face::Bar(bar) = &self.face {
            bar.finish_and_clear();
            self.console.bars.remove(bar);
        }
    }
}

const STRIP_CELLS: usize = 64;
const WAITING: &str = "waiting for the network";
const NO_ANSWER: &str = "nothing comes; trying again";

fn bar(label: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_msg}\n{prefix}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    ProgressBar::no_length()
        .with_style(style)
        .with_message(format!("{label}  connecting"))
}

fn state(progress: &Progress) -> String {
    let mut state = String::new();
    match progress.total_bytes {
        Some(total) => {
            let percent = text::percent(progress.completed_bytes, total);
            let _ = write!(
                state,
                "{} of {}  {percent} %",
                text::bytes(progress.completed_bytes),
                text::bytes(total)
            );
        }
        None => state.push_str(&text::bytes(progress.completed_bytes)),
    }
    let connections = text::count(u64::from(progress.connections), "connection");
    let _ = write!(
        state,
        "  {}  {connections}",
        text::rate(progress.bytes_per_second)
    );
    if let Some(seconds) = progress.eta_seconds {
        let _ = write!(state, "  {} left", text::seconds(seconds));
    }
    state
}

fn verifying(done: u64, total: u64) -> String {
    format!(
        "reading back {}  {} %",
        text::bytes(total),
        text::percent(done, total)
    )
}

/// The event of a failed download, with what the command adds: its exit code and its hint.
#[derive(Serialize)]
struct FailedLine {
    event: &'static str,
    code: u8,
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl FailedLine {
    fn of(failure: &Failure) -> Self {
        Self {
            event: "failed",
            code: failure.exit().code(),
            error: failure.message().to_owned(),
            hint: failure.hint().map(str::to_owned),
        }
    }
}

#[derive(Serialize)]
struct JsonLine<'a, E> {
    #[serde(flatten)]
    event: &'a E,
    #[serde(flatten)]
    place: Option<&'a PlaceInList>,
}

/// Which of several downloads an event is of.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PlaceInList {
    /// Position in the list, from 0.
    pub(crate) file: usize,
    /// Path of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) output: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::super::exit::Exit;
    use super::*;
    use partwise::ValidatorKind;

    fn progress(completed: u64, total: Option<u64>) -> Progress {
        let mut progress = Progress::default();
        progress.completed_bytes = completed;
        progress.total_bytes = total;
        progress.bytes_per_second = 320 << 20;
        progress.connections = 8;
        progress.eta_seconds = Some(2);
        progress
    }

    #[test]
    fn a_state_is_a_line_without_control_sequences() {
        let line = state(&progress(512 << 20, Some(1 << 30)));
        assert_eq!(
            line,
            "512 MiB of 1.00 GiB  50 %  320 MiB/s  8 connections  2 s left"
        );
        assert!(state(&progress(512 << 20, None)).starts_with("512 MiB  320 MiB/s"));
    }

    #[test]
    fn the_length_is_told_before_the_first_byte_where_lines_have_an_opening() {
        let probed = Event::Probed {
            length: Some(2 << 20),
            validator: ValidatorKind::None,
            part_size: 1 << 20,
            parts: 2,
            ranges: true,
        };
        for (opening, told) in [(true, Some("2.00 MiB")), (false, None)] {
            let console = Console::new(Display::Lines { opening });
            let view = console.view("v".to_owned(), None, Verbosity::Normal);
            assert_eq!(view.notice(&probed).as_deref(), told);
        }
    }

    #[test]
    fn an_event_is_a_line_of_json() {
        let event = Event::Restarted {
            reason: "etag \u{9b}\"a\"".to_owned(),
        };
        let alone = text::json(&JsonLine {
            event: &event,
            place: None,
        })
        .expect("JSON");
        assert_eq!(
            alone,
            r#"{"event":"restarted","reason":"etag \u009b\"a\""}"#
        );
        let failure = Failure::new(Exit::NETWORK, "x", "lost").with_hint("run again");
        let failed = text::json(&JsonLine {
            event: &FailedLine::of(&failure),
            place: None,
        });
        assert_eq!(
            failed.expect("JSON"),
            r#"{"event":"failed","code":3,"error":"x: lost","hint":"run again"}"#
        );
        let event = Event::Progress(progress(1, Some(2)));
        let second = text::json(&JsonLine {
            event: &event,
            place: Some(&PlaceInList {
                file: 2,
                output: Some("d/x".to_owned()),
            }),
        })
        .expect("JSON");
        assert_eq!(
            second,
            r#"{"event":"progress","completed_bytes":1,"total_bytes":2,"bytes_per_second":335544320,"connections":8,"eta_seconds":2,"file":2,"output":"d/x"}"#
        );
    }
}
