//! What the caller wants and how far the engine has followed: two levels, each watched by the other side.
//!
//! Both are levels and not messages, so that nothing is lost when a caller drops a future half-way: a pause
//! that nobody awaits any more is still a pause.

use tokio::sync::watch;

/// What the caller wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wish {
    Run,
    /// End all transfers, commit, and wait.
    Pause,
    /// End all transfers, commit, and end.
    Stop,
    /// End all transfers, remove what was written, and end.
    Cancel,
}

/// How far the engine has followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Active,
    /// No request is under way and the checkpoint is committed.
    Quiet,
    Ended,
}

/// The two levels of one download.
#[derive(Debug)]
pub(crate) struct Control {
    wish: watch::Sender<Wish>,
    phase: watch::Sender<Phase>,
}

impl Control {
    pub(crate) fn new() -> Self {
        Self {
            wish: watch::Sender::new(Wish::Run),
            phase: watch::Sender::new(Phase::Active),
        }
    }

    /// Asks for `wish`. A stop can only become a cancel, and a cancel is final.
    pub(crate) fn ask(&self, wish: Wish) {
        self.wish.send_if_modified(|now| {
            let allowed = *now < Wish::Stop || wish > *now;
            let changes = allowed && *now != wish;
            if changes {
                *now = wish;
            }
            changes
        });
    }

    /// Ends a pause. The engine counts as active at once, so that a later pause waits for it anew.
    pub(crate) fn resume(&self) {
        self.phase.send_if_modified(|phase| {
            let quiet = *phase == Phase::Quiet;
            if quiet {
                *phase = Phase::Active;
            }
            quiet
        });
        self.ask(Wish::Run);
    }

    pub(crate) fn wish(&self) -> Wish {
        *self.wish.borrow()
    }

    /// Waits until the caller wants something else than to run.
    pub(crate) async fn halted(&self) -> Wish {
        self.wish_where(|wish| wish != Wish::Run).await
    }

    /// Waits until the caller wants the download to end.
    pub(crate) async fn ending(&self) -> Wish {
        self.wish_where(|wish| wish >= Wish::Stop).await
    }

    /// Waits until the caller wants something else than to pause.
    pub(crate) async fn unpaused(&self) -> Wish {
        self.wish_where(|wish| wish != Wish::Pause).await
    }

    async fn wish_where(&self, matches: impl Fn(Wish) -> bool) -> Wish {
        let mut wishes = self.wish.subscribe();
        let found = wishes.wait_for(|wish| matches(*wish)).await;
        // The sender lives as long as `self`, so the wait can't fail.
        found.map_or(Wish::Stop, |wish| *wish)
    }

    /// The engine's side: says how far it is.
    pub(crate) fn reached(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// Waits until the engine is quiet or has ended, and says which.
    pub(crate) async fn settled(&self) -> Phase {
        let mut phases = self.phase.subscribe();
        let found = phases.wait_for(|phase| *phase != Phase::Active).await;
        found.map_or(Phase::Ended, |phase| *phase)
    }

    /// Waits until the engine has ended.
    pub(crate) async fn ended(&self) {
        let mut phases = self.phase.subscribe();
        // An error means that the engine is gone, which is an end as well.
        let _ = phases.wait_for(|phase| *phase == Phase::Ended).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_final() {
        let control = Control::new();
        control.ask(Wish::Pause);
        control.ask(Wish::Run);
        assert_eq!(control.wish(), Wish::Run);
        control.ask(Wish::Stop);
        control.ask(Wish::Run);
        assert_eq!(control.wish(), Wish::Stop);
        control.ask(Wish::Cancel);
        control.ask(Wish::Stop);
        assert_eq!(control.wish(), Wish::Cancel);
    }

    #[tokio::test]
    async fn waiting_sees_what_was_asked_before() {
        let control = Control::new();
        control.ask(Wish::Pause);
        assert_eq!(control.halted().await, Wish::Pause);
        control.reached(Phase::Quiet);
        assert_eq!(control.settled().await, Phase::Quiet);
        control.ask(Wish::Stop);
        assert_eq!(control.unpaused().await, Wish::Stop);
        assert_eq!(control.ending().await, Wish::Stop);
    }
}
