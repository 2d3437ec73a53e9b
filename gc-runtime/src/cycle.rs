//! One collection: the phases in order, and the thread that drives them.
//!
//! | phase | who runs | what |
//! |---|---|---|
//! | mark | beside mutators | ragged handshakes, then the trace |
//! | remark | pause | what is left in the barrier logs |
//! | summary | beside mutators | live words to offsets |
//! | flip | pause | the heap is set aside; global roots are rewritten |
//! | compact | beside mutators | pages are built and installed, in order and by fault |
//! | finish | beside mutators | left-over pages become memory for new objects; clean up |

mod marking;
mod pause;
mod compaction;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rayon::ThreadPool;

use crate::core::{ControlState, HeapCore};
use crate::model::ObjectModel;
use crate::options::Verify;
use crate::stats::CycleStats;
use crate::trigger::{Pace, trigger};
use crate::verify::{Check, CheckResult};

/// The thread that runs cycles when they are asked for.
#[derive(Debug)]
pub(crate) struct Collector<M> {
    core: Arc<HeapCore<M>>,
    pool: ThreadPool,
    last_end: Instant,
    last_used: u32,
}

enum Job {
    Cycle(u64),
    Check(Check),
    Shutdown,
}

impl<M: ObjectModel> Collector<M> {
    pub(crate) fn new(core: Arc<HeapCore<M>>, pool: ThreadPool) -> Self {
        Self { core, pool, last_end: Instant::now(), last_used: 0 }
    }

    /// Runs until the heap is dropped.
    pub(crate) fn run(mut self) {
        loop {
            match self.next_job() {
                Job::Shutdown => return,
                Job::Cycle(number) => {
                    // A panic can only come from the object model, or be a bug here.
                    let cycle = catch_unwind(AssertUnwindSafe(|| self.cycle(number)));
                    if cycle.is_err() {
                        self.break_heap();
                    }
                    self.core.control.update(|state| state.finished = number);
                }
                Job::Check(check) => {
                    let result = catch_unwind(AssertUnwindSafe(|| self.check(check)));
                    let result = result.unwrap_or_else(|_| {
                        self.break_heap();
                        CheckResult::Verified(Err(crate::VerifyError::Unusable))
                    });
                    self.core.control.update(|state| {
                        state.checks_begun += 1;
                        let number = state.checks_begun;
                        state.check_results.push((number, result));
                    });
                }
            }
        }
    }

    fn next_job(&self) -> Job {
        let work = |state: &ControlState| {
            state.shutdown || state.requested > state.begun || !state.checks_requested.is_empty()
        };
        let mut state = self.core.control.wait_until(work);
        if state.shutdown {
            Job::Shutdown
        } else if !state.checks_requested.is_empty() {
            Job::Check(state.checks_requested.remove(0))
        } else {
            state.begun += 1;
            Job::Cycle(state.begun)
        }
    }

    /// A collector thread panicked. Nobody may use the heap any more, but nobody hangs either.
    fn break_heap(&self) {
        if self.core.space.gate.enter().is_some() {
            crate::raw::fatal::fatal("a collector thread panicked while pages were missing", 0);
        }
        tracing::error!("a collector thread panicked: the heap is broken");
        self.core.broken.store(true, Ordering::Release);
    }

    fn check(&self, check: Check) -> CheckResult {
        let pause = self.pause();
        self.core.check(pause.mutators(), check)
    }

    fn cycle(&mut self, number: u64) {
        if self.core.broken.load(Ordering::Acquire) {
            return;
        }
        let began = Instant::now();
        let mut cycle = CycleStats { number, ..CycleStats::default() };
        self.mark(&mut cycle);
        match self.summarise(&mut cycle) {
            Some(summary) => self.compact(summary, &mut cycle),
            None => self.skip_compaction(),
        }
        self.set_trigger(began.elapsed());
        self.log(&cycle);
        let core = &self.core;
        core.stats
            .lock()
            .expect("no panic while the statistics are held")
            .finish_cycle(cycle, &core.space.counters);
        if core.zeal.verify == Verify::EachCycle
            && let CheckResult::Verified(Err(error)) = self.check(Check::Verify)
        {
            // Zeal is for finding this at once, with everything still as it is.
            tracing::error!(%error, cycle = number, "the heap is not sound");
            crate::raw::fatal::fatal(&format!("cycle {number}: {error}"), 0);
        }
    }

    fn set_trigger(&mut self, cycle: Duration) {
        let mut cursor = self.core.space.allocation.lock();
        let now = Instant::now();
        let pace = Pace {
            used: cursor.top,
            limit: cursor.limit,
            allocated: cursor.allocated_since.wrapping_sub(self.last_used),
            interval: now - self.last_end,
            cycle,
        };
        cursor.trigger = trigger(pace);
        self.last_used = cursor.allocated_since;
        self.last_end = now;
    }

    fn log(&self, cycle: &CycleStats) {
        tracing::info!(
            target: "gc",
            cycle = cycle.number,
            transport = %self.core.space.transport.kind(),
            live_kib = cycle.live_bytes >> 10,
            used_kib = cycle.used_bytes_before >> 10,
            mark_us = cycle.mark_ns / 1000,
            remark_pause_us = cycle.remark_pause_ns / 1000,
            flip_pause_us = cycle.flip_pause_ns / 1000,
            compact_us = cycle.compact_ns / 1000,
            finish_us = cycle.finish_ns / 1000,
            "cycle"
        );
    }
}

/// A duration in whole nanoseconds.
pub(crate) fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
