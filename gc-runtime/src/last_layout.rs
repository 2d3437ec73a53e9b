//! What the layout of the last object was: objects made one after the other are often of one kind.

use crate::layout::{MIN_OBJECT_WORDS, ObjectLayout};
use crate::model::{Header, ObjectModel};

/// A header and the layout read from it.
///
/// Where the next object starts is then known before its neighbour's header has been taken apart,
/// so that the processor need not wait for that.
#[derive(Debug)]
pub(crate) struct LastLayout {
    header: Header,
    layout: ObjectLayout,
}

impl LastLayout {
    /// No object yet: a header is never zero.
    #[inline(always)]
    pub(crate) fn none() -> Self {
        Self { header: Header::one(0), layout: ObjectLayout::leaf(MIN_OBJECT_WORDS) }
    }

    /// The layout that `model` reads from `header`.
    #[inline(always)]
    pub(crate) fn of(&mut self, model: &impl ObjectModel, header: Header) -> ObjectLayout {
        if header != self.header {
            *self = Self { header, layout: model.layout(header) };
        }
        self.layout
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// The second word is the size; counts how often it was asked.
    #[derive(Default)]
    struct Counting(AtomicU32);

    impl ObjectModel for Counting {
        fn layout(&self, header: Header) -> ObjectLayout {
            self.0.fetch_add(1, Ordering::Relaxed);
            ObjectLayout::leaf(u32::try_from(header.second()).unwrap())
        }
    }

    #[test]
    fn a_model_is_asked_only_when_either_word_of_the_header_differs() {
        let model = Counting::default();
        let mut last = LastLayout::none();
        let asked = [(1, 5), (1, 5), (1, 6), (2, 6), (2, 6), (1, 5)].map(|(first, words)| {
            let layout = last.of(&model, Header::two(first, words));
            assert_eq!(u64::from(layout.words()), words);
            model.0.load(Ordering::Relaxed)
        });
        assert_eq!(asked, [1, 1, 2, 3, 3, 4]);
    }
}
