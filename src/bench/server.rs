//! Runs the embedded origin on separate threads, so its processor time can be told from the
//! download's.

use std::fmt;
use std::io;

use tokio::runtime::{Builder, Runtime};

use crate::origin::{Object, Origin};

/// The name of the server's threads. The kernel keeps 15 bytes.
pub(super) const THREADS: &str = "bench-origin";

/// An embedded origin on separate threads. Dropping it stops the server.
pub struct Server {
    origin: Option<Origin>,
    // Taken when the server is dropped.
    runtime: Option<Runtime>,
}

impl Server {
    /// Serves an object of `length` bytes on 127.0.0.1, without a rate limit.
    ///
    /// # Errors
    ///
    /// No thread can be started, or no port can be bound.
    pub async fn start(length: u64) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .thread_name(THREADS)
            .enable_all()
            .build()?;
        let starting = runtime.spawn(Origin::start(Object::cheap(length)));
        let mut server = Self {
            origin: None,
            runtime: Some(runtime),
        };
        server.origin = Some(starting.await.map_err(io::Error::other)??);
        Ok(server)
    }

    /// The URL of the object.
    #[must_use]
    pub fn url(&self) -> String {
        self.origin
            .as_ref()
            .map_or_else(String::new, |origin| origin.url("bench.bin"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.origin = None;
        if let Some(runtime) = self.runtime.take() {
            // Blocking on a runtime's shutdown panics inside a task.
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.origin).finish()
    }
}
