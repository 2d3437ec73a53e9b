//! Which parts of the heap may be free: one bit for each chunk of 2 MiB, set by whoever frees and
//! taken by whoever gives memory back.
//!
//! A bit is a hint. Whoever takes it looks whether the chunk is free before anything is done to it;
//! whoever frees never waits. What must not happen is that a hint stays behind unseen: one that is
//! set where a scan has passed already, and after which nobody frees anything any more.
//!
//! | who | in this order | what it publishes |
//! |---|---|---|
//! | frees | sets the bits (relaxed), rings (acquire, release) | the bits |
//! | scans | answers the bell (acquire, release), looks at the bits | that it will look from here on |
//!
//! Of the two exchanges of the bell one comes first. If ringing does, the scan that answers sees the
//! bits. If answering does, the bell was silent when it was rung, and then the scanner is woken once
//! more: [`Ring::Wake`].

use std::ops::{Deref, Range};

use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Bytes of a chunk: what one page table maps and a balloon's free page reporting hands on, and a
/// whole number of large folios of any size.
pub(crate) const CHUNK_BYTES: usize = 2 << 20;

/// Chunks of one word of the bitmap.
const WORD_CHUNKS: u32 = u64::BITS;

const SILENT: u32 = 0;
const RUNG: u32 = 1;

/// What whoever set a hint has to do besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a scanner that sleeps does not see the hint"]
pub(crate) enum Ring {
    /// Wake the scanner.
    Wake,
    /// Nothing: somebody else wakes it, and it has not looked yet.
    Rung,
}

/// Chunks that may be free, over some table of atomic words.
#[derive(Debug)]
pub(crate) struct FreeChunks<T> {
    words: T,
    bell: AtomicU32,
}

impl<T: Deref<Target = [AtomicU64]>> FreeChunks<T> {
    /// Over `words`, one bit a chunk; all zero.
    pub(crate) fn new(words: T) -> Self {
        Self { words, bell: AtomicU32::new(SILENT) }
    }

    /// Notes that `chunks` may be free.
    pub(crate) fn note(&self, chunks: Range<u32>) -> Ring {
        let mut at = chunks.start;
        while at < chunks.end {
            let end = chunks.end.min((at / WORD_CHUNKS + 1) * WORD_CHUNKS);
            let mask = u64::MAX >> (WORD_CHUNKS - (end - at)) << (at % WORD_CHUNKS);
            self.words[(at / WORD_CHUNKS) as usize].fetch_or(mask, Ordering::Relaxed);
            at = end;
        }
        match self.bell.swap(RUNG, Ordering::AcqRel) {
            SILENT => Ring::Wake,
            _ => Ring::Rung,
        }
    }

    /// Begins a scan: what is noted from now on rings again. False if nobody has rung.
    pub(crate) fn answer(&self) -> bool {
        self.bell.swap(SILENT, Ordering::AcqRel) == RUNG
    }

    /// Takes the highest hints in `within`, `most` chunks or fewer, in runs from the top down.
    pub(crate) fn take(&self, within: Range<u32>, most: u32) -> Vec<Range<u32>> {
        let mut runs: Vec<Range<u32>> = Vec::new();
        let mut left = most;
        let words = within.start / WORD_CHUNKS..within.end.div_ceil(WORD_CHUNKS);
        for index in words.rev() {
            let first = index * WORD_CHUNKS;
            let mut wanted = u64::MAX;
            if within.start > first {
                wanted &= u64::MAX << (within.start - first);
            }
            if within.end < first + WORD_CHUNKS {
                wanted &= u64::MAX >> (first + WORD_CHUNKS - within.end);
            }
            while left > 0 {
                let bits = self.words[index as usize].load(Ordering::Relaxed) & wanted;
                if bits == 0 {
                    break;
                }
                let end = WORD_CHUNKS - bits.leading_zeros();
                let count = (bits << (WORD_CHUNKS - end)).leading_ones().min(left);
                let mask = u64::MAX >> (WORD_CHUNKS - count) << (end - count);
                self.words[index as usize].fetch_and(!mask, Ordering::Relaxed);
                left -= count;
                let run = first + end - count..first + end;
                match runs.last_mut() {
                    Some(last) if last.start == run.end => last.start = run.start,
                    _ => runs.push(run),
                }
            }
        }
        runs
    }

    /// How many hints there are.
    pub(crate) fn count(&self) -> u32 {
        self.words.iter().map(|word| word.load(Ordering::Relaxed).count_ones()).sum()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const CHUNKS: u32 = 300;

    fn chunks() -> FreeChunks<Vec<AtomicU64>> {
        FreeChunks::new((0..CHUNKS.div_ceil(WORD_CHUNKS)).map(|_| AtomicU64::new(0)).collect())
    }

    proptest! {
        #[test]
        fn the_highest_hints_come_first_and_each_once(
            noted in proptest::collection::vec((0u32..CHUNKS, 1u32..80), 0..12),
            takes in proptest::collection::vec((0u32..CHUNKS, 1u32..CHUNKS, 1u32..40), 0..20),
        ) {
            let (chunks, mut naive) = (chunks(), BTreeSet::new());
            for (first, len) in noted {
                let range = first..(first + len).min(CHUNKS);
                naive.extend(range.clone());
                let _ = chunks.note(range);
            }
            for (first, len, most) in takes {
                let within = first..(first + len).min(CHUNKS);
                let expected: Vec<u32> =
                    naive.range(within.clone()).rev().take(most as usize).copied().collect();
                let runs = chunks.take(within, most);
                prop_assert!(runs.windows(2).all(|pair| pair[1].end < pair[0].start));
                let taken: Vec<u32> = runs.into_iter().flat_map(Iterator::rev).collect();
                prop_assert_eq!(&taken, &expected);
                taken.iter().for_each(|chunk| assert!(naive.remove(chunk)));
                prop_assert_eq!(chunks.count() as usize, naive.len());
            }
        }
    }

    #[test]
    fn only_the_first_after_an_answer_wakes() {
        let chunks = chunks();
        assert!(!chunks.answer());
        assert_eq!(chunks.note(3..4), Ring::Wake);
        assert_eq!(chunks.note(5..6), Ring::Rung);
        assert!(chunks.answer());
        assert!(!chunks.answer());
        assert_eq!(chunks.note(7..8), Ring::Wake);
        assert_eq!(chunks.take(0..CHUNKS, 9), [7..8, 5..6, 3..4]);
    }
}

#[cfg(all(test, loom))]
mod loom_tests;
