//! Resolves host names, with the addresses rotated.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The system's resolver. It rotates the addresses from one connection to the next, so that all
/// addresses of a name are used. The family that the system prefers stays first.
#[derive(Debug, Default)]
pub(super) struct Rotation {
    turn: Arc<AtomicUsize>,
}

impl Resolve for Rotation {
    fn resolve(&self, name: Name) -> Resolving {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = tokio::task::spawn_blocking(move || {
                (host.as_str(), 0)
                    .to_socket_addrs()
                    .map(Iterator::collect::<Vec<_>>)
            })
            .await
            .unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
            .map_err(|error| ResolveError::new(&error))?;
            Ok(Box::new(rotated(&found, turn).into_iter()) as Addrs)
        })
    }
}

/// The addresses with each family rotated by `turn` places. The order of the families is kept.
fn rotated(found: &[SocketAddr], turn: usize) -> Vec<SocketAddr> {
    let prefers_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (mut first, mut second): (Vec<_>, Vec<_>) = found
        .iter()
        .partition(|address| address.is_ipv6() == prefers_v6);
    for family in [&mut first, &mut second] {
        if !family.is_empty() {
            let places = turn % family.len();
            family.rotate_left(places);
        }
    }
    first.append(&mut second);
    first
}

/// A host name that could not be resolved.
#[derive(Debug)]
pub(super) struct ResolveError {
    text: String,
    temporary: bool,
}

impl ResolveError {
    fn new(error: &io::Error) -> Self {
        let text = error.to_string();
        // std does not expose the resolver's error code; these are the texts of EAI_AGAIN in glibc,
        // musl and macOS.
        let temporary = ["emporary failure", "Try again", "try again"]
            .iter()
            .any(|again| text.contains(again));
        Self { text, temporary }
    }

    pub(super) fn is_temporary(&self) -> bool {
        self.temporary
    }
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for ResolveError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn each_family_turns_and_the_preferred_one_stays_first() {
        let found = addresses(&["[::1]:0", "1.1.1.1:0", "[::2]:0", "2.2.2.2:0", "3.3.3.3:0"]);
        assert_eq!(
            rotated(&found, 0),
            addresses(&["[::1]:0", "[::2]:0", "1.1.1.1:0", "2.2.2.2:0", "3.3.3.3:0"])
        );
        assert_eq!(
            rotated(&found, 5),
            addresses(&["[::2]:0", "[::1]:0", "3.3.3.3:0", "1.1.1.1:0", "2.2.2.2:0"])
        );
        assert_eq!(rotated(&[], 7), []);
    }

    #[test]
    fn only_a_temporary_failure_is_one() {
        let temporary = |text| ResolveError::new(&io::Error::other(text)).is_temporary();
        assert!(temporary(
            "failed to lookup address information: Temporary failure in name resolution"
        ));
        assert!(temporary("failed to lookup address information: Try again"));
        assert!(!temporary(
            "failed to lookup address information: Name or service not known"
        ));
    }

    proptest! {
        #[test]
        fn no_address_is_lost(octets in proptest::collection::vec(any::<u8>(), 0..8), turn in any::<usize>()) {
            let found: Vec<SocketAddr> = octets.iter().map(|o| SocketAddr::from(([127, 0, 0, *o], 0))).collect();
            let mut turned = rotated(&found, turn);
            let mut expected = found;
            turned.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(turned, expected);
        }
    }
}
