//! SIGINT, SIGTERM and SIGHUP: the first signal requests a clean stop, a SIGINT after it exits at
//! once.

use std::io;

use tokio::signal::unix::{self, SignalKind};
use tokio::sync::watch;

use super::exit::{Exit, Failure};

/// A signal that asks the command to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Hangup,
    Interrupt,
    Terminate,
}

impl Signal {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hangup => "SIGHUP",
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }

    /// The exit code for the signal: 128 plus its number.
    pub(crate) fn exit(self) -> Exit {
        match self {
            Self::Hangup => Exit::HANGUP,
            Self::Interrupt => Exit::INTERRUPT,
            Self::Terminate => Exit::TERMINATE,
        }
    }
}

/// The first signal that arrived, for all tasks that must stop at it.
#[derive(Clone, Debug)]
pub(crate) struct Signals {
    // INVARIANT: the sender lives in the listening task, which ends with the process.
    first: watch::Receiver<Option<Signal>>,
}

impl Signals {
    /// Starts to listen. From now on these signals do not end the process by themselves.
    ///
    /// # Errors
    ///
    /// Fails if the handlers can't be installed.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::new(Exit::UNEXPECTED, "listen to signals", error);
        let interrupts = unix::signal(SignalKind::interrupt()).map_err(failed)?;
        let terminations = unix::signal(SignalKind::terminate()).map_err(failed)?;
        let hangups = if hangup_is_ignored() {
            None
        } else {
            Some(unix::signal(SignalKind::hangup()).map_err(failed)?)
        };
        let (sender, first) = watch::channel(None);
        tokio::spawn(listen(interrupts, terminations, hangups, sender));
        Ok(Self { first })
    }

    /// The first signal, if one has arrived.
    pub(crate) fn arrived(&self) -> Option<Signal> {
        *self.first.borrow()
    }

    /// Waits for the first signal. Cancel safe.
    pub(crate) async fn stop(&mut self) -> Signal {
        match self
            .first
            .wait_for(Option::is_some)
            .await
            .map(|signal| *signal)
        {
            Ok(Some(signal)) => signal,
            _ => std::future::pending().await,
        }
    }
}

async fn listen(
    mut interrupts: unix::Signal,
    mut terminations: unix::Signal,
    mut hangups: Option<unix::Signal>,
    sender: watch::Sender<Option<Signal>>,
) {
    let hangup = async {
        match &mut hangups {
            Some(hangups) => hangups.recv().await,
            None => std::future::pending().await,
        }
    };
    let first = tokio::select! {
        _ = interrupts.recv() => Signal::Interrupt,
        _ = terminations.recv() => Signal::Terminate,
        _ = hangup => Signal::Hangup,
    };
    sender.send_replace(Some(first));
    interrupts.recv().await;
    first.exit().now()
}

/// Whether this process started with SIGHUP ignored, as under `nohup`.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignores_hangup(&status)
}

/// Reads the mask of ignored signals from the text of `/proc/self/status`; SIGHUP is its lowest
/// bit.
fn ignores_hangup(status: &str) -> bool {
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_128_and_the_number() {
        assert_eq!(Signal::Hangup.exit(), Exit::HANGUP);
        assert_eq!(Signal::Interrupt.exit(), Exit::INTERRUPT);
        assert_eq!(Signal::Terminate.exit(), Exit::TERMINATE);
    }

    #[test]
    fn nohup_is_seen_in_the_mask() {
        assert!(ignores_hangup(
            "SigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n"
        ));
        assert!(!ignores_hangup("SigIgn:\t0000000000001000\n"));
        assert!(!ignores_hangup("SigIgn:\tnonsense\n"));
        assert!(!ignores_hangup(""));
    }
}
