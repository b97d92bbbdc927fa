//! Sets of parts or blocks: one bit for each.

use std::marker::PhantomData;
use std::ops::Range;

use super::plan::Index;
use super::{BlockIndex, PartIndex};

/// A set of cells of one partition, each named by an index of type `I`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bitmap<I> {
    // INVARIANT: exactly as many words as `cells` bits need; bits at and past `cells` are 0.
    words: Vec<u64>,
    cells: u32,
    // INVARIANT: the number of bits that are 1.
    count: u32,
    index: PhantomData<I>,
}

/// A set of parts.
pub(crate) type PartBitmap = Bitmap<PartIndex>;

/// A set of blocks.
pub(crate) type BlockBitmap = Bitmap<BlockIndex>;

impl PartBitmap {
    /// The number of parts that the plan has.
    pub(crate) fn parts(&self) -> u32 {
        self.cells
    }

    /// How much of each of `stretches` equal stretches of the object is in the set, in percent,
    /// rounded down. A stretch that is shorter than a part shows the part that it lies in.
    pub(crate) fn coverage(&self, stretches: usize) -> Vec<u8> {
        let parts = u64::from(self.cells);
        let bound = |stretch: u64| stretch * parts / stretches as u64;
        let mut filled = vec![0u64; stretches];
        for run in self.runs() {
            let (start, end) = (u64::from(run.start), u64::from(run.end));
            for (stretch, filled) in (0u64..).zip(&mut filled) {
                let (from, to) = (bound(stretch), bound(stretch + 1));
                *filled += end.min(to).saturating_sub(start.max(from));
            }
        }
        (0u64..)
            .zip(filled)
            .map(
                |(stretch, filled)| match bound(stretch + 1) - bound(stretch) {
                    0 => {
                        let part = u32::try_from(bound(stretch)).unwrap_or(u32::MAX);
                        if self.contains(PartIndex(part)) {
                            100
                        } else {
                            0
                        }
                    }
                    width => u8::try_from(filled * 100 / width).unwrap_or(100),
                },
            )
            .collect()
    }
}

impl BlockBitmap {
    /// The number of blocks that the plan has.
    pub(crate) fn blocks(&self) -> u32 {
        self.cells
    }
}

impl<I: Index> Bitmap<I> {
    /// The empty set, of a partition with `cells` cells.
    pub(crate) fn new(cells: u32) -> Self {
        Self {
            words: vec![0; cells.div_ceil(u64::BITS) as usize],
            cells,
            count: 0,
            index: PhantomData,
        }
    }

    /// The first `count` cells, of a partition with `cells` cells.
    pub(crate) fn first(count: u32, cells: u32) -> Self {
        let mut first = Self::new(cells);
        for cell in 0..count.min(cells) {
            first.insert(I::new(cell));
        }
        first
    }

    /// The number of cells that are in the set.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.count == self.cells
    }

    /// Whether the cell is in the set. A cell beyond the partition is not.
    pub(crate) fn contains(&self, cell: I) -> bool {
        cell.number() < self.cells && self.words[Self::word(cell)] & Self::mask(cell) != 0
    }

    /// Adds a cell and returns whether it is new. A cell beyond the partition is ignored.
    pub(crate) fn insert(&mut self, cell: I) -> bool {
        if cell.number() >= self.cells || self.contains(cell) {
            return false;
        }
        self.words[Self::word(cell)] |= Self::mask(cell);
        self.count += 1;
        true
    }

    /// The cells of the set, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = I> + '_ {
        self.runs().flat_map(|run| run.map(I::new))
    }

    /// The runs of neighbouring cells that are in the set, in order.
    pub(crate) fn runs(&self) -> impl Iterator<Item = Range<u32>> + '_ {
        self.alternate(true)
    }

    /// The runs of neighbouring cells that are not in the set, in order.
    pub(crate) fn missing_runs(&self) -> impl Iterator<Item = Range<u32>> + '_ {
        self.alternate(false)
    }

    fn alternate(&self, present: bool) -> impl Iterator<Item = Range<u32>> + '_ {
        let mut from = 0;
        std::iter::from_fn(move || {
            let start = self.next(from, present)?;
            let end = self.next(start, !present).unwrap_or(self.cells);
            from = end;
            Some(start..end)
        })
    }

    /// The first cell at or after `from` whose bit is `present`.
    fn next(&self, from: u32, present: bool) -> Option<u32> {
        if from >= self.cells {
            return None;
        }
        let mut index = (from / u64::BITS) as usize;
        let mut ignore = !0 << (from % u64::BITS);
        loop {
            let word = *self.words.get(index)?;
            let hits = if present { word } else { !word } & ignore;
            if hits != 0 {
                let found = u32::try_from(index).ok()? * u64::BITS + hits.trailing_zeros();
                return (found < self.cells).then_some(found);
            }
            ignore = !0;
            index += 1;
        }
    }

    /// The bitmap as bytes: cell `k` is bit `k % 8`, counted from the least, of byte `k / 8`.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|w| w.to_le_bytes()).collect();
        bytes.truncate(self.cells.div_ceil(8) as usize);
        bytes
    }

    /// The inverse of [`to_bytes`](Self::to_bytes). `None` unless the bytes are exactly as many as
    /// `cells` cells need and the bits past the last cell are 0.
    pub(crate) fn from_bytes(cells: u32, bytes: &[u8]) -> Option<Self> {
        if bytes.len() != cells.div_ceil(8) as usize {
            return None;
        }
        let words: Vec<u64> = bytes
            .chunks(8)
            .map(|chunk| {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                u64::from_le_bytes(word)
            })
            .collect();
        let tail = cells % u64::BITS;
        let stray = tail != 0 && words.last().is_some_and(|last| last >> tail != 0);
        let count = words.iter().map(|word| word.count_ones()).sum();
        (!stray).then_some(Self {
            words,
            cells,
            count,
            index: PhantomData,
        })
    }

    fn word(cell: I) -> usize {
        (cell.number() / u64::BITS) as usize
    }

    fn mask(cell: I) -> u64 {
        1 << (cell.number() % u64::BITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn behaves_as_a_set(
            parts in 0..300u32,
            steps in prop::collection::vec(0..320u32, 0..400),
        ) {
            let mut bitmap = PartBitmap::new(parts);
            let mut model = BTreeSet::new();
            for part in steps {
                let expected = part < parts && model.insert(part);
                prop_assert_eq!(bitmap.insert(PartIndex(part)), expected);
            }
            let listed: Vec<u32> = bitmap.iter().map(|part| part.0).collect();
            prop_assert_eq!(&listed, &model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(bitmap.count() as usize, model.len());
            prop_assert_eq!(bitmap.is_full(), model.len() == parts as usize);
            let missing: Vec<u32> = bitmap.missing_runs().flatten().collect();
            prop_assert_eq!(missing, (0..parts).filter(|part| !model.contains(part)).collect::<Vec<_>>());
            let again = PartBitmap::from_bytes(parts, &bitmap.to_bytes());
            prop_assert_eq!(again, Some(bitmap));
        }

        #[test]
        fn runs_are_as_long_as_they_can_be(bytes in prop::collection::vec(any::<u8>(), 1..40)) {
            let parts = u32::try_from(bytes.len() * 8).unwrap();
            let bitmap = PartBitmap::from_bytes(parts, &bytes).unwrap();
            for run in bitmap.runs() {
                prop_assert!(run.start == 0 || !bitmap.contains(PartIndex(run.start - 1)));
                prop_assert!(!bitmap.contains(PartIndex(run.end)));
                prop_assert!(run.clone().all(|part| bitmap.contains(PartIndex(part))));
            }
        }
    }

    #[test]
    fn coverage_is_the_percentage_of_each_stretch() {
        let mut bitmap = PartBitmap::new(10);
        for part in [0, 1, 2, 3, 4, 6, 9] {
            bitmap.insert(PartIndex(part));
        }
        assert_eq!(bitmap.coverage(1), [70]);
        assert_eq!(bitmap.coverage(3), [100, 66, 50]);
        assert_eq!(
            bitmap.coverage(10),
            [100, 100, 100, 100, 100, 0, 100, 0, 0, 100]
        );
        let mut two = PartBitmap::new(2);
        two.insert(PartIndex(1));
        assert_eq!(two.coverage(5), [0, 0, 0, 100, 100]);
        assert_eq!(PartBitmap::new(0).coverage(2), [0, 0]);
        assert!(two.coverage(0).is_empty());
    }

    #[test]
    fn stray_bits_and_wrong_lengths_are_refused() {
        assert!(PartBitmap::from_bytes(9, &[0xff, 0b1]).is_some());
        assert!(PartBitmap::from_bytes(9, &[0xff, 0b10]).is_none());
        assert!(PartBitmap::from_bytes(9, &[0xff]).is_none());
        assert!(PartBitmap::from_bytes(9, &[0xff, 0, 0]).is_none());
        assert!(PartBitmap::from_bytes(0, &[]).is_some_and(|b| b.is_full()));
    }
}
