//! Work that waits for the disk, on threads where it blocks no connection.

/// Runs `work` on a thread for blocking work.
pub(super) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let outcome = tokio::task::spawn_blocking(work).await;
    // Nobody aborts these tasks, so that they fail by a panic alone.
    outcome.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
