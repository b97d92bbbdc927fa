//! What all connections of an origin share.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use super::conditions::Validators;
use super::config::Config;
use super::gate::Gate;
use super::log::Log;
use super::object::Object;
use super::pacer::Pacer;

/// The state that all connections share.
pub(super) struct OriginState {
    pub(super) config: Config,
    // Locked only to read or replace the whole version, never over an await.
    version: Mutex<ObjectVersion>,
    pub(super) log: Log,
    pub(super) gate: Gate,
    pub(super) pacer: Pacer,
    /// Each message ends all open connections. Connections subscribe before they are served.
    pub(super) hang_up: watch::Sender<()>,
}

/// The current object with its validators.
#[derive(Clone)]
pub(super) struct ObjectVersion {
    pub(super) object: Object,
    pub(super) etag: Option<String>,
    pub(super) modified: Option<SystemTime>,
}

impl OriginState {
    pub(super) fn new(config: Config, object: Object) -> Self {
        Self {
            version: Mutex::new(ObjectVersion {
                etag: config.etag.of(&object),
                object,
                modified: config.modified,
            }),
            log: Log::new(),
            gate: Gate::new(config.hold_after),
            pacer: Pacer::new(config.rate),
            hang_up: watch::Sender::new(()),
            config,
        }
    }

    pub(super) fn version(&self) -> ObjectVersion {
        self.version
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn replace(&self, object: Object) {
        let mut version = self.version.lock().unwrap_or_else(PoisonError::into_inner);
        version.etag = self.config.etag.of(&object);
        version.object = object;
        // Dates have whole seconds: without a jump, two versions could have the same date.
        version.modified = version
            .modified
            .map(|date| date + Duration::from_secs(3600));
    }
}

impl ObjectVersion {
    pub(super) fn validators(&self) -> Validators<'_> {
        Validators {
            etag: self.etag.as_deref(),
            modified: self.modified,
        }
    }
}
