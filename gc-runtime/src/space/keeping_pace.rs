//! Who is ahead while a cycle runs: a mutator that has used up its share of the memory waits; a
//! collector thread that has done more than its share of the work gives way, where there are more
//! threads than processors.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::model::ObjectModel;
use crate::raw::futex;
use crate::space::allocation::Cursor;
use crate::space::moving_space::MovingSpace;
use crate::space::pace::{Pace, Work};

/// A collector thread works for at least so long before it looks whether it may give way.
const STINT: Duration = Duration::from_millis(1);

/// It gives way for as long as it has worked, but no longer than this.
const LONGEST_NAP: Duration = Duration::from_millis(2);

/// Whether collector threads give way at the moment. Never in a pause.
#[derive(Debug, Default)]
pub(crate) struct GivingWay(AtomicBool);

impl GivingWay {
    pub(crate) fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn end(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a collector thread has worked since it last gave way.
#[derive(Debug)]
pub(crate) struct Stint(Instant);

impl Stint {
    pub(crate) fn begin() -> Self {
        Self(Instant::now())
    }
}

impl<M: ObjectModel> MovingSpace<M> {
    /// Whether `pages` more pages may be taken now, so that memory lasts until the collector is done.
    pub(crate) fn keeps_pace(&self, cursor: &Cursor, pages: u32) -> bool {
        let Some(pace) = cursor.pace() else { return true };
        cursor.top.saturating_add(pages) <= pace.end(self.done(pace))
    }

    /// By a collector thread, now and then: sleeps a little if there is memory enough for a cycle that
    /// takes twice as long. The scheduler then has a processor for a mutator that waits for one.
    pub(crate) fn give_way(&self, stint: &mut Stint) {
        if !self.giving_way.is_on() {
            return;
        }
        let worked = stint.0.elapsed();
        if worked < STINT {
            return;
        }
        let cursor = self.allocation.lock();
        let (pace, top) = (cursor.pace(), cursor.top);
        drop(cursor);
        if pace.is_some_and(|pace| pace.is_collector_ahead(top, self.done(pace))) {
            let began = Instant::now();
            futex::nap(worked.min(LONGEST_NAP));
            self.counters.given_way_ns.add_time(began.elapsed());
        }
        *stint = Stint::begin();
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
