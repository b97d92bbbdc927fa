//! The served object. Its bytes are a function of seed and position.

use std::fmt;
use std::sync::OnceLock;

use bytes::Bytes;

/// Bytes in a word of the generator.
const WORD: u64 = 8;

/// The period of a cheap object. A prime, so no part size or frame size is a multiple of it, and a
/// byte displaced by a power of two is a wrong byte.
const CYCLE: u64 = 1_048_583;

/// The odd constant by which the counter of SplitMix64 advances.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// An object whose byte at position `p` is a function of its seed and `p`.
///
/// The function mixes words of 8 bytes, so a byte in the wrong place, or of another object, is
/// almost surely a wrong byte. [`Object::position_of`] finds the place where a word belongs.
#[derive(Clone, PartialEq, Eq)]
pub struct Object {
    source: Content,
    length: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Generated { seed: u64 },
    Repeated,
}

impl Object {
    /// The object of `length` bytes with this seed.
    #[must_use]
    pub fn new(seed: u64, length: u64) -> Self {
        Self {
            source: Content::Generated { seed },
            length,
        }
    }

    /// An object of `length` bytes that is cheap to serve: it repeats the first 1,048,583 bytes of
    /// the object with seed 0, which are sent without a copy.
    #[must_use]
    pub fn cheap(length: u64) -> Self {
        Self {
            source: Content::Repeated,
            length,
        }
    }

    /// The byte at `position` of the object with this seed.
    #[must_use]
    pub fn byte(seed: u64, position: u64) -> u8 {
        let mut byte = [0];
        Self::fill(seed, position, &mut byte);
        byte[0]
    }

    /// Fills `bytes` from `offset` on with the bytes of the object with this seed.
    pub fn fill(seed: u64, offset: u64, bytes: &mut [u8]) {
        let key = mix(seed);
        let mut word = offset / WORD;
        let within = usize::try_from(offset % WORD).expect("less than 8");
        let mut rest = bytes;
        if within > 0 {
            let count = rest.len().min(8 - within);
            let (head, tail) = rest.split_at_mut(count);
            head.copy_from_slice(&word_at(key, word)[within..within + count]);
            rest = tail;
            word += 1;
        }
        let mut words = rest.chunks_exact_mut(8);
        for chunk in &mut words {
            chunk.copy_from_slice(&word_at(key, word));
            word += 1;
        }
        let tail = words.into_remainder();
        tail.copy_from_slice(&word_at(key, word)[..tail.len()]);
    }

    /// The position below `length` of this word of 8 bytes in the object with this seed; `None` if
    /// it has none.
    ///
    /// Inverts the generator instead of searching. Finds only positions that are multiples of 8.
    #[must_use]
    pub fn position_of(seed: u64, bytes: [u8; 8], length: u64) -> Option<u64> {
        let key = mix(seed);
        let word = unmix(u64::from_le_bytes(bytes))
            .wrapping_sub(key)
            .wrapping_mul(INVERSE_STEP);
        word.checked_mul(WORD).filter(|at| *at < length)
    }

    /// The length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The seed; 0 for a cheap object.
    #[must_use]
    pub fn seed(&self) -> u64 {
        match self.source {
            Content::Generated { seed } => seed,
            Content::Repeated => 0,
        }
    }

    /// Fills `bytes` with this object's bytes from `offset` on, ignoring the object's length.
    pub fn read_at(&self, offset: u64, bytes: &mut [u8]) {
        match self.source {
            Content::Generated { seed } => Self::fill(seed, offset, bytes),
            Content::Repeated => {
                let mut done = 0;
                while done < bytes.len() {
                    let from = cycle_from(offset + done as u64);
                    let count = from.len().min(bytes.len() - done);
                    bytes[done..done + count].copy_from_slice(&from[..count]);
                    done += count;
                }
            }
        }
    }

    /// How many bytes from `offset` on fit in one frame; at least one.
    pub(super) fn at_once(&self, offset: u64) -> u64 {
        match self.source {
            Content::Generated { .. } => u64::MAX,
            Content::Repeated => CYCLE - offset % CYCLE,
        }
    }

    /// At most `limit` bytes from `offset` on; exactly `limit` if it is at most
    /// [`at_once`](Self::at_once).
    pub(super) fn frame(&self, offset: u64, limit: usize) -> Bytes {
        match self.source {
            Content::Generated { seed } => {
                let mut bytes = vec![0; limit];
                Self::fill(seed, offset, &mut bytes);
                bytes.into()
            }
            Content::Repeated => {
                let mut bytes = cycle_from(offset);
                bytes.truncate(limit);
                bytes
            }
        }
    }

    /// An opaque tag for this object (RFC 9110, section 8.8.3), without quotes.
    pub(super) fn tag(&self) -> String {
        match self.source {
            Content::Generated { seed } => format!("{seed:x}-{:x}", self.length),
            Content::Repeated => format!("cheap-{:x}", self.length),
        }
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({:?}, {} bytes)", self.source, self.length)
    }
}

/// The bytes of a cheap object from `offset` to the end of the period.
fn cycle_from(offset: u64) -> Bytes {
    static BYTES: OnceLock<Bytes> = OnceLock::new();
    let cycle = BYTES.get_or_init(|| {
        let mut bytes = vec![0; usize::try_from(CYCLE).expect("a constant that fits")];
        Object::fill(0, 0, &mut bytes);
        bytes.into()
    });
    cycle.slice(usize::try_from(offset % CYCLE).expect("less than the cycle")..)
}

/// The 8 bytes of a word: SplitMix64 with `word` as the counter.
fn word_at(key: u64, word: u64) -> [u8; 8] {
    mix(word.wrapping_mul(STEP).wrapping_add(key)).to_le_bytes()
}

/// The finaliser of SplitMix64: a bijection.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// [`STEP`]'s inverse modulo 2^64.
const INVERSE_STEP: u64 = inverse(STEP);

/// Inverts [`mix`].
fn unmix(mut x: u64) -> u64 {
    x = unshift(x, 31).wrapping_mul(const { inverse(0x94d0_49bb_1331_11eb) });
    x = unshift(x, 27).wrapping_mul(const { inverse(0xbf58_476d_1ce4_e5b9) });
    unshift(x, 30)
}

/// Solves `y = x ^ (x >> shift)` for `x`; right for shifts above 21.
const fn unshift(y: u64, shift: u32) -> u64 {
    y ^ (y >> shift) ^ (y >> (2 * shift))
}

/// The inverse of an odd number modulo 2^64: each step of Newton's doubles the number of right
/// bits.
const fn inverse(odd: u64) -> u64 {
    let mut x = odd;
    let mut step = 0;
    while step < 6 {
        x = x.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(x)));
        step += 1;
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The first word of seed 1, computed by another program.
    const GOLDEN: [u8; 8] = [0x7d, 0x3a, 0x36, 0x0f, 0x09, 0x0e, 0xb4, 0x7a];

    #[test]
    fn the_function_never_changes() {
        let mut bytes = [0; 12];
        Object::fill(1, 3, &mut bytes);
        let one_by_one: Vec<u8> = (3..15).map(|at| Object::byte(1, at)).collect();
        assert_eq!(bytes.to_vec(), one_by_one);
        let mut start = [0; 8];
        Object::fill(1, 0, &mut start);
        assert_eq!(start, GOLDEN);
    }

    #[test]
    fn seeds_and_neighbours_differ() {
        let mut words = std::collections::HashSet::new();
        for seed in 0..50 {
            for word in 0..50 {
                assert!(words.insert(word_at(mix(seed), word)), "{seed} {word}");
            }
        }
    }

    #[test]
    fn a_cheap_object_repeats_with_a_prime_period() {
        let object = Object::cheap(u64::MAX);
        let mut across = [0; 40];
        object.read_at(CYCLE - 20, &mut across);
        assert_eq!(across[..20], object.frame(CYCLE - 20, 1 << 20));
        assert_eq!(across[20..], object.frame(0, 20));
        assert!((2..1025).all(|divisor| !CYCLE.is_multiple_of(divisor)));
    }

    proptest! {
        #[test]
        fn any_stretch_equals_its_bytes(seed: u64, offset in 0..u64::MAX - 100, length in 0usize..100) {
            let mut bytes = vec![0; length];
            Object::fill(seed, offset, &mut bytes);
            for (byte, position) in bytes.iter().zip(offset..) {
                prop_assert_eq!(*byte, Object::byte(seed, position));
            }
        }

        #[test]
        fn an_aligned_word_names_its_position(seed: u64, word in 0..u64::MAX / 8 - 1) {
            let mut bytes = [0; 8];
            Object::fill(seed, word * 8, &mut bytes);
            prop_assert_eq!(Object::position_of(seed, bytes, u64::MAX), Some(word * 8));
            prop_assert_eq!(Object::position_of(seed, bytes, word * 8), None);
        }
    }
}
