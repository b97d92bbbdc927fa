#![no_main]

use libfuzzer_sys::fuzz_target;
use partwise::fuzzing::selection;
use partwise_fuzz::within;

fuzz_target!(|input: (u64, &str)| {
    let (length, text) = input;
    let limit = 32 * text.len() + 4096;
    let Some(found) = within(limit, || selection(text, length)) else {
        return;
    };
    let (stretches, sum) = &found;
    assert_eq!(stretches.len(), text.split(',').count());
    for (start, end) in stretches {
        assert!(start < end && *end <= length, "{start}..{end} of {length}");
    }
    let sums = stretches.iter().map(|(start, end)| u128::from(end - start));
    assert_eq!(sums.sum::<u128>(), u128::from(*sum));
    let again: Vec<_> = stretches
        .iter()
        .map(|(start, end)| format!("{start}-{}", end - 1))
        .collect();
    assert_eq!(selection(&again.join(","), length).as_ref(), Some(&found));
});
