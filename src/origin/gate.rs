//! The gate that every body byte passes, so that a test can stop a download at a known point.

use tokio::sync::watch;

/// Counts body bytes and, where asked to, holds them.
pub(super) struct Gate {
    // A watch and not a mutex: who waits for the gate to open and who waits for a count both need to be woken.
    state: watch::Sender<State>,
}

#[derive(Clone, Copy)]
struct State {
    passed: u64,
    // INVARIANT: nothing passes while this is not above `passed`.
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

    /// Waits until the gate lets something through, takes at most `wanted` of it and returns how much that is.
    /// Never 0 unless `wanted` is.
    ///
    /// Not cancel safe: what was let through counts as served.
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
            // The sender lives in self, so this can't fail before it holds.
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
