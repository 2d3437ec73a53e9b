//! The size of an object and what kind of reference each of its words is.

use std::ops::Range;

use crate::halves;
use crate::model::ObjectModel;

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

const KIND_SHIFT: u32 = 29;
const KIND_LEAF: u32 = 0;
const KIND_RANGE: u32 = 1;
const KIND_BITMAP: u32 = 2;
const KIND_DESCRIBED: u32 = 3;
/// From here on: objects with slots that do not keep their referents alive by themselves.
const KIND_WEAK_RANGE: u32 = 4;
const KIND_MIXED: u32 = 5;
const KIND_EPHEMERONS: u32 = 6;

/// The smallest object, in words: header and one more.
pub const MIN_OBJECT_WORDS: u32 = 2;

/// Which objects a buffer is for. The heap is sound whatever goes where; pages on which no object
/// has slots are not looked at when they move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Objects with reference slots.
    Slots,
    /// Objects without.
    Leaves,
}

impl Content {
    /// What the other buffer is for.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Slots => Self::Leaves,
            Self::Leaves => Self::Slots,
        }
    }
}

/// What a marking thread has to do with the slots of one object.
pub(crate) enum WeakSlots {
    /// Words that refer weakly.
    Range(Range<u32>),
    /// Words `first + i` are slots; a set bit `i` of either says which kind.
    Mixed { first: u32, strong: u32, weak: u32 },
    /// Pairs of key and value, the first key at word `first`.
    Ephemerons { first: u32, pairs: u32 },
}

impl ObjectLayout {
    #[inline]
    fn new(words: u32, kind: u32, first: u32, reach: u64, map: u64) -> Self {
        assert!(words >= MIN_OBJECT_WORDS, "an object of {words} words: at least 2 are needed");
        assert!(
            first < 1 << KIND_SHIFT && u64::from(first) + reach <= u64::from(words),
            "slots {first}+{reach} of an object of {words} words"
        );
        Self { words, first: first | kind << KIND_SHIFT, map }
    }

    /// An object without references, `words` words long.
    ///
    /// # Panics
    ///
    /// If `words` is below [`MIN_OBJECT_WORDS`].
    #[must_use]
    #[inline]
    pub fn leaf(words: u32) -> Self {
        Self::new(words, KIND_LEAF, 0, 0, 0)
    }

    /// An object whose words `first .. first + count` are reference slots.
    ///
    /// # Panics
    ///
    /// If the slots reach beyond the object, or the object is below [`MIN_OBJECT_WORDS`].
    #[must_use]
    #[inline]
    pub fn range(words: u32, first: u32, count: u32) -> Self {
        match count {
            0 => Self::leaf(words),
            _ => Self::new(words, KIND_RANGE, first, u64::from(count), u64::from(count)),
        }
    }

    /// An object where word `first + i` is a reference slot if bit `i` of `bits` is set.
    ///
    /// # Panics
    ///
    /// If a slot lies beyond the object, or the object is below [`MIN_OBJECT_WORDS`].
    #[must_use]
    #[inline]
    pub fn bitmap(words: u32, first: u32, bits: u64) -> Self {
        match bits {
            0 => Self::leaf(words),
            _ => Self::new(words, KIND_BITMAP, first, u64::from(64 - bits.leading_zeros()), bits),
        }
    }

    /// An object whose slots [`ObjectModel::visit_slots`] finds from `description`.
    ///
    /// # Panics
    ///
    /// If the object is below [`MIN_OBJECT_WORDS`].
    #[must_use]
    #[inline]
    pub fn described(words: u32, description: u64) -> Self {
        Self::new(words, KIND_DESCRIBED, 0, 0, description)
    }

    /// An object whose words `first .. first + count` refer weakly: they keep nothing alive, and
    /// become null when what they refer to dies.
    ///
    /// Read such slots with [`Mutator::read_weak`](crate::Mutator::read_weak).
    ///
    /// # Panics
    ///
    /// If the slots reach beyond the object, or the object is below [`MIN_OBJECT_WORDS`].
    #[must_use]
    #[inline]
    pub fn weak(words: u32, first: u32, count: u32) -> Self {
        match count {
            0 => Self::leaf(words),
            _ => Self::new(words, KIND_WEAK_RANGE, first, u64::from(count), u64::from(count)),
        }
    }

    /// An object where word `first + i` is a slot if bit `i` of `strong` or of `weak` is set; the
    /// latter are as in [`weak`](Self::weak).
    ///
    /// # Panics
    ///
    /// If a bit is set in both, a slot lies beyond the object, or the object is below
    /// [`MIN_OBJECT_WORDS`].
    #[must_use]
    #[inline]
    pub fn mixed(words: u32, first: u32, strong: u32, weak: u32) -> Self {
        assert!(strong & weak == 0, "a slot is strong or weak, not both");
        if weak == 0 {
            return Self::bitmap(words, first, u64::from(strong));
        }
        let reach = u64::from(32 - (strong | weak).leading_zeros());
        Self::new(words, KIND_MIXED, first, reach, halves::join(strong, weak))
    }

    /// An object of `pairs` ephemerons from word `first` on: key, value, key, value.
    ///
    /// A key is not kept alive by the object, and a value only while its key is alive otherwise:
    /// a key that is reachable through its own value alone is dead. Both words become null then.
    /// Read pairs with [`Mutator::ephemeron`](crate::Mutator::ephemeron).
    ///
    /// # Panics
    ///
    /// If the pairs reach beyond the object, or the object is below [`MIN_OBJECT_WORDS`].
    #[must_use]
    #[inline]
    pub fn ephemerons(words: u32, first: u32, pairs: u32) -> Self {
        match pairs {
            0 => Self::leaf(words),
            _ => {
                let pairs = u64::from(pairs);
                Self::new(words, KIND_EPHEMERONS, first, 2 * pairs, pairs)
            }
        }
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
        self.kind() == KIND_LEAF
    }

    /// Where such objects are allocated.
    #[inline(always)]
    pub(crate) fn content(self) -> Content {
        if self.is_leaf() { Content::Leaves } else { Content::Slots }
    }

    #[inline(always)]
    fn kind(self) -> u32 {
        self.first >> KIND_SHIFT
    }

    #[inline(always)]
    fn first(self) -> u32 {
        self.first & ((1 << KIND_SHIFT) - 1)
    }

    /// A count or a bitmap of 32 bits from the layout's map.
    #[expect(clippy::cast_possible_truncation, reason = "the constructors took a u32")]
    #[inline(always)]
    fn low(self) -> u32 {
        self.map as u32
    }

    /// The words among which all slots are; empty if there are none.
    #[inline(always)]
    pub(crate) fn slot_span(self) -> Range<u32> {
        let first = self.first();
        match self.kind() {
            KIND_LEAF => 0..0,
            KIND_RANGE | KIND_WEAK_RANGE => first..first + self.low(),
            KIND_BITMAP => {
                first + self.map.trailing_zeros()..first + (u64::BITS - self.map.leading_zeros())
            }
            _ => 0..self.words,
        }
    }

    /// Whether marking must treat the object's slots one by one.
    #[inline(always)]
    pub(crate) fn has_weak_slots(self) -> bool {
        self.kind() >= KIND_WEAK_RANGE
    }

    /// The slots of an object that [has weak ones](Self::has_weak_slots).
    pub(crate) fn weak_slots(self) -> WeakSlots {
        let first = self.first();
        match self.kind() {
            KIND_EPHEMERONS => WeakSlots::Ephemerons { first, pairs: self.low() },
            KIND_MIXED => {
                let (strong, weak) = halves::split(self.map);
                WeakSlots::Mixed { first, strong, weak }
            }
            _ => WeakSlots::Range(first..first + self.low()),
        }
    }

    /// The slots in `window`, if they lie side by side. If there are none, the range is empty and may
    /// lie anywhere.
    #[inline(always)]
    pub(crate) fn slot_run(self, window: &Range<u32>) -> Option<Range<u32>> {
        (self.kind() == KIND_RANGE).then(|| clip(self.first(), self.low(), window))
    }

    /// Calls `visit` with the word number of each slot, strong or weak, in `window` of the object.
    #[inline(always)]
    pub(crate) fn slots_in<M: ObjectModel>(
        self,
        model: &M,
        window: Range<u32>,
        visit: impl FnMut(u32),
    ) {
        self.fold_slots(
            model,
            window,
            visit,
            #[inline(always)]
            |mut visit, slot| {
                visit(slot);
                visit
            },
        );
    }

    /// The same, of `visit` that takes a value and returns it to be handed to the next: it may stay
    /// in registers.
    #[inline(always)]
    pub(crate) fn fold_slots<M: ObjectModel, T>(
        self,
        model: &M,
        window: Range<u32>,
        mut value: T,
        visit: impl Fn(T, u32) -> T,
    ) -> T {
        let first = self.first();
        match self.kind() {
            KIND_LEAF => value,
            KIND_RANGE => {
                for word in clip(first, self.low(), &window) {
                    value = visit(value, word);
                }
                value
            }
            KIND_BITMAP => fold_bits(first, self.map, &window, value, visit),
            _ => self.fold_others(model, window, value, visit),
        }
    }

    /// The kinds that are rare.
    #[cold]
    #[inline(never)]
    fn fold_others<M: ObjectModel, T>(
        self,
        model: &M,
        window: Range<u32>,
        value: T,
        visit: impl Fn(T, u32) -> T,
    ) -> T {
        let first = self.first();
        match self.kind() {
            KIND_DESCRIBED => {
                let words = self.words;
                let mut held = Some(value);
                model.visit_slots(self.map, window.clone(), &mut |word| {
                    assert!(word < words, "slot {word} of an object of {words} words");
                    if window.contains(&word) {
                        held = held.take().map(|value| visit(value, word));
                    }
                });
                held.expect("`visit` returns what it takes")
            }
            KIND_MIXED => {
                let bits = (self.map >> 32) | u64::from(self.low());
                fold_bits(first, bits, &window, value, visit)
            }
            kind => {
                let count = if kind == KIND_EPHEMERONS { 2 * self.low() } else { self.low() };
                clip(first, count, &window).fold(value, visit)
            }
        }
    }

    /// Packs the layout into two words; never all zero.
    pub(crate) fn pack(self) -> [u64; 2] {
        [halves::join(self.words, self.first), self.map]
    }

    /// The inverse of [`pack`](Self::pack).
    pub(crate) fn unpack([low, map]: [u64; 2]) -> Self {
        let (words, first) = halves::split(low);
        Self { words, first, map }
    }
}

/// What of `count` words from `first` on lies in `window`. If nothing does, the range is empty and may
/// lie anywhere.
#[inline(always)]
fn clip(first: u32, count: u32, window: &Range<u32>) -> Range<u32> {
    first.max(window.start)..(first + count).min(window.end)
}

/// Calls `visit` with `first` plus the number of each set bit, inside `window`.
#[inline(always)]
pub(crate) fn for_each_bit(first: u32, bits: u64, window: &Range<u32>, mut visit: impl FnMut(u32)) {
    fold_bits(first, bits, window, (), |(), word| visit(word));
}

#[inline(always)]
fn fold_bits<T>(
    first: u32,
    mut bits: u64,
    window: &Range<u32>,
    mut value: T,
    mut visit: impl FnMut(T, u32) -> T,
) -> T {
    while bits != 0 {
        let word = first + bits.trailing_zeros();
        bits &= bits - 1;
        if window.contains(&word) {
            value = visit(value, word);
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Header;

    /// Every third word is a slot.
    struct EveryThird;

    impl ObjectModel for EveryThird {
        fn layout(&self, _: Header) -> ObjectLayout {
            ObjectLayout::leaf(2)
        }

        fn visit_slots(&self, end: u64, window: Range<u32>, visit: &mut dyn FnMut(u32)) {
            assert!(window.start < window.end);
            (1..u32::try_from(end).unwrap()).step_by(3).for_each(visit);
        }
    }

    fn slots(layout: ObjectLayout, window: Range<u32>) -> Vec<u32> {
        let mut found = Vec::new();
        layout.slots_in(&EveryThird, window, |slot| found.push(slot));
        found
    }

    #[test]
    fn a_window_shows_only_its_own_slots() {
        assert_eq!(slots(ObjectLayout::range(10, 2, 5), 0..10), [2, 3, 4, 5, 6]);
        assert_eq!(slots(ObjectLayout::range(10, 2, 5), 4..6), [4, 5]);
        assert_eq!(slots(ObjectLayout::bitmap(10, 1, 0b1_0101), 0..10), [1, 3, 5]);
        assert_eq!(slots(ObjectLayout::bitmap(10, 1, 0b1_0101), 2..5), [3]);
        assert_eq!(slots(ObjectLayout::described(10, 9), 0..10), [1, 4, 7]);
        assert_eq!(slots(ObjectLayout::described(10, 9), 2..7), [4]);
        assert!(slots(ObjectLayout::leaf(10), 0..10).is_empty());
    }

    #[test]
    fn a_run_of_slots_is_what_the_window_shows() {
        for (first, count, window) in
            [(2, 5, 0..10), (2, 5, 4..6), (3, 5, 0..1), (1, 2, 6..9), (0, 1, 0..1), (2, 5, 6..10)]
        {
            let layout = ObjectLayout::range(10, first, count);
            let run = layout.slot_run(&window).unwrap();
            assert_eq!(run.collect::<Vec<_>>(), slots(layout, window));
        }
        assert_eq!(ObjectLayout::leaf(10).slot_run(&(0..10)), None);
        assert_eq!(ObjectLayout::bitmap(10, 1, 0b11).slot_run(&(0..10)), None);
        assert_eq!(ObjectLayout::weak(10, 2, 3).slot_run(&(0..10)), None);
    }

    #[test]
    fn weak_slots_are_forwarded_like_strong_ones() {
        assert_eq!(slots(ObjectLayout::weak(10, 2, 3), 0..10), [2, 3, 4]);
        assert_eq!(slots(ObjectLayout::weak(10, 2, 3), 3..4), [3]);
        assert_eq!(slots(ObjectLayout::mixed(10, 1, 0b101, 0b010), 0..10), [1, 2, 3]);
        assert_eq!(slots(ObjectLayout::mixed(10, 1, 0b101, 0b010), 2..10), [2, 3]);
        assert_eq!(slots(ObjectLayout::ephemerons(10, 2, 2), 0..10), [2, 3, 4, 5]);
        assert_eq!(slots(ObjectLayout::ephemerons(10, 2, 2), 5..10), [5]);
    }

    #[test]
    fn packing_keeps_everything() {
        for layout in [
            ObjectLayout::leaf(2),
            ObjectLayout::range(u32::MAX, 1, 77),
            ObjectLayout::bitmap(70, 3, 1 << 63),
            ObjectLayout::described(3, u64::MAX),
            ObjectLayout::mixed(70, 3, 1, 1 << 31),
            ObjectLayout::ephemerons(70, 3, 30),
        ] {
            assert_eq!(ObjectLayout::unpack(layout.pack()), layout);
            assert_ne!(layout.pack()[0], 0);
        }
    }
}
