//! An honest HTTP/1.1 server on the loopback interface, with an object whose every byte is known.
//!
//! `partwise demo`, the throughput benchmark and the integration tests download from it. It answers as RFC 9110 asks:
//! byte ranges, all four conditions, `HEAD`. It shares no code with the downloader, so that a mistake in the one
//! does not hide behind the same mistake in the other.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use partwise::origin::{Etag, Object, Origin};
//!
//! let origin = Origin::builder(Object::new(1, 10 << 20))
//!     .etag(Etag::Weak)
//!     .rate_per_connection(1 << 20)
//!     .start()
//!     .await?;
//! println!("{}", origin.url("object.bin"));
//! # Ok(())
//! # }
//! ```

mod body;
mod conditions;
mod config;
mod gate;
mod log;
mod object;
mod pacer;
mod ranges;
mod serve;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::AbortHandle;

pub use config::{Builder, Etag};
pub use log::Logged;
pub use object::Object;

use serve::Shared;

/// A running origin on `127.0.0.1`. Dropping it closes the port and every connection.
pub struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

impl Origin {
    /// Serves `object` with a strong entity tag, a modification date and byte ranges, as fast as it goes.
    /// Runs on the caller's Tokio runtime.
    ///
    /// # Errors
    ///
    /// No port of 127.0.0.1 can be bound.
    pub async fn start(object: Object) -> io::Result<Self> {
        Self::builder(object).start().await
    }

    /// Begins to describe an origin that differs from what [`start`](Self::start) gives.
    #[must_use]
    pub fn builder(object: Object) -> Builder {
        Builder::new(object)
    }

    async fn launch(shared: Shared) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(shared);
        let accepting = tokio::spawn(serve::accept(listener, Arc::clone(&shared))).abort_handle();
        Ok(Self {
            address,
            shared,
            accepting,
        })
    }

    /// The URL of the object under this name: every path leads to it.
    #[must_use]
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The current entity tag.
    #[must_use]
    pub fn etag(&self) -> Option<String> {
        self.shared.version().etag
    }

    /// Every request that was answered so far, in the order in which they came.
    #[must_use]
    pub fn requests(&self) -> Vec<Logged> {
        self.shared.log.entries()
    }

    /// Waits until the log of requests is as `reached` wants it, and returns it.
    ///
    /// Cancel safe.
    pub async fn wait_for(&self, reached: impl FnMut(&[Logged]) -> bool) -> Vec<Logged> {
        self.shared.log.wait_for(reached).await
    }

    /// Body bytes handed to the kernel's sockets so far, over all connections.
    #[must_use]
    pub fn served_bytes(&self) -> u64 {
        self.shared.gate.passed()
    }

    /// Waits until at least this many body bytes were served in total.
    ///
    /// Cancel safe.
    pub async fn wait_for_bytes(&self, total: u64) {
        self.shared.gate.wait_for(total).await;
    }

    /// Puts another object in this one's place, with a new entity tag and a later modification date.
    ///
    /// A body that is under way goes on with the bytes that it began with, as from a file that was renamed over;
    /// later requests see the new object alone, so that the old `If-Match` gets 412.
    pub fn replace(&self, object: Object) {
        self.shared.replace(object);
    }

    /// Holds all bodies until [`release`](Self::release), from now on.
    pub fn hold(&self) {
        self.shared.gate.hold();
    }

    /// Lets bodies pass until this many bytes were served in total since the start, then holds them until
    /// [`release`](Self::release). Exact: not one byte more passes.
    pub fn hold_after(&self, total: u64) {
        self.shared.gate.hold_after(total);
    }

    /// Lets bodies pass again.
    pub fn release(&self) {
        self.shared.gate.release();
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
