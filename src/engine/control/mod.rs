//! What the caller wants and how far the engine has followed: two levels, each watched by the other side.
//!
//! Both are levels and not messages, so that nothing is lost when a caller drops a future half-way: a pause
//! that nobody awaits any more is still a pause.

pub(crate) mod events;
pub(crate) mod shared;

use tokio::sync::watch;

/// What the caller wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Intent {
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
pub(crate) struct Control(watch::Sender<Levels>);

// In one value, because each side judges by both: where they are read one after the other, a pause that follows a resume
// at once waits for ever, or a resume that comes before the quiet leaves a quiet that is none.
#[derive(Clone, Copy, Debug)]
struct Levels {
    intent: Intent,
    // INVARIANT: `Quiet` only where the intent is not `Run`.
    phase: Phase,
}

impl Control {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Levels {
            intent: Intent::Run,
            phase: Phase::Active,
        }))
    }

    /// Asks for `intent`. A stop can only become a cancel, and a cancel is final.
    ///
    /// Where a pause ends, the engine counts as active at once, so that a later pause waits for it anew.
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

    pub(crate) fn intent(&self) -> Intent {
        self.0.borrow().intent
    }

    /// Waits until the caller wants something else than to run.
    pub(crate) async fn halted(&self) -> Intent {
        self.intent_where(|now| now.intent != Intent::Run).await
    }

    /// Waits until the caller wants the download to end.
    pub(crate) async fn ending(&self) -> Intent {
        self.intent_where(|now| now.intent >= Intent::Stop).await
    }

    async fn intent_where(&self, matches: impl Fn(&Levels) -> bool) -> Intent {
        let mut levels = self.0.subscribe();
        let found = levels.wait_for(matches).await;
        // The sender lives as long as `self`, so the wait can't fail.
        found.map_or(Intent::Stop, |now| now.intent)
    }

    /// The engine's side: all is quiet, and stays so for as long as the caller wants a pause. Returns what is wanted
    /// instead; it is never a pause.
    pub(crate) async fn rest(&self) -> Intent {
        loop {
            self.0.send_if_modified(|now| {
                let becomes_quiet = now.intent == Intent::Pause && now.phase == Phase::Active;
                if becomes_quiet {
                    now.phase = Phase::Quiet;
                }
                becomes_quiet
            });
            // Active again, and yet a pause: there was a resume in between, and nothing has been begun since.
            let over = |now: &Levels| now.intent != Intent::Pause || now.phase == Phase::Active;
            let intent = self.intent_where(over).await;
            if intent != Intent::Pause {
                return intent;
            }
        }
    }

    /// The engine's side: it has ended.
    pub(crate) fn end(&self) {
        self.0.send_modify(|now| now.phase = Phase::Ended);
    }

    /// Waits until the engine is quiet or has ended, and says which.
    pub(crate) async fn settled(&self) -> Phase {
        self.phase_where(|phase| phase != Phase::Active).await
    }

    /// Waits until the engine has ended.
    pub(crate) async fn ended(&self) {
        self.phase_where(|phase| phase == Phase::Ended).await;
    }

    async fn phase_where(&self, matches: impl Fn(Phase) -> bool) -> Phase {
        let mut levels = self.0.subscribe();
        let found = levels.wait_for(|now| matches(now.phase)).await;
        // The sender lives as long as `self`, so the wait can't fail.
        found.map_or(Phase::Ended, |now| now.phase)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[test]
    fn an_end_is_final() {
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
    async fn waiting_sees_what_was_asked_before() {
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
    async fn a_resume_that_comes_before_the_quiet_leaves_nothing_that_looks_like_it() {
        let control = Control::new();
        control.ask(Intent::Pause);
        control.ask(Intent::Run);
        assert_eq!(control.rest().await, Intent::Run);
        control.ask(Intent::Pause);
        assert_eq!(control.settled().now_or_never(), None, "requests go on");
    }
}
