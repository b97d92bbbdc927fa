//! What the tests stand on: servers, a folder with the command in it, and how to read a log.

pub(crate) mod fault;
pub(crate) mod file_system;
pub(crate) mod fixture;
pub(crate) mod line;
pub(crate) mod requests;
pub(crate) mod servers;

use std::future::Future;
use std::num::NonZeroU32;
use std::time::Duration;

use futures::StreamExt;
use partwise::{Connections, Event, Events, Progress};

/// Awaits something that comes soon unless something is broken.
#[track_caller]
pub(crate) fn soon<T>(future: impl Future<Output = T>) -> impl Future<Output = T> {
    const LONGEST: Duration = Duration::from_secs(60);
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(LONGEST, future).await {
            Ok(value) => value,
            Err(_) => panic!("{caller}: nothing after {LONGEST:?}"),
        }
    }
}

/// A client for plain HTTP that does nothing of its own.
pub(crate) fn plain_client() -> reqwest::Client {
    // The library wants a provider of cryptography even where there is none to do; a second one is
    // refused.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// The seed of a random test: `PARTWISE_SEED`, or a new one.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("PARTWISE_SEED").ok();
    given.map_or_else(
        || fastrand::u64(..),
        |seed| seed.parse().expect("PARTWISE_SEED is a number"),
    )
}

/// At most this many transfers at once.
pub(crate) fn connections(count: u32) -> Connections {
    Connections::Fixed(NonZeroU32::new(count).expect("more than 0"))
}

/// Waits until at least so many bytes are there, and returns the progress that said so.
pub(crate) async fn progressed(events: &mut Events, bytes: u64) -> Progress {
    soon(async {
        loop {
            match events.next().await {
                Some(Event::Progress(progress)) if progress.completed_bytes >= bytes => {
                    return progress;
                }
                Some(_) => {}
                None => panic!("the download ended before it had {bytes} bytes"),
            }
        }
    })
    .await
}
