//! Faults in a row: one right behind the pages that another has put in place gets more.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::halves;

/// Streaks that are remembered at a time: a few for each of the mutators that run.
const STREAKS: usize = 8;

/// Where the last faults have ended. They are hints: what two threads do at the same time may be
/// forgotten.
#[derive(Debug, Default)]
pub(crate) struct Streaks {
    /// The page after a fault's cluster, and the pages of that.
    recent: [AtomicU64; STREAKS],
    next: AtomicUsize,
}

impl Streaks {
    /// How many pages a fault in the cluster of `least` pages at page `start` builds: twice as many as
    /// the one that ended there, up to `most`.
    pub(crate) fn note(&self, start: u32, least: u32, most: u32) -> u32 {
        for streak in &self.recent {
            let word = streak.load(Ordering::Relaxed);
            let (end, pages) = halves::split(word);
            if pages == 0 || end != start {
                continue;
            }
            let pages = (2 * pages).min(most);
            let goes_on = halves::join(start.saturating_add(pages), pages);
            if streak.compare_exchange(word, goes_on, Ordering::Relaxed, Ordering::Relaxed).is_ok()
            {
                return pages;
            }
        }
        let slot = self.next.fetch_add(1, Ordering::Relaxed) % STREAKS;
        self.recent[slot]
            .store(halves::join(start.saturating_add(least), least), Ordering::Relaxed);
        least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_streak_gets_twice_as_many_pages_at_each_fault_up_to_the_most() {
        let streaks = Streaks::default();
        let (mut at, mut sizes) = (640, vec![]);
        for _ in 0..5 {
            sizes.push(streaks.note(at, 64, 256));
            at += sizes[sizes.len() - 1];
        }
        assert_eq!(sizes, [64, 128, 256, 256, 256]);
    }

    #[test]
    fn streaks_do_not_disturb_each_other() {
        let streaks = Streaks::default();
        let (mut one, mut other) = (0, 6400);
        for pages in [64, 128, 256] {
            assert_eq!(streaks.note(one, 64, 256), pages);
            assert_eq!(streaks.note(other, 64, 256), pages);
            (one, other) = (one + pages, other + pages);
        }
    }

    #[test]
    fn who_jumps_gets_the_least() {
        let streaks = Streaks::default();
        for start in [64, 640, 0, 64 * 1000, 128 * 1000, 576] {
            assert_eq!(streaks.note(start, 64, 256), 64);
        }
        // Right behind one of those it is a streak.
        assert_eq!(streaks.note(64, 64, 256), 128);
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let streaks = Streaks::default();
        for jump in 0..=u32::try_from(STREAKS).unwrap() {
            streaks.note(jump * 1000, 16, 64);
        }
        assert_eq!(streaks.note(16, 16, 64), 16);
        assert_eq!(streaks.note(2016, 16, 64), 32);
    }

    #[test]
    fn where_the_least_is_the_most_nothing_grows() {
        let streaks = Streaks::default();
        assert_eq!([0, 16, 32].map(|start| streaks.note(start, 16, 16)), [16; 3]);
    }
}
