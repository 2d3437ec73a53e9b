//! Old place to new place: a pure function of the summary.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::addr::{FromWord, Geometry, ToWord, WORD_BYTES};
use crate::forward::offset_table::OffsetTable;
use crate::forward::plan::Plan;
use crate::mark::live_bitmap::{BLOCK_WORDS, LiveBitmap};

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

    /// The new value of a slot: forwarded if it refers to this heap, unchanged otherwise.
    #[inline(always)]
    pub(crate) fn forward_value(self, value: u64) -> u64 {
        match self.geometry.word_of(value) {
            Some(word) => self.geometry.address(self.forward(FromWord(word)).0),
            None => value,
        }
    }

    /// The new value of an address inside a live object, at any byte of it.
    pub(crate) fn forward_interior(self, value: u64) -> u64 {
        let byte = value % WORD_BYTES as u64;
        self.forward_value(value - byte) + byte
    }
}
