//! Formats numbers for people.

/// Formats bytes with three digits and a 1024-based unit.
pub(super) fn bytes(count: u64) -> String {
    scaled(count as f64)
}

/// Formats bytes per second.
pub(super) fn rate(bytes_per_second: f64) -> String {
    format!("{}/s", scaled(bytes_per_second))
}

/// Formats a mean and its deviation in the mean's unit: `1.02 ± 0.03 GiB/s`.
pub(super) fn rate_with_deviation(mean: f64, deviation: Option<f64>) -> String {
    let Some(deviation) = deviation else {
        return rate(mean);
    };
    let (divisor, unit) = unit_of(mean);
    let (mean, deviation) = (mean / divisor, deviation / divisor);
    let decimals = decimals(mean);
    format!("{mean:.decimals$} ± {deviation:.decimals$} {unit}/s")
}

/// Formats seconds with three digits.
pub(super) fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 0.000_999_5 => format!("{:.0} µs", s * 1e6),
        s if s < 0.999_5 => {
            let ms = s * 1e3;
            format!("{ms:.*} ms", decimals(ms))
        }
        s => format!("{s:.*} s", decimals(s)),
    }
}

/// Formats a count with its noun: `1 part`, `2 parts`.
pub(super) fn count(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// Formats a size for a command line: `256K`, `4M`, or plain bytes.
pub(super) fn typed(bytes: u64) -> String {
    for (shift, unit) in [(30, "G"), (20, "M"), (10, "K")] {
        let size = 1_u64 << shift;
        if bytes >= size && bytes.is_multiple_of(size) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

fn scaled(value: f64) -> String {
    let (divisor, unit) = unit_of(value);
    let value = value / divisor;
    match unit {
        "B" => format!("{value:.0} B"),
        _ => format!("{value:.*} {unit}", decimals(value)),
    }
}

fn unit_of(value: f64) -> (f64, &'static str) {
    let mut divisor = 1.0;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
        // 1023.5 would be shown as 1024 of the smaller unit.
        if value / divisor < 1023.5 {
            break;
        }
        divisor *= 1024.0;
        unit = larger;
    }
    (divisor, unit)
}

fn decimals(value: f64) -> usize {
    match value {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1 << 20), "1.00 MiB");
        assert_eq!(bytes(u64::MAX), "16.0 EiB");
        assert_eq!(rate(1_500_000_000.0), "1.40 GiB/s");
        let (mean, deviation) = (1_073_741_824.0, 32_212_254.7);
        assert_eq!(
            rate_with_deviation(mean, Some(deviation)),
            "1.00 ± 0.03 GiB/s"
        );
        assert_eq!(rate_with_deviation(mean, None), "1.00 GiB/s");
        assert_eq!(seconds(0.000_012), "12 µs");
        assert_eq!(seconds(0.012_34), "12.3 ms");
        assert_eq!(seconds(0.999_9), "1.00 s");
        assert_eq!(seconds(71.0), "71.0 s");
    }

    #[test]
    fn sizes_can_be_typed_again() {
        assert_eq!(typed(262_144), "256K");
        assert_eq!(typed(1 << 20), "1M");
        assert_eq!(typed(3 << 30), "3G");
        assert_eq!(typed(1025), "1025");
    }
}
