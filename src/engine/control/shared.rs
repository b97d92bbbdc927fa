//! What a running download and its handle share.

use std::sync::{Arc, Mutex, PoisonError};

use super::Control;
use super::events::EventBus;
use crate::engine::schedule::dispatcher::Dispatcher;
use crate::report::Samples;

/// See the module.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) control: Control,
    pub(crate) events: Arc<EventBus>,
    /// The dispatcher of the transfer, once there is one. Held to copy the pointer alone.
    dispatcher: Mutex<Option<Arc<Dispatcher>>>,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self {
            control: Control::new(),
            events: Arc::default(),
            dispatcher: Mutex::new(None),
        }
    }

    pub(crate) fn show(&self, dispatcher: &Arc<Dispatcher>) {
        *self
            .dispatcher
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(dispatcher));
    }

    /// How much of each of `cells` equal stretches is there, in percent.
    pub(crate) fn coverage(&self, cells: usize) -> Vec<u8> {
        self.dispatcher()
            .map_or_else(Vec::new, |dispatcher| dispatcher.coverage(cells))
    }

    /// What single requests of the transfer were like.
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
