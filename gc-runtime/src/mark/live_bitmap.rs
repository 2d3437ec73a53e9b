//! One bit per word of the heap: is the word part of a live object?
//!
//! The bit of an object's first word doubles as its mark. Marking sets it first ([`LiveBitmap::claim`],
//! one winner) and the rest when the object's size is known ([`LiveBitmap::fill`]).

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::raw::map::SideTable;

/// Words of heap that one entry of the bitmap, one *block*, stands for: 512 bytes of heap.
pub(crate) const BLOCK_WORDS: u32 = u64::BITS;

/// The live-words bitmap.
#[derive(Debug)]
pub(crate) struct LiveBitmap {
    blocks: SideTable<AtomicU64>,
}

/// How many threads set bits at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writers {
    /// One: plain loads and stores do.
    One,
    /// Several: bits are set by atomic or.
    Many,
}

/// One block more than needed, so that a run may be read one block past its end.
const fn blocks(words: u32) -> usize {
    words.div_ceil(BLOCK_WORDS) as usize + 1
}

impl LiveBitmap {
    /// A bitmap for `words` heap words, all dead.
    pub(crate) fn new(words: u32) -> std::io::Result<Self> {
        Ok(Self { blocks: SideTable::new(blocks(words), c"gc live bitmap")? })
    }

    /// The same, of which few will be alive.
    pub(crate) fn sparse(words: u32) -> std::io::Result<Self> {
        Ok(Self { blocks: SideTable::sparse(blocks(words), c"gc marks apart")? })
    }

    /// The blocks, for reading.
    #[inline(always)]
    pub(crate) fn blocks(&self) -> &[AtomicU64] {
        &self.blocks
    }

    /// Marks the object that starts at `word`; true for the one thread that did it first.
    #[inline(always)]
    pub(crate) fn claim(&self, word: u32, writers: Writers) -> bool {
        let block = &self.blocks[(word / BLOCK_WORDS) as usize];
        let bit = 1 << (word % BLOCK_WORDS);
        let before = block.load(Ordering::Relaxed);
        if before & bit != 0 {
            return false;
        }
        match writers {
            Writers::One => {
                block.store(before | bit, Ordering::Relaxed);
                true
            }
            Writers::Many => block.fetch_or(bit, Ordering::Relaxed) & bit == 0,
        }
    }

    /// Whether `word` is part of a live object.
    #[inline(always)]
    pub(crate) fn is_live(&self, word: u32) -> bool {
        self.blocks[(word / BLOCK_WORDS) as usize].load(Ordering::Relaxed)
            & 1 << (word % BLOCK_WORDS)
            != 0
    }

    /// Whether all of `words`, whole blocks, are parts of live objects.
    #[inline(always)]
    pub(crate) fn all_live(&self, words: Range<u32>) -> bool {
        let blocks = (words.start / BLOCK_WORDS) as usize..(words.end / BLOCK_WORDS) as usize;
        let all = self.blocks[blocks].iter().map(|block| block.load(Ordering::Relaxed));
        all.fold(u64::MAX, |all, bits| all & bits) == u64::MAX
    }

    /// Takes one bit back.
    pub(crate) fn clear_word(&self, word: u32) {
        let block = &self.blocks[(word / BLOCK_WORDS) as usize];
        block.fetch_and(!(1 << (word % BLOCK_WORDS)), Ordering::Relaxed);
    }

    /// Sets the bits of `words` words from `first`.
    #[inline(always)]
    pub(crate) fn fill(&self, first: u32, words: u32, writers: Writers) {
        let or = |index: usize, mask: u64| {
            let block = &self.blocks[index];
            match writers {
                Writers::One => {
                    block.store(block.load(Ordering::Relaxed) | mask, Ordering::Relaxed);
                }
                Writers::Many => {
                    block.fetch_or(mask, Ordering::Relaxed);
                }
            }
        };
        let last = first + (words - 1);
        let (first_block, last_block) =
            ((first / BLOCK_WORDS) as usize, (last / BLOCK_WORDS) as usize);
        let head = u64::MAX << (first % BLOCK_WORDS);
        let tail = u64::MAX >> (BLOCK_WORDS - 1 - last % BLOCK_WORDS);
        if first_block == last_block {
            or(first_block, head & tail);
            return;
        }
        or(first_block, head);
        for block in &self.blocks[first_block + 1..last_block] {
            block.store(u64::MAX, Ordering::Relaxed);
        }
        or(last_block, tail);
    }

    /// The first live word at or after `word`, below `end`.
    #[inline]
    pub(crate) fn next_live(&self, word: u32, end: u32) -> Option<u32> {
        // Objects lie close together: a guess is faster than a search, on whose result the next
        // one would have to wait.
        if word < end && self.is_live(word) {
            return Some(word);
        }
        let mut index = word / BLOCK_WORDS;
        let mut bits =
            self.blocks[index as usize].load(Ordering::Relaxed) & u64::MAX << (word % BLOCK_WORDS);
        loop {
            let base = index * BLOCK_WORDS;
            if base >= end {
                return None;
            }
            if bits != 0 {
                let found = base + bits.trailing_zeros();
                return (found < end).then_some(found);
            }
            index += 1;
            bits = self.blocks[index as usize].load(Ordering::Relaxed);
        }
    }

    /// Moves `count` blocks of `other` from block `first` here. Nobody else sets bits.
    pub(crate) fn absorb(&self, other: &Self, first: u32, count: u32) {
        let range = first as usize..self.blocks.len().min((first + count) as usize);
        for (own, other) in self.blocks[range.clone()].iter().zip(&other.blocks[range]) {
            let bits = other.load(Ordering::Relaxed);
            if bits != 0 {
                own.store(own.load(Ordering::Relaxed) | bits, Ordering::Relaxed);
                other.store(0, Ordering::Relaxed);
            }
        }
    }

    /// Forgets everything about the first `words` words.
    pub(crate) fn clear(&self, words: u32) {
        self.blocks.clear(Range { start: 0, end: words.div_ceil(BLOCK_WORDS) as usize });
    }

    /// Puts memory behind the bits of the first `words` words.
    pub(crate) fn populate(&self, words: u32) {
        self.blocks.populate(blocks(words));
    }

    /// Gives back the memory of the bits from word `words` on: they are dead.
    pub(crate) fn shed(&self, words: u32) {
        self.blocks.shed(words.div_ceil(BLOCK_WORDS) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn runs_are_those_of_a_naive_bitmap(objects in proptest::collection::vec((0u32..40, 2u32..300), 1..40)) {
            for writers in [Writers::One, Writers::Many] {
                let total = 16384;
                let bitmap = LiveBitmap::new(total).unwrap();
                let mut naive = vec![false; total as usize + 1];
                let mut at = 0;
                for &(gap, words) in &objects {
                    at += gap;
                    if at + words > total { break; }
                    prop_assert!(bitmap.claim(at, writers));
                    prop_assert!(!bitmap.claim(at, writers));
                    bitmap.fill(at, words, writers);
                    naive[at as usize..(at + words) as usize].fill(true);
                    at += words;
                }
                let mut word = 0;
                while let Some(start) = bitmap.next_live(word, total) {
                    prop_assert!(naive[word as usize..start as usize].iter().all(|live| !live));
                    let end = (start..total).find(|&at| !bitmap.is_live(at)).unwrap_or(total);
                    prop_assert!(naive[start as usize..end as usize].iter().all(|&live| live));
                    prop_assert!(end == total || !naive[end as usize]);
                    word = end;
                }
                prop_assert!(naive[word as usize..].iter().all(|live| !live));
                for start in (0..total).step_by(512) {
                    let all = naive[start as usize..start as usize + 512].iter().all(|&live| live);
                    prop_assert_eq!(bitmap.all_live(start..start + 512), all);
                }
                bitmap.clear(total);
                prop_assert_eq!(bitmap.next_live(0, total), None);
            }
        }
    }
}
