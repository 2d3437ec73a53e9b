//! Series of measurements: median, spread, percentiles.

use std::fmt::Display;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The raw measurements of one side, in the order in which they were taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// What was measured, and on which side.
    pub name: String,
    /// The unit of the values.
    pub unit: String,
    /// One value a turn.
    pub values: Vec<f64>,
}

impl Series {
    /// A series from its values.
    pub fn new(name: impl Into<String>, unit: &str, values: Vec<f64>) -> Self {
        Self { name: name.into(), unit: unit.to_owned(), values }
    }

    /// The value in the middle, or nothing for an empty series.
    ///
    /// # Examples
    ///
    /// ```
    /// use benches::samples::Series;
    ///
    /// assert_eq!(Series::new("x", "us", vec![9.0, 1.0, 2.0]).median(), Some(2.0));
    /// assert_eq!(Series::new("x", "us", vec![1.0, 2.0]).median(), Some(1.5));
    /// assert_eq!(Series::new("x", "us", vec![]).median(), None);
    /// ```
    #[must_use]
    pub fn median(&self) -> Option<f64> {
        self.quantile(0.5)
    }

    /// The first and third quartile: half of all measurements lie between them.
    #[must_use]
    pub fn spread(&self) -> Option<(f64, f64)> {
        Some((self.quantile(0.25)?, self.quantile(0.75)?))
    }

    /// One line: median, quartiles, count.
    #[must_use]
    pub fn line(&self) -> String {
        match (self.median(), self.spread()) {
            (Some(median), Some((low, high))) => format!(
                "{}: median {} {} (quartiles {} to {}, n = {})",
                self.name,
                short(median),
                self.unit,
                short(low),
                short(high),
                self.values.len()
            ),
            _ => format!("{}: no samples", self.name),
        }
    }

    /// One line: p50, p99, the greatest value, count.
    #[must_use]
    pub fn percentiles(&self) -> String {
        let values = [0.5, 0.99, 1.0].map(|q| self.quantile(q).map_or("none".to_owned(), short));
        percentile_line(&self.name, &self.unit, &values, self.values.len())
    }

    /// As [`quantile`].
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        quantile(&self.values, q)
    }
}

/// What the share `q` of the values lies below; linear between neighbours, as most statistics
/// programs do it. Nothing if there are no values.
#[must_use]
pub fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let at = q * count(last);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "q is between 0 and 1, so the product is an index of the list"
    )]
    let below = at.floor() as usize;
    let above = (below + 1).min(last);
    let share = at - count(below);
    Some(sorted[below] * (1.0 - share) + sorted[above] * share)
}

/// A time in nanoseconds.
#[must_use]
pub fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A thousand quantiles of many times in nanoseconds, as microseconds: enough to draw them, and to
/// keep.
#[must_use]
pub fn quantile_sketch(name: String, ns: &[u64]) -> Series {
    const PARTS: usize = 1000;
    let mut sorted = ns.to_vec();
    sorted.sort_unstable();
    let at = |part: usize| sorted.get(part * (sorted.len() - 1) / PARTS).copied();
    let values = match sorted.len() {
        0 => Vec::new(),
        few if few <= PARTS => sorted.clone(),
        _ => (0..=PARTS).filter_map(at).collect(),
    };
    Series::new(name, "us", values.into_iter().map(|ns| counter(ns) / 1000.0).collect())
}

/// A count as a floating-point number, for ratios.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts in a benchmark are far below 2^52")]
pub fn count(n: usize) -> f64 {
    n as f64
}

/// The same for 64-bit counters.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "nanoseconds and bytes stay below 2^52 here")]
pub fn counter(n: u64) -> f64 {
    n as f64
}

/// Three significant digits, or all digits before the point.
#[must_use]
pub fn short(value: f64) -> String {
    let size = value.abs();
    if size >= 100.0 || size == 0.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else if size >= 1.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.3}")
    }
}

/// What `after` has more than `before`, both of one histogram that only grows.
#[must_use]
pub fn since(before: &Histogram<u64>, after: &Histogram<u64>) -> Histogram<u64> {
    let mut window = after.clone();
    match window.subtract(before) {
        Ok(()) => window,
        // Not the same histogram any more: better everything than nothing.
        Err(_) => after.clone(),
    }
}

/// p50, p99 and max of a histogram of nanoseconds, in microseconds.
#[must_use]
pub fn percentiles_us(name: &str, histogram: &Histogram<u64>) -> String {
    if histogram.is_empty() {
        return format!("{name}: nothing recorded");
    }
    let values =
        [histogram.value_at_quantile(0.5), histogram.value_at_quantile(0.99), histogram.max()]
            .map(|ns| short(counter(ns) / 1000.0));
    percentile_line(name, "us", &values, histogram.len())
}

fn percentile_line(
    name: &str,
    unit: &str,
    [p50, p99, max]: &[String; 3],
    n: impl Display,
) -> String {
    format!("{name}: p50 {p50} {unit}, p99 {p99} {unit}, max {max} {unit} (n = {n})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_enclose_half_of_the_samples() {
        let series = Series::new("x", "us", (1..=5).map(f64::from).collect());
        assert_eq!(series.spread(), Some((2.0, 4.0)));
        assert!(series.line().contains("median 3.00 us (quartiles 2.00 to 4.00, n = 5)"));
    }

    #[test]
    fn percentiles_lie_between_neighbours() {
        let series = Series::new("x", "us", (0..=10).map(f64::from).collect());
        assert_eq!(series.percentiles(), "x: p50 5.00 us, p99 9.90 us, max 10.0 us (n = 11)");
        let nothing = Series::new("x", "us", Vec::new());
        assert_eq!(nothing.percentiles(), "x: p50 none us, p99 none us, max none us (n = 0)");
    }

    #[test]
    fn numbers_keep_three_digits() {
        assert_eq!(
            [1234.5, 56.78, 1.234, 0.1234, 0.0].map(short),
            ["1234", "56.8", "1.23", "0.123", "0"]
        );
    }

    #[test]
    fn a_window_holds_only_what_came_after() {
        let mut before = Histogram::<u64>::new(3).expect("three digits are allowed");
        before.record(1_000_000).expect("it grows by itself");
        let mut after = before.clone();
        after.record(5_000).expect("it grows by itself");
        let window = since(&before, &after);
        assert_eq!((window.len(), window.max() / 1000), (1, 5));
    }
}
