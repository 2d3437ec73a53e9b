//! Emptied from-space pages become staging pages again.
//!
//! Three supplies, each a range of from-space page numbers that is handed out from its low end:
//!
//! * the *pool*: pages that were free when the heap was set aside, so that the very first fault
//!   finds one;
//! * *recycled* pages: everything below the lowest page that some unbuilt page still needs. They
//!   are handed out in address order, so that source runs stay as long as destination runs;
//! * *new* pages beyond the end of memory, which the kernel allocates when they are written to. In
//!   a steady state nobody gets here.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::compact::page_state::SourceIndex;
use crate::forward::Plan;
use crate::stats::Counters;
use crate::transport::{SourceRun, Taker};

/// Pages that stay in reserve for faults while collectors can still recycle.
const RESERVE_PAGES: u32 = 32;

/// A range that shrinks from below and grows above, in one atomic word.
#[derive(Debug, Default)]
struct Supply(AtomicU64);

impl Supply {
    fn pack(next: u32, end: u32) -> u64 {
        u64::from(next) | u64::from(end) << 32
    }

    #[expect(clippy::cast_possible_truncation, reason = "two halves of a word")]
    fn unpack(word: u64) -> (u32, u32) {
        (word as u32, (word >> 32) as u32)
    }

    fn set(&self, next: u32, end: u32) {
        self.0.store(Self::pack(next, end.max(next)), Ordering::Release);
    }

    /// Takes up to `want` pages, leaving `keep`.
    fn take(&self, want: u32, keep: u32) -> SourceRun {
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            let (next, end) = Self::unpack(word);
            let count = want.min((end - next).saturating_sub(keep));
            if count == 0 {
                return SourceRun::EMPTY;
            }
            match self.0.compare_exchange_weak(
                word,
                Self::pack(next + count, end),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return SourceRun::new(SourceIndex(next), count),
                Err(other) => word = other,
            }
        }
    }

    /// Raises the end; never lowers it.
    fn extend(&self, bound: u32) {
        let raise = |word| {
            let (next, end) = Self::unpack(word);
            (bound > end).then(|| Self::pack(next, bound))
        };
        // An end that is higher already is as good.
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, raise);
    }
}

/// The supplies of staging pages of one heap.
#[derive(Debug, Default)]
pub(crate) struct Recycler {
    pool: Supply,
    recycled: Supply,
    new: AtomicU32,
}

impl Recycler {
    /// In the pause: `resident` is the end of memory, everything from `plan.used` on is free.
    pub(crate) fn begin(&self, plan: Plan, resident: u32) {
        let end = resident.max(plan.used);
        self.pool.set(plan.used, end);
        self.recycled.set(plan.dense, plan.dense);
        self.new.store(end, Ordering::Release);
    }

    /// From-space pages of the compacted part below `bound` are free from now on.
    pub(crate) fn emptied(&self, bound: u32) {
        self.recycled.extend(bound);
    }

    /// Takes staging pages: `want` or fewer, at least one.
    pub(crate) fn take(&self, taker: Taker, want: u32, counters: &Counters) -> SourceRun {
        let run = match taker {
            Taker::Collector => {
                let run = self.recycled.take(want, 0);
                if run.count > 0 {
                    counters.pages_recycled.add(run.count);
                    return run;
                }
                self.pool.take(want, RESERVE_PAGES)
            }
            Taker::Mutator => {
                let run = self.pool.take(want, 0);
                if run.count > 0 {
                    return run;
                }
                let run = self.recycled.take(want, 0);
                counters.pages_recycled.add(run.count);
                run
            }
        };
        if run.count > 0 {
            return run;
        }
        let run = self.pool.take(want, 0);
        if run.count > 0 {
            return run;
        }
        counters.pages_allocated.add(want);
        let first = self.new.fetch_add(want, Ordering::AcqRel);
        SourceRun::new(SourceIndex(first), want)
    }

    /// Takes from what is left when every page is in place.
    pub(crate) fn take_leftover(&self, want: u32) -> SourceRun {
        let run = self.recycled.take(want, 0);
        if run.count > 0 { run } else { self.pool.take(want, 0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn plan() -> Plan {
        Plan { dense: 10, compact: 40, black: 80, used: 100 }
    }

    fn pages(run: SourceRun) -> impl Iterator<Item = u32> {
        run.next.0..run.next.0 + run.count
    }

    #[test]
    fn the_first_fault_finds_a_page_in_the_pool() {
        let (recycler, counters) = (Recycler::default(), Counters::default());
        recycler.begin(plan(), 150);
        let run = recycler.take(Taker::Mutator, 1, &counters);
        assert_eq!(run, SourceRun::new(SourceIndex(100), 1));
        assert_eq!(counters.pages_allocated.get(), 0);
    }

    #[test]
    fn collectors_leave_the_reserve_to_faults() {
        let (recycler, counters) = (Recycler::default(), Counters::default());
        recycler.begin(plan(), 140);
        assert_eq!(recycler.take(Taker::Collector, 64, &counters).count, 140 - 100 - RESERVE_PAGES);
        recycler.emptied(30);
        assert_eq!(recycler.take(Taker::Collector, 64, &counters).next, SourceIndex(10));
        recycler.emptied(20);
        assert_eq!(recycler.take(Taker::Mutator, 1, &counters).next, SourceIndex(108));
    }

    #[test]
    fn no_page_is_handed_out_twice_to_threads() {
        let (recycler, counters) = (Recycler::default(), Counters::default());
        recycler.begin(plan(), 150);
        let taken: Vec<u32> = std::thread::scope(|scope| {
            let takers: Vec<_> = [Taker::Collector, Taker::Mutator, Taker::Collector]
                .into_iter()
                .map(|taker| {
                    let (recycler, counters) = (&recycler, &counters);
                    scope.spawn(move || {
                        let mut mine = Vec::new();
                        for bound in 10..80 {
                            recycler.emptied(bound);
                            mine.extend(pages(recycler.take(taker, 3, counters)));
                        }
                        mine
                    })
                })
                .collect();
            takers.into_iter().flat_map(|taker| taker.join().unwrap()).collect()
        });
        let distinct: HashSet<u32> = taken.iter().copied().collect();
        assert_eq!(distinct.len(), taken.len());
        let kept = counters.pages_allocated.get();
        let beyond = taken.iter().filter(|&&page| page >= 150).count() as u64;
        assert_eq!(beyond, kept);
        assert!(taken.iter().all(|&page| (10..79).contains(&page) || page >= 100));
    }

    #[test]
    fn leftovers_end() {
        let (recycler, counters) = (Recycler::default(), Counters::default());
        recycler.begin(plan(), 102);
        recycler.emptied(12);
        assert_eq!(recycler.take_leftover(64).count, 2);
        assert_eq!(recycler.take_leftover(64).count, 2);
        assert_eq!(recycler.take_leftover(64).count, 0);
        assert_eq!(counters.pages_allocated.get(), 0);
    }
}
