//! Parses option values: sizes, seconds, `N|auto`.

use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use partwise::{Connections, HttpVersion, OnChange, PartSize, Verify, Writer};

/// Parses a size of at least one byte: plain bytes, or with `K M G` or `KiB MiB GiB` (1024-based,
/// in either case).
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| SIZE_EXPECTED.to_owned())?;
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        _ => return Err(SIZE_EXPECTED.to_owned()),
    };
    match number.checked_mul(1 << shift) {
        Some(0) => Err("expected at least 1 byte".to_owned()),
        Some(bytes) => Ok(bytes),
        None => Err("expected fewer than 2^64 bytes".to_owned()),
    }
}

const SIZE_EXPECTED: &str = "expected bytes, such as 1048576, 512KiB, 8M or 1G";

/// Parses a positive number of seconds, with or without decimals.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    match any_seconds(text) {
        Some(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("expected a positive number of seconds, such as 10 or 0.5".to_owned()),
    }
}

/// Parses a number of seconds that may be 0, with or without decimals.
pub(crate) fn seconds_or_none(text: &str) -> Result<Duration, String> {
    any_seconds(text).ok_or_else(|| "expected a number of seconds, such as 600 or 0".to_owned())
}

/// How long a transfer may be too slow where that is not given.
const SLOW_SPAN: Duration = Duration::from_secs(30);

/// Parses a size, and seconds after a comma where they are given.
pub(crate) fn lowest_speed(text: &str) -> Result<(u64, Duration), String> {
    match text.split_once(',') {
        None => Ok((size(text)?, SLOW_SPAN)),
        Some((rate, span)) => Ok((size(rate)?, seconds(span)?)),
    }
}

fn any_seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

/// Parses `auto` or a number of connections.
pub(crate) fn connections(text: &str) -> Result<Connections, String> {
    if text == "auto" {
        return Ok(Connections::Auto);
    }
    let number = text
        .parse()
        .map_err(|_| "expected `auto` or a number of at least 1".to_owned())?;
    Ok(Connections::Fixed(number))
}

/// Parses `auto` or a size.
pub(crate) fn part_size(text: &str) -> Result<PartSize, String> {
    if text == "auto" {
        return Ok(PartSize::Auto);
    }
    size(text).map(PartSize::Bytes)
}

/// The words of `--writer`.
pub(crate) const WRITERS: &[(&str, Writer)] = &[
    ("auto", Writer::Auto),
    ("mmap", Writer::Mmap),
    ("pwrite", Writer::Pwrite),
];

/// The words of `--http-version`.
pub(crate) const HTTP_VERSIONS: &[(&str, HttpVersion)] =
    &[("1.1", HttpVersion::Http11), ("2", HttpVersion::Http2)];

/// The words of `--on-change`.
pub(crate) const ON_CHANGE: &[(&str, OnChange)] =
    &[("fail", OnChange::Fail), ("restart", OnChange::Restart)];

/// The words of `--verify`.
pub(crate) const VERIFY: &[(&str, Verify)] = &[
    ("auto", Verify::Auto),
    ("always", Verify::Always),
    ("never", Verify::Never),
];

/// A parser of these words, each with its value.
pub(crate) fn one_of<T: Copy + Send + Sync + 'static>(
    choices: &'static [(&'static str, T)],
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(choices.iter().map(|(word, _)| *word)).map(|typed| {
        let found = choices.iter().find(|(word, _)| *word == typed);
        found.expect("the parser admits only these words").1
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_bytes_or_1024_based() {
        for (typed, bytes) in [
            ("1", 1),
            ("1048576", 1 << 20),
            ("1K", 1 << 10),
            ("1k", 1 << 10),
            ("512KiB", 512 << 10),
            ("8M", 8 << 20),
            ("8m", 8 << 20),
            ("8mib", 8 << 20),
            ("3G", 3 << 30),
            ("3GiB", 3 << 30),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(size(typed), Ok(bytes), "{typed}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for typed in [
            "",
            "K",
            "x",
            "1X",
            "1KB",
            "1.5M",
            "-1",
            "0",
            "0K",
            "1 K",
            "K1",
            "1KiBB",
            "٣",
            "1é",
            "18446744073709551616",
            "17179869184G",
        ] {
            assert!(size(typed).is_err(), "{typed}");
        }
    }

    #[test]
    fn seconds_are_positive_and_finite() {
        assert_eq!(seconds("10"), Ok(Duration::from_secs(10)));
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for typed in ["", "0", "-1", "nan", "inf", "1e400", "5s", "1e-30"] {
            assert!(seconds(typed).is_err(), "{typed}");
        }
        assert_eq!(seconds_or_none("0"), Ok(Duration::ZERO));
        assert!(seconds_or_none("-1").is_err() && seconds_or_none("").is_err());
    }

    #[test]
    fn a_lowest_speed_has_a_span() {
        let half_a_minute = Duration::from_secs(30);
        assert_eq!(lowest_speed("10K"), Ok((10_240, half_a_minute)));
        assert_eq!(lowest_speed("1,2.5"), Ok((1, Duration::from_millis(2500))));
        for typed in ["", "0", "1,", "1,0", ",3", "1,2,3", "fast"] {
            assert!(lowest_speed(typed).is_err(), "{typed}");
        }
    }

    #[test]
    fn auto_or_a_number() {
        assert_eq!(connections("auto"), Ok(Connections::Auto));
        assert!(matches!(connections("4"), Ok(Connections::Fixed(n)) if n.get() == 4));
        assert!(connections("0").is_err());
        assert!(connections("Auto!").is_err());
        assert_eq!(part_size("auto"), Ok(PartSize::Auto));
        assert_eq!(part_size("2M"), Ok(PartSize::Bytes(2 << 20)));
    }

    proptest! {
        #[test]
        fn any_text_is_a_size_or_an_error(text in any::<String>()) {
            let _ = size(&text);
            let _ = seconds(&text);
        }

        #[test]
        fn plain_bytes_mean_themselves(bytes in 1_u64..) {
            prop_assert_eq!(size(&bytes.to_string()), Ok(bytes));
        }
    }
}
