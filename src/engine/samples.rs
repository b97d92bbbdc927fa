//! What single requests were like, for the benchmark. Of many, the newest are kept, so that memory stays bounded.

use std::time::Duration;

use crate::report::Samples;

/// Values of a kind that are kept.
const KEPT: usize = 1024;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    rates: Ring<u64>,
    first_bytes: Ring<Duration>,
}

impl Recorder {
    /// A lease ended that brought `bytes` in `span`.
    pub(crate) fn brought(&mut self, bytes: u64, span: Duration) {
        let nanos = span.as_nanos();
        if bytes > 0 && nanos > 0 {
            let rate = u128::from(bytes) * 1_000_000_000 / nanos;
            self.rates.push(u64::try_from(rate).unwrap_or(u64::MAX));
        }
    }

    /// A reply let wait for its first byte.
    pub(crate) fn waited(&mut self, wait: Duration) {
        self.first_bytes.push(wait);
    }

    pub(crate) fn samples(&self) -> Samples {
        Samples {
            connection_rates: self.rates.values.clone(),
            first_bytes: self.first_bytes.values.clone(),
        }
    }
}

#[derive(Debug)]
struct Ring<T> {
    // INVARIANT: at most `KEPT` values.
    values: Vec<T>,
    next: usize,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            next: 0,
        }
    }
}

impl<T> Ring<T> {
    fn push(&mut self, value: T) {
        match self.values.get_mut(self.next) {
            Some(oldest) => *oldest = value,
            None => self.values.push(value),
        }
        self.next = (self.next + 1) % KEPT;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept() {
        let mut recorder = Recorder::default();
        for bytes in 0..=KEPT as u64 + 1 {
            recorder.brought(bytes, Duration::from_secs(1));
        }
        let mut rates = recorder.samples().connection_rates;
        rates.sort_unstable();
        assert_eq!(rates.len(), KEPT);
        assert_eq!((rates[0], rates[KEPT - 1]), (2, KEPT as u64 + 1));
        recorder.brought(7, Duration::ZERO);
        assert_eq!(recorder.samples().connection_rates.len(), KEPT);
    }
}
