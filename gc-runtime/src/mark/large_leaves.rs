//! Layouts of large objects without slots, kept beside the heap: marking need not read them from a
//! page that is not in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::layout::ObjectLayout;

/// From this many pages on an object is worth an entry: one read saved for each.
const LARGE_PAGES: u32 = 4;

/// Layouts by the number of the object's first word, which is the first of its page. What one cycle
/// meets is known to the next.
pub(crate) type Layouts = HashMap<u32, ObjectLayout>;

/// See [`Layouts`].
#[derive(Debug, Default)]
pub(crate) struct LargeLeaves {
    known: Mutex<Arc<Layouts>>,
    met: Mutex<Vec<(u32, ObjectLayout)>>,
}

/// Whether marking notes the layout of an object that starts with `word`.
#[inline(always)]
pub(crate) fn is_large_leaf(word: u32, layout: ObjectLayout, page_words: u32) -> bool {
    layout.words() >= LARGE_PAGES * page_words
        && word.is_multiple_of(page_words)
        && layout.is_leaf()
}

impl LargeLeaves {
    /// What the last cycle met, at its new place.
    pub(crate) fn known(&self) -> Arc<Layouts> {
        Arc::clone(&self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds what one thread has met.
    pub(crate) fn add(&self, met: &mut Vec<(u32, ObjectLayout)>) {
        if !met.is_empty() {
            self.met().append(met);
        }
    }

    /// When marking has ended: what it has met is known from now on, at the place that `forward` says.
    pub(crate) fn settle(&self, forward: impl Fn(u32) -> u32) {
        let met = std::mem::take(&mut *self.met());
        let known = met.into_iter().map(|(word, layout)| (forward(word), layout));
        let known = Arc::new(known.collect());
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }

    fn met(&self) -> MutexGuard<'_, Vec<(u32, ObjectLayout)>> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_cycle_meets_the_next_one_knows_at_its_new_place() {
        let large = LargeLeaves::default();
        let layout = ObjectLayout::leaf(4096);
        large.add(&mut vec![(512, layout), (8192, layout)]);
        assert!(large.known().is_empty());
        large.settle(|word| word - 512);
        let mut known: Vec<u32> = large.known().keys().copied().collect();
        known.sort_unstable();
        assert_eq!(known, [0, 7680]);
        large.settle(|word| word);
        assert!(large.known().is_empty());
    }

    #[test]
    fn small_objects_and_those_with_slots_are_not_noted() {
        assert!(is_large_leaf(1024, ObjectLayout::leaf(2048), 512));
        assert!(!is_large_leaf(1025, ObjectLayout::leaf(2048), 512));
        assert!(!is_large_leaf(1024, ObjectLayout::leaf(2047), 512));
        assert!(!is_large_leaf(1024, ObjectLayout::range(2048, 1, 1), 512));
    }
}
