//! Which from-space pages have been emptied: one bit each, set once a cycle.
//!
//! A page is reported by whoever has built all that took from it (a fault, for a stretch in the
//! middle of the heap) and again by the collector when it gets there in order. The first report
//! counts.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::raw::map::SideTable;

/// Pages of one word of the bitmap.
const WORD_PAGES: u32 = u64::BITS;

/// A set of from-space pages that only grows.
#[derive(Debug)]
pub(crate) struct EmptiedPages {
    words: SideTable<AtomicU64>,
}

impl EmptiedPages {
    /// An empty set of pages below `pages`.
    pub(crate) fn new(pages: u32) -> std::io::Result<Self> {
        let words = pages.div_ceil(WORD_PAGES) as usize;
        Ok(Self { words: SideTable::new(words, c"gc emptied pages")? })
    }

    /// Adds `pages`, and hands those that were not in the set to `new`, in runs.
    pub(crate) fn mark(&self, pages: Range<u32>, mut new: impl FnMut(Range<u32>)) {
        let (mut run, mut at) = (pages.start..pages.start, pages.start);
        while at < pages.end {
            let (index, first) = (at / WORD_PAGES, at % WORD_PAGES);
            let count = (WORD_PAGES - first).min(pages.end - at);
            let mask = u64::MAX >> (WORD_PAGES - count) << first;
            let mut fresh = mask & !self.words[index as usize].fetch_or(mask, Ordering::Relaxed);
            while fresh != 0 {
                let start = index * WORD_PAGES + fresh.trailing_zeros();
                let len = (fresh >> fresh.trailing_zeros()).trailing_ones();
                if start != run.end {
                    if !run.is_empty() {
                        new(run.clone());
                    }
                    run = start..start;
                }
                run.end = start + len;
                fresh &= !(u64::MAX >> (WORD_PAGES - len) << (start % WORD_PAGES));
            }
            at += count;
        }
        if !run.is_empty() {
            new(run);
        }
    }

    /// Forgets all pages. Nobody may mark meanwhile.
    pub(crate) fn clear(&self) {
        self.words.clear(0..self.words.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn each_page_is_new_once_and_comes_in_the_longest_runs(
            ranges in proptest::collection::vec((0u32..600, 0u32..200), 0..20),
        ) {
            let emptied = EmptiedPages::new(1024).unwrap();
            let mut naive = BTreeSet::new();
            for (start, len) in ranges {
                let mut runs = vec![];
                emptied.mark(start..start + len, |run| runs.push(run));
                prop_assert!(runs.windows(2).all(|pair| pair[0].end < pair[1].start));
                let reported: Vec<u32> = runs.into_iter().flatten().collect();
                let fresh: Vec<u32> =
                    (start..start + len).filter(|&page| naive.insert(page)).collect();
                prop_assert_eq!(reported, fresh);
            }
        }
    }

    #[test]
    fn threads_that_report_the_same_pages_share_them() {
        let emptied = EmptiedPages::new(4096).unwrap();
        let counts: Vec<u32> = std::thread::scope(|scope| {
            let markers: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        let mut count = 0;
                        for first in 0..4000 {
                            emptied.mark(first..first + 90, |run| count += run.end - run.start);
                        }
                        count
                    })
                })
                .collect();
            markers.into_iter().map(|marker| marker.join().unwrap()).collect()
        });
        assert_eq!(counts.into_iter().sum::<u32>(), 4089);
    }
}
