//! CRC-64/XZ, which protects parts on disk and the checkpoint. The CRCs of the parts combine to the
//! object's.

use crc_fast::{CrcAlgorithm, checksum_combine};

/// Computes a CRC-64/XZ. 32 bytes of state, no allocation.
#[derive(Clone, Debug)]
pub(crate) struct Crc64(crc_fast::Digest);

impl Crc64 {
    /// Starts with no bytes.
    pub(crate) fn new() -> Self {
        Self(crc_fast::Digest::new(CrcAlgorithm::Crc64Xz))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The CRC of the bytes so far.
    pub(crate) fn finish(&self) -> u64 {
        self.0.finalize()
    }

    /// The CRC of these bytes.
    pub(crate) fn of(bytes: &[u8]) -> u64 {
        crc_fast::checksum(CrcAlgorithm::Crc64Xz, bytes)
    }
}

impl Default for Crc64 {
    fn default() -> Self {
        Self::new()
    }
}

/// The CRC of parts end to end, each given by its CRC and its length.
pub(crate) fn combine_parts(parts: impl IntoIterator<Item = (u64, u64)>) -> u64 {
    Crc64Combiner::new().combine(parts)
}

/// Combines the CRCs of runs of bytes. A run takes about 0.15 µs, and 60 µs if its length differs
/// from that of the previous run, also of the previous call.
#[derive(Debug)]
pub(crate) struct Crc64Combiner(Shift);

impl Crc64Combiner {
    pub(crate) fn new() -> Self {
        Self(Shift::new(0))
    }

    /// The CRC of runs end to end, each given by its CRC and its length.
    pub(crate) fn combine(&mut self, runs: impl IntoIterator<Item = (u64, u64)>) -> u64 {
        runs.into_iter().fold(0, |whole, (crc, length)| {
            if self.0.length != length {
                self.0 = Shift::new(length);
            }
            self.0.apply(whole) ^ crc
        })
    }
}

/// The effect of appending `length` bytes on the CRC of the bytes before. The initial value of
/// CRC-64/XZ equals its final XOR, so the effect is linear: a 64 × 64 matrix over GF(2).
#[derive(Debug)]
struct Shift {
    length: u64,
    // INVARIANT: column i is the image of bit i.
    columns: [u64; 64],
}

/// The polynomial of CRC-64/XZ, with the highest power in the lowest bit.
const POLYNOMIAL: u64 = 0xc96c_5795_d787_0f42;

impl Shift {
    fn new(length: u64) -> Self {
        let mut columns = [0; 64];
        // Bit 63 represents 1, and each lower bit x times the bit above it.
        let mut image = checksum_combine(CrcAlgorithm::Crc64Xz, 1 << 63, 0, length);
        for column in columns.iter_mut().rev() {
            *column = image;
            image = (image >> 1) ^ ((image & 1).wrapping_neg() & POLYNOMIAL);
        }
        Self { length, columns }
    }

    fn apply(&self, crc: u64) -> u64 {
        self.columns
            .iter()
            .enumerate()
            .map(|(bit, column)| column & (crc >> bit & 1).wrapping_neg())
            .fold(0, |sum, term| sum ^ term)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_check_value_of_the_catalogue() {
        let mut crc = Crc64::new();
        crc.update(b"1234");
        crc.update(b"56789");
        assert_eq!(crc.finish(), 0x995d_c9bb_df19_39fa);
        assert_eq!(Crc64::of(b"123456789"), crc.finish());
        assert_eq!(Crc64::new().finish(), 0);
    }

    proptest! {
        #[test]
        fn parts_add_up(bytes in prop::collection::vec(any::<u8>(), 0..3000), size in 1..700usize) {
            let parts: Vec<(u64, u64)> = bytes
                .chunks(size)
                .map(|part| (Crc64::of(part), part.len() as u64))
                .collect();
            prop_assert_eq!(combine_parts(parts.iter().copied()), Crc64::of(&bytes));
            let folded = parts.iter().fold(0, |crc, part| {
                checksum_combine(CrcAlgorithm::Crc64Xz, crc, part.0, part.1)
            });
            prop_assert_eq!(folded, Crc64::of(&bytes));
        }
    }

    #[test]
    fn no_parts_and_empty_parts() {
        assert_eq!(combine_parts([]), 0);
        assert_eq!(
            combine_parts([(0, 0), (Crc64::of(b"a"), 1), (0, 0)]),
            Crc64::of(b"a")
        );
    }
}
