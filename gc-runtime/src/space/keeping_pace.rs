//! Who is ahead while a cycle runs: a mutator that has used up its share of the memory waits; a
//! collector thread that has done more than its share of the work gives way, where there are more
//! threads than processors.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::model::ObjectModel;
use crate::raw::futex;
use crate::space::allocation::Cursor;
use crate::space::moving_space::MovingSpace;
use crate::space::pace::{AT_ONCE, Pace, Work};

/// A collector thread works for at least so long before it looks what mutators need.
const STINT: Duration = Duration::from_millis(1);

/// So much of what it has worked counts: it may not have had the processor all the time.
const LONGEST_STINT: Duration = Duration::from_millis(2);

/// It gives way when it is so many times as far as allocation.
const AHEAD: f64 = 2.0;

/// For so many times as long as it has worked, at most.
const LONGEST: f64 = 3.0;

/// For so long a compaction may wait before it begins: right after the flip mutators put in place what
/// they work with.
const REST: Duration = Duration::from_millis(40);

/// It waits no longer when they have taken so much of the memory for it: soon they would have to wait.
const RESTED: f64 = AT_ONCE * 3.0 / 4.0;

/// What a collector thread does for mutators after each stint, which has lasted so long; nothing in a
/// pause.
pub(crate) type AfterStint<'a> = Option<&'a (dyn Fn(Duration) + Sync)>;

/// What a collector thread works at a stretch.
pub(crate) struct Stint<'a> {
    began: Instant,
    after: AfterStint<'a>,
}

impl<'a> Stint<'a> {
    pub(crate) fn begin(after: AfterStint<'a>) -> Self {
        Self { began: Instant::now(), after }
    }

    /// By a collector thread, now and then: ends the stint if it is long enough, and begins another.
    pub(crate) fn look_up(&mut self) {
        let Some(after) = self.after else { return };
        let worked = self.began.elapsed();
        if worked >= STINT {
            after(worked);
            self.began = Instant::now();
        }
    }
}

/// How long a collector thread may sleep that has worked for `worked`.
fn nap_after(worked: Duration, pace: Pace, top: u32, done: u32) -> Duration {
    let lead = pace.lead(top, done);
    if lead < AHEAD {
        return Duration::ZERO;
    }
    worked.min(LONGEST_STINT).mul_f64((lead - 1.0).min(LONGEST))
}

impl<M: ObjectModel> MovingSpace<M> {
    /// Whether `pages` more pages may be taken now, so that memory lasts until the collector is done.
    pub(crate) fn keeps_pace(&self, cursor: &Cursor, pages: u32) -> bool {
        let Some(pace) = cursor.pace() else { return true };
        cursor.top.saturating_add(pages) <= pace.end(self.done(pace))
    }

    /// By a collector thread that has worked for `worked`: sleeps a little if there is memory enough for a
    /// phase that takes longer. The scheduler then has a processor for a mutator that waits for one.
    pub(crate) fn give_way(&self, worked: Duration) {
        let cursor = self.allocation.lock();
        let (pace, top) = (cursor.pace(), cursor.top);
        drop(cursor);
        let nap = pace.map_or(Duration::ZERO, |pace| nap_after(worked, pace, top, self.done(pace)));
        if !nap.is_zero() {
            let began = Instant::now();
            futex::nap(nap);
            self.counters.given_way_ns.add_time(began.elapsed());
        }
    }

    /// By the collector, before it puts the first page in place: sleeps a little while memory lasts, so that
    /// mutators have the processors for the pages that they need at once.
    pub(crate) fn rest(&self) {
        let began = Instant::now();
        let taken = || {
            let cursor = self.allocation.lock();
            cursor.pace().map_or(1.0, |pace| pace.taken(cursor.top))
        };
        while began.elapsed() < REST && taken() < RESTED {
            futex::nap(STINT);
        }
        self.counters.given_way_ns.add_time(began.elapsed());
    }

    /// How much of the phase's work is done.
    fn done(&self, pace: Pace) -> u32 {
        match pace.work() {
            Work::Words(_) => self.words_marked.load(Ordering::Relaxed),
            Work::Pages(_) => {
                // What helpers have taken is theirs, also when the collector has got there.
                let collector = self.next_band.load(Ordering::Relaxed);
                let own = collector.min(self.help_from.load(Ordering::Relaxed));
                let helped = u32::try_from(self.counters.pages_helped.get()).unwrap_or(u32::MAX);
                own.saturating_add(helped)
            }
            Work::Time(..) | Work::Leftovers(..) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nap_grows_with_the_lead_and_there_is_none_while_objects_are_marked() {
        let worked = Duration::from_millis(1);
        let nap = |work, top| nap_after(worked, Pace::new(work, 0, 1600), top, 500);
        let compact = Work::Pages(1000);
        assert_eq!(
            [500, 400, 200, 0].map(|top| nap(compact, top)),
            [0, 1, 3, 3].map(|n| n * worked)
        );
        assert_eq!(nap(Work::Words(1000), 0), Duration::ZERO);
        let late = nap_after(Duration::from_secs(1), Pace::new(compact, 0, 1600), 400, 500);
        assert_eq!(late, LONGEST_STINT);
    }
}
