//! Old place to new place: a pure function of the summary.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::addr::{FromWord, Geometry, PageIndex, ToWord, WORD_BYTES};
use crate::forward::offset_table::OffsetTable;
use crate::forward::plan::Plan;
use crate::mark::live_bitmap::{BLOCK_WORDS, LiveBitmap};
use crate::raw::quads::Quads;

/// Forwards places of one cycle; made after the summary, cheap to make and to copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forwarding<'a> {
    geometry: Geometry,
    // Slices, not the tables: a loop over slots keeps them in registers.
    live: &'a [AtomicU64],
    before: &'a [AtomicU32],
    offsets: &'a OffsetTable,
    black_words: u32,
    slide_words: u32,
}

/// What knows the new values of slots.
pub(crate) trait Forward: Copy {
    /// The new value of a slot: forwarded if it refers to this heap, unchanged otherwise.
    fn forward_value(self, value: u64) -> u64;

    /// Gives the first of these slots their new values, as many as can be had together; how many.
    #[inline(always)]
    fn forward_together(self, _: &[AtomicU64]) -> usize {
        0
    }

    /// Gives slots that lie side by side their new values.
    #[inline(always)]
    fn forward_run(self, slots: &[AtomicU64]) {
        for slot in &slots[self.forward_together(slots)..] {
            self.forward_slot(slot);
        }
    }

    /// Gives a slot its new value.
    #[inline(always)]
    fn forward_slot(self, slot: &AtomicU64) {
        slot.store(self.forward_value(slot.load(Ordering::Relaxed)), Ordering::Relaxed);
    }
}

/// How far a neighbourhood reaches before the page that it was asked for, and after it: the pages
/// that come next share it.
const PAGES_BEFORE: u32 = 32;
const PAGES_AFTER: u32 = 64;

/// Addresses around a page that move by as much as the page does: what is referred to from it is
/// mostly there, and needs no table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Neighbourhood {
    base: u64,
    words: u64,
    slide_bytes: u64,
}

/// The same as a [`Forwarding`], which is asked only about what a neighbourhood does not know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nearby<'a> {
    near: Neighbourhood,
    quads: Option<&'a Quads>,
    all: Forwarding<'a>,
}

/// The neighbourhoods of one page after the other.
#[derive(Debug, Default)]
pub(crate) struct Neighbourhoods(Option<(Neighbourhood, Option<Quads>)>);

impl Neighbourhoods {
    /// That of `page`, which moves as a whole: the last one, if it lies in there.
    #[inline]
    pub(crate) fn of<'a>(&'a mut self, all: Forwarding<'a>, page: PageIndex) -> Nearby<'a> {
        let start = all.geometry.address(all.geometry.page_start(page));
        if self.0.as_ref().is_none_or(|(near, _)| !near.contains(start)) {
            let near = all.neighbourhood(page);
            self.0 = Some((near, Quads::new(near.base, near.words, near.slide_bytes)));
        }
        let (near, quads) = self.0.as_ref().expect("set just now");
        Nearby { near: *near, quads: quads.as_ref(), all }
    }
}

impl Neighbourhood {
    /// Whether `value` is the address of a word here. Rotating brings the bits of an address inside
    /// a word to the top, where they make it too large.
    #[inline(always)]
    fn contains(self, value: u64) -> bool {
        value.wrapping_sub(self.base).rotate_right(WORD_BYTES.trailing_zeros()) < self.words
    }
}

impl Forward for Nearby<'_> {
    #[inline(always)]
    fn forward_value(self, value: u64) -> u64 {
        if self.near.contains(value) {
            value - self.near.slide_bytes
        } else {
            self.all.forward_value(value)
        }
    }

    #[inline(always)]
    fn forward_together(self, slots: &[AtomicU64]) -> usize {
        self.quads.map_or(0, |quads| quads.lower(slots))
    }
}

impl Forward for Forwarding<'_> {
    #[inline(always)]
    fn forward_value(self, value: u64) -> u64 {
        match self.geometry.word_of(value) {
            Some(word) => self.geometry.address(self.forward(FromWord(word)).0),
            None => value,
        }
    }
}

impl<'a> Forwarding<'a> {
    pub(crate) fn new(
        geometry: Geometry,
        live: &'a LiveBitmap,
        offsets: &'a OffsetTable,
        plan: Plan,
    ) -> Self {
        let words = geometry.page_words_u32();
        Self {
            geometry,
            live: live.blocks(),
            before: offsets.before(),
            offsets,
            black_words: plan.black * words,
            slide_words: plan.slide() * words,
        }
    }

    /// The new place of a live word.
    #[inline(always)]
    pub(crate) fn forward(self, word: FromWord) -> ToWord {
        let FromWord(word) = word;
        if word >= self.black_words {
            return ToWord(word - self.slide_words);
        }
        let block = (word / BLOCK_WORDS) as usize;
        let (entry, bits) =
            (self.before[block].load(Ordering::Relaxed), self.live[block].load(Ordering::Relaxed));
        if OffsetTable::is_packed(entry) {
            let below = bits & ((1 << (word % BLOCK_WORDS)) - 1);
            ToWord(entry + below.count_ones())
        } else {
            self.offsets.special(entry, bits, word % BLOCK_WORDS)
        }
    }

    /// The neighbourhood of `page`, which moves as a whole.
    fn neighbourhood(self, page: PageIndex) -> Neighbourhood {
        let page_words = self.geometry.page_words_u32();
        let (words, slide) = if self.geometry.page_start(page) >= self.black_words {
            (self.black_words..self.geometry.words, self.slide_words)
        } else {
            let slide = |page: u32| {
                let start = self.geometry.page_start(PageIndex(page));
                let to = self.offsets.whole_place(self.geometry, PageIndex(page))?;
                Some(start - to.0)
            };
            let own = slide(page.0);
            let along = |page: &u32| slide(*page) == own;
            let black = self.black_words / page_words;
            let (least, most) =
                (page.0.saturating_sub(PAGES_BEFORE), black.min(page.0 + PAGES_AFTER));
            let first = (least..page.0).rev().take_while(along).last().unwrap_or(page.0);
            let last = (page.0..most).take_while(along).last().unwrap_or(page.0);
            (first * page_words..(last + 1) * page_words, own.unwrap_or(0))
        };
        let bytes = |words: u32| u64::from(words) * WORD_BYTES as u64;
        Neighbourhood {
            base: self.geometry.address(words.start),
            words: u64::from(words.end - words.start),
            slide_bytes: bytes(slide),
        }
    }

    /// The new value of an address inside a live object, at any byte of it.
    pub(crate) fn forward_interior(self, value: u64) -> u64 {
        let byte = value % WORD_BYTES as u64;
        self.forward_value(value - byte) + byte
    }
}
