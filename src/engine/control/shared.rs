//! The state that a running download shares with its handle.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures::future::BoxFuture;

use super::Control;
use super::events::EventBus;
use crate::engine::schedule::dispatcher::Dispatcher;
use crate::error::Error;
use crate::report::Samples;

/// Removes what a stopped download left.
pub(crate) type Remove = Box<dyn Fn() -> BoxFuture<'static, Result<(), Error>> + Send + Sync>;

/// The state that a running download shares with its handle.
pub(crate) struct Shared {
    pub(crate) control: Control,
    pub(crate) events: Arc<EventBus>,
    /// The dispatcher of the current transfer, once one has started.
    // Held to copy the pointer only.
    dispatcher: Mutex<Option<Arc<Dispatcher>>>,
    /// Set where a stop ended the download and files of it are left.
    left: OnceLock<Remove>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("control", &self.control)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Creates the state of a download that has not transferred yet.
    pub(crate) fn new() -> Self {
        Self {
            control: Control::new(),
            events: Arc::default(),
            dispatcher: Mutex::new(None),
            left: OnceLock::new(),
        }
    }

    /// Records how to remove what the download leaves, which a stop ended.
    pub(crate) fn leaves(&self, remove: Remove) {
        // A download ends once.
        let _ = self.left.set(remove);
    }

    /// Removes what a stop left.
    pub(crate) async fn remove_left(&self) -> Result<(), Error> {
        match self.left.get() {
            Some(remove) => remove().await,
            None => Ok(()),
        }
    }

    /// Shows the dispatcher of a new transfer to the handle.
    pub(crate) fn show(&self, dispatcher: &Arc<Dispatcher>) {
        *self
            .dispatcher
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(dispatcher));
    }

    /// How much of each of `cells` equal stretches of the file is completed, in percent. Empty
    /// before the first transfer.
    pub(crate) fn coverage(&self, cells: usize) -> Vec<u8> {
        self.dispatcher()
            .map_or_else(Vec::new, |dispatcher| dispatcher.coverage(cells))
    }

    /// Samples of the rates of leases and of the times to first byte.
    pub(crate) fn samples(&self) -> Samples {
        self.dispatcher()
            .map_or_else(Samples::default, |dispatcher| dispatcher.samples())
    }

    fn dispatcher(&self) -> Option<Arc<Dispatcher>> {
        let dispatcher = self
            .dispatcher
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        dispatcher.clone()
    }
}
