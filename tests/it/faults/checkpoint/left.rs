//! What a run leaves that failed half-way.

use std::fs;

use crc_fast::{CrcAlgorithm, checksum};
use partwise::origin::Object;

use crate::faults::asked::Asked;
use crate::support::fault::{FaultOrigin, Reply};
use crate::support::fixture::Fixture;

/// A part file of which the first half is there, and its checkpoint.
#[derive(Clone)]
pub(super) struct Left {
    /// The object that the server has.
    pub(super) object: Object,
    pub(super) part: Vec<u8>,
    pub(super) has_part: bool,
    pub(super) checkpoint: Vec<u8>,
    pub(super) has_checkpoint: bool,
    pub(super) temporary: Option<Vec<u8>>,
    pub(super) part_size: u64,
}

impl Left {
    /// What a download of this object leaves when its second half is refused.
    pub(super) fn of(object: &Object, part_size: u64) -> Self {
        Self::after(object, part_size, &[])
    }

    /// The same of a download of these ranges alone.
    pub(super) fn selecting(&self, ranges: &str) -> Self {
        Self::after(&self.object, self.part_size, &["--range", ranges])
    }

    fn after(object: &Object, part_size: u64, more: &[&str]) -> Self {
        let served = object.clone();
        // A whole number of parts.
        let half = object.length() / part_size / 2 * part_size;
        let origin = FaultOrigin::new(move |request| {
            let asked = Asked {
                request,
                object: &served,
                elsewhere: None,
            };
            if asked.is_later() {
                Reply::status(404)
            } else {
                asked.no_more_than(half)
            }
        });
        let fixture = Fixture::new();
        let (url, part) = (origin.url("x?signature=QUERYSECRET"), part_size.to_string());
        let mut arguments = vec!["get", "-k", "-c", "1", "-p", &part];
        arguments.extend(more);
        arguments.push(&url);
        fixture.partwise(arguments).exit_code(3);
        Self {
            object: object.clone(),
            part: fs::read(fixture.path("x.part")).unwrap(),
            has_part: true,
            checkpoint: fs::read(fixture.path("x.part.ckpt")).unwrap(),
            has_checkpoint: true,
            temporary: None,
            part_size,
        }
    }

    /// Puts it all into the folder.
    pub(super) fn put(&self, fixture: &Fixture) {
        let put = |name, bytes: &[u8]| fs::write(fixture.path(name), bytes).unwrap();
        if self.has_part {
            put("x.part", &self.part);
        }
        if self.has_checkpoint {
            put("x.part.ckpt", &self.checkpoint);
        }
        if let Some(bytes) = &self.temporary {
            put("x.part.ckpt.tmp", bytes);
        }
    }

    /// As a crash leaves it.
    pub(super) fn make_unclean(&mut self) {
        let at = self.clean_mark();
        with_crc(&mut self.checkpoint, at, &[0]);
    }

    /// Where the mark of a clean end stands. After it come the standing, the inode, birth, length
    /// and two times of the partial file, and the CRC. Not every file system tells the birth.
    fn clean_mark(&self) -> usize {
        let is_clean = |at: &usize| self.checkpoint[*at..*at + 3] == [1, 1, 1];
        let after = [0, 12].map(|birth| 8 + (12 + 12) + 8 + (1 + birth) + 8 + 1 + 1 + 1);
        let marks = after.map(|after| self.checkpoint.len() - after);
        marks.into_iter().find(is_clean).expect("it ended cleanly")
    }

    /// The boot's id stands before the mark of a clean end.
    pub(super) fn make_of_another_boot(&mut self) {
        let at = self.clean_mark() - 16;
        with_crc(&mut self.checkpoint, at, &[7; 16]);
    }
}

/// Changes a byte in the third part, which is completed.
pub(super) fn flip_completed_byte(left: &mut Left) {
    let at = usize::try_from(2 * left.part_size + 77).unwrap();
    left.part[at] ^= 1;
}

/// Writes these bytes into a checkpoint and makes its CRC, in the last eight bytes, right again.
pub(super) fn with_crc(checkpoint: &mut [u8], at: usize, bytes: &[u8]) {
    checkpoint[at..at + bytes.len()].copy_from_slice(bytes);
    let (all, crc) = checkpoint.split_last_chunk_mut::<8>().unwrap();
    *crc = checksum(CrcAlgorithm::Crc64Xz, all).to_le_bytes();
}
