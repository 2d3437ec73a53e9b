//! Who gets which pages for new objects: one cursor that only goes up, under one lock.

use std::sync::{Condvar, Mutex, MutexGuard};

use crate::addr::PageIndex;
use crate::space::pace::{Pace, Work};

/// Pages that a mutator's allocation buffer has, unless an object needs more.
pub(crate) const BUFFER_PAGES: u32 = 8;

/// The warm pool: free pages that have memory behind them when the heap is set aside, so that the
/// first faults find some. A sixteenth of the heap, at most 6 MiB in pages of 4 KiB.
pub(crate) fn warm_pages(limit: u32) -> u32 {
    (limit / 16).clamp(64, 1536)
}

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
    /// Pages that may be in use: the lesser of the two below. What is in use already may be more.
    pub(crate) limit: u32,
    /// The limit that the program has set.
    asked: u32,
    /// What the container leaves.
    cap: u32,
    /// Pages that the heap tries to stay below by collecting; no more than the limit.
    pub(crate) target: u32,
    /// A cycle should start when `top` passes this.
    pub(crate) trigger: u32,
    /// What the target would be without the limit, pages to be left below it when a cycle starts,
    /// and pages in use when that was decided.
    wanted: u32,
    headroom: u32,
    used: u32,
    /// Pages from here on are being given back or brought in: nobody gets one before that is over.
    fence: u32,
    /// Pages granted since the heap was built.
    pub(crate) allocated_since: u32,
    /// The same, when the last marking began.
    pub(crate) allocated_until_marking: u32,
    /// What the collector is doing, if it is to be kept pace with.
    pace: Option<Pace>,
}

/// The allocation of one heap's pages.
#[derive(Debug)]
pub(crate) struct Allocation {
    cursor: Mutex<Cursor>,
    unfenced: Condvar,
}

impl Allocation {
    /// At most `limit` pages, of which the heap tries to use `soft`.
    pub(crate) fn new(limit: u32, soft: u32) -> Self {
        Self { cursor: Mutex::new(Cursor::new(limit, soft)), unfenced: Condvar::new() }
    }

    /// Holds the cursor still.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Cursor> {
        self.cursor.lock().expect("no panic while the cursor is held")
    }

    /// Holds the cursor still to take `pages` pages, none of which is behind a fence.
    pub(crate) fn lock_to_take(&self, pages: u32) -> MutexGuard<'_, Cursor> {
        self.unfenced
            .wait_while(self.lock(), |cursor| cursor.top.saturating_add(pages) > cursor.fence)
            .expect("no panic while the cursor is held")
    }

    /// Keeps pages from `page` on from being taken until the fence is dropped. There is one fence
    /// at a time.
    pub(crate) fn fence(&self, cursor: &mut Cursor, page: u32) -> Fence<'_> {
        self.try_fence(cursor, page).expect("there is one fence at a time")
    }

    /// The same; `None` if there is a fence already.
    pub(crate) fn try_fence(&self, cursor: &mut Cursor, page: u32) -> Option<Fence<'_>> {
        debug_assert!(cursor.top <= page, "in use");
        if cursor.fence != u32::MAX {
            return None;
        }
        cursor.fence = page;
        Some(Fence(self))
    }
}

/// Free pages whose memory is being given back or brought in.
#[derive(Debug)]
#[must_use = "without the fence the pages may be in use"]
pub(crate) struct Fence<'a>(&'a Allocation);

impl Fence<'_> {
    /// Holds the cursor still, to note what has become of the pages.
    pub(crate) fn cursor(&self) -> MutexGuard<'_, Cursor> {
        self.0.lock()
    }
}

impl Drop for Fence<'_> {
    fn drop(&mut self) {
        self.0.lock().fence = u32::MAX;
        self.0.unfenced.notify_all();
    }
}

impl Cursor {
    pub(crate) fn new(limit: u32, soft: u32) -> Self {
        let target = limit.min(soft);
        let mut cursor = Self {
            top: 0,
            resident: 0,
            limit,
            asked: limit,
            cap: u32::MAX,
            target,
            trigger: 0,
            wanted: target,
            // Before anything is known the first cycle begins early: it has to expect everything to live.
            headroom: target - target / 4,
            used: 0,
            fence: u32::MAX,
            allocated_since: 0,
            allocated_until_marking: 0,
            pace: None,
        };
        cursor.set_trigger();
        cursor
    }

    /// Takes `pages` pages off the free end.
    pub(crate) fn take(&mut self, pages: u32) -> Option<Grant> {
        let end = self.top.checked_add(pages).filter(|&end| end <= self.limit)?;
        let dirty = self.resident.saturating_sub(self.top).min(pages);
        self.allocated_since = self.allocated_since.wrapping_add(pages);
        let first = PageIndex(std::mem::replace(&mut self.top, end));
        Some(Grant { first, pages, dirty })
    }

    /// From here on, `share` of the pages that are left are handed out as `work` is done.
    pub(crate) fn begin_phase(&mut self, work: Work, share: f64) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of u32"
        )]
        let pages = (f64::from(self.rest()) * share) as u32;
        self.pace = Some(Pace::new(work, self.top, pages));
    }

    /// Marking begins.
    pub(crate) fn note_marking(&mut self) {
        self.allocated_until_marking = self.allocated_since;
    }

    /// Pages granted since marking began.
    pub(crate) fn allocated_while_marking(&self) -> u32 {
        self.allocated_since.wrapping_sub(self.allocated_until_marking)
    }

    /// Nobody is held back any more.
    pub(crate) fn end_phases(&mut self) {
        self.pace = None;
    }

    /// Whether the heap has been set aside in the cycle that is running.
    pub(crate) fn has_flipped(&self) -> bool {
        self.pace.is_some_and(|pace| matches!(pace.work(), Work::Pages(_) | Work::Leftovers(..)))
    }

    /// What mutators have to keep pace with.
    pub(crate) fn pace(&self) -> Option<Pace> {
        self.pace
    }

    /// Pages that are left below the limit; none if it was lowered below what is in use.
    pub(crate) fn rest(&self) -> u32 {
        self.limit.saturating_sub(self.top)
    }

    /// Whether allocation has passed the mark where a cycle should start.
    pub(crate) fn wants_cycle(&self) -> bool {
        self.top >= self.trigger
    }

    /// Where memory that the heap keeps ends, if the first `lately` pages were used not long ago.
    pub(crate) fn kept(&self, lately: u32) -> u32 {
        let target = self.target.max(self.top);
        target.min(lately.max(self.top)) + warm_pages(target)
    }

    /// Whether it is the container that keeps the heap smaller than the program asked for.
    pub(crate) fn is_capped(&self) -> bool {
        self.cap < self.asked
    }

    /// The limit that the program has set.
    pub(crate) fn asked(&self) -> u32 {
        self.asked
    }

    /// The program sets the limit.
    pub(crate) fn set_limit(&mut self, pages: u32) {
        if self.wanted == self.asked {
            // A heap that uses its whole limit goes on doing so.
            self.wanted = pages;
        }
        self.asked = pages;
        self.set_trigger();
        self.drop_pace();
    }

    /// The container leaves so many pages.
    pub(crate) fn set_cap(&mut self, pages: u32) {
        self.cap = pages;
        self.set_trigger();
        self.drop_pace();
    }

    /// After a cycle: the heap should stay below `target`, with `headroom` pages left at the start of
    /// the next one.
    pub(crate) fn aim(&mut self, target: u32, headroom: u32) {
        (self.wanted, self.headroom, self.used) = (target, headroom, self.top);
        self.set_trigger();
    }

    /// At least a quarter of the free pages is allocated before a cycle starts, and a sixteenth is
    /// left.
    fn set_trigger(&mut self) {
        self.limit = self.asked.min(self.cap);
        self.target = self.wanted.min(self.limit);
        let free = self.target.saturating_sub(self.used);
        let latest = self.target - free / 16;
        let earliest = self.used + free / 4;
        self.trigger =
            self.target.saturating_sub(self.headroom).clamp(earliest, latest.max(earliest));
    }

    /// After the limit has changed: there may be no need of a cycle any more that a finished one has
    /// kept its pace for.
    fn drop_pace(&mut self) {
        let is_left_over = |pace: &Pace| matches!(pace.work(), Work::Leftovers(..));
        if !self.wants_cycle() && self.pace.as_ref().is_some_and(is_left_over) {
            self.end_phases();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn grants_know_how_much_of_them_is_dirty() {
        let mut cursor = Cursor { top: 10, resident: 15, trigger: 20, ..Cursor::new(30, 30) };
        assert_eq!(cursor.take(4), Some(Grant { first: PageIndex(10), pages: 4, dirty: 4 }));
        assert_eq!(cursor.take(4), Some(Grant { first: PageIndex(14), pages: 4, dirty: 1 }));
        assert!(!cursor.wants_cycle());
        assert_eq!(cursor.take(8), Some(Grant { first: PageIndex(18), pages: 8, dirty: 0 }));
        assert!(cursor.wants_cycle());
        assert_eq!(cursor.take(5), None);
        assert_eq!((cursor.top, cursor.rest()), (26, 4));
    }

    #[test]
    fn who_needs_a_fenced_page_waits_and_who_does_not_goes_on() {
        let allocation = Allocation::new(100, 100);
        let mut cursor = allocation.lock();
        let fence = allocation.fence(&mut cursor, 10);
        assert!(allocation.try_fence(&mut cursor, 20).is_none(), "there is one at a time");
        drop(cursor);
        assert_eq!(allocation.lock_to_take(10).take(10).unwrap().first, PageIndex(0));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| allocation.lock_to_take(1).take(1).unwrap());
            fence.cursor().resident = 20;
            drop(fence);
            // Whichever came first, the page is granted as what it is afterwards.
            let grant = waits.join().unwrap();
            assert_eq!(grant, Grant { first: PageIndex(10), pages: 1, dirty: 1 });
        });
    }

    #[test]
    fn the_first_cycle_starts_at_a_quarter() {
        assert_eq!(Cursor::new(1000, 1000).trigger, 250);
        assert_eq!(Cursor::new(1000, 500).trigger, 125);
    }

    #[test]
    fn more_headroom_starts_cycles_earlier_within_bounds() {
        let trigger = |headroom| {
            let mut cursor = Cursor { top: 400, ..Cursor::new(1000, 1000) };
            cursor.aim(1000, headroom);
            cursor.trigger
        };
        assert_eq!((trigger(100), trigger(400)), (900, 600));
        assert_eq!(trigger(0), 1000 - 600 / 16);
        assert_eq!(trigger(1000), 400 + 600 / 4);
    }

    #[test]
    fn a_limit_below_what_is_in_use_grants_nothing_and_wants_a_cycle() {
        let mut cursor = Cursor { top: 400, ..Cursor::new(1000, 1000) };
        cursor.aim(1000, 100);
        cursor.set_limit(300);
        assert_eq!((cursor.rest(), cursor.take(1)), (0, None));
        assert!(cursor.wants_cycle());
        cursor.set_limit(2000);
        assert_eq!((cursor.limit, cursor.target, cursor.rest()), (2000, 2000, 1600));
        assert!(!cursor.wants_cycle());
    }

    #[test]
    fn nobody_is_held_back_for_a_cycle_that_a_higher_limit_makes_needless() {
        let mut cursor = Cursor { top: 990, ..Cursor::new(1000, 1000) };
        let hour = Duration::from_secs(3600);
        cursor.begin_phase(Work::Leftovers(Instant::now(), hour), 1.0);
        cursor.set_limit(1001);
        assert!(cursor.wants_cycle() && cursor.pace().is_some());
        cursor.set_limit(4000);
        assert!(!cursor.wants_cycle() && cursor.pace().is_none());
    }

    #[test]
    fn the_lesser_of_limit_and_container_counts() {
        let mut cursor = Cursor::new(1000, 1000);
        cursor.set_cap(500);
        assert_eq!((cursor.limit, cursor.target, cursor.is_capped()), (500, 500, true));
        cursor.set_limit(400);
        assert_eq!((cursor.limit, cursor.is_capped()), (400, false));
        cursor.set_limit(900);
        cursor.set_cap(u32::MAX);
        assert_eq!((cursor.limit, cursor.asked()), (900, 900));
    }
}
