//! Whose turn it is: the runtime's thread goes first, blocking tasks touch the disk while it has
//! nothing to do.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, ThreadId};

use tokio::runtime::{Builder, Runtime};

/// See the module.
#[derive(Debug)]
pub(super) struct Turn {
    first: ThreadId,
    // Held to read or set it alone.
    first_is_idle: Mutex<bool>,
    changed: Condvar,
}

/// See [`Turn::ends`].
#[derive(Debug)]
pub(super) struct End(Arc<Turn>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.set_idle(true);
    }
}

impl Turn {
    /// A runtime of this very thread, its clock paused, and the order of turns in it.
    pub(super) fn runtime() -> (Runtime, Arc<Self>) {
        let turn = Arc::new(Self {
            first: thread::current().id(),
            first_is_idle: Mutex::new(false),
            changed: Condvar::new(),
        });
        let (parking, waking) = (Arc::clone(&turn), Arc::clone(&turn));
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .on_thread_park(move || parking.set_idle(true))
            .on_thread_unpark(move || waking.set_idle(false))
            .build();
        (runtime.unwrap(), turn)
    }

    /// Waits for this thread's turn.
    pub(super) fn wait(&self) {
        if thread::current().id() == self.first {
            return;
        }
        let idle = self.idle();
        drop(self.changed.wait_while(idle, |idle| !*idle).unwrap());
    }

    /// Lets everybody go on once the result is dropped: the first thread runs no task any more,
    /// were it for a panic. To be dropped before the runtime, which waits for everybody.
    pub(super) fn ends(self: &Arc<Self>) -> End {
        End(Arc::clone(self))
    }

    /// Only the runtime's own thread tells: others are parked as well.
    fn set_idle(&self, idle: bool) {
        if thread::current().id() == self.first {
            *self.idle() = idle;
            self.changed.notify_all();
        }
    }

    fn idle(&self) -> MutexGuard<'_, bool> {
        self.first_is_idle.lock().unwrap()
    }
}
