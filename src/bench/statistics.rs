//! Means, deviations and percentiles.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Mean, deviation and range of a few measurements.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// The number of measurements.
    pub runs: usize,
    /// The mean.
    pub mean: f64,
    /// The sample standard deviation (divisor n - 1); `None` for a single measurement.
    pub standard_deviation: Option<f64>,
    /// The median.
    pub median: f64,
    /// The smallest measurement.
    pub min: f64,
    /// The greatest measurement.
    pub max: f64,
}

impl Summary {
    /// Summarises values, which must not be NaN; `None` if there are none.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let count = sorted.len() as f64;
        let mean = sorted.iter().sum::<f64>() / count;
        let squares: f64 = sorted.iter().map(|value| (value - mean).powi(2)).sum();
        let middle = sorted.len() / 2;
        Some(Self {
            runs: sorted.len(),
            mean,
            standard_deviation: (sorted.len() > 1).then(|| (squares / (count - 1.0)).sqrt()),
            median: if sorted.len() % 2 == 1 {
                sorted[middle]
            } else {
                f64::midpoint(sorted[middle - 1], sorted[middle])
            },
            min,
            max,
        })
    }

    /// The standard deviation as a share of the mean; 0 if there is none.
    #[must_use]
    pub fn noise(&self) -> f64 {
        match self.standard_deviation {
            Some(deviation) if self.mean > 0.0 => deviation / self.mean,
            _ => 0.0,
        }
    }
}

/// Percentiles, to three significant digits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Percentiles {
    /// The number of values.
    pub count: u64,
    /// 5 % lie below it.
    pub p5: f64,
    /// 25 % lie below it.
    pub p25: f64,
    /// Half of them lie below it.
    pub p50: f64,
    /// 75 % lie below it.
    pub p75: f64,
    /// 95 % lie below it.
    pub p95: f64,
    /// 99 % lie below it.
    pub p99: f64,
}

impl Percentiles {
    /// The percentiles of integers, each multiplied by `scale`; `None` if there are no values.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = u64>, scale: f64) -> Option<Self> {
        // Creation can't fail with three digits, and the range grows with the values.
        let mut histogram = Histogram::<u64>::new(3).ok()?;
        for value in values {
            // A value beyond the largest possible range counts as the greatest one.
            if histogram.record(value).is_err() {
                histogram.saturating_record(value);
            }
        }
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 * scale;
        (!histogram.is_empty()).then(|| Self {
            count: histogram.len(),
            p5: at(0.05),
            p25: at(0.25),
            p50: at(0.5),
            p75: at(0.75),
            p95: at(0.95),
            p99: at(0.99),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries() {
        for (values, mean, deviation, median) in [
            (&[4.0][..], 4.0, None, 4.0),
            (&[3.0, 1.0], 2.0, Some(2_f64.sqrt()), 2.0),
            (
                &[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0],
                5.0,
                Some((32.0_f64 / 7.0).sqrt()),
                4.5,
            ),
            (&[5.0, 5.0, 5.0], 5.0, Some(0.0), 5.0),
        ] {
            let summary = Summary::of(values).unwrap();
            assert_eq!(summary.mean, mean, "{values:?}");
            assert_eq!(summary.standard_deviation, deviation, "{values:?}");
            assert_eq!(summary.median, median, "{values:?}");
            assert!(summary.min <= median && median <= summary.max);
        }
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(
            Summary::of(&[1.0, 3.0]).unwrap().noise(),
            2_f64.sqrt() / 2.0
        );
        assert_eq!(Summary::of(&[0.0, 0.0]).unwrap().noise(), 0.0);
    }

    #[test]
    fn percentiles() {
        let found = Percentiles::of(1..=1000, 0.5).unwrap();
        assert_eq!(found.count, 1000);
        for (value, expected) in [
            (found.p5, 25.0),
            (found.p25, 125.0),
            (found.p50, 250.0),
            (found.p75, 375.0),
            (found.p95, 475.0),
            (found.p99, 495.0),
        ] {
            assert!(
                (value - expected).abs() <= expected / 500.0,
                "{value} {expected}"
            );
        }
        assert_eq!(Percentiles::of([], 1.0), None);
        let huge = Percentiles::of([u64::MAX], 1.0).unwrap();
        assert!(huge.p50 > 1e18);
    }
}
