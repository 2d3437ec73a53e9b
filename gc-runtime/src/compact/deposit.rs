//! Emptied pages become memory for new objects: they are put where allocation goes next.

use std::ops::Range;

use crate::addr::PageIndex;
use crate::forward::Plan;
use crate::model::ObjectModel;
use crate::space::allocation::Cursor;
use crate::space::moving_space::MovingSpace;
use crate::transport::Compaction;

/// Pages that a mutator deposits at a time; enough for one flush of all translations.
const DEPOSIT_AHEAD: u32 = 128;

/// Pages that the collector deposits behind one fence: some twenty microseconds of work, for which a
/// mutator may have to wait that has used up all before them.
const DEPOSIT_PAGES: u32 = 512;

/// So far ahead of allocation the collector deposits while it compacts.
const COLLECTOR_AHEAD: u32 = 2048;

/// Emptied pages that are left to the builders of pages.
const STAGING_RESERVE: u32 = 256;

impl<M: ObjectModel> MovingSpace<M> {
    /// While the heap is being compacted, by a mutator that finds nothing deposited: many at a time, so
    /// that an allocation buffer need not bring in its own.
    pub(crate) fn deposit_ahead(&self, cursor: &mut Cursor, need: u32) {
        if cursor.resident >= cursor.top + need || cursor.top + need > cursor.limit {
            return;
        }
        let Some(_pass) = self.gate.enter() else { return };
        let page = cursor.top.max(cursor.resident);
        let want = DEPOSIT_AHEAD.min(cursor.limit.saturating_sub(page));
        if want > 0 {
            let count =
                self.transport.deposit(PageIndex(page), want, STAGING_RESERVE, &self.counters);
            cursor.resident = page + count;
        }
    }

    /// The same, by a collector thread between two bands. A mutator would hold the cursor meanwhile,
    /// and others would sleep for it: to wake up takes longer than the work. While nobody has taken a
    /// page since the flip there is no hurry.
    pub(crate) fn deposit_between_bands(&self, plan: Plan) {
        if self.transport.compaction() == Compaction::Concurrent {
            let end = |cursor: &Cursor| match cursor.top > plan.post() {
                true => (cursor.top + COLLECTOR_AHEAD).min(cursor.limit),
                false => 0,
            };
            while self.deposit(STAGING_RESERVE, end).is_some() {}
        }
    }

    /// Deposits some pages below the one that `end` says, beside mutators that take those before; about
    /// `keep` emptied pages stay. Which; `None` if there was nothing to do, or none to spare.
    pub(crate) fn deposit(
        &self,
        keep: u32,
        end: impl FnOnce(&Cursor) -> u32,
    ) -> Option<Range<u32>> {
        let mut cursor = self.allocation.lock();
        let page = cursor.top.max(cursor.resident);
        let want = end(&cursor).saturating_sub(page).min(DEPOSIT_PAGES);
        if want == 0 {
            return None;
        }
        let fence = self.allocation.try_fence(&mut cursor, page)?;
        drop(cursor);
        let count = self.transport.deposit(PageIndex(page), want, keep, &self.counters);
        if count == 0 {
            return None;
        }
        fence.cursor().resident = page + count;
        Some(page..page + count)
    }
}
