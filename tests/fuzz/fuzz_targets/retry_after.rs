#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use partwise::fuzzing::retry_after;
use partwise_fuzz::within;

// The number is the current time, in seconds since the epoch.
fuzz_target!(|input: (u32, &str)| {
    let (seconds, value) = input;
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.into());
    let Some((pause, longest)) = within(0, || retry_after(value, now)) else {
        return;
    };
    assert!(pause <= longest);
    assert_eq!(pause.subsec_nanos(), 0, "pauses are whole seconds");
    let again = pause.as_secs().to_string();
    assert_eq!(retry_after(&again, now), Some((pause, longest)));
});
