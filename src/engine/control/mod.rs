//! Holds what the caller wants and how far the engine has followed. Each side watches the other's
//! value.
//!
//! Both are values, not messages. A caller may drop the future that awaits a pause, and the pause
//! stays in force.

pub(crate) mod events;
pub(crate) mod shared;

use tokio::sync::watch;

/// What the caller wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Intent {
    /// Transfer.
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
    /// Requests may be active.
    Active,
    /// No request is active, and the checkpoint is committed if it can be written.
    Quiet,
    /// The download has ended.
    Ended,
}

/// The intent and the phase of one download.
#[derive(Debug)]
pub(crate) struct Control(watch::Sender<Status>);

/// What the caller wants, and how far the engine has followed.
// Both are in one value because each side decides by both. If each were read by itself, a pause
// right after a resume would wait for ever, and a resume right before the quiet phase would leave
// the phase quiet while requests are active.
#[derive(Clone, Copy, Debug)]
struct Status {
    intent: Intent,
    // INVARIANT: not `Quiet` where the intent is `Run`.
    phase: Phase,
}

impl Control {
    /// Starts with a download that runs.
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Status {
            intent: Intent::Run,
            phase: Phase::Active,
        }))
    }

    /// Sets the caller's intent. A stop can only become a cancel, and a cancel is final.
    ///
    /// The phase is active as soon as a pause ends. A later pause thus waits for the engine again.
    pub(crate) fn ask(&self, intent: Intent) {
        self.0.send_if_modified(|now| {
            let allowed = now.intent < Intent::Stop || intent > now.intent;
            let changes = allowed && now.intent != intent;
            if changes {
                now.intent = intent;
                if intent == Intent::Run && now.phase == Phase::Quiet {
                    now.phase = Phase::Active;
                }
            }
            changes
        });
    }

    /// The caller's current intent.
    pub(crate) fn intent(&self) -> Intent {
        self.0.borrow().intent
    }

    /// Waits until the intent is not [`Intent::Run`], and returns it.
    pub(crate) async fn halted(&self) -> Intent {
        self.intent_where(|now| now.intent != Intent::Run).await
    }

    /// Waits until the caller wants the download to end, and returns the intent.
    pub(crate) async fn ending(&self) -> Intent {
        self.intent_where(|now| now.intent >= Intent::Stop).await
    }

    async fn intent_where(&self, matches: impl Fn(&Status) -> bool) -> Intent {
        let mut status = self.0.subscribe();
        let found = status.wait_for(matches).await;
        // The sender lives as long as `self`, so the wait can't fail.
        found.map_or(Intent::Stop, |now| now.intent)
    }

    /// Declares that the engine is quiet, and waits for the pause to end. Returns the next intent,
    /// which is never a pause.
    pub(crate) async fn rest(&self) -> Intent {
        loop {
            self.0.send_if_modified(|now| {
                let becomes_quiet = now.intent == Intent::Pause && now.phase == Phase::Active;
                if becomes_quiet {
                    now.phase = Phase::Quiet;
                }
                becomes_quiet
            });
            // An active phase during a pause means that a resume came in between.
            let over = |now: &Status| now.intent != Intent::Pause || now.phase == Phase::Active;
            let intent = self.intent_where(over).await;
            if intent != Intent::Pause {
                return intent;
            }
        }
    }

    /// Declares that the engine has ended.
    pub(crate) fn end(&self) {
        self.0.send_modify(|now| now.phase = Phase::Ended);
    }

    /// Waits until the engine is quiet or has ended, and returns which.
    pub(crate) async fn settled(&self) -> Phase {
        self.phase_where(|phase| phase != Phase::Active).await
    }

    /// Waits until the engine has ended.
    pub(crate) async fn ended(&self) {
        self.phase_where(|phase| phase == Phase::Ended).await;
    }

    async fn phase_where(&self, matches: impl Fn(Phase) -> bool) -> Phase {
        let mut status = self.0.subscribe();
        let found = status.wait_for(|now| matches(now.phase)).await;
        // The sender lives as long as `self`, so the wait can't fail.
        found.map_or(Phase::Ended, |now| now.phase)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[test]
    fn stop_and_cancel_are_final() {
        let control = Control::new();
        control.ask(Intent::Pause);
        control.ask(Intent::Run);
        assert_eq!(control.intent(), Intent::Run);
        control.ask(Intent::Stop);
        control.ask(Intent::Run);
        assert_eq!(control.intent(), Intent::Stop);
        control.ask(Intent::Cancel);
        control.ask(Intent::Stop);
        assert_eq!(control.intent(), Intent::Cancel);
    }

    #[tokio::test]
    async fn a_wait_sees_an_earlier_intent() {
        let control = Control::new();
        control.ask(Intent::Pause);
        assert_eq!(control.halted().await, Intent::Pause);
        assert_eq!(control.rest().now_or_never(), None);
        assert_eq!(control.settled().await, Phase::Quiet);
        control.ask(Intent::Stop);
        assert_eq!(control.rest().await, Intent::Stop);
        assert_eq!(control.ending().await, Intent::Stop);
    }

    #[tokio::test]
    async fn a_pause_right_after_a_resume_settles() {
        let control = Control::new();
        control.ask(Intent::Pause);
        let mut rest = Box::pin(control.rest());
        assert_eq!((&mut rest).now_or_never(), None);
        control.ask(Intent::Run);
        control.ask(Intent::Pause);
        assert_eq!(control.settled().now_or_never(), None, "not asked yet");
        assert_eq!((&mut rest).now_or_never(), None);
        assert_eq!(control.settled().await, Phase::Quiet);
        control.ask(Intent::Run);
        assert_eq!(rest.await, Intent::Run);
    }

    #[tokio::test]
    async fn a_resume_before_the_quiet_phase_leaves_no_quiet_phase() {
        let control = Control::new();
        control.ask(Intent::Pause);
        control.ask(Intent::Run);
        assert_eq!(control.rest().await, Intent::Run);
        control.ask(Intent::Pause);
        assert_eq!(control.settled().now_or_never(), None, "requests continue");
    }
}
