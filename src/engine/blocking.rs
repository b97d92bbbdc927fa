//! Work that waits for the disk, on threads where it blocks no connection.

use tokio::task::{JoinError, spawn_blocking};

/// Runs `work` on a thread for blocking work.
pub(crate) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    value_of(spawn_blocking(work).await)
}

/// The value of a task that the engine never aborts: such a task fails only by a panic, which is
/// resumed here.
pub(crate) fn value_of<T>(joined: Result<T, JoinError>) -> T {
    joined.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
