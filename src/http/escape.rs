//! Escapes text from a server for display.

use std::fmt::Write;

/// The longest text from a server that is shown, in characters.
const LONGEST_SHOWN: usize = 200;

/// The text with control characters (C0, C1, ESC, DEL), line separators and bidirectional marks
/// written as `\u{…}`, truncated after 200 characters.
pub(crate) fn escape(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(LONGEST_SHOWN));
    for (position, c) in text.chars().enumerate() {
        if position == LONGEST_SHOWN {
            shown.push('…');
            break;
        }
        if is_hidden(c) {
            write!(shown, "\\u{{{:x}}}", u32::from(c)).expect("writing to a String can't fail");
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Whether a terminal would act on the character instead of showing it.
pub(crate) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{061c}'
                | '\u{200e}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn table() {
        let cases = [
            ("plain – ünï", "plain – ünï"),
            ("\x1b[31mred", "\\u{1b}[31mred"),
            ("a\r\nb\0", "a\\u{d}\\u{a}b\\u{0}"),
            ("\u{9b}2J\u{7f}", "\\u{9b}2J\\u{7f}"),
            ("\u{202e}gpj.exe", "\\u{202e}gpj.exe"),
        ];
        for (text, shown) in cases {
            assert_eq!(escape(text), shown);
        }
        assert_eq!(escape(&"x".repeat(1000)).chars().count(), LONGEST_SHOWN + 1);
    }

    proptest! {
        #[test]
        fn nothing_hidden_is_left(text in any::<String>()) {
            prop_assert!(!escape(&text).chars().any(is_hidden));
        }
    }
}
