//! Orders the steps of the disk: a blocking task takes one only while the runtime's thread is idle.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, ThreadId};

use tokio::runtime::{Builder, Runtime};

/// A gate for blocking tasks, which is open while the runtime's thread is idle.
#[derive(Debug)]
pub(super) struct IdleGate {
    /// The runtime's thread.
    runtime: ThreadId,
    // Held to read or set it only.
    is_idle: Mutex<bool>,
    changed: Condvar,
}

/// Opens a gate for good when it is dropped.
#[derive(Debug)]
pub(super) struct OpenOnDrop(Arc<IdleGate>);

impl Drop for OpenOnDrop {
    fn drop(&mut self) {
        self.0.set_idle(true);
    }
}

impl IdleGate {
    /// Creates a runtime on the current thread with a paused clock, and the gate for its blocking
    /// tasks.
    pub(super) fn runtime() -> (Runtime, Arc<Self>) {
        let gate = Arc::new(Self {
            runtime: thread::current().id(),
            is_idle: Mutex::new(false),
            changed: Condvar::new(),
        });
        let (parking, waking) = (Arc::clone(&gate), Arc::clone(&gate));
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .on_thread_park(move || parking.set_idle(true))
            .on_thread_unpark(move || waking.set_idle(false))
            .build();
        (runtime.unwrap(), gate)
    }

    /// Waits until the gate is open. The runtime's own thread never waits.
    pub(super) fn wait(&self) {
        if thread::current().id() == self.runtime {
            return;
        }
        let idle = self.idle();
        drop(self.changed.wait_while(idle, |idle| !*idle).unwrap());
    }

    /// Opens the gate for good once the result is dropped, because the runtime runs no task any
    /// more, perhaps after a panic.
    ///
    /// Drop the result before the runtime, which waits for its blocking tasks.
    pub(super) fn open_on_drop(self: &Arc<Self>) -> OpenOnDrop {
        OpenOnDrop(Arc::clone(self))
    }

    /// Opens or closes the gate. Other threads park as well, and are ignored.
    fn set_idle(&self, idle: bool) {
        if thread::current().id() == self.runtime {
            *self.idle() = idle;
            self.changed.notify_all();
        }
    }

    fn idle(&self) -> MutexGuard<'_, bool> {
        self.is_idle.lock().unwrap()
    }
}
