//! Who gets which pages for new objects: one cursor that only goes up, under one lock.

use std::sync::{Mutex, MutexGuard};

use crate::addr::PageIndex;

/// Pages that a mutator's allocation buffer has, unless an object needs more.
pub(crate) const BUFFER_PAGES: u32 = 8;

/// A run of pages for new objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) first: PageIndex,
    pub(crate) pages: u32,
    /// How many of them, from the first on, hold old content and must be cleared.
    pub(crate) dirty: u32,
}

/// The cursor.
#[derive(Debug)]
pub(crate) struct Cursor {
    /// Pages below are in use.
    pub(crate) top: u32,
    /// Pages from `top` up to here have memory behind them, with old content.
    pub(crate) resident: u32,
    /// Pages that may be in use.
    pub(crate) limit: u32,
    /// A cycle should start when `top` passes this.
    pub(crate) trigger: u32,
    /// Pages granted since the heap was built.
    pub(crate) allocated_since: u32,
}

/// The allocation of one heap's pages.
#[derive(Debug)]
pub(crate) struct Allocation {
    cursor: Mutex<Cursor>,
}

impl Allocation {
    pub(crate) fn new(limit: u32, trigger: u32) -> Self {
        Self {
            cursor: Mutex::new(Cursor { top: 0, resident: 0, limit, trigger, allocated_since: 0 }),
        }
    }

    /// Holds the cursor still.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Cursor> {
        self.cursor.lock().expect("no panic while the cursor is held")
    }
}

impl Cursor {
    /// Takes `pages` pages off the free end.
    pub(crate) fn take(&mut self, pages: u32) -> Option<Grant> {
        let end = self.top.checked_add(pages).filter(|&end| end <= self.limit)?;
        let dirty = self.resident.saturating_sub(self.top).min(pages);
        self.allocated_since = self.allocated_since.wrapping_add(pages);
        let first = PageIndex(std::mem::replace(&mut self.top, end));
        Some(Grant { first, pages, dirty })
    }

    /// Whether allocation has passed the mark where a cycle should start.
    pub(crate) fn wants_cycle(&self) -> bool {
        self.top >= self.trigger
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_know_how_much_of_them_is_dirty() {
        let mut cursor =
            Cursor { top: 10, resident: 15, limit: 30, trigger: 20, allocated_since: 0 };
        assert_eq!(cursor.take(4), Some(Grant { first: PageIndex(10), pages: 4, dirty: 4 }));
        assert_eq!(cursor.take(4), Some(Grant { first: PageIndex(14), pages: 4, dirty: 1 }));
        assert!(!cursor.wants_cycle());
        assert_eq!(cursor.take(8), Some(Grant { first: PageIndex(18), pages: 8, dirty: 0 }));
        assert!(cursor.wants_cycle());
        assert_eq!(cursor.take(5), None);
        assert_eq!(cursor.top, 26);
    }
}
