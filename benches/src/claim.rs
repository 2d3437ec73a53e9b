//! What a benchmark is asked to show: a ratio and its limit.

use serde::{Deserialize, Serialize};

use crate::samples::{Series, short};

/// A ratio of two medians of one run, and the most it may be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// The question, a colon, and what is compared.
    pub name: String,
    /// The measured ratio, or nothing where a side could not be measured.
    pub value: Option<f64>,
    /// The most that the ratio may be.
    pub limit: f64,
    /// Whether the ratio was measured and is within the limit.
    pub holds: bool,
    /// Both absolute numbers, or the reason why there is no ratio.
    pub because: String,
}

impl Claim {
    /// Compares the medians of two series.
    ///
    /// # Examples
    ///
    /// ```
    /// use benches::claim::Claim;
    /// use benches::samples::Series;
    ///
    /// let near = Series::new("near", "us", vec![1.0, 2.0, 3.0]);
    /// let far = Series::new("far", "us", vec![8.0]);
    /// let claim = Claim::at_most("example: near over far", &near, &far, 0.5);
    /// assert!(claim.holds);
    /// assert_eq!(claim.value, Some(0.25));
    /// ```
    #[must_use]
    pub fn at_most(name: &str, side: &Series, over: &Series, limit: f64) -> Self {
        let value = match (side.median(), over.median()) {
            (Some(side), Some(over)) if over > 0.0 => Some(side / over),
            _ => None,
        };
        let because = match (side.median(), over.median()) {
            (Some(a), Some(b)) => {
                format!("{} {} over {} {}", short(a), side.unit, short(b), over.unit)
            }
            _ => "a side has no samples".to_owned(),
        };
        let holds = value.is_some_and(|value| value <= limit);
        Self { name: name.to_owned(), value, limit, holds, because }
    }

    /// A ratio that was measured some other way, with the numbers behind it.
    #[must_use]
    pub fn ratio(name: &str, value: f64, limit: f64, because: String) -> Self {
        Self { name: name.to_owned(), value: Some(value), limit, holds: value <= limit, because }
    }

    /// A share that was measured and must be at least `limit`.
    #[must_use]
    pub fn at_least(name: &str, value: f64, limit: f64, because: String) -> Self {
        let name = format!("{name}, at least");
        Self { name, value: Some(value), limit, holds: value >= limit, because }
    }

    /// A claim that nothing could be measured for. It does not hold: silence proves nothing.
    #[must_use]
    pub fn unmeasured(name: &str, limit: f64, why: &str) -> Self {
        Self { name: name.to_owned(), value: None, limit, holds: false, because: why.to_owned() }
    }

    /// One line: name, ratio, limit, verdict, and the numbers behind.
    #[must_use]
    pub fn line(&self) -> String {
        let verdict = if self.holds { "holds" } else { "falls short" };
        match self.value {
            Some(value) => format!(
                "{}: {value:.3}, limit {}: {verdict} ({})",
                self.name, self.limit, self.because
            ),
            None => format!(
                "{}: not measured, limit {}: {verdict} ({})",
                self.name, self.limit, self.because
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_above_the_limit_falls_short() {
        let one = Series::new("a", "us", vec![3.0]);
        let two = Series::new("b", "us", vec![1.0]);
        let claim = Claim::at_most("x", &one, &two, 2.0);
        assert!(!claim.holds);
        assert_eq!(claim.line(), "x: 3.000, limit 2: falls short (3.00 us over 1.00 us)");
    }

    #[test]
    fn no_samples_prove_nothing() {
        let none = Series::new("a", "us", vec![]);
        assert!(!Claim::at_most("x", &none, &none, 2.0).holds);
        assert!(!Claim::unmeasured("x", 2.0, "no such transport").holds);
    }
}
