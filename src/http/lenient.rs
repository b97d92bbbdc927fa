//! Servers whose heads have lines that can't be read: these lines are left out.
//!
//! The HTTP client below does not say which lines it left out. So only an origin that has sent such
//! a line is asked so, and its replies must tell the end of their body by another line.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hyper::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use reqwest::{Method, Response};

use super::error::HttpError;
use super::source::Location;

/// The most origins that are kept. Beyond them they are found out anew.
const MOST_ORIGINS: usize = 64;

/// The origins of which lines that can't be read are left out.
#[derive(Debug, Default)]
pub(super) struct Lenient {
    origins: Mutex<BTreeSet<String>>,
}

impl Lenient {
    /// Admits the origin of `to`.
    pub(super) fn admit(&self, to: &Location) {
        let mut origins = self.origins();
        if origins.len() >= MOST_ORIGINS {
            origins.clear();
        }
        origins.insert(to.origin().to_string());
    }

    /// Whether the origin of `to` is admitted.
    pub(super) fn is_for(&self, to: &Location) -> bool {
        let origins = self.origins();
        !origins.is_empty() && origins.contains(&to.origin().to_string())
    }

    fn origins(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.origins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks that no line that was left out can have told where the body ends.
///
/// # Errors
///
/// `Protocol` for a body whose end no other line tells.
pub(super) fn check(method: &Method, response: &Response) -> Result<(), HttpError> {
    let fields = response.headers();
    let has_end = fields.contains_key(CONTENT_LENGTH) || fields.contains_key(TRANSFER_ENCODING);
    if *method == Method::HEAD || !response.status().is_success() || has_end {
        return Ok(());
    }
    Err(HttpError::protocol(
        "a line of the head can't be read, and no other tells where the body ends",
    ))
}
