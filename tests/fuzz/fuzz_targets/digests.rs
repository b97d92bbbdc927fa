#![no_main]

use libfuzzer_sys::fuzz_target;
use partwise::fuzzing::{digest, digests};
use partwise_fuzz::within;

// Each line is a header field; all lines are the header of one response.
fuzz_target!(|head: &str| {
    let fields: Vec<_> = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .collect();
    let limit = 64 * head.len() + 4096;
    let found = within(limit, || digests(&fields));
    for (index, (source, text)) in found.iter().enumerate() {
        let sent_by = |(name, _): &(&str, &str)| name.eq_ignore_ascii_case(source);
        assert!(fields.iter().any(sent_by), "{source} was not sent");
        assert_eq!(
            digest(text).as_ref(),
            Some(text),
            "a digest parses as an option"
        );
        let same = (source, text);
        assert!(
            found[..index].iter().all(|(a, b)| (a, b) != same),
            "{text} is reported twice"
        );
    }
    if let Some(printed) = within(limit, || digest(head)) {
        assert_eq!(digest(&printed), Some(printed));
    }
});
