//! Places in the heap: words and pages, before and after a cycle.
//!
//! Inside the collector a place is a number of words or pages from the start of the heap, not an
//! address. Old places ([`FromWord`]) and new places ([`ToWord`]) are different types, so that
//! mixing them does not compile; only [`crate::forward::Forwarding`] turns one into the other.

/// Bytes in a heap word. Objects are aligned to words and sized in words.
pub const WORD_BYTES: usize = 8;

/// The most words a heap can have: 16 GiB. Word numbers have 32 bits, one of which is a mark in the
/// offset table.
pub(crate) const MAX_WORDS: usize = (1 << 31) - 1;

/// A word of the heap as it was when the cycle's snapshot was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FromWord(pub(crate) u32);

/// A word of the heap as it will be when the cycle is finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ToWord(pub(crate) u32);

/// A page of the heap, counted from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PageIndex(pub(crate) u32);

impl PageIndex {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }

    pub(crate) fn plus(self, pages: u32) -> Self {
        Self(self.0 + pages)
    }
}

/// A reference to an object as runtimes hold it: an address inside the heap, never null.
///
/// An `ObjectRef` is a plain value. It goes stale at the next safepoint of its mutator, because
/// the object may move; roots are what survives. A stale reference cannot break Rust's memory
/// safety (every access to the heap is checked against its bounds and atomic), but it reads
/// whatever now lies there. [`Local`](crate::Local) is the form the compiler checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct ObjectRef(std::num::NonZeroU64);

impl ObjectRef {
    /// Takes an address for a reference; `None` for the null address.
    #[must_use]
    #[inline]
    pub fn from_address(address: u64) -> Option<Self> {
        std::num::NonZeroU64::new(address).map(Self)
    }

    /// An object that has just been made.
    #[inline(always)]
    pub(crate) fn new(address: std::num::NonZeroU64) -> Self {
        Self(address)
    }

    /// The address, in bytes.
    #[must_use]
    #[inline]
    pub fn address(self) -> u64 {
        self.0.get()
    }
}

/// How words, pages and addresses of one heap hang together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Address of the heap's first word.
    pub(crate) base: usize,
    /// Usable words: the heap limit.
    pub(crate) words: u32,
    /// Usable pages.
    pub(crate) pages: u32,
    page_shift_words: u32,
}

impl Geometry {
    /// Describes a heap at `base` with `pages` pages of `page_bytes` bytes (a power of two).
    pub(crate) fn new(base: usize, pages: u32, page_bytes: usize) -> Self {
        let page_words = page_bytes / WORD_BYTES;
        assert!(page_words.is_power_of_two(), "a page is a power of two of words");
        let page_shift_words = page_words.trailing_zeros();
        let words = u64::from(pages) << page_shift_words;
        Self {
            base,
            words: u32::try_from(words).expect("the builder limits the heap to MAX_WORDS"),
            pages,
            page_shift_words,
        }
    }

    pub(crate) fn page_words(self) -> usize {
        1 << self.page_shift_words
    }

    pub(crate) fn page_words_u32(self) -> u32 {
        1 << self.page_shift_words
    }

    pub(crate) fn page_bytes(self) -> usize {
        self.page_words() * WORD_BYTES
    }

    /// First word of a page.
    pub(crate) fn page_start(self, page: PageIndex) -> u32 {
        page.0 << self.page_shift_words
    }

    /// The page a word lies on.
    pub(crate) fn page_of(self, word: u32) -> PageIndex {
        PageIndex(word >> self.page_shift_words)
    }

    /// Pages needed for `words` words.
    pub(crate) fn pages_for(self, words: u32) -> u32 {
        words.div_ceil(self.page_words_u32())
    }

    /// Address of a word.
    pub(crate) fn address(self, word: u32) -> u64 {
        (self.base + word as usize * WORD_BYTES) as u64
    }

    /// Address of a page's first byte.
    pub(crate) fn page_address(self, page: PageIndex) -> usize {
        self.base + page.index() * self.page_bytes()
    }

    /// The word a slot's value refers to, if the value is an address of this heap.
    ///
    /// Anything else (null, a tagged integer, a pointer to somewhere else) is not ours to follow.
    #[inline(always)]
    pub(crate) fn word_of(self, value: u64) -> Option<u32> {
        let offset = value.wrapping_sub(self.base as u64);
        let is_word = offset.is_multiple_of(WORD_BYTES as u64);
        if offset < u64::from(self.words) * WORD_BYTES as u64 && is_word {
            #[expect(clippy::cast_possible_truncation, reason = "offset / 8 is below `words`")]
            Some((offset / WORD_BYTES as u64) as u32)
        } else {
            None
        }
    }
}

/// The number of a page or block; they have 32 bits.
pub(crate) fn index32(index: usize) -> u32 {
    u32::try_from(index).expect("a heap has fewer than 2^32 pages and blocks")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_aligned_addresses_inside_the_heap_are_references() {
        let geometry = Geometry::new(1 << 30, 4, 4096);
        assert_eq!(geometry.word_of(1 << 30), Some(0));
        assert_eq!(geometry.word_of((1 << 30) + 8), Some(1));
        assert_eq!(geometry.word_of((1 << 30) + 4), None);
        assert_eq!(geometry.word_of(0), None);
        assert_eq!(geometry.word_of((1 << 30) - 8), None);
        assert_eq!(geometry.word_of((1 << 30) + 4 * 4096), None);
    }

    #[test]
    fn words_and_pages_agree_for_other_page_sizes() {
        for page_bytes in [4096, 16384, 65536] {
            let geometry = Geometry::new(1 << 30, 8, page_bytes);
            assert_eq!(geometry.page_bytes(), page_bytes);
            assert_eq!(geometry.page_of(geometry.page_start(PageIndex(5))), PageIndex(5));
            assert_eq!(geometry.pages_for(geometry.page_words_u32() + 1), 2);
        }
    }
}
