//! For every page of the old heap: the object that reaches into it from before, if any, and how
//! far the objects on it can be walked.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::addr::{Geometry, PageIndex};
use crate::layout::ObjectLayout;
use crate::raw::map::SideTable;

const ENTRY_WORDS: usize = 3;

/// An object that starts on an earlier page and has words on this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Straddler {
    /// First word of the object.
    pub(crate) start: u32,
    /// Its layout, copied here because its header may be moved away first.
    pub(crate) layout: ObjectLayout,
}

impl Straddler {
    /// The word after the object's last.
    pub(crate) fn end(self) -> u32 {
        self.start + self.layout.words()
    }
}

/// The side table of straddlers: 24 bytes per page.
///
/// At most one object crosses each page boundary, so entries have one writer: the thread that
/// marked the object, or the mutator that allocated it while the cycle ran.
#[derive(Debug)]
pub(crate) struct StraddleTable {
    entries: SideTable<AtomicU64>,
}

impl StraddleTable {
    pub(crate) fn new(pages: u32) -> std::io::Result<Self> {
        Ok(Self {
            entries: SideTable::sparse((pages as usize + 1) * ENTRY_WORDS, c"gc straddlers")?,
        })
    }

    /// Notes the object at `start` for every later page it reaches into.
    #[inline(always)]
    pub(crate) fn note_object(&self, geometry: Geometry, start: u32, layout: ObjectLayout) {
        let first = geometry.page_of(start).0;
        let last = geometry.page_of(start + (layout.words() - 1)).0;
        if first != last {
            self.note_crossing(first, last, start, layout);
        }
    }

    #[cold]
    fn note_crossing(&self, first: u32, last: u32, start: u32, layout: ObjectLayout) {
        for page in first + 1..=last {
            let [head, low, map] = self.entry(PageIndex(page));
            let walk_end = head.load(Ordering::Relaxed) >> 32 << 32;
            low.store(layout.pack()[0], Ordering::Relaxed);
            map.store(layout.pack()[1], Ordering::Relaxed);
            head.store(walk_end | u64::from(start), Ordering::Relaxed);
        }
    }

    /// The object that reaches into `page` from before.
    #[inline]
    pub(crate) fn straddler(&self, page: PageIndex) -> Option<Straddler> {
        let [head, low, map] = self.entry(page);
        let low = low.load(Ordering::Relaxed);
        #[expect(clippy::cast_possible_truncation, reason = "the low half is the start")]
        (low != 0).then(|| Straddler {
            start: head.load(Ordering::Relaxed) as u32,
            layout: ObjectLayout::unpack([low, map.load(Ordering::Relaxed)]),
        })
    }

    /// Notes that objects on `page`, one of those filled while the cycle runs, end at `word`.
    pub(crate) fn note_walk_end(&self, page: PageIndex, word: u32) {
        let [head, ..] = self.entry(page);
        let start = head.load(Ordering::Relaxed) & u64::from(u32::MAX);
        head.store(start | u64::from(word) << 32, Ordering::Relaxed);
    }

    /// Where the objects on `page` end; zero if none was noted.
    pub(crate) fn walk_end(&self, page: PageIndex) -> u32 {
        (self.entry(page)[0].load(Ordering::Relaxed) >> 32) as u32
    }

    fn entry(&self, page: PageIndex) -> &[AtomicU64; ENTRY_WORDS] {
        let at = page.index() * ENTRY_WORDS;
        self.entries[at..at + ENTRY_WORDS].try_into().expect("a slice of ENTRY_WORDS")
    }

    /// Forgets the entries of `pages`.
    pub(crate) fn clear(&self, pages: Range<u32>) {
        self.entries.clear(pages.start as usize * ENTRY_WORDS..pages.end as usize * ENTRY_WORDS);
    }

    /// Gives back the memory of the entries from page `pages` on: they are empty.
    pub(crate) fn shed(&self, pages: u32) {
        self.entries.shed(pages as usize * ENTRY_WORDS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_an_object_reaches_into_knows_it() {
        let geometry = Geometry::new(1 << 30, 16, 4096);
        let table = StraddleTable::new(16).unwrap();
        let layout = ObjectLayout::range(1200, 1, 7);
        table.note_walk_end(PageIndex(2), 1500);
        table.note_object(geometry, 500, layout);
        assert_eq!(table.straddler(PageIndex(0)), None);
        for page in 1..=3 {
            assert_eq!(table.straddler(PageIndex(page)), Some(Straddler { start: 500, layout }));
        }
        assert_eq!(table.straddler(PageIndex(4)), None);
        assert_eq!(table.walk_end(PageIndex(2)), 1500);
        table.note_object(geometry, 2048, ObjectLayout::leaf(512));
        assert_eq!(table.straddler(PageIndex(5)), None);
    }
}
