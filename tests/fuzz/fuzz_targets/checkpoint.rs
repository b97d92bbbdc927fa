#![no_main]

use libfuzzer_sys::fuzz_target;
use partwise::fuzzing::{Checkpoint, seal};
use partwise_fuzz::within;

// As a file, and, because no fuzzer guesses a checksum, as the body of a file whose checksum is right.
fuzz_target!(|bytes: &[u8]| {
    examine(bytes);
    let sealed = seal(bytes);
    let found = examine(&sealed);
    if let Some(found) = found {
        let again = found.encode().expect("what was short enough to be read");
        assert_eq!(again, sealed, "one checkpoint has one encoding");
    }
});

fn examine(bytes: &[u8]) -> Option<Checkpoint> {
    // What `decode` says of itself, and the text of an error.
    let found = within(16 * bytes.len() + 8192, || Checkpoint::decode(bytes))?;
    let (parts, completed, crcs) = found.counts();
    assert!(completed <= parts);
    assert_eq!(completed as usize, crcs);
    let (length, selected) = found.selected();
    for (start, end) in selected {
        assert!(start <= end && end <= length, "{start}..{end} of {length}");
    }
    Some(found)
}
