//! Which pages of the old heap have reference slots on them: the others need no look at their
//! objects when they move.

use std::ops::Range;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::addr::{Geometry, PageIndex};
use crate::layout::ObjectLayout;
use crate::raw::map::SideTable;

/// A byte for each page: zero until an object with a slot there was marked or born.
///
/// Bytes, not bits: marking threads only ever write the same value, so that none needs a locked
/// instruction. What is noted is published by the pause that follows.
#[derive(Debug)]
pub(crate) struct SlotPages {
    pages: SideTable<AtomicU8>,
}

impl SlotPages {
    pub(crate) fn new(pages: u32) -> std::io::Result<Self> {
        Ok(Self { pages: SideTable::sparse(pages as usize, c"gc slot pages")? })
    }

    /// Notes the pages on which the object at `start` has slots.
    #[inline(always)]
    pub(crate) fn note_object(&self, geometry: Geometry, start: u32, layout: ObjectLayout) {
        let slots = layout.slot_span();
        if slots.is_empty() {
            return;
        }
        let first = geometry.page_of(start + slots.start).index();
        let last = geometry.page_of(start + (slots.end - 1)).index();
        for page in &self.pages[first..=last] {
            if page.load(Ordering::Relaxed) == 0 {
                page.store(1, Ordering::Relaxed);
            }
        }
    }

    /// Whether a live object has slots on one of `pages`.
    #[inline(always)]
    pub(crate) fn any(&self, pages: Range<u32>) -> bool {
        let pages = &self.pages[pages.start as usize..pages.end as usize];
        pages.iter().any(|page| page.load(Ordering::Relaxed) != 0)
    }

    /// Whether a live object has slots on `page`.
    pub(crate) fn has(&self, page: PageIndex) -> bool {
        self.any(page.0..page.0 + 1)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_with_slots_are_noted() {
        let geometry = Geometry::new(1 << 30, 16, 4096);
        let pages = SlotPages::new(16).unwrap();
        let noted = || (0..16).filter(|&page| pages.has(PageIndex(page))).collect::<Vec<_>>();
        pages.note_object(geometry, 100, ObjectLayout::leaf(3000));
        assert!(noted().is_empty());
        // The slots end on the second page, the object on the fourth.
        pages.note_object(geometry, 512 + 500, ObjectLayout::range(1200, 1, 20));
        assert_eq!(noted(), [1, 2]);
        pages.note_object(geometry, 512 * 8 + 510, ObjectLayout::bitmap(70, 2, 1));
        assert_eq!(noted(), [1, 2, 9]);
        pages.note_object(geometry, 512 * 12, ObjectLayout::described(1024, 7));
        assert_eq!(noted(), [1, 2, 9, 12, 13]);
        assert!(pages.any(3..10) && !pages.any(3..9) && !pages.any(5..5));
        pages.clear(10);
        assert_eq!(noted(), [12, 13]);
    }
}
