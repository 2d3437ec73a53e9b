//! The summary: live words before each block, and where each compacted page begins.

use std::sync::atomic::{AtomicU32, Ordering};

use rayon::prelude::*;

use crate::addr::{FromWord, Geometry, PageIndex};
use crate::mark::live_bitmap::{BLOCK_WORDS, LiveBitmap};
use crate::raw::map::SideTable;

/// A prefix of the heap keeps its place if at least this share of its words is live, in percent.
///
/// Moving nothing there costs at most the dead rest; ART settled on the same figure after
/// measuring memory on phones.
pub(crate) const DENSE_PERCENT: u64 = 95;

/// New place of the first live word of each block (0.8 % of the heap), and old place of the first
/// word of each compacted page.
#[derive(Debug)]
pub(crate) struct OffsetTable {
    before: SideTable<AtomicU32>,
    first_words: SideTable<AtomicU32>,
}

/// What the summary found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Pages of the dense prefix.
    pub(crate) dense: u32,
    /// End of the compacted pages.
    pub(crate) compact: u32,
    /// End of the compacted words; the rest of the last page is empty.
    pub(crate) words: u32,
    /// Live words below the objects born in this cycle.
    pub(crate) live_words: u64,
}

impl OffsetTable {
    pub(crate) fn new(geometry: Geometry) -> std::io::Result<Self> {
        let blocks = geometry.words.div_ceil(BLOCK_WORDS) as usize;
        Ok(Self {
            before: SideTable::new(blocks, c"gc offset table")?,
            first_words: SideTable::new(geometry.pages as usize, c"gc first words")?,
        })
    }

    /// New place of the first live word of each block.
    #[inline(always)]
    pub(crate) fn before(&self) -> &[AtomicU32] {
        &self.before
    }

    /// Old place of the first word of the compacted page `page`.
    #[inline]
    pub(crate) fn first_word(&self, page: PageIndex) -> FromWord {
        FromWord(self.first_words[page.index()].load(Ordering::Relaxed))
    }

    /// Fills the table for the first `black` pages, in parallel on the caller's rayon pool.
    pub(crate) fn summarise(&self, geometry: Geometry, live: &LiveBitmap, black: u32) -> Summary {
        let page_blocks = geometry.page_words() / BLOCK_WORDS as usize;
        let blocks = live.blocks();
        let live_words: Vec<u32> = (0..black as usize)
            .into_par_iter()
            .with_min_len(256)
            .map(|page| {
                let first = page * page_blocks;
                let words = &blocks[first..first + page_blocks];
                words.iter().map(|block| block.load(Ordering::Relaxed).count_ones()).sum()
            })
            .collect();
        let dense = dense_prefix(&live_words, geometry.page_words_u32());
        let total: u64 = live_words.iter().map(|&words| u64::from(words)).sum();

        let mut next = dense * geometry.page_words_u32();
        let starts: Vec<u32> = live_words[dense as usize..]
            .iter()
            .map(|&words| {
                let start = next;
                next += words;
                start
            })
            .collect();
        starts.into_par_iter().with_min_len(256).enumerate().for_each(|(page, start)| {
            let first = (dense as usize + page) * page_blocks;
            self.fill_page(geometry, blocks, first..first + page_blocks, start);
        });
        Summary {
            dense,
            compact: geometry.pages_for(next),
            words: next,
            live_words: total,
        }
    }

    fn fill_page(
        &self,
        geometry: Geometry,
        live: &[std::sync::atomic::AtomicU64],
        blocks: std::ops::Range<usize>,
        start: u32,
    ) {
        let page_words = geometry.page_words_u32();
        let mut place = start;
        for index in blocks {
            let bits = live[index].load(Ordering::Relaxed);
            self.before[index].store(place, Ordering::Relaxed);
            let end = place + bits.count_ones();
            let boundary = place.next_multiple_of(page_words);
            if boundary < end {
                let word = index_of_live(bits, boundary - place);
                #[expect(clippy::cast_possible_truncation, reason = "word numbers are 32 bits")]
                let from = index as u32 * BLOCK_WORDS + word;
                self.first_words[(boundary / page_words) as usize].store(from, Ordering::Relaxed);
            }
            place = end;
        }
    }
}

/// Position of the `n`th set bit, counted from zero.
fn index_of_live(mut bits: u64, n: u32) -> u32 {
    for _ in 0..n {
        bits &= bits - 1;
    }
    bits.trailing_zeros()
}

/// The longest prefix that is dense as a whole and does not end in pages that are not.
fn dense_prefix(live_words: &[u32], page_words: u32) -> u32 {
    let is_dense = |live: u64, pages: u64| live * 100 >= pages * u64::from(page_words) * DENSE_PERCENT;
    let mut best = 0;
    let mut live = 0;
    for (page, &words) in (1u32..).zip(live_words) {
        live += u64::from(words);
        if is_dense(live, u64::from(page)) && is_dense(u64::from(words), 1) {
            best = page;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::{Forwarding, Plan};
    use crate::mark::live_bitmap::Writers;
    use proptest::prelude::*;

    #[test]
    fn the_dense_prefix_ends_in_a_dense_page() {
        assert_eq!(dense_prefix(&[512, 512, 100, 512], 512), 2);
        assert_eq!(dense_prefix(&[100, 512, 512], 512), 0);
        assert_eq!(dense_prefix(&[512; 7], 512), 7);
        assert_eq!(dense_prefix(&[], 512), 0);
    }

    proptest! {
        #[test]
        fn forwarding_equals_naive_compaction(
            objects in proptest::collection::vec((0u32..1200, 2u32..900), 1..120),
            dense_start in any::<bool>(),
        ) {
            let geometry = Geometry::new(1 << 30, 128, 4096);
            let live = LiveBitmap::new(geometry.words).unwrap();
            let table = OffsetTable::new(geometry).unwrap();
            let mut starts = Vec::new();
            let mut at = 0;
            if dense_start {
                live.fill(0, 3 * 512, Writers::One);
                starts.push((0, 3 * 512));
                at = 3 * 512;
            }
            for (gap, words) in objects {
                if at + gap + words > geometry.words { break; }
                at += gap;
                live.fill(at, words, Writers::One);
                starts.push((at, words));
                at += words;
            }
            let black = geometry.pages_for(at);
            let summary = table.summarise(geometry, &live, black);
            let plan = Plan { dense: summary.dense, compact: summary.compact, black, used: black };
            let forwarding = Forwarding::new(geometry, &live, &table, plan);
            let dense_words = summary.dense * 512;
            // The naive twin: walk the objects' words in order and count.
            let mut expected = dense_words;
            let mut first_of_page = std::collections::HashMap::new();
            let mut total = 0u64;
            for &(start, words) in &starts {
                for word in start..start + words {
                    total += 1;
                    let to = if word < dense_words { word } else {
                        if expected % 512 == 0 { first_of_page.insert(expected / 512, word); }
                        expected += 1;
                        expected - 1
                    };
                    prop_assert_eq!(forwarding.forward(FromWord(word)).0, to);
                }
            }
            prop_assert_eq!(summary.live_words, total);
            prop_assert_eq!(summary.compact, expected.div_ceil(512));
            for (page, word) in first_of_page {
                prop_assert_eq!(table.first_word(PageIndex(page)).0, word);
            }
        }
    }
}
