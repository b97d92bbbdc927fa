//! The address ranges of the maps, for the SIGBUS handler. The handler may run between any two
//! instructions, so a look-up takes no lock and allocates nothing.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

static FIRST: MapEntry = MapEntry::free();

/// The address range of one map, and whether the map lost a page. Entries are reused and never
/// freed: there are as many as there ever were maps at once.
#[derive(Debug)]
pub(super) struct MapEntry {
    taken: AtomicBool,
    // INVARIANT: odd while a map uses the entry; `start` and `end` change only while it is even.
    age: AtomicUsize,
    start: AtomicUsize,
    end: AtomicUsize,
    lost: AtomicBool,
    next: OnceLock<Box<MapEntry>>,
}

impl MapEntry {
    const fn free() -> Self {
        Self {
            taken: AtomicBool::new(false),
            age: AtomicUsize::new(0),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            lost: AtomicBool::new(false),
            next: OnceLock::new(),
        }
    }

    /// Registers a map of `length` bytes at `start`.
    pub(super) fn take(start: usize, length: usize) -> &'static Self {
        let mut place = &FIRST;
        while place
            .taken
            .compare_exchange(false, true, SeqCst, SeqCst)
            .is_err()
        {
            place = place.next.get_or_init(|| Box::new(Self::free()));
        }
        place.start.store(start, SeqCst);
        place.end.store(start.saturating_add(length), SeqCst);
        place.lost.store(false, SeqCst);
        place.age.fetch_add(1, SeqCst);
        place
    }

    /// Unregisters the map, before it is unmapped.
    pub(super) fn leave(&self) {
        self.age.fetch_add(1, SeqCst);
        self.taken.store(false, SeqCst);
    }

    /// The entry of the map that contains this address, which a copy is using at this moment. Safe
    /// in a signal handler.
    pub(super) fn of(address: usize) -> Option<&'static Self> {
        let mut places =
            std::iter::successors(Some(&FIRST), |place| place.next.get().map(|next| &**next));
        places.find(|place| place.holds(address))
    }

    fn holds(&self, address: usize) -> bool {
        let age = self.age.load(SeqCst);
        let inside = (self.start.load(SeqCst)..self.end.load(SeqCst)).contains(&address);
        // `start` and `end` may belong to two different maps: then neither is the one in use.
        age % 2 == 1 && inside && self.age.load(SeqCst) == age
    }

    /// Records that a page of the map no longer belongs to the file. Safe in a signal handler.
    pub(super) fn lose(&self) {
        self.lost.store(true, SeqCst);
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Kernel addresses: no map of another test can be there.
    const START: usize = usize::MAX - (1 << 20);

    #[test]
    fn a_map_is_found_while_it_lies_there() {
        let first = MapEntry::take(START, 100);
        let second = MapEntry::take(START + 100, 50);
        assert!(std::ptr::eq(MapEntry::of(START).unwrap(), first));
        assert!(std::ptr::eq(MapEntry::of(START + 99).unwrap(), first));
        assert!(std::ptr::eq(MapEntry::of(START + 100).unwrap(), second));
        assert!(MapEntry::of(START + 150).is_none());
        assert!(MapEntry::of(START - 1).is_none());
        first.leave();
        assert!(MapEntry::of(START).is_none());
        assert!(std::ptr::eq(MapEntry::of(START + 149).unwrap(), second));
        second.leave();
        assert!(MapEntry::of(START + 149).is_none());
    }

    #[test]
    fn a_loss_belongs_to_one_map_and_not_to_the_next() {
        let lost = MapEntry::take(START + 1000, 1);
        let other = MapEntry::take(START + 1001, 1);
        MapEntry::of(START + 1000).unwrap().lose();
        assert!(lost.is_lost() && !other.is_lost());
        lost.leave();
        other.leave();
        let mut places = Vec::new();
        // One of these reuses the lost entry, unless another test took it.
        for nth in 0..8 {
            places.push(MapEntry::take(START + 1000 + nth, 1));
        }
        assert!(places.iter().all(|place| !place.is_lost()));
        places.iter().for_each(|place| place.leave());
    }
}
