//! The summary: where each block goes, what each page of the new heap is made of, and which pages
//! keep their content.
//!
//! A run of pages that are live enough is an *island*: it moves by a whole number of pages, so that
//! nothing in it is copied. What comes before an island is padded up to the page at which the
//! island begins; if an object reaches into the island from before, the padding comes before that
//! object. The dense prefix is the island that moves by zero pages. Pages that are *fixed* are
//! islands however few they are: an object on them must keep its place in the page, or its address;
//! in the latter case the padding before them may be of any length.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rayon::prelude::*;

use crate::addr::{FromWord, Geometry, PageIndex, ToWord, index32};
use crate::forward::fixed_pages::FixedPages;
use crate::forward::islands::{Gap, IslandCounts, Packing, Placement, Target};
use crate::forward::straddle::StraddleTable;
use crate::halves;
use crate::mark::live_bitmap::{BLOCK_WORDS, LiveBitmap};
use crate::raw::cpu;
use crate::raw::map::SideTable;

/// Marks a block that is not simply packed. The rest of the entry is, if its low six bits are zero,
/// the block's new place; otherwise they are the word in the block before which the padding comes,
/// and the bits above are a number in the table of splits.
const SPECIAL: u32 = 1 << 31;
const SPLIT_MASK: u32 = BLOCK_WORDS - 1;

/// Marks an entry of the extents that says something.
const NOTED: u32 = 1 << 31;

/// Marks a page of the new heap that is a whole page of the old one.
const WHOLE_PAGE: u32 = 1 << 31;

/// Pages that a thread of the summary looks at at a time.
const BATCH_PAGES: usize = 256;

/// Where blocks go (0.8 % of the heap), and what pages are made of.
#[derive(Debug)]
pub(crate) struct OffsetTable {
    before: SideTable<AtomicU32>,
    /// New places of the two parts of a block with padding in it.
    splits: SideTable<AtomicU64>,
    first_words: SideTable<AtomicU32>,
    /// Words packed from the page's first word (high half) and words at the page's end that belong
    /// to an object reaching into the next page (low half), where there is padding.
    extents: SideTable<AtomicU32>,
}

/// What a page of the new heap, below the objects born in this cycle, is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageSource {
    /// A whole page of the old heap.
    Whole(PageIndex),
    /// Live words.
    Packed(PackedPage),
}

/// Live words from `first` on, padding, and the start of an object that goes on in the next page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PackedPage {
    /// The first word in the old heap.
    pub(crate) first: FromWord,
    /// Live words packed from there; all the page holds, or up to the padding.
    pub(crate) packed: u32,
    /// Words at the end of the page, after the padding.
    pub(crate) tail: u32,
}

/// What the summary found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Pages of the dense prefix.
    pub(crate) dense: u32,
    /// End of the pages below the objects born in this cycle.
    pub(crate) compact: u32,
    /// End of the words there; the rest of the last page is empty.
    pub(crate) words: u32,
    /// Live words below the objects born in this cycle.
    pub(crate) live_words: u64,
    /// Runs of pages that keep their content.
    pub(crate) islands: IslandCounts,
}

impl OffsetTable {
    pub(crate) fn new(geometry: Geometry) -> std::io::Result<Self> {
        let blocks = geometry.words.div_ceil(BLOCK_WORDS) as usize;
        let pages = geometry.pages as usize;
        Ok(Self {
            before: SideTable::new(blocks, c"gc offset table")?,
            splits: SideTable::new(pages + 1, c"gc splits")?,
            first_words: SideTable::new(pages, c"gc first words")?,
            extents: SideTable::new(pages, c"gc extents")?,
        })
    }

    /// Gives back the memory of what lies beyond word `words`, the start of page `pages`.
    pub(crate) fn shed(&self, words: u32, pages: u32) {
        self.before.shed(words.div_ceil(BLOCK_WORDS) as usize);
        self.splits.shed(pages as usize);
        self.first_words.shed(pages as usize);
        self.extents.shed(pages as usize);
    }

    /// Where each block goes.
    #[inline(always)]
    pub(crate) fn before(&self) -> &[AtomicU32] {
        &self.before
    }

    /// Whether a block's entry says that its live words are packed, which most are.
    #[inline(always)]
    pub(crate) fn is_packed(entry: u32) -> bool {
        entry & SPECIAL == 0
    }

    /// The new place of word `offset` of a block whose entry is special.
    #[inline(always)]
    pub(crate) fn special(&self, entry: u32, bits: u64, offset: u32) -> ToWord {
        let value = entry & !SPECIAL;
        if value & SPLIT_MASK == 0 {
            return ToWord(value + offset);
        }
        self.split(value, bits, offset)
    }

    /// The same where padding comes in the middle of the block.
    #[cold]
    #[inline(never)]
    fn split(&self, value: u32, bits: u64, offset: u32) -> ToWord {
        let at = value & SPLIT_MASK;
        let split = self.splits[(value / BLOCK_WORDS) as usize].load(Ordering::Relaxed);
        let (low, high) = halves::split(split);
        if offset < at {
            ToWord(low + (bits & ((1 << offset) - 1)).count_ones())
        } else {
            ToWord(high + (offset - at))
        }
    }

    /// Whether a page of the old heap moves as a whole.
    pub(crate) fn moves_whole(&self, geometry: Geometry, page: PageIndex) -> bool {
        self.whole_place(geometry, page).is_some()
    }

    /// Where the first word of a page of the old heap goes, if the page moves as a whole.
    #[inline(always)]
    pub(crate) fn whole_place(&self, geometry: Geometry, page: PageIndex) -> Option<ToWord> {
        let block = geometry.page_start(page) / BLOCK_WORDS;
        let entry = self.before[block as usize].load(Ordering::Relaxed);
        let whole = !Self::is_packed(entry) && entry & SPLIT_MASK == 0;
        whole.then_some(ToWord(entry & !SPECIAL))
    }

    /// What a page of the new heap is made of; `end` is the end of the packed words.
    #[inline]
    pub(crate) fn source(&self, geometry: Geometry, page: PageIndex, end: u32) -> PageSource {
        let first = self.first_words[page.index()].load(Ordering::Relaxed);
        if first & WHOLE_PAGE != 0 {
            return PageSource::Whole(PageIndex(first & !WHOLE_PAGE));
        }
        let extent = self.extents[page.index()].load(Ordering::Relaxed);
        let (packed, tail) = match extent {
            0 => (geometry.page_words_u32().min(end - geometry.page_start(page)), 0),
            _ => ((extent & !NOTED) >> 16, extent & 0xffff),
        };
        PageSource::Packed(PackedPage { first: FromWord(first), packed, tail })
    }

    /// The first page of the old heap that a page of the new heap takes from.
    pub(crate) fn first_source(&self, geometry: Geometry, page: PageIndex) -> PageIndex {
        match self.source(geometry, page, u32::MAX) {
            PageSource::Whole(from) => from,
            PageSource::Packed(packed) => geometry.page_of(packed.first.0),
        }
    }

    /// Fills the table for the first `black` pages, in parallel on the caller's rayon pool.
    pub(crate) fn summarise(
        &self,
        geometry: Geometry,
        live: &LiveBitmap,
        straddles: &StraddleTable,
        fixed: &FixedPages,
        black: u32,
        packing: Packing,
    ) -> Summary {
        let page_blocks = geometry.page_words() / BLOCK_WORDS as usize;
        let blocks = live.blocks();
        let mut live_words = vec![0; black as usize];
        live_words.par_chunks_mut(BATCH_PAGES).enumerate().for_each(|(batch, counts)| {
            let first = batch * BATCH_PAGES * page_blocks;
            count_live(&blocks[first..first + counts.len() * page_blocks], page_blocks, counts);
        });
        let total: u64 = live_words.iter().map(|&words| u64::from(words)).sum();
        let Placement { dense, targets, gaps, end, islands } =
            Placement::of(geometry, straddles, fixed, &live_words, packing);
        self.extents.clear(0..black as usize);
        gaps.into_iter().for_each(|gap| self.note_gap(geometry, gap));
        targets.par_chunks(BATCH_PAGES).enumerate().for_each(|(batch, targets)| {
            cpu::with_bit_counting(
                #[inline(always)]
                || {
                    for (page, &target) in (batch * BATCH_PAGES..).zip(targets) {
                        let of_page = page * page_blocks..(page + 1) * page_blocks;
                        self.fill_page(geometry, blocks, of_page, target);
                    }
                },
            );
        });
        Summary { dense, compact: geometry.pages_for(end), words: end, live_words: total, islands }
    }

    /// Notes for the pages of the new heap around padding what they hold: packed words end at
    /// `place`, the island starts at `island`, and `tail` words, from `at` on, come right before.
    fn note_gap(&self, geometry: Geometry, Gap { at, place, island, tail }: Gap) {
        let page_words = geometry.page_words_u32();
        let (first, last) = (place / page_words, island / page_words - 1);
        for page in first..=last {
            let packed = if page == first { place % page_words } else { 0 };
            let tail = if page == last { tail } else { 0 };
            let extent = NOTED | packed << 16 | tail;
            self.extents[page as usize].store(extent, Ordering::Relaxed);
            if packed == 0 {
                // No live word is packed to the page's start.
                self.first_words[page as usize].store(at, Ordering::Relaxed);
            }
        }
    }

    #[inline(always)]
    fn fill_page(
        &self,
        geometry: Geometry,
        live: &[AtomicU64],
        blocks: Range<usize>,
        target: Target,
    ) {
        let page_words = geometry.page_words_u32();
        let (mut place, padding) = match target {
            Target::Packed { start, padding } => (start, padding),
            Target::Whole { start } => {
                for (entry, block) in self.before[blocks.clone()].iter().zip(0u32..) {
                    entry.store(SPECIAL | (start + block * BLOCK_WORDS), Ordering::Relaxed);
                }
                let from = index32(blocks.start) * BLOCK_WORDS / page_words;
                self.first_words[(start / page_words) as usize]
                    .store(WHOLE_PAGE | from, Ordering::Relaxed);
                return;
            }
        };
        for index in blocks {
            let bits = live[index].load(Ordering::Relaxed);
            let first = index32(index) * BLOCK_WORDS;
            let split = padding.filter(|padding| padding.at / BLOCK_WORDS == index32(index));
            let Some(padding) = split else {
                self.before[index].store(place, Ordering::Relaxed);
                place = self.note_first_word(page_words, first, bits, place);
                continue;
            };
            let offset = padding.at % BLOCK_WORDS;
            let low = bits & ((1 << offset) - 1);
            let before_padding = self.note_first_word(page_words, first, low, place);
            let high = before_padding + padding.words;
            let entry = match offset {
                0 => high,
                _ => {
                    let split = halves::join(place, high);
                    self.splits[padding.split as usize].store(split, Ordering::Relaxed);
                    SPECIAL | (padding.split * BLOCK_WORDS) | offset
                }
            };
            self.before[index].store(entry, Ordering::Relaxed);
            place = high + (bits & !low).count_ones();
        }
    }

    /// Notes which word begins a page of the new heap, if one begins among the live words `bits` of
    /// the block at `first`, the first of which goes to `place`. The place after them.
    #[inline(always)]
    fn note_first_word(&self, page_words: u32, first: u32, bits: u64, place: u32) -> u32 {
        let end = place + bits.count_ones();
        let boundary = place.next_multiple_of(page_words);
        if boundary < end {
            let word = first + index_of_live(bits, boundary - place);
            self.first_words[(boundary / page_words) as usize].store(word, Ordering::Relaxed);
        }
        end
    }
}

/// Counts the live words of pages of `page_blocks` blocks each.
fn count_live(blocks: &[AtomicU64], page_blocks: usize, counts: &mut [u32]) {
    cpu::with_bit_counting(
        #[inline(always)]
        || {
            for (count, page) in counts.iter_mut().zip(blocks.chunks_exact(page_blocks)) {
                *count = page.iter().map(|block| block.load(Ordering::Relaxed).count_ones()).sum();
            }
        },
    );
}

/// Position of the `n`th set bit, counted from zero.
#[inline(always)]
fn index_of_live(mut bits: u64, n: u32) -> u32 {
    for _ in 0..n {
        bits &= bits - 1;
    }
    bits.trailing_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::fixed_pages::Fix;
    use crate::forward::{Forwarding, Plan};
    use crate::layout::ObjectLayout;
    use crate::mark::live_bitmap::Writers;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Gaps and sizes: scattered objects, and now and then a dense stretch.
    fn stretches() -> impl Strategy<Value = Vec<(u32, u32)>> {
        let scattered = proptest::collection::vec((0u32..1200, 2u32..900), 1..20);
        // Some of these are islands: more than ISLAND_PAGES pages.
        let dense = proptest::collection::vec((0u32..3, 2u32..400), 1..300);
        proptest::collection::vec(prop_oneof![scattered, dense], 1..8)
            .prop_map(|parts| parts.into_iter().flatten().collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 120, .. ProptestConfig::default() })]
        #[test]
        fn every_live_word_goes_where_its_page_takes_it_from(
            objects in stretches(),
            packing in prop_oneof![
                Just(Packing::Islands),
                Just(Packing::LongIslands),
                Just(Packing::Tight)
            ],
            page_bytes in prop_oneof![Just(4096usize), Just(16384)],
            fixes in proptest::collection::vec((0usize..2000, any::<bool>()), 0..6),
        ) {
            let geometry = Geometry::new(1 << 30, 600, page_bytes);
            let page_words = geometry.page_words_u32();
            let live = LiveBitmap::new(geometry.words).unwrap();
            let straddles = StraddleTable::new(geometry.pages).unwrap();
            let table = OffsetTable::new(geometry).unwrap();
            let mut placed = Vec::new();
            let mut at = 0;
            for (gap, words) in objects {
                if at + gap + words > geometry.words { break; }
                at += gap;
                live.fill(at, words, Writers::One);
                straddles.note_object(geometry, at, ObjectLayout::leaf(words));
                placed.push((at, words));
                at += words;
            }
            let black = geometry.pages_for(at);
            let mut fixed_objects = BTreeMap::new();
            for (number, pinned) in fixes {
                if let Some(&(start, _)) = placed.get(number) {
                    fixed_objects.insert(start, if pinned { Fix::Pinned } else { Fix::Whole });
                }
            }
            let pages = |start: u32, words: u32| start / page_words..(start + words - 1) / page_words + 1;
            let runs = placed.iter().filter_map(|&(start, words)| {
                Some((pages(start, words), *fixed_objects.get(&start)?))
            });
            let fixed = FixedPages::new(runs.collect());
            let summary = table.summarise(geometry, &live, &straddles, &fixed, black, packing);
            if packing == Packing::Tight && fixed_objects.is_empty() {
                prop_assert_eq!(u64::from(summary.words), summary.live_words);
            }
            let plan = Plan { dense: summary.dense, compact: summary.compact, black, used: black };
            let forwarding = Forwarding::new(geometry, &live, &table, plan);

            // Objects stay whole, in order, and never move up.
            let mut last_end = 0;
            let mut expected = BTreeMap::new();
            for &(start, words) in &placed {
                let ToWord(to) = forwarding.forward(FromWord(start));
                prop_assert!(to <= start, "{} moved up to {}", start, to);
                match fixed_objects.get(&start) {
                    Some(Fix::Pinned) => prop_assert_eq!(to, start),
                    Some(Fix::Whole) => prop_assert_eq!((start - to) % page_words, 0),
                    None => {}
                }
                prop_assert!(to >= last_end, "{} overlaps its predecessor", start);
                for word in 0..words {
                    prop_assert_eq!(forwarding.forward(FromWord(start + word)).0, to + word);
                    expected.insert(to + word, start + word);
                }
                last_end = to + words;
            }
            prop_assert!(last_end <= summary.words);
            prop_assert_eq!(summary.live_words, expected.len() as u64);
            prop_assert_eq!(summary.compact, summary.words.div_ceil(page_words));

            // What each page takes, word by word, is what goes there.
            let is_live = |word: u32| live.next_live(word, word + 1).is_some();
            let mut taken = BTreeMap::new();
            for page in (0..summary.compact).map(PageIndex) {
                let start = geometry.page_start(page);
                match table.source(geometry, page, summary.words) {
                    PageSource::Whole(from) => {
                        prop_assert!(table.moves_whole(geometry, from));
                        let from = geometry.page_start(from);
                        taken.extend((0..page_words).filter(|word| is_live(from + word)).map(|word| (start + word, from + word)));
                    }
                    PageSource::Packed(PackedPage { first, packed, tail }) => {
                        let mut word = first.0;
                        for place in start..start + packed {
                            word = live.next_live(word, geometry.words).expect("enough live words");
                            taken.insert(place, word);
                            word += 1;
                        }
                        if tail > 0 {
                            let PageSource::Whole(next) = table.source(geometry, page.plus(1), summary.words) else {
                                panic!("a tail comes before an island");
                            };
                            let island = geometry.page_start(next);
                            taken.extend((0..tail).map(|word| (start + page_words - tail + word, island - tail + word)));
                        }
                    }
                }
            }
            prop_assert_eq!(taken, expected);
        }
    }
}
