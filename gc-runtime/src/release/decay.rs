//! How much memory is worth keeping: what was used not long ago.

use std::collections::VecDeque;
use std::time::Instant;

use crate::options::Decay;

/// How far a cycle's program got in the heap.
#[derive(Clone, Copy, Debug)]
struct Use {
    at: Instant,
    cycle: u64,
    pages: u32,
}

/// What recent cycles have used.
#[derive(Debug)]
pub(crate) struct Uses {
    decay: Decay,
    /// From old to new, each less than the one before: what is older and less does not count.
    uses: VecDeque<Use>,
    cycle: u64,
}

impl Uses {
    pub(crate) fn new(decay: Decay) -> Self {
        Self { decay, uses: VecDeque::new(), cycle: 0 }
    }

    /// `cycle` has found the first `pages` pages in use.
    pub(crate) fn note(&mut self, cycle: u64, pages: u32, at: Instant) {
        self.cycle = cycle;
        while self.uses.back().is_some_and(|last| last.pages <= pages) {
            self.uses.pop_back();
        }
        self.uses.push_back(Use { at, cycle, pages });
    }

    /// Forgets what has been used: memory is wanted elsewhere.
    pub(crate) fn forget(&mut self) {
        self.uses.clear();
    }

    /// Pages that are worth keeping at `now`.
    pub(crate) fn kept(&mut self, now: Instant) -> u32 {
        while self.uses.front().is_some_and(|first| self.end(first) <= now) {
            self.uses.pop_front();
        }
        self.uses.front().map_or(0, |first| first.pages)
    }

    /// When [`kept`](Self::kept) may become less, if no cycle comes before.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.uses.iter().map(|used| self.end(used)).min()
    }

    /// Until when what was used is kept.
    fn end(&self, used: &Use) -> Instant {
        let Decay { cycles, at_least, at_most } = self.decay;
        let recent = self.cycle - used.cycle < u64::from(cycles);
        used.at + if recent { at_most.max(at_least) } else { at_least }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);
    const DECAY: Decay = Decay { cycles: 3, at_least: SECOND, at_most: Duration::from_secs(10) };

    /// What is kept after cycles, each told as milliseconds and pages.
    fn kept(cycles: &[(u64, u32)], at: u64) -> u32 {
        let began = Instant::now();
        let time = |ms| began + Duration::from_millis(ms);
        let mut uses = Uses::new(DECAY);
        for (&(ms, pages), number) in cycles.iter().zip(1..) {
            uses.note(number, pages, time(ms));
        }
        uses.kept(time(at))
    }

    #[test]
    fn what_a_recent_cycle_used_is_kept_for_the_longer_time() {
        assert_eq!(kept(&[(0, 1000), (2000, 10), (4000, 10)], 9999), 1000);
        assert_eq!(kept(&[(0, 1000), (2000, 10), (4000, 10)], 10_000), 10);
        assert_eq!(kept(&[(0, 1000)], 10_000), 0);
    }

    #[test]
    fn what_an_older_cycle_used_is_kept_for_the_shorter_time() {
        let cycles = [(0, 1000), (100, 10), (200, 20), (300, 15), (400, 10)];
        assert_eq!(kept(&cycles, 999), 1000);
        assert_eq!(kept(&cycles, 1000), 20);
        assert_eq!(kept(&cycles, 10_199), 20);
        assert_eq!(kept(&cycles, 10_200), 15);
    }

    #[test]
    fn a_heap_that_breathes_keeps_what_it_needs_at_most() {
        let breaths: Vec<(u64, u32)> =
            (0..100).map(|n| (n * 300, if n % 2 == 0 { 500 } else { 20 })).collect();
        for end in 3..100 {
            assert_eq!(kept(&breaths[..end], breaths[end - 1].0 + 300), 500);
        }
    }

    #[test]
    fn the_next_change_is_told() {
        let now = Instant::now();
        let mut uses = Uses::new(DECAY);
        assert_eq!(uses.next(), None);
        uses.note(1, 100, now);
        assert_eq!(uses.next(), Some(now + 10 * SECOND));
        for number in 2..5 {
            uses.note(number, 10, now + SECOND / 2);
        }
        assert_eq!(uses.next(), Some(now + SECOND));
        assert_eq!(uses.kept(now + SECOND), 10);
        uses.forget();
        assert_eq!((uses.kept(now), uses.next()), (0, None));
    }
}
