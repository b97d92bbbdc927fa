//! The state that a running download shares with its handle.

use std::sync::{Arc, Mutex, PoisonError};

use super::Control;
use super::events::EventBus;
use crate::engine::schedule::dispatcher::Dispatcher;
use crate::report::Samples;

/// The state that a running download shares with its handle.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) control: Control,
    pub(crate) events: Arc<EventBus>,
    /// The dispatcher of the current transfer, once one has started.
    // Held to copy the pointer only.
    dispatcher: Mutex<Option<Arc<Dispatcher>>>,
}

impl Shared {
    /// Creates the state of a download that has not transferred yet.
    pub(crate) fn new() -> Self {
        Self {
            control: Control::new(),
            events: Arc::default(),
            dispatcher: Mutex::new(None),
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
