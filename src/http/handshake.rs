//! How long connections took to open, which tells how far away a server is. The time to the first
//! byte of a reply also has what the server does meanwhile. A lookup of the name counts, too, but
//! the shortest of several times is likely to have none.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::proxy::Proxies;
use super::source::Location;

/// The most servers of which that is kept. Beyond them it is measured anew.
const MOST_ORIGINS: usize = 64;

/// The shortest handshakes with the servers.
#[derive(Debug)]
pub(super) struct Handshakes {
    /// A connection to one of these tells nothing of the server.
    proxies: Proxies,
    shortest: Mutex<BTreeMap<String, Duration>>,
}

impl Handshakes {
    pub(super) fn new(proxies: Proxies) -> Self {
        Self {
            proxies,
            shortest: Mutex::default(),
        }
    }

    /// Records that a connection to `to` took so long to open.
    pub(super) fn note(&self, to: &Location, took: Duration) {
        if self.proxies.of(to.url()).is_some() {
            return;
        }
        // TLS takes another round trip or two.
        let trips = if to.url().scheme() == "https" { 2 } else { 1 };
        let trip = took / trips;
        let mut shortest = self.shortest();
        if shortest.len() >= MOST_ORIGINS {
            shortest.clear();
        }
        shortest
            .entry(to.origin().to_string())
            .and_modify(|shortest| *shortest = trip.min(*shortest))
            .or_insert(trip);
    }

    /// The time that a round trip to `to` takes at most, where a reply took `first_byte`.
    pub(super) fn round_trip(&self, to: &Location, first_byte: Duration) -> Duration {
        let shortest = self.shortest();
        let found = shortest.get(&to.origin().to_string()).copied();
        found.map_or(first_byte, |trip| trip.min(first_byte))
    }

    fn shortest(&self) -> MutexGuard<'_, BTreeMap<String, Duration>> {
        self.shortest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::config::ClientConfig;

    const LONG: Duration = Duration::from_millis(900);

    fn trip(config: &ClientConfig, url: &str, took: &[u64]) -> u128 {
        let handshakes = Handshakes::new(Proxies::new(config, |_| None).unwrap());
        let to = Location::parse(url).unwrap();
        for took in took {
            handshakes.note(&to, Duration::from_millis(*took));
        }
        handshakes.round_trip(&to, LONG).as_millis()
    }

    #[test]
    fn the_shortest_handshake_tells_unless_a_reply_was_faster() {
        let direct = ClientConfig::for_tests();
        assert_eq!(trip(&direct, "http://h/x", &[]), 900);
        assert_eq!(trip(&direct, "http://h/x", &[40, 20, 30]), 20);
        assert_eq!(trip(&direct, "https://h/x", &[40]), 20);
        assert_eq!(trip(&direct, "http://h/x", &[2000]), 900);
    }

    #[test]
    fn a_proxys_handshake_tells_nothing() {
        let proxied = ClientConfig {
            proxy: Some("http://127.0.0.1:1".to_owned()),
            no_proxy: false,
            ..ClientConfig::for_tests()
        };
        assert_eq!(trip(&proxied, "http://h/x", &[1]), 900);
    }
}
