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
mod policy;
mod apart;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use apart::Apart;
pub(crate) use policy::Policy;

use crate::core::{ControlState, HeapCore};
use crate::event::{CycleReason, Event, PauseKind, Phase, ReleaseReason};
use crate::model::ObjectModel;
use crate::options::Verify;
use crate::space::moving_space::{Naming, Tables};
use crate::stats::{CycleStats, ns};
use crate::verify::{Check, CheckResult};

/// Runs cycles when they are asked for, on one of the collector threads: the others join it for
/// marking, summary and compaction.
#[derive(Debug)]
pub(crate) struct Collector<M> {
    core: Arc<HeapCore<M>>,
    policy: Policy,
    apart: Apart,
}

enum Job {
    Cycle(u64, CycleReason),
    /// Gives back everything that is free, and answers all who have asked by then.
    Trim(u64),
    /// Gives back side tables of memory that was given back.
    Shed,
    Check(Check),
    Shutdown,
}

impl<M: ObjectModel> Collector<M> {
    pub(crate) fn new(core: Arc<HeapCore<M>>, policy: Policy) -> Self {
        Self { core, policy, apart: Apart::default() }
    }

    /// Runs until the heap is dropped.
    pub(crate) fn run(mut self) {
        loop {
            match self.next_job() {
                Job::Shutdown => return,
                Job::Cycle(number, reason) => {
                    // A panic can only come from the object model, or be a bug here.
                    let cycle = catch_unwind(AssertUnwindSafe(|| self.cycle(number, reason)));
                    if cycle.is_err() {
                        self.core.break_heap();
                    }
                    self.core.control.update(|state| state.finished = number);
                }
                Job::Trim(asked) => {
                    let pages = self.trim();
                    self.core
                        .control
                        .update(|state| (state.trimmed, state.trimmed_pages) = (asked, pages));
                }
                Job::Shed => self.core.space.shed_tables(Tables::Unused),
                Job::Check(check) => {
                    let result = catch_unwind(AssertUnwindSafe(|| self.check(check)));
                    let result = result.unwrap_or_else(|_| {
                        self.core.break_heap();
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
            state.shutdown
                || state.requested > state.begun
                || !state.checks_requested.is_empty()
                || state.trims_asked > state.trimmed
                || state.shed_asked
        };
        let mut state = self.core.control.wait_until(work);
        if state.shutdown {
            Job::Shutdown
        } else if !state.checks_requested.is_empty() {
            Job::Check(state.checks_requested.remove(0))
        } else if state.trims_asked > state.trimmed && state.requested == state.begun {
            Job::Trim(state.trims_asked)
        } else if state.requested == state.begun {
            state.shed_asked = false;
            Job::Shed
        } else {
            state.begun += 1;
            Job::Cycle(state.begun, std::mem::take(&mut state.reason))
        }
    }

    /// Gives back all that is free, side tables too; the heap's pages among it.
    fn trim(&self) -> u64 {
        let core = &*self.core;
        core.space.shed_tables(Tables::All);
        let began = Instant::now();
        let given = core.release.drain(&core.space, ReleaseReason::Requested);
        if let Some(event) = given.event(ReleaseReason::Requested, began) {
            core.observers.tell(&event);
        }
        given.pages
    }

    fn check(&self, check: Check) -> CheckResult {
        let pause = self.pause(PauseKind::Check);
        let result = self.core.check(pause.mutators(), check);
        pause.resume();
        result
    }

    fn cycle(&mut self, number: u64, reason: CycleReason) {
        if self.core.broken.load(Ordering::Acquire) {
            return;
        }
        let observers = &self.core.observers;
        let listening = observers.are_listening();
        self.core.space.fault_samples.set_naming(match listening {
            true => Naming::Named,
            false => Naming::Nameless,
        });
        observers.tell(&Event::CycleBegan { cycle: number, reason });
        let began = Instant::now();
        let mut cycle = CycleStats { number, reason, ..CycleStats::default() };
        self.mark(&mut cycle);
        if self.core.broken.load(Ordering::Acquire) {
            // A mutator that helped has panicked in the object model: not all may have been found.
            return;
        }
        let marked = began.elapsed();
        match self.summarise(&mut cycle) {
            Some(summary) => self.compact(summary, &mut cycle),
            None => self.skip_compaction(number),
        }
        self.set_pace(&mut cycle, marked, began.elapsed());
        let core = &self.core;
        core.observers.stats().take_counts(&mut cycle, &core.space.counters);
        core.observers.tell(&Event::CycleEnded { stats: cycle });
        if core.zeal.verify == Verify::EachCycle
            && let CheckResult::Verified(Err(error)) = self.check(Check::Verify)
        {
            // Zeal is for finding this at once, with everything still as it is.
            tracing::error!(%error, cycle = number, "the heap is not sound");
            crate::raw::fatal::fatal(&format!("cycle {number}: {error}"), 0);
        }
    }

    /// Runs a phase and tells when it begins and ends; how long it took, in nanoseconds.
    pub(crate) fn phase<R>(&self, cycle: u64, phase: Phase, work: impl FnOnce() -> R) -> (R, u64) {
        self.keep_apart();
        let observers = &self.core.observers;
        observers.tell(&Event::PhaseBegan { cycle, phase });
        let began = Instant::now();
        let result = work();
        let took = began.elapsed();
        observers.tell(&Event::PhaseEnded { cycle, phase, began, took });
        (result, ns(took))
    }
}
