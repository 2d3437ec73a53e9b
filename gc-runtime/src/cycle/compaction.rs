//! Flip, compact and finish.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::addr::{FromWord, PageIndex, ToWord};
use crate::cycle::Collector;
use crate::event::{Event, PauseKind, Phase};
use crate::forward::Plan;
use crate::forward::offset_table::Summary;
use crate::mark::barrier::BarrierMode;
use crate::model::ObjectModel;
use crate::options::Poison;
use crate::raw::give_back::Giving;
use crate::raw::words;
use crate::space::allocation::warm_pages;
use crate::space::moving_space::FaultSample;
use crate::stats::{CycleStats, ns};
use crate::transport::Compaction;

/// Pages that are not deposited before the last thread has left: a mutator that is about to bring
/// in a page of its own must not have to allocate one.
const LAST_PAGES: u32 = 64;

/// What free memory is filled with under zeal; not an address of any heap.
const POISON: u64 = 0xdead_dead_dead_dead;

impl<M: ObjectModel> Collector<M> {
    /// Moves everything that lives to where the summary says, beside the mutators.
    pub(crate) fn compact(&mut self, summary: Summary, cycle: &mut CycleStats) {
        let number = cycle.number;
        let release = &Arc::clone(&self.core).release;
        let _held = release.hold();
        self.warm_up();
        let cpu = AtomicU64::new(0);
        let began = cpu_time();
        let (flipped, _) = self.phase(number, Phase::Flip, || self.flip(summary, cycle));
        let Some((plan, resident)) = flipped else {
            self.skip_compaction(number);
            return;
        };
        release.note_use(number, plan.used);
        let space = &*self.core.space;
        let left_out = space.counters.left_out_ns.take();
        cycle.flip_pause_ns = cycle.flip_pause_ns.saturating_sub(left_out);
        let spent = ns(cpu_time().saturating_sub(began)).saturating_sub(left_out);
        cpu.fetch_add(spent, Ordering::Relaxed);

        let ((), compact_ns) = self.phase(number, Phase::Compact, || {
            let flips = self.core.flips.load(Ordering::Acquire);
            self.core.references.forward(&space.forwarding(), flips);
            self.core.fixed.forward(&space.forwarding());
            self.core.references.discovered.large_leaves.settle(|word| {
                let ToWord(word) = space.forwarding().forward(FromWord(word));
                word
            });
            if space.transport.compaction() == Compaction::Concurrent {
                let gives_way = self.gives_way(cycle);
                if gives_way {
                    space.rest();
                }
                let after_stint = |worked| {
                    self.keep_apart();
                    if gives_way {
                        space.give_way(worked);
                    }
                };
                rayon::broadcast(|_| {
                    let began = cpu_time();
                    space.compact_bands(Some(&after_stint));
                    cpu.fetch_add(ns(cpu_time().saturating_sub(began)), Ordering::Relaxed);
                });
                space.wait_for_all();
            }
            self.wait_for_roots();
        });
        cycle.compact_ns = compact_ns;
        self.policy.pace_leftovers(&mut space.allocation.lock(), cycle);

        let (deposited, deposit_ns) =
            self.phase(number, Phase::Deposit, || self.deposit(LAST_PAGES));
        cycle.deposit_ns = deposit_ns;

        let began_cpu = cpu_time();
        let ((), finish_ns) =
            self.phase(number, Phase::Finish, || self.finish(plan, resident, deposited));
        cycle.finish_ns = finish_ns;
        cpu.fetch_add(ns(cpu_time().saturating_sub(began_cpu)), Ordering::Relaxed);
        cycle.compaction_cpu_ns = cpu.into_inner();
        cycle.peak_resident_pages = space.peak_resident.swap(0, Ordering::Relaxed);
        cycle.faults_unrecorded = self.tell_faults();
    }

    /// Tells of the faults of this cycle, which handlers could not do themselves; how many were too
    /// many to be kept.
    fn tell_faults(&self) -> u64 {
        let (observers, samples) = (&self.core.observers, &self.core.space.fault_samples);
        let listening = observers.are_listening();
        let mut stats = observers.stats();
        let mut events = Vec::new();
        let lost = samples.drain(|FaultSample { began, took, thread }| {
            let event = Event::FaultServed { began, took, thread };
            stats.note(&event);
            if listening {
                events.push(event);
            }
        });
        drop(stats);
        events.iter().for_each(|event| observers.tell_listeners(event));
        lost
    }

    /// Fills the warm pool: before the program begins, and again where mutators have used it up because the
    /// heap has grown since the last cycle.
    pub(crate) fn warm_up(&self) {
        let space = &self.core.space;
        let cursor = space.allocation.lock();
        let start = cursor.top.max(cursor.resident);
        let end = cursor.top + warm_pages(cursor.target.max(cursor.top));
        drop(cursor);
        // Should a mutator get some of these pages meanwhile, they are zeros as before.
        if start < end && space.transport.warm(start..end, &space.counters) {
            let mut cursor = space.allocation.lock();
            cursor.resident = cursor.resident.max(end);
        }
    }

    /// The flip pause: in proportion to mutators and global roots, not to the heap.
    ///
    /// `None` if the kernel refused, or something is pinned that the summary did not know of; the heap is as it was then.
    fn flip(&self, summary: Summary, cycle: &mut CycleStats) -> Option<(Plan, u32)> {
        let core = &*self.core;
        let space = &*core.space;
        let geometry = space.geometry;
        let pause = self.pause(PauseKind::Flip);
        if core.fixed.pins.forbid_flip() {
            return None;
        }
        for mutator in pause.mutators().iter() {
            core.retire_buffers(mutator);
        }
        core.set_barrier(pause.mutators(), BarrierMode::Idle);
        let mut cursor = space.allocation.lock();
        let resident = cursor.resident.max(cursor.top);
        let plan = Plan {
            dense: summary.dense,
            compact: summary.compact,
            black: space.black(),
            used: cursor.top,
        };
        cycle.used_bytes_before = u64::from(plan.used) * geometry.page_bytes() as u64;
        let born = cursor.allocated_while_marking();
        cycle.born_bytes = u64::from(born) * geometry.page_bytes() as u64;
        cycle.black_bytes = u64::from(plan.used - plan.black) * geometry.page_bytes() as u64;
        space.plan.set(plan);
        space.compact_words.store(summary.words, Ordering::Relaxed);
        space.begin_bands(plan);
        space.resident_before.store(u64::from(resident), Ordering::Relaxed);
        if let Err(error) = space.transport.flip(plan, resident) {
            tracing::error!(%error, "the heap could not be set aside: this cycle moves nothing");
            return None;
        }
        space.clear_black();
        match space.transport.compaction() {
            Compaction::Concurrent => {
                cursor.resident = plan.post();
                space.gate.open();
            }
            Compaction::InPause => {
                space.compact_bands(None);
                cursor.resident = resident;
            }
        }
        cursor.top = plan.post();
        self.policy.pace_compaction(&mut cursor, born);
        drop(cursor);
        core.globals.forward(&space.forwarding());
        core.references.set_aside();
        core.fixed.set_aside();
        core.flips.fetch_add(1, Ordering::AcqRel);
        cycle.flip_pause_ns = pause.resume();
        // Who waits for memory may go on, but not before everybody may: it would only take the
        // processor from the pause.
        core.control.update(|_| ());
        Some((plan, resident))
    }

    /// Waits until every mutator has its new addresses; does so itself for those that are safe.
    fn wait_for_roots(&self) {
        let core = &*self.core;
        let flips = core.flips.load(Ordering::Acquire);
        let mutators = core.safepoints.mutators();
        core.safepoints.wait_each(&mutators, |mutator| {
            if mutator.flips_seen.load(Ordering::Acquire) == flips {
                return true;
            }
            mutator.while_held(|mutator| core.adopt_flip(mutator))
        });
    }

    /// Left-over pages become memory for new objects: what the next page faults of the mutators
    /// would otherwise have to allocate. About `keep` pages stay. The end of that memory, or zero.
    fn deposit(&self, keep: u32) -> u32 {
        let (space, release) = (&*self.core.space, &self.core.release);
        let lately = release.lately();
        let mut end = 0;
        while let Some(deposited) = space.deposit(keep, |cursor| cursor.kept(lately)) {
            end = deposited.end;
            release.note_free(deposited);
        }
        end
    }

    /// Faults end, and what is left of the old heap is given back.
    fn finish(&self, plan: Plan, resident_before: u32, deposited: u32) {
        let space = &*self.core.space;
        space.gate.close();
        let deposited = deposited.max(self.deposit(0));
        if let Err(error) = space.transport.close() {
            // Pages that are missing would fault for ever.
            let errno = error.raw_os_error().unwrap_or(0);
            crate::raw::fatal::fatal("the heap could not be unregistered", errno);
        }
        let mut cursor = space.allocation.lock();
        cursor.resident = space.transport.resident_after(
            cursor.top,
            cursor.resident.max(deposited),
            resident_before,
        );
        // What a smaller target has no use for goes back to the system.
        let release = &self.core.release;
        let kept = release.up_to_chunk(cursor.kept(u32::MAX));
        if cursor.resident > kept {
            let beyond = kept..cursor.resident;
            if let Ok(calls) = space.transport.give_up(std::slice::from_ref(&beyond), Giving::Drop)
            {
                space.counters.madvise_calls.add(calls);
                space.counters.pages_released.add(beyond.end - beyond.start);
                cursor.resident = kept;
            }
        }
        let top = cursor.top;
        // What lies beyond what was used lately goes when it has not been used for a while.
        release.note_free(top..cursor.resident);
        if self.core.zeal.poison == Poison::FreeMemory {
            for page in top..cursor.resident.min(space.geometry.pages) {
                words::fill(space.page_words(PageIndex(page)), POISON);
            }
        }
        drop(cursor);
        space.transport.release(&space.counters);
        space.note_stale(plan, top);
    }

    /// The cycle ends after marking: nothing to gain, or the kernel refused.
    pub(crate) fn skip_compaction(&self, number: u64) {
        let space = &*self.core.space;
        let mut plan = space.plan.get();
        let pause = self.pause(PauseKind::Skip);
        for mutator in pause.mutators().iter() {
            // What is born from here on must not be noted for a cycle that has ended.
            self.core.retire_buffers(mutator);
        }
        self.core.set_barrier(pause.mutators(), BarrierMode::Idle);
        self.core.references.discovered.large_leaves.settle(|word| word);
        plan.black = space.black();
        plan.used = space.allocation.lock().top;
        space.clear_black();
        pause.resume();
        self.core.release.note_use(number, plan.used);
        space.note_stale(plan, plan.used);
    }
}

/// Processor time of the calling thread.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}
