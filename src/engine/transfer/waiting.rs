//! Counts the bodies that have more to bring and wait for a lease.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The bodies of one transfer that wait.
#[derive(Debug, Default)]
pub(super) struct WaitingBodies(Arc<AtomicU32>);

/// Counts a body as waiting until it is dropped.
#[derive(Debug)]
pub(super) struct WaitingBody(Arc<AtomicU32>);

impl WaitingBodies {
    pub(super) fn one(&self) -> WaitingBody {
        self.0.fetch_add(1, Ordering::Relaxed);
        WaitingBody(Arc::clone(&self.0))
    }

    pub(super) fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for WaitingBody {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
