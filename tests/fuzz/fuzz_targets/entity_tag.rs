#![no_main]

use libfuzzer_sys::fuzz_target;
use partwise::fuzzing::entity_tag;
use partwise_fuzz::within;

fuzz_target!(|value: &str| {
    let Some(found) = within(2 * value.len() + 64, || entity_tag(value)) else {
        return;
    };
    let (tag, weak) = &found;
    assert!(
        value.contains(tag.as_str()),
        "the tag is sent back unchanged"
    );
    assert!(tag.len() <= 1024);
    assert!(tag.bytes().all(|byte| byte.is_ascii_graphic()));
    assert_eq!(tag.bytes().filter(|byte| *byte == b'"').count(), 2);
    assert_eq!(tag.starts_with("W/"), *weak);
    assert_eq!(entity_tag(tag).as_ref(), Some(&found));
});
