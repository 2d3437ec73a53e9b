//! How far the references on each page of the old heap reach: a page need not be read when it moves
//! if it has none, or if all they refer to keeps its place.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::addr::{Geometry, PageIndex};
use crate::layout::ObjectLayout;
use crate::raw::map::SideTable;

/// How far references reach: the number of the first page behind all that they refer to, or zero if
/// there are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reach(u32);

impl Reach {
    /// There are no references.
    pub(crate) const NONE: Self = Self(0);

    /// Nobody has looked what they refer to.
    pub(crate) const UNKNOWN: Self = Self(u32::MAX);

    /// Of one slot's value.
    #[inline(always)]
    pub(crate) fn of(geometry: Geometry, value: u64) -> Self {
        geometry.word_of(value).map_or(Self::NONE, |word| Self::of_word(geometry, word))
    }

    /// Of a reference to word `word`.
    #[inline(always)]
    pub(crate) fn of_word(geometry: Geometry, word: u32) -> Self {
        Self(geometry.page_of(word).0 + 1)
    }
}

/// The reach of each page.
///
/// Noted by marking threads for what they scan, and by mutators for what they store from the time
/// that the first of them scans until the flip. It only ever grows, and is published by the pause.
#[derive(Debug)]
pub(crate) struct PageReach {
    pages: SideTable<AtomicU32>,
}

impl PageReach {
    pub(crate) fn new(pages: u32) -> std::io::Result<Self> {
        Ok(Self { pages: SideTable::sparse(pages as usize, c"gc page reach")? })
    }

    /// Notes that the slots of the object at `start` reach as far as `reach`.
    #[inline(always)]
    pub(crate) fn note_object(
        &self,
        geometry: Geometry,
        start: u32,
        layout: ObjectLayout,
        reach: Reach,
    ) {
        if layout.is_leaf() || reach == Reach::NONE {
            return;
        }
        let first = geometry.page_of(start);
        if first == geometry.page_of(start + (layout.words() - 1)) {
            raise(&self.pages[first.index()], reach);
        } else {
            self.note_crossing(geometry, start, layout.slot_span(), reach);
        }
    }

    /// Notes that slots on `page` reach as far as `reach`.
    pub(crate) fn note_page(&self, page: PageIndex, reach: Reach) {
        raise(&self.pages[page.index()], reach);
    }

    /// The same, for an object that reaches into other pages.
    #[cold]
    fn note_crossing(&self, geometry: Geometry, start: u32, slots: Range<u32>, reach: Reach) {
        let first = geometry.page_of(start + slots.start).index();
        let last = geometry.page_of(start + (slots.end - 1)).index();
        for page in &self.pages[first..=last] {
            raise(page, reach);
        }
    }

    /// Notes that `value` is stored into `slot`, the address of a word of the heap or of another
    /// place.
    pub(crate) fn note_store(&self, geometry: Geometry, slot: u64, value: u64) {
        if let Some(word) = geometry.word_of(slot) {
            let page = geometry.page_of(word).index();
            raise(&self.pages[page], Reach::of(geometry, value));
        }
    }

    /// Whether there are references on one of `pages`.
    #[inline(always)]
    pub(crate) fn any(&self, pages: Range<u32>) -> bool {
        let pages = &self.pages[pages.start as usize..pages.end as usize];
        pages.iter().any(|page| page.load(Ordering::Relaxed) != 0)
    }

    /// Whether all references on `page` are to pages before page `end`; none are as good.
    pub(crate) fn ends_before(&self, page: PageIndex, end: u32) -> bool {
        self.pages[page.index()].load(Ordering::Relaxed) <= end
    }

    /// Forgets what was noted for the first `pages` pages.
    pub(crate) fn clear(&self, pages: u32) {
        self.pages.clear(0..pages as usize);
    }

    /// Gives back the memory of what lies beyond the first `pages` pages: nothing is noted there.
    pub(crate) fn shed(&self, pages: u32) {
        self.pages.shed(pages as usize);
    }
}

/// The locked instruction is rare: a page has seen the farthest of its references soon.
#[inline(always)]
fn raise(page: &AtomicU32, Reach(reach): Reach) {
    if page.load(Ordering::Relaxed) < reach {
        page.fetch_max(reach, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry() -> Geometry {
        Geometry::new(1 << 30, 16, 4096)
    }

    #[test]
    fn only_pages_with_references_are_noted() {
        let (geometry, reach) = (geometry(), PageReach::new(16).unwrap());
        let noted = || (0..16).filter(|&page| reach.any(page..page + 1)).collect::<Vec<_>>();
        let note = |start, layout| reach.note_object(geometry, start, layout, Reach::UNKNOWN);
        note(100, ObjectLayout::leaf(3000));
        reach.note_object(geometry, 0, ObjectLayout::range(20, 1, 19), Reach::NONE);
        assert!(noted().is_empty());
        // The slots end on the second page, the object on the fourth.
        note(512 + 500, ObjectLayout::range(1200, 1, 20));
        assert_eq!(noted(), [1, 2]);
        note(512 * 8 + 510, ObjectLayout::bitmap(70, 2, 1));
        assert_eq!(noted(), [1, 2, 9]);
        note(512 * 12, ObjectLayout::described(1024, 7));
        assert_eq!(noted(), [1, 2, 9, 12, 13]);
        assert!(reach.any(3..10) && !reach.any(3..9) && !reach.any(5..5));
        reach.clear(10);
        assert_eq!(noted(), [12, 13]);
    }

    #[test]
    fn the_farthest_reference_counts_whoever_notes_it() {
        let (geometry, reach) = (geometry(), PageReach::new(16).unwrap());
        let object = ObjectLayout::range(20, 1, 19);
        let page = PageIndex(2);
        let to = |word| Reach::of(geometry, geometry.address(word));
        assert!(reach.ends_before(page, 0));
        reach.note_object(geometry, 512 * 2, object, to(512 * 4 + 511));
        assert!(reach.ends_before(page, 5) && !reach.ends_before(page, 4));
        reach.note_object(geometry, 512 * 2 + 100, object, to(7));
        assert!(reach.ends_before(page, 5) && !reach.ends_before(page, 4));
        let slot = geometry.address(512 * 2 + 300);
        reach.note_store(geometry, slot, geometry.address(512 * 9));
        assert!(reach.ends_before(page, 10) && !reach.ends_before(page, 9));
        reach.note_object(geometry, 512 * 2, object, Reach::UNKNOWN);
        assert!(!reach.ends_before(page, 16));
    }

    #[test]
    fn what_is_no_reference_reaches_nowhere_and_a_slot_may_lie_elsewhere() {
        let (geometry, reach) = (geometry(), PageReach::new(16).unwrap());
        let inside = geometry.address(40);
        for value in [0, 7, inside + 1, geometry.address(0) - 8, u64::MAX] {
            reach.note_store(geometry, inside, value);
        }
        reach.note_store(geometry, 0x1000, inside);
        assert!(!reach.any(0..16));
    }
}
