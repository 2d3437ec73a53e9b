//! The marks of a mutator that helps a single marking thread: in a bitmap of their own, so that neither
//! of the two needs a locked instruction.
//!
//! The bitmap takes as much memory as the other where it is written to. So a helper stops when half of
//! what the heap in use would need has memory, and all of it goes back when it has come near to that.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use crate::mark::live_bitmap::{BLOCK_WORDS, LiveBitmap, Writers};
use crate::raw::map::SideTable;

/// Blocks of the bitmap that are counted, and copied, together: a small page of it.
const GROUP_BLOCKS: u32 = 512;
const GROUP_WORDS: u32 = GROUP_BLOCKS * BLOCK_WORDS;

/// A group's memory is not there; it is there and zero; it has been written to.
const ABSENT: u8 = 0;
const CLEAN: u8 = 1;
const WRITTEN: u8 = 2;

/// See the module. Written by one helper at a time, and by the collector when none is there.
#[derive(Debug)]
pub(crate) struct MarksApart {
    marks: LiveBitmap,
    groups: SideTable<AtomicU8>,
    /// Groups with memory, and how many may have some.
    resident: AtomicU32,
    room: AtomicU32,
}

impl MarksApart {
    pub(crate) fn new(words: u32) -> std::io::Result<Self> {
        Ok(Self {
            marks: LiveBitmap::sparse(words)?,
            groups: SideTable::sparse(words.div_ceil(GROUP_WORDS) as usize, c"gc marks apart")?,
            resident: AtomicU32::new(0),
            room: AtomicU32::new(0),
        })
    }

    /// By the collector, before it lets a helper in: `words` words are in use.
    pub(crate) fn begin(&self, words: u32) {
        self.room.store(words.div_ceil(GROUP_WORDS).div_ceil(2), Ordering::Relaxed);
    }

    /// The marks, for reading.
    pub(crate) fn marks(&self) -> &LiveBitmap {
        &self.marks
    }

    /// Whether a helper has to stop.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.resident.load(Ordering::Relaxed) >= self.room.load(Ordering::Relaxed)
    }

    /// As [`LiveBitmap::claim`].
    #[inline(always)]
    pub(crate) fn claim(&self, word: u32) -> bool {
        let first = self.marks.claim(word, Writers::One);
        if first {
            self.note(word / GROUP_WORDS);
        }
        first
    }

    /// As [`LiveBitmap::fill`].
    #[inline(always)]
    pub(crate) fn fill(&self, first: u32, words: u32) {
        self.marks.fill(first, words, Writers::One);
        // Another thread may have claimed it.
        let last = (first + (words - 1)) / GROUP_WORDS;
        (first / GROUP_WORDS..=last).for_each(|group| self.note(group));
    }

    #[inline(always)]
    fn note(&self, group: u32) {
        let group = &self.groups[group as usize];
        let before = group.load(Ordering::Relaxed);
        if before != WRITTEN {
            group.store(WRITTEN, Ordering::Relaxed);
            let more = u32::from(before == ABSENT);
            self.resident.store(self.resident.load(Ordering::Relaxed) + more, Ordering::Relaxed);
        }
    }

    /// By the collector, when no helper is there: moves the marks to `live`.
    pub(crate) fn move_to(&self, live: &LiveBitmap) {
        for (number, group) in (0..).zip(self.groups.iter()) {
            if group.load(Ordering::Relaxed) == WRITTEN {
                group.store(CLEAN, Ordering::Relaxed);
                live.absorb(&self.marks, number * GROUP_BLOCKS, GROUP_BLOCKS);
            }
        }
        if self.resident.load(Ordering::Relaxed) > self.room.load(Ordering::Relaxed) / 4 * 3 {
            self.shed();
        }
    }

    /// Gives back the memory. By the collector, when no helper is there.
    pub(crate) fn shed(&self) {
        self.marks.shed(0);
        self.groups.clear(0..self.groups.len());
        self.resident.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_helper_stops_at_half_of_what_the_heap_in_use_would_need() {
        let apart = MarksApart::new(16 * GROUP_WORDS).unwrap();
        apart.begin(8 * GROUP_WORDS);
        for group in 0..4 {
            assert!(!apart.is_full());
            assert!(apart.claim(group * GROUP_WORDS + 7));
            assert!(!apart.claim(group * GROUP_WORDS + 7));
            apart.fill(group * GROUP_WORDS + 7, 10);
        }
        assert!(apart.is_full());
        apart.move_to(&LiveBitmap::new(16 * GROUP_WORDS).unwrap());
        assert!(!apart.is_full());
    }

    proptest! {
        #[test]
        fn what_was_marked_apart_is_marked_afterwards_and_apart_no_more(
            // Whether a helper claims the object, and whether one scans it.
            objects in proptest::collection::vec(
                (any::<[bool; 2]>(), 0u32..3000, 2u32..70_000), 1..12)
        ) {
            let total = 10 * GROUP_WORDS + 100;
            let live = LiveBitmap::new(total).unwrap();
            let apart = MarksApart::new(total).unwrap();
            apart.begin(total);
            let mut naive = vec![false; total as usize];
            let mut at = 0;
            for &([helper_claims, helper_scans], gap, words) in &objects {
                let words = words.min(total.saturating_sub(at + gap));
                if words == 0 { break; }
                at += gap;
                let first = match helper_claims {
                    true => apart.claim(at),
                    false => live.claim(at, Writers::One),
                };
                prop_assert!(first);
                match helper_scans {
                    true => apart.fill(at, words),
                    false => live.fill(at, words, Writers::One),
                }
                naive[at as usize..(at + words) as usize].fill(true);
                at += words;
            }
            apart.move_to(&live);
            for (word, &naive) in (0..).zip(&naive) {
                prop_assert_eq!(live.is_live(word), naive);
            }
            prop_assert_eq!(apart.marks().next_live(0, total), None);
        }
    }
}
