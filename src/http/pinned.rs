//! The version that all replies of one source must belong to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::coding::Coding;
use super::error::HttpError;
use crate::object::{Identity, Proof, Validator};

/// The version that every reply of one source must belong to. Clones share it: each field is pinned
/// by the first reply that has it, for all requests.
#[derive(Clone, Debug)]
pub(crate) struct Pinned {
    /// Length of the object, in bytes.
    pub(crate) length: u64,
    coding: Option<Coding>,
    // Locked to compare and to copy, never across an await.
    version: Arc<Mutex<Version>>,
}

#[derive(Debug)]
struct Version {
    identity: Identity,
    /// Whether a reply with bytes of the object had a field of the identity.
    is_carried: bool,
    /// Whether a reply with bytes of the object agreed.
    is_confirmed: bool,
}

impl Pinned {
    /// A version of `length` bytes, as far as a probe told its identity.
    pub(crate) fn new(length: u64, identity: Identity) -> Self {
        let version = Version {
            identity,
            is_carried: false,
            is_confirmed: false,
        };
        Self {
            length,
            coding: None,
            version: Arc::new(Mutex::new(version)),
        }
    }

    /// The same version, in the content coding that a probe found. Every reply must be in it.
    pub(crate) fn in_coding(self, coding: Option<Coding>) -> Self {
        Self { coding, ..self }
    }

    /// The condition that requests for this version carry.
    pub(super) fn validator(&self) -> Validator {
        self.version().identity.validator()
    }

    /// Whether what a probe found under another URL is this version too; pins what is new in it.
    ///
    /// # Errors
    ///
    /// `Changed` where it differs in its length, its content coding or a field.
    pub(crate) fn is_found_again(
        &self,
        length: u64,
        coding: Option<&Coding>,
        claims: &Identity,
    ) -> Result<(), HttpError> {
        if length != self.length {
            let why = format!("its length was {} bytes and is {length} now", self.length);
            return Err(HttpError::changed(why));
        }
        if coding != self.coding.as_ref() {
            return Err(HttpError::changed(format!(
                "its content coding was {} and is {} now",
                Coding::shown(self.coding.as_ref()),
                Coding::shown(coding)
            )));
        }
        let mut version = self.version();
        version.compare(claims)?;
        version.identity.learn(claims);
        Ok(())
    }

    /// Checks that the bytes of a reply are in the coding that the probe found. In another one they
    /// have other positions.
    ///
    /// # Errors
    ///
    /// `Coding` where not even the first reply with bytes agrees with the probe, `Protocol` where a
    /// later one does not: another server behind the same name may have sent that.
    pub(super) fn check_coding(&self, found: Option<&Coding>) -> Result<(), HttpError> {
        if found == self.coding.as_ref() {
            return Ok(());
        }
        let why = format!(
            "another content coding than the probe found: expected {}, found {}",
            Coding::shown(self.coding.as_ref()),
            Coding::shown(found)
        );
        Err(match self.version().is_confirmed {
            true => HttpError::protocol(why),
            false => HttpError::coding(why),
        })
    }

    /// Compares what a reply says with the version, and pins nothing.
    ///
    /// # Errors
    ///
    /// `Changed` where they differ in a field.
    pub(super) fn compare(&self, claims: &Identity) -> Result<Proof, HttpError> {
        self.version().compare(claims)
    }

    /// Compares what a reply says with the version and pins what is new in it. For a reply that
    /// passed every other check.
    ///
    /// # Errors
    ///
    /// `Changed` where they differ in a field. A retryable error where the reply has no field of
    /// the version although earlier replies of this source had one: it proves nothing.
    pub(super) fn pin(&self, claims: &Identity) -> Result<(), HttpError> {
        let mut version = self.version();
        let proof = version.compare(claims)?;
        if proof == Proof::None && version.is_carried && !claims.has_fields() {
            let why = "the reply names no version, though earlier replies of this server did";
            return Err(HttpError::protocol(why).passing());
        }
        version.identity.learn(claims);
        version.is_carried |= claims.has_fields();
        version.is_confirmed = true;
        Ok(())
    }

    fn version(&self) -> MutexGuard<'_, Version> {
        // The version is consistent between any two statements, so a panic elsewhere leaves it
        // usable.
        self.version.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Version {
    fn compare(&self, claims: &Identity) -> Result<Proof, HttpError> {
        let compared = self.identity.compare(claims);
        compared.map_err(|mismatch| HttpError::changed(mismatch.to_string()))
    }
}
