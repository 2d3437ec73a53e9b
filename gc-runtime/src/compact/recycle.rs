//! Emptied from-space pages become staging pages again.
//!
//! Four supplies:
//!
//! * *hot* pages: those that a collector thread has just emptied. It keeps the last of them, in one
//!   run, for the next pages it builds: the later they were read, the more of them is still in the
//!   cache, and writing to cold memory costs as much as reading the objects;
//! * *freed* pages: the other emptied ones, for whoever needs some ([`FreePages`]); also those that
//!   a fault has emptied, long before the collector gets there;
//! * the *pool*: pages that were free when the heap was set aside, so that the very first fault
//!   finds some;
//! * *new* pages beyond the end of memory, which the kernel allocates when they are written to. In
//!   a steady state nobody gets here. Not for new objects: these are as many as the program makes,
//!   and what is to hold only zeros is copied into place at less cost ([`ZeroPages`]).
//!
//! [`ZeroPages`]: crate::transport::zero_pages::ZeroPages

use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::compact::emptied_pages::EmptiedPages;
use crate::compact::free_pages::FreePages;
use crate::compact::page_state::SourceIndex;
use crate::counters::Counters;
use crate::forward::Plan;
use crate::halves;
use crate::raw::fatal::fatal;
use crate::transport::{BAND_PAGES, SourceRun, Taker};

/// Pages that collector threads leave in the pool for faults.
const RESERVE_PAGES: u32 = 256;

/// Pages that faults leave in the pool for the very pages that were touched. A fault that builds a
/// whole cluster gives back almost as much as it takes.
const LAST_PAGES: u32 = 64;

/// Pages that are allocated at a time, when it must be.
const NEW_PAGES: u32 = 16;

/// Pages that a collector thread keeps of those it has just emptied.
const HOT_PAGES: u32 = BAND_PAGES;

/// A range that shrinks from below and grows above, in one atomic word: its start is the low half.
#[derive(Debug, Default)]
struct Supply(AtomicU64);

impl Supply {
    fn set(&self, next: u32, end: u32) {
        self.0.store(halves::join(next, end.max(next)), Ordering::Release);
    }

    /// Takes up to `want` pages, leaving `keep`.
    fn take(&self, want: u32, keep: u32) -> SourceRun {
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            let (next, end) = halves::split(word);
            let count = want.min((end - next).saturating_sub(keep));
            if count == 0 {
                return SourceRun::EMPTY;
            }
            match self.0.compare_exchange_weak(
                word,
                halves::join(next + count, end),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return SourceRun::new(SourceIndex(next), count),
                Err(other) => word = other,
            }
        }
    }
}

/// The supplies of staging pages of one heap.
#[derive(Debug)]
pub(crate) struct Recycler {
    pool: Supply,
    freed: FreePages,
    emptied: EmptiedPages,
    new: AtomicU32,
    /// Where from-space ends.
    end: u32,
}

impl Recycler {
    /// For a from-space of `pages` pages.
    pub(crate) fn new(pages: u32) -> std::io::Result<Self> {
        Ok(Self {
            pool: Supply::default(),
            freed: FreePages::new(pages)?,
            emptied: EmptiedPages::new(pages)?,
            new: AtomicU32::new(0),
            end: pages,
        })
    }

    /// In the pause: `resident` is the end of memory, everything from `plan.used` on is free.
    pub(crate) fn begin(&self, plan: Plan, resident: u32) {
        let end = resident.max(plan.used);
        self.pool.set(plan.used, end);
        self.new.store(end, Ordering::Release);
    }

    /// A collector thread has got so far that `pages` are emptied: it keeps the last of them in
    /// `run`, in exchange for what it has left there, if that makes the run longer.
    pub(crate) fn emptied(&self, pages: Range<u32>, run: &mut SourceRun, counters: &Counters) {
        self.emptied.mark(pages, |pages| self.keep_last(pages, run, counters));
    }

    /// Somebody has emptied `pages` before the collector got there.
    pub(crate) fn emptied_early(&self, pages: Range<u32>, counters: &Counters) {
        self.emptied.mark(pages, |pages| {
            counters.pages_recycled.add(pages.end - pages.start);
            self.freed.add(pages);
        });
    }

    fn keep_last(&self, pages: Range<u32>, run: &mut SourceRun, counters: &Counters) {
        counters.pages_recycled.add(pages.end - pages.start);
        let keep = (pages.end - pages.start).min(HOT_PAGES);
        if keep <= run.count {
            self.freed.add(pages);
            return;
        }
        self.add(*run);
        *run = SourceRun::new(SourceIndex(pages.end - keep), keep);
        self.freed.add(pages.start..pages.end - keep);
    }

    /// Takes back what is left of a run.
    pub(crate) fn add(&self, run: SourceRun) {
        self.freed.add(run.next.0..run.next.0 + run.count);
    }

    /// Takes staging pages: `want` or fewer. None only for those who can do without:
    /// [`Taker::Collector`], which can wait until some are emptied, and [`Taker::Helper`].
    pub(crate) fn take(&self, taker: Taker, want: u32, counters: &Counters) -> SourceRun {
        let freed = || self.freed.take(want);
        let pool = |keep| self.pool.take(want, keep);
        let new = || {
            let want = want.min(NEW_PAGES);
            counters.pages_allocated.add(want);
            let first = self.new.fetch_add(want, Ordering::AcqRel);
            if first.saturating_add(want) > self.end {
                // Beyond the limit there are addresses for a thousand threads, each at work on pages.
                fatal("from-space has no room for another staging page", 0);
            }
            SourceRun::new(SourceIndex(first), want)
        };
        match taker {
            Taker::Helper => freed().or_else(|| pool(LAST_PAGES)),
            Taker::Collector => freed().or_else(|| pool(RESERVE_PAGES)),
            Taker::LastResort => freed().or_else(|| pool(0)).or_else(new),
            Taker::Mutator => freed().or_else(|| pool(0)).or_else(new),
        }
    }

    /// Takes pages that are to spare: about `keep` stay for staging. May be none.
    pub(crate) fn take_spare(&self, want: u32, keep: u32) -> SourceRun {
        let run = match self.freed.count() > i64::from(keep) {
            true => self.freed.take(want),
            false => SourceRun::EMPTY,
        };
        run.or_else(|| self.pool.take(want, keep))
    }

    /// Forgets the emptied pages of a finished cycle.
    pub(crate) fn clear(&self) {
        self.freed.clear();
        self.emptied.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recycler(resident: u32) -> (Recycler, Counters) {
        let recycler = Recycler::new(1000).unwrap();
        recycler.begin(Plan { dense: 10, compact: 40, black: 80, used: 100 }, resident);
        (recycler, Counters::default())
    }

    fn run(first: u32, count: u32) -> SourceRun {
        SourceRun::new(SourceIndex(first), count)
    }

    #[test]
    fn the_first_fault_finds_a_page_in_the_pool() {
        let (recycler, counters) = recycler(150);
        assert_eq!(recycler.take(Taker::Mutator, 1, &counters), run(100, 1));
        assert_eq!(counters.pages_allocated.get(), 0);
    }

    #[test]
    fn collectors_leave_a_reserve_to_faults_while_they_can() {
        let (recycler, counters) = recycler(100 + RESERVE_PAGES + 8);
        assert_eq!(recycler.take(Taker::Collector, 64, &counters).count, 8);
        let mut kept = SourceRun::EMPTY;
        recycler.emptied(10..20, &mut kept, &counters);
        assert_eq!(kept, run(10, 10));
        let mut hot = SourceRun::EMPTY;
        recycler.emptied(20..20 + HOT_PAGES + 3, &mut hot, &counters);
        assert_eq!(hot, run(23, HOT_PAGES));
        assert_eq!(recycler.take(Taker::Collector, 64, &counters), run(20, 3));
        assert_eq!(recycler.take(Taker::Collector, 64, &counters), SourceRun::EMPTY);
        let helped = recycler.take(Taker::Helper, BAND_PAGES, &counters).count;
        assert_eq!(helped, RESERVE_PAGES - LAST_PAGES);
        assert_eq!(recycler.take(Taker::Helper, 64, &counters), SourceRun::EMPTY);
        assert_eq!(recycler.take(Taker::LastResort, 64, &counters).count, 64);
        assert_eq!(counters.pages_allocated.get(), 0);
    }

    #[test]
    fn what_is_left_of_a_hot_run_is_not_lost() {
        let (recycler, counters) = recycler(100);
        let mut hot = run(10, 3);
        recycler.emptied(13..20, &mut hot, &counters);
        assert_eq!(hot, run(13, 7));
        assert_eq!(recycler.take(Taker::Mutator, 8, &counters), run(10, 3));
        recycler.add(hot);
        assert_eq!(recycler.take_spare(64, 0), run(13, 7));
        assert_eq!(recycler.take_spare(64, 0).count, 0);
    }

    #[test]
    fn what_was_emptied_early_is_not_recycled_again() {
        let (recycler, counters) = recycler(100);
        recycler.emptied_early(12..16, &counters);
        assert_eq!(recycler.take(Taker::Helper, 2, &counters), run(12, 2));
        let mut hot = SourceRun::EMPTY;
        recycler.emptied(10..20, &mut hot, &counters);
        assert_eq!(hot, run(16, 4));
        assert_eq!(counters.pages_recycled.get(), 10);
        let mut left = vec![];
        while let taken @ SourceRun { count: 1.., .. } = recycler.take_spare(64, 0) {
            left.extend(taken.next.0..taken.next.0 + taken.count);
        }
        left.sort_unstable();
        assert_eq!(left, [10, 11, 14, 15]);
    }

    #[test]
    fn new_pages_come_last_and_are_counted() {
        let (recycler, counters) = recycler(101);
        assert_eq!(recycler.take(Taker::Mutator, 4, &counters), run(100, 1));
        assert_eq!(recycler.take(Taker::Mutator, 4, &counters), run(101, 4));
        assert_eq!(counters.pages_allocated.get(), 4);
    }
}
