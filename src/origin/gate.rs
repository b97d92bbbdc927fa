//! A gate that every body byte passes. With it, a test can hold a download at a known byte.

use tokio::sync::watch;

/// Counts body bytes, and holds them past a limit.
pub(super) struct Gate {
    // A watch and not a mutex, because tasks wait for the gate to open and for a count.
    state: watch::Sender<State>,
}

#[derive(Clone, Copy)]
struct State {
    passed: u64,
    // INVARIANT: nothing passes unless `limit` is above `passed`.
    limit: u64,
}

impl Gate {
    pub(super) fn new(limit: Option<u64>) -> Self {
        Self {
            state: watch::Sender::new(State {
                passed: 0,
                limit: limit.unwrap_or(u64::MAX),
            }),
        }
    }

    /// Waits until bytes may pass, and returns how many of the `wanted` bytes did: at least one,
    /// unless `wanted` is 0.
    ///
    /// Not cancel safe: bytes that passed count as sent.
    pub(super) async fn pass(&self, wanted: u64) -> u64 {
        loop {
            let mut granted = 0;
            self.state.send_if_modified(|state| {
                granted = wanted.min(state.limit.saturating_sub(state.passed));
                state.passed += granted;
                granted > 0
            });
            if granted > 0 || wanted == 0 {
                return granted;
            }
            let mut open = self.state.subscribe();
            // The sender is in self, so this wait can't fail.
            let _ = open.wait_for(|state| state.passed < state.limit).await;
        }
    }

    pub(super) fn passed(&self) -> u64 {
        self.state.borrow().passed
    }

    pub(super) async fn wait_for(&self, total: u64) {
        let mut passed = self.state.subscribe();
        let _ = passed.wait_for(|state| state.passed >= total).await;
    }

    pub(super) fn hold(&self) {
        self.state.send_modify(|state| state.limit = state.passed);
    }

    pub(super) fn hold_after(&self, total: u64) {
        self.state.send_modify(|state| state.limit = total);
    }

    pub(super) fn release(&self) {
        self.state.send_modify(|state| state.limit = u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn not_one_byte_more_passes() {
        let gate = Gate::new(Some(10));
        assert_eq!(gate.pass(7).await, 7);
        assert_eq!(gate.pass(7).await, 3);
        let mut third = Box::pin(gate.pass(7));
        assert_eq!(third.as_mut().now_or_never(), None);
        gate.hold_after(11);
        assert_eq!(third.await, 1);
        gate.release();
        assert_eq!(gate.pass(7).await, 7);
        gate.wait_for(18).await;
        assert_eq!(gate.passed(), 18);
        gate.hold();
        assert_eq!(gate.pass(1).now_or_never(), None);
        assert_eq!(gate.wait_for(19).now_or_never(), None);
    }
}
