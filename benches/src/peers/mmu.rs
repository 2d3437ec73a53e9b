//! Minimum mutator utilisation: the share of a window that the program has at least.

use crate::samples::{count, counter};

/// Time that threads have lost, as a function that only grows.
#[derive(Debug)]
pub struct Lost {
    /// Where the number of threads that lose time changes: when, how much was lost until then, and
    /// how many lose from then on.
    points: Vec<(u64, u64, u64)>,
}

impl Lost {
    /// From spans in nanoseconds, which may overlap where they are of several threads.
    #[must_use]
    pub fn new(spans: Vec<(u64, u64)>) -> Self {
        let mut ends: Vec<(u64, bool)> = Vec::with_capacity(2 * spans.len());
        for (start, end) in spans.into_iter().filter(|(start, end)| start < end) {
            ends.extend([(start, true), (end, false)]);
        }
        ends.sort_unstable();
        let mut points = vec![(0, 0, 0)];
        let (mut at, mut lost, mut threads) = (0, 0, 0);
        for (time, begins) in ends {
            lost += (time - at) * threads;
            at = time;
            threads = if begins { threads + 1 } else { threads - 1 };
            points.push((at, lost, threads));
        }
        Self { points }
    }

    fn until(&self, time: u64) -> u64 {
        let after = self.points.partition_point(|(at, ..)| *at <= time);
        let (at, lost, threads) = self.points[after.saturating_sub(1)];
        lost + (time - at) * threads
    }

    /// The least share of any window of `window` nanoseconds that `threads` threads have.
    #[must_use]
    pub fn utilisation(&self, window: u64, threads: usize) -> f64 {
        // The loss in a window is greatest for one that begins or ends where something changes.
        let worst = self
            .points
            .iter()
            .flat_map(|(at, ..)| [*at, at.saturating_sub(window)])
            .map(|from| self.until(from + window) - self.until(from))
            .max();
        1.0 - counter(worst.unwrap_or(0)) / (counter(window) * count(threads))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_window_is_found_wherever_it_begins() {
        let lost = Lost::new(vec![(100, 110), (115, 120), (300, 308)]);
        assert_eq!(lost.utilisation(10, 1), 0.0);
        assert_eq!(lost.utilisation(20, 1), 0.25);
        assert_eq!(lost.utilisation(1000, 1), 1.0 - 0.023);
    }

    #[test]
    fn threads_share_a_loss() {
        let lost = Lost::new(vec![(0, 10), (5, 10)]);
        assert_eq!(lost.utilisation(10, 2), 0.25);
        assert_eq!(Lost::new(vec![]).utilisation(10, 2), 1.0);
    }
}
