#![no_main]

use libfuzzer_sys::fuzz_target;
use partwise::fuzzing::content_range;
use partwise_fuzz::within;

fuzz_target!(|value: &str| {
    let Some(found) = within(0, || content_range(value)) else {
        return;
    };
    let total = found.1.map_or("*".to_owned(), |total| total.to_string());
    let again = match found {
        (Some((start, end)), total_found) => {
            assert!(start < end);
            assert!(total_found.is_none_or(|total| end <= total));
            format!("bytes {start}-{}/{total}", end - 1)
        }
        (None, total_found) => {
            assert!(
                total_found.is_some(),
                "a Content-Range has a range or a total"
            );
            format!("bytes */{total}")
        }
    };
    assert_eq!(content_range(&again), Some(found), "{again}");
});
