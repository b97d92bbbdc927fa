//! Prints the engine's traces on standard error.

use std::io::{self, Write};

use indicatif::MultiProgress;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::exit::Failure;

/// The environment variable that sets the level. It overrides `-vv`.
const VARIABLE: &str = "PARTWISE_LOG";

/// The level at which partwise is traced. Other crates are never traced, because their output could
/// contain secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trace(LevelFilter);

impl Trace {
    /// Reads the level from the environment, or from the number of `-v` options. `None` if nothing
    /// is traced.
    ///
    /// # Errors
    ///
    /// Fails if `PARTWISE_LOG` is not a level.
    pub(crate) fn resolve(verbose: u8) -> Result<Option<Self>, Failure> {
        let level = match std::env::var_os(VARIABLE) {
            Some(text) if !text.is_empty() => parse(&text.to_string_lossy())?,
            _ => match verbose {
                0 | 1 => LevelFilter::OFF,
                2 => LevelFilter::DEBUG,
                _ => LevelFilter::TRACE,
            },
        };
        Ok((level != LevelFilter::OFF).then_some(Self(level)))
    }

    /// Starts tracing until the end of the process. Lines appear above the bars.
    pub(crate) fn start(self, bars: MultiProgress) {
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(move || AboveBars(bars.clone()))
            .with_ansi(false)
            .with_target(false)
            .with_span_events(FmtSpan::CLOSE)
            .with_filter(Targets::new().with_target("partwise", self.0));
        // Fails only if a subscriber is already set, which then receives the traces.
        let _ = tracing_subscriber::registry().with(layer).try_init();
    }
}

fn parse(text: &str) -> Result<LevelFilter, Failure> {
    text.parse().map_err(|_| {
        let expected = "`off`, `error`, `warn`, `info`, `debug` or `trace`";
        let why = format!("expected {expected}, found `{}`", text.escape_debug());
        Failure::usage(format!("the environment variable {VARIABLE}"), why)
    })
}

/// A writer to standard error that suspends the bars.
struct AboveBars(MultiProgress);

impl Write for AboveBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().lock().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}
