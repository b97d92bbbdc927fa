//! SIGINT, SIGTERM and SIGHUP: the first signal requests a clean stop, a SIGINT after it exits at
//! once. One that is ignored when the command starts stays ignored.

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
        let ignored = Ignored::by_parent();
        let listen_to = |kind| match ignored.has(kind) {
            true => Ok(None),
            false => unix::signal(kind).map(Some).map_err(failed),
        };
        let interrupts = listen_to(SignalKind::interrupt())?;
        let terminations = listen_to(SignalKind::terminate())?;
        let hangups = listen_to(SignalKind::hangup())?;
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
    mut interrupts: Option<unix::Signal>,
    mut terminations: Option<unix::Signal>,
    mut hangups: Option<unix::Signal>,
    sender: watch::Sender<Option<Signal>>,
) {
    let first = tokio::select! {
        () = comes(&mut interrupts) => Signal::Interrupt,
        () = comes(&mut terminations) => Signal::Terminate,
        () = comes(&mut hangups) => Signal::Hangup,
    };
    sender.send_replace(Some(first));
    comes(&mut interrupts).await;
    first.exit().now()
}

/// Waits for the signal; for ever where it is ignored. Cancel safe.
async fn comes(signal: &mut Option<unix::Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// The signals that this process started with ignored, as SIGHUP is under `nohup`, and SIGINT in
/// the background jobs of a shell without job control.
struct Ignored {
    /// The lowest bit is that of signal 1.
    mask: u64,
}

impl Ignored {
    fn by_parent() -> Self {
        Self::read(&std::fs::read_to_string("/proc/self/status").unwrap_or_default())
    }

    /// Reads the text of `/proc/self/status`.
    fn read(status: &str) -> Self {
        let mask = status
            .lines()
            .find_map(|line| line.strip_prefix("SigIgn:"))
            .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
            .unwrap_or(0);
        Self { mask }
    }

    fn has(&self, kind: SignalKind) -> bool {
        (self.mask >> (kind.as_raw_value() - 1)) & 1 == 1
    }
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
    fn what_is_ignored_is_seen_in_the_mask() {
        let ignored = |status: &str| {
            let ignored = Ignored::read(status);
            let kinds = [SignalKind::hangup(), SignalKind::interrupt()];
            kinds.map(|kind| ignored.has(kind))
        };
        let status = "SigBlk:\t0000000000000000\nSigIgn:\t000000000000100";
        assert_eq!(ignored(&format!("{status}1\n")), [true, false]);
        assert_eq!(ignored(&format!("{status}2\n")), [false, true]);
        assert_eq!(ignored(&format!("{status}0\n")), [false, false]);
        assert_eq!(ignored("SigIgn:\tnonsense\n"), [false, false]);
        assert_eq!(ignored(""), [false, false]);
    }
}
