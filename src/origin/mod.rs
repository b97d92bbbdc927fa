//! Placeholder for the embedded origin, so that the command line compiles before it lands.

use std::io;

/// An object whose every byte is a function of seed and position.
#[derive(Clone, Debug)]
pub struct Object {}

impl Object {
    /// An object of `length` bytes.
    #[must_use]
    pub fn new(_seed: u64, _length: u64) -> Self {
        Self {}
    }

    /// The bytes from `offset` on.
    pub fn fill(_seed: u64, _offset: u64, _bytes: &mut [u8]) {
        todo!()
    }
}

/// One request that the origin answered.
#[derive(Clone, Debug)]
pub struct Logged {
    /// The method.
    pub method: String,
    /// The Range header.
    pub range: Option<String>,
    /// The If-Match header.
    pub if_match: Option<String>,
    /// The status of the reply.
    pub status: u16,
}

/// A server on the loopback interface.
#[derive(Debug)]
pub struct Origin {}

impl Origin {
    /// Starts to serve.
    ///
    /// # Errors
    ///
    /// No port can be bound.
    pub async fn start(_object: Object) -> io::Result<Self> {
        todo!()
    }

    /// The object's URL, under this name.
    #[must_use]
    pub fn url(&self, _name: &str) -> String {
        todo!()
    }

    /// What was asked so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Logged> {
        todo!()
    }
}
