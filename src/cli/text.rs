//! Formats numbers, names and foreign text.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// Escapes every character that could control a terminal or reorder a line.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Formats a path as [`visible`] text.
pub(crate) fn path(path: &Path) -> String {
    visible(&path.to_string_lossy())
}

/// Formats `value` as JSON. Control characters, which occur only inside strings, become `\uXXXX`.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<String, serde_json::Error> {
    let mut shown = String::new();
    for c in serde_json::to_string(value)?.chars() {
        if steers(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(c);
        }
    }
    Ok(shown)
}

/// Whether `c` is C0, DEL, C1, a line or paragraph separator, or a mark that changes the direction
/// of text.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The name for a URL before its file has one: the last segment of its path, without secrets.
pub(crate) fn label(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let after_scheme = url.find("://").map_or(0, |at| (at + 3).min(end));
    let name = match url[after_scheme..end].split_once('/') {
        Some((_authority, path)) => path.rsplit('/').find(|segment| !segment.is_empty()),
        None => None,
    };
    visible(name.unwrap_or("download"))
}

/// The host of a URL, without secrets.
pub(crate) fn host(url: &str) -> String {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let end = after_scheme
        .find(['/', '?', '#', '\\'])
        .unwrap_or(after_scheme.len());
    visible(after_scheme[..end].rsplit('@').next().unwrap_or_default())
}

/// Formats a number of bytes with three digits and a 1024-based unit.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    // 1023.5 would be shown as 1024 of the smaller unit.
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = match value {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {}", UNITS[unit])
}

/// Formats a rate, given in bytes per second.
pub(crate) fn rate(bytes_per_second: u64) -> String {
    format!("{}/s", bytes(bytes_per_second))
}

/// Formats a span of time: `0.8 s`, `12 s`, `2 min 05 s`, `3 h 07 min`.
pub(crate) fn duration(span: Duration) -> String {
    if span < Duration::from_millis(9_950) {
        return format!("{:.1} s", span.as_secs_f64());
    }
    seconds(span.as_secs() + u64::from(span.subsec_millis() >= 500))
}

/// Formats a span of time: below a second as `37 ms`, otherwise as [`duration`] does.
pub(crate) fn short(span: Duration) -> String {
    match span.as_millis() {
        millis @ 0..1000 => format!("{millis} ms"),
        _ => duration(span),
    }
}

/// Formats a number of seconds.
pub(crate) fn seconds(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// The completed share in percent, rounded down. A `total` of 0 is 100 percent.
pub(crate) fn percent(done: u64, total: u64) -> u64 {
    if total == 0 {
        return 100;
    }
    u64::try_from(u128::from(done.min(total)) * 100 / u128::from(total)).unwrap_or(100)
}

/// Formats a number of things: `1 part`, `2 parts`.
pub(crate) fn count(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// Draws one cell for each percentage, darker for larger ones.
pub(crate) fn strip(coverage: &[u8]) -> String {
    let cells: String = coverage
        .iter()
        .map(|percent| match percent {
            0 => '·',
            1..34 => '░',
            34..67 => '▒',
            67..100 => '▓',
            _ => '█',
        })
        .collect();
    format!("[{cells}]")
}

/// How much of each of `cells` equal ranges of an object is complete, in percent.
///
/// `missing` contains the missing ranges as inclusive byte positions, merged and in order.
pub(crate) fn coverage(length: u64, missing: &[(u64, u64)], cells: u32) -> Vec<u8> {
    let edge = |cell: u32| u128::from(length) * u128::from(cell) / u128::from(cells);
    (0..cells)
        .map(|cell| {
            let from = edge(cell);
            // A cell narrower than a byte shows that byte.
            let to = edge(cell + 1).max(from + 1);
            let lacking: u128 = missing
                .iter()
                .map(|&(first, last)| {
                    (u128::from(last) + 1)
                        .min(to)
                        .saturating_sub(u128::from(first).max(from))
                })
                .sum();
            let whole = to - from;
            u8::try_from((whole - lacking.min(whole)) * 100 / whole).unwrap_or(100)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn short_spans_are_told_in_milliseconds() {
        assert_eq!(short(Duration::from_micros(1_999)), "1 ms");
        assert_eq!(short(Duration::from_millis(999)), "999 ms");
        assert_eq!(short(Duration::from_millis(1_000)), "1.0 s");
        assert_eq!(short(Duration::from_secs(90)), "1 min 30 s");
    }

    #[test]
    fn what_could_steer_a_terminal_is_escaped() {
        assert_eq!(visible("a\u{1b}[31mb"), "a\\u{1b}[31mb");
        assert_eq!(visible("c1\u{9b}2J"), "c1\\u{9b}2J");
        assert_eq!(visible("exe\u{202e}gpj"), "exe\\u{202e}gpj");
        assert_eq!(
            visible("\u{2066}x\u{2069}\u{200f}"),
            "\\u{2066}x\\u{2069}\\u{200f}"
        );
        assert_eq!(
            visible("line\r\nline\t\0\u{7f}"),
            "line\\r\\nline\\t\\u{0}\\u{7f}"
        );
        assert_eq!(visible("plain \\ ünï 文"), "plain \\ ünï 文");
    }

    #[test]
    fn json_stays_json() {
        let told = json(&"a\u{1b}\u{9b}\u{202e}\n").expect("a string is JSON");
        assert_eq!(told, r#""a\u001b\u009b\u202e\n""#);
        let back: String = serde_json::from_str(&told).expect("still JSON");
        assert_eq!(back, "a\u{1b}\u{9b}\u{202e}\n");
    }

    #[test]
    fn a_label_holds_no_secret() {
        assert_eq!(label("http://h/a/v.mp4"), "v.mp4");
        assert_eq!(label("https://user:pw@h/v.mp4?sig=secret#x/y"), "v.mp4");
        assert_eq!(label("https://user:pw@h"), "download");
        assert_eq!(label("https://user:pw@h?sig=a/b"), "download");
        assert_eq!(label("http://h/folder/"), "folder");
        assert_eq!(label("http://h/\u{1b}c"), "\\u{1b}c");
        assert_eq!(label("?://x/y"), "download");
    }

    #[test]
    fn a_host_holds_no_secret() {
        assert_eq!(host("http://h/a"), "h");
        assert_eq!(host("https://user:p@w@h:8443?sig=a@b/c"), "h:8443");
        assert_eq!(host("http://[::1]:80/"), "[::1]:80");
    }

    #[test]
    fn bytes_have_three_digits() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1024), "1.00 KiB");
        assert_eq!(bytes(1 << 30), "1.00 GiB");
        assert_eq!(bytes(320 << 20), "320 MiB");
        assert_eq!(bytes((1 << 20) - 1), "1.00 MiB");
        assert_eq!(bytes(u64::MAX), "16.0 EiB");
    }

    #[test]
    fn spans_of_time() {
        assert_eq!(duration(Duration::from_millis(3_240)), "3.2 s");
        assert_eq!(duration(Duration::from_millis(59_400)), "59 s");
        assert_eq!(duration(Duration::from_secs(125)), "2 min 05 s");
        assert_eq!(duration(Duration::from_secs(11_220)), "3 h 07 min");
        assert_eq!(seconds(0), "0 s");
        assert_eq!(seconds(u64::MAX), "5124095576030431 h 00 min");
    }

    #[test]
    fn a_strip_shows_what_is_there() {
        assert_eq!(strip(&coverage(100, &[(50, 99)], 4)), "[██··]");
        assert_eq!(strip(&coverage(100, &[(0, 0), (30, 44)], 4)), "[▓▒██]");
        assert_eq!(strip(&coverage(0, &[], 3)), "[███]");
        assert_eq!(strip(&[0, 1, 50, 99, 100]), "[·░▒▓█]");
    }

    proptest! {
        #[test]
        fn nothing_that_steers_is_left(text in any::<String>()) {
            prop_assert!(!visible(&text).chars().any(steers));
        }

        #[test]
        fn a_label_is_made_of_any_text(text in any::<String>()) {
            prop_assert!(!label(&text).is_empty());
        }

        #[test]
        fn coverage_is_a_percentage(length: u64, missing: Vec<(u64, u64)>, cells in 1_u32..99) {
            prop_assert!(coverage(length, &missing, cells).iter().all(|percent| *percent <= 100));
        }

        #[test]
        fn bytes_and_percent_never_panic(done: u64, total: u64) {
            prop_assert!(percent(done, total) <= 100);
            prop_assert!(!bytes(done).is_empty());
        }
    }
}
