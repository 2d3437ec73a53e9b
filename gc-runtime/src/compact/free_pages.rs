//! Emptied pages that nobody has taken yet: one bit each, taken in runs.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use crate::compact::page_state::SourceIndex;
use crate::raw::map::SideTable;
use crate::transport::SourceRun;

/// Pages of one word of the bitmap.
const WORD_PAGES: u32 = u64::BITS;

/// A set of from-space pages.
#[derive(Debug)]
pub(crate) struct FreePages {
    words: SideTable<AtomicU64>,
    /// Pages in the set; may lag behind for a moment, either way.
    count: AtomicI64,
    /// Where the search begins.
    hint: AtomicU32,
}

impl FreePages {
    /// An empty set of pages below `pages`.
    pub(crate) fn new(pages: u32) -> std::io::Result<Self> {
        Ok(Self {
            words: SideTable::new(pages.div_ceil(WORD_PAGES) as usize, c"gc free pages")?,
            count: AtomicI64::new(0),
            hint: AtomicU32::new(0),
        })
    }

    /// Pages in the set.
    pub(crate) fn count(&self) -> i64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Adds a range; none of it is in the set.
    pub(crate) fn add(&self, pages: std::ops::Range<u32>) {
        let mut at = pages.start;
        while at < pages.end {
            let end = pages.end.min((at / WORD_PAGES + 1) * WORD_PAGES);
            let mask = u64::MAX >> (WORD_PAGES - (end - at)) << (at % WORD_PAGES);
            // Release: whoever takes the pages sees that their content has been taken.
            self.words[(at / WORD_PAGES) as usize].fetch_or(mask, Ordering::Release);
            at = end;
        }
        self.count.fetch_add(i64::from(pages.end.saturating_sub(pages.start)), Ordering::Relaxed);
    }

    /// Takes a run of up to `want` neighbouring pages; empty if the set is.
    pub(crate) fn take(&self, want: u32) -> SourceRun {
        if self.count() <= 0 || want == 0 {
            return SourceRun::EMPTY;
        }
        #[expect(clippy::cast_possible_truncation, reason = "page numbers have 32 bits")]
        let len = self.words.len() as u32;
        let hint = self.hint.load(Ordering::Relaxed).min(len - 1);
        for index in (hint..len).chain(0..hint) {
            let Some((first, count)) = self.take_in_word(index, want) else { continue };
            let first = index * WORD_PAGES + first;
            let mut end = first + count;
            // A run that reaches the end of its word may go on in the next one.
            while end.is_multiple_of(WORD_PAGES) && end - first < want && end / WORD_PAGES < len {
                match self.take_prefix(end / WORD_PAGES, want - (end - first)) {
                    0 => break,
                    more => end += more,
                }
            }
            self.count.fetch_sub(i64::from(end - first), Ordering::Relaxed);
            self.hint.store(index, Ordering::Relaxed);
            return SourceRun::new(SourceIndex(first), end - first);
        }
        SourceRun::EMPTY
    }

    /// Takes the lowest run of up to `want` pages of a word.
    fn take_in_word(&self, index: u32, want: u32) -> Option<(u32, u32)> {
        let word = &self.words[index as usize];
        let mut bits = word.load(Ordering::Acquire);
        loop {
            if bits == 0 {
                return None;
            }
            let first = bits.trailing_zeros();
            let count = (bits >> first).trailing_ones().min(want);
            let mask = u64::MAX >> (WORD_PAGES - count) << first;
            match word.compare_exchange_weak(
                bits,
                bits & !mask,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Some((first, count)),
                Err(other) => bits = other,
            }
        }
    }

    /// Takes up to `want` pages from the start of a word.
    fn take_prefix(&self, index: u32, want: u32) -> u32 {
        let word = &self.words[index as usize];
        let mut bits = word.load(Ordering::Acquire);
        loop {
            let count = bits.trailing_ones().min(want);
            if count == 0 {
                return 0;
            }
            let mask = u64::MAX >> (WORD_PAGES - count);
            match word.compare_exchange_weak(
                bits,
                bits & !mask,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return count,
                Err(other) => bits = other,
            }
        }
    }

    /// Forgets all pages. Nobody may add or take meanwhile.
    pub(crate) fn clear(&self) {
        self.words.clear(0..self.words.len());
        self.count.store(0, Ordering::Relaxed);
        self.hint.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn what_is_taken_was_added_and_nothing_else(
            ranges in proptest::collection::vec((0u32..60, 1u32..150), 0..20),
            wants in proptest::collection::vec(1u32..100, 0..200),
        ) {
            let free = FreePages::new(4096).unwrap();
            let mut naive = BTreeSet::new();
            let mut at = 0;
            for (gap, len) in ranges {
                at += gap;
                if at + len > 4096 { break; }
                free.add(at..at + len);
                naive.extend(at..at + len);
                at += len;
            }
            for want in wants {
                prop_assert_eq!(free.count(), i64::try_from(naive.len()).unwrap());
                let run = free.take(want);
                prop_assert!(run.count <= want);
                prop_assert_eq!(run.count == 0, naive.is_empty());
                for page in run.next.0..run.next.0 + run.count {
                    prop_assert!(naive.remove(&page), "page {} was not free", page);
                }
            }
            free.clear();
            prop_assert_eq!(free.take(1).count, 0);
        }
    }

    #[test]
    fn threads_never_get_the_same_page() {
        let free = FreePages::new(1 << 14).unwrap();
        let taken: Vec<u32> = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..3u32)
                .map(|number| {
                    let free = &free;
                    scope.spawn(move || {
                        let mut mine = Vec::new();
                        for round in 0..1000 {
                            let first = (number * 1000 + round) * 5;
                            free.add(first..first + 5);
                            let run = free.take(1 + round % 7);
                            mine.extend(run.next.0..run.next.0 + run.count);
                        }
                        mine
                    })
                })
                .collect();
            takers.into_iter().flat_map(|taker| taker.join().unwrap()).collect()
        });
        let distinct: BTreeSet<u32> = taken.iter().copied().collect();
        assert_eq!(distinct.len(), taken.len());
    }
}
