#![no_main]

use libfuzzer_sys::fuzz_target;
use partwise::fuzzing::{DecodedCheckpoint, seal};
use partwise_fuzz::within;

// Decodes the input as a file, then as the body of a file with a valid checksum, which a fuzzer
// can't guess.
fuzz_target!(|bytes: &[u8]| {
    examine(bytes);
    let sealed = seal(bytes);
    let found = examine(&sealed);
    if let Some(found) = found {
        let again = found.encode().expect("a decoded checkpoint encodes");
        assert_eq!(again, sealed, "a checkpoint has exactly one encoding");
    }
});

fn examine(bytes: &[u8]) -> Option<DecodedCheckpoint> {
    // The bound that `decode` documents, plus the text of an error.
    let found = within(16 * bytes.len() + 8192, || DecodedCheckpoint::decode(bytes))?;
    let (parts, completed, crcs) = found.counts();
    assert!(completed <= parts);
    assert_eq!(completed as usize, crcs);
    let (length, selected) = found.selected();
    for (start, end) in selected {
        assert!(start <= end && end <= length, "{start}..{end} of {length}");
    }
    Some(found)
}
