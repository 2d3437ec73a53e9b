//! What the collector must know of an object: how large it is and where its references are.

/// The language's side of the heap: how its objects are laid out.
///
/// The collector asks for an object's layout when it marks the object and when it rebuilds the
/// page the object starts on. It never visits an object that was not marked.
///
/// A wrong answer garbles the language's data. It cannot break Rust's memory safety: the heap's
/// words are only ever accessed as atomics inside the heap's bounds.
pub trait ObjectModel: Send + Sync + 'static {
    /// Reads the layout of an object from its header, the object's first word.
    ///
    /// The header must not change after the object is initialised, except in bits that this
    /// function ignores. An object larger than its header can describe keeps its type there and
    /// the model knows the rest.
    fn layout(&self, header: u64) -> ObjectLayout;
}

/// The size of an object in words and which of its words are reference slots.
///
/// 16 bytes, so that the collector can keep one beside each page for the object that reaches into
/// the page from before: that object's header may be gone by the time the page is rebuilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectLayout {
    words: u32,
    first: u32,
    map: u64,
}

const KIND_SHIFT: u32 = 30;
const KIND_LEAF: u32 = 0;
const KIND_RANGE: u32 = 1;
const KIND_BITMAP: u32 = 2;

/// The smallest object, in words: header and one more.
pub const MIN_OBJECT_WORDS: u32 = 2;

impl ObjectLayout {
    /// An object without references, `words` words long.
    ///
    /// # Panics
    ///
    /// If `words` is below [`MIN_OBJECT_WORDS`].
    #[must_use]
    #[inline]
    pub fn leaf(words: u32) -> Self {
        assert!(words >= MIN_OBJECT_WORDS, "an object of {words} words: at least 2 are needed");
        Self { words, first: KIND_LEAF << KIND_SHIFT, map: 0 }
    }

    /// An object whose words `first .. first + count` are reference slots.
    ///
    /// # Panics
    ///
    /// If the slots reach beyond the object, or the object is below [`MIN_OBJECT_WORDS`].
    #[must_use]
    #[inline]
    pub fn range(words: u32, first: u32, count: u32) -> Self {
        assert!(words >= MIN_OBJECT_WORDS, "an object of {words} words: at least 2 are needed");
        assert!(
            first < 1 << KIND_SHIFT && u64::from(first) + u64::from(count) <= u64::from(words),
            "slots {first}+{count} of an object of {words} words"
        );
        if count == 0 {
            return Self::leaf(words);
        }
        Self { words, first: first | KIND_RANGE << KIND_SHIFT, map: u64::from(count) }
    }

    /// An object where word `first + i` is a reference slot if bit `i` of `bits` is set.
    ///
    /// # Panics
    ///
    /// If a slot lies beyond the object, or the object is below [`MIN_OBJECT_WORDS`].
    #[must_use]
    #[inline]
    pub fn bitmap(words: u32, first: u32, bits: u64) -> Self {
        assert!(words >= MIN_OBJECT_WORDS, "an object of {words} words: at least 2 are needed");
        let reach = u64::from(first) + u64::from(64 - bits.leading_zeros());
        assert!(
            first < 1 << KIND_SHIFT && reach <= u64::from(words),
            "slots up to word {reach} of an object of {words} words"
        );
        if bits == 0 {
            return Self::leaf(words);
        }
        Self { words, first: first | KIND_BITMAP << KIND_SHIFT, map: bits }
    }

    /// The object's size in words.
    #[must_use]
    #[inline]
    pub fn words(self) -> u32 {
        self.words
    }

    /// Whether the object has no reference slots.
    #[must_use]
    #[inline]
    pub fn is_leaf(self) -> bool {
        self.first >> KIND_SHIFT == KIND_LEAF
    }

    /// Calls `visit` with the word number of each reference slot in `window` of the object.
    #[inline(always)]
    pub(crate) fn slots_in(self, window: std::ops::Range<u32>, mut visit: impl FnMut(u32)) {
        let first = self.first & ((1 << KIND_SHIFT) - 1);
        match self.first >> KIND_SHIFT {
            KIND_LEAF => {}
            KIND_RANGE => {
                #[expect(clippy::cast_possible_truncation, reason = "the constructor took a u32")]
                let end = first + self.map as u32;
                for word in first.max(window.start)..end.min(window.end) {
                    visit(word);
                }
            }
            _ => {
                let mut bits = self.map;
                while bits != 0 {
                    let word = first + bits.trailing_zeros();
                    bits &= bits - 1;
                    if window.contains(&word) {
                        visit(word);
                    }
                }
            }
        }
    }

    /// Packs the layout into two words; never all zero.
    pub(crate) fn pack(self) -> [u64; 2] {
        [u64::from(self.words) | u64::from(self.first) << 32, self.map]
    }

    /// The inverse of [`pack`](Self::pack).
    #[expect(clippy::cast_possible_truncation, reason = "halves of a word")]
    pub(crate) fn unpack([low, map]: [u64; 2]) -> Self {
        Self { words: low as u32, first: (low >> 32) as u32, map }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(layout: ObjectLayout, window: std::ops::Range<u32>) -> Vec<u32> {
        let mut found = Vec::new();
        layout.slots_in(window, |slot| found.push(slot));
        found
    }

    #[test]
    fn a_window_shows_only_its_own_slots() {
        assert_eq!(slots(ObjectLayout::range(10, 2, 5), 0..10), [2, 3, 4, 5, 6]);
        assert_eq!(slots(ObjectLayout::range(10, 2, 5), 4..6), [4, 5]);
        assert_eq!(slots(ObjectLayout::bitmap(10, 1, 0b1_0101), 0..10), [1, 3, 5]);
        assert_eq!(slots(ObjectLayout::bitmap(10, 1, 0b1_0101), 2..5), [3]);
        assert!(slots(ObjectLayout::leaf(10), 0..10).is_empty());
    }

    #[test]
    fn packing_keeps_everything() {
        for layout in [
            ObjectLayout::leaf(2),
            ObjectLayout::range(u32::MAX, 1, 77),
            ObjectLayout::bitmap(70, 3, 1 << 63),
        ] {
            assert_eq!(ObjectLayout::unpack(layout.pack()), layout);
            assert_ne!(layout.pack()[0], 0);
        }
    }
}
