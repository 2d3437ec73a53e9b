//! Mark, remark and summary.

use std::sync::atomic::Ordering;

use crate::addr::{PageIndex, WORD_BYTES};
use crate::cycle::Collector;
use crate::event::{CycleReason, PauseKind, Phase};
use crate::forward::islands::Packing;
use crate::forward::offset_table::Summary;
use crate::mark::barrier::BarrierMode;
use crate::mark::trace;
use crate::model::ObjectModel;
use crate::options::Islands;
use crate::safepoint::{Mutators, Request, Safepoints};
use crate::space::allocation::Cursor;
use crate::space::keeping_pace::AfterStint;
use crate::stats::CycleStats;

/// Rounds of draining the mutators' logs beside them before the pause drains the rest.
const DRAIN_ROUNDS: u32 = 4;

/// What is born while the first trace runs is marked if it is this part of what was there before, or
/// more, and so many pages.
const YOUNG_SHARE: u32 = 32;
const LEAST_YOUNG_PAGES: u32 = 64;

impl<M: ObjectModel> Collector<M> {
    /// Marks everything that is reachable, beside the mutators, and ends with the remark pause.
    pub(crate) fn mark(&self, cycle: &mut CycleStats) {
        let core = &*self.core;
        cycle.mutators_running =
            core.safepoints.mutators().iter().map(|mutator| u64::from(mutator.is_running())).sum();
        let ((), mark_ns) = self.phase(cycle.number, Phase::Mark, || {
            self.start_marking();
            let after_stint = |_| self.keep_apart();
            self.trace(Some(&after_stint));
            self.mark_young(Some(&after_stint));
            for _ in 0..DRAIN_ROUNDS {
                self.handshake(Request::FLUSH_LOG);
                if core.logged.is_empty() {
                    break;
                }
                self.trace(Some(&after_stint));
            }
        });
        cycle.mark_ns = mark_ns;
        (cycle.remark_pause_ns, _) = self.phase(cycle.number, Phase::Remark, || self.remark());
        self.core.references.discovered.young.forget();
        self.process_references();
    }

    /// The pause that ends marking; its length.
    fn remark(&self) -> u64 {
        let core = &*self.core;
        let pause = self.pause(PauseKind::Remark);
        for mutator in pause.mutators().iter() {
            mutator.log.flush(&core.logged);
        }
        self.trace(None);
        core.set_barrier(pause.mutators(), BarrierMode::Watch);
        core.references.begin_clearing();
        pause.resume()
    }

    fn trace(&self, after_stint: AfterStint<'_>) {
        let core = &*self.core;
        trace(&core.space, &core.references.discovered, &core.logged, after_stint);
    }

    /// Clears weak references to what is dead, and brings back what has a finaliser.
    ///
    /// What is brought back was reachable by nobody, and weak references to it are cleared by
    /// then: no mutator can change it while it is traced, so that no barrier is needed.
    fn process_references(&self) {
        let (space, references) = (&*self.core.space, &self.core.references);
        references.clear(space);
        let dead = references.finalisers.take_dead(|value| space.is_live(value));
        if !dead.is_empty() {
            self.core.logged.push(dead.iter().map(|entry| entry.address).collect());
            self.trace(None);
            // Weak slots of what has been brought back.
            references.clear_discovered(space);
            references.discovered.ephemerons.clear();
            references.finalisers.enqueue(dead);
        }
        // What has been brought back is the same object as before.
        references.identities.forget_dead(|value| space.is_live(value));
    }

    /// Marking begins with what is reachable now.
    fn start_marking(&self) {
        let core = &*self.core;
        core.globals.clear_dropped();
        core.space.clear_tables();
        core.space.populate_tables();
        let mut mutators = core.safepoints.mutators();
        mutators.retain(|mutator| !mutator.is_dead());
        // Whoever attaches from now on has no roots, as if they had been scanned; nobody can while the
        // list is held.
        core.barrier_mode.store(BarrierMode::LogOld as u32, Ordering::Release);
        self.take_snapshot(&mutators, |cursor| {
            core.space.words_marked.store(0, Ordering::Relaxed);
            self.policy.pace_marking(cursor, core.space.geometry);
        });
    }

    /// What was born while the first trace ran is marked like everything else, by what is reachable
    /// now: it would all have to be kept and moved, dead for the most part. Little is born meanwhile.
    fn mark_young(&self, after_stint: AfterStint<'_>) {
        let core = &*self.core;
        let space = &*core.space;
        let born = space.black();
        let top = space.allocation.lock().top;
        if top - born < (born / YOUNG_SHARE).max(LEAST_YOUNG_PAGES) {
            return;
        }
        space.populate_tables();
        let mutators = core.safepoints.mutators();
        self.take_snapshot(&mutators, |_| ());
        drop(mutators);
        // Of all that was born there; marking notes what lives.
        space.straddles.clear(born..space.black());
        core.references.discovered.young.hand_to(&core.logged);
        self.trace(after_stint);
    }

    /// Two ragged handshakes: first everybody logs, then everybody's roots are scanned. What is born
    /// from then on needs no marking. `begin` is called before the first of that can be.
    ///
    /// The second cannot begin before the first has ended: a mutator that does not log yet could
    /// take a reference out of an unscanned place and put it where nobody looks any more.
    fn take_snapshot(&self, mutators: &Mutators<'_>, begin: impl FnOnce(&mut Cursor)) {
        let core = &*self.core;
        let act = |request: Request| move |mutator: &_| core.act(mutator, request);
        Safepoints::ask_all(mutators, Request::START_LOGGING);
        core.safepoints.wait_for(mutators, Request::START_LOGGING, act(Request::START_LOGGING));

        // Before anybody's roots are scanned: what is pinned from here on is logged, and who takes an
        // object out of a pin has it in a root when that is scanned.
        core.logged.push(core.fixed.pins.roots());
        let mut cursor = core.space.allocation.lock();
        begin(&mut cursor);
        // Under the cursor's lock: a mutator that takes pages from here on has been asked to scan,
        // and scans before it takes them.
        core.space.set_black(PageIndex(cursor.top));
        Safepoints::ask_all(mutators, Request::SCAN_ROOTS);
        drop(cursor);
        core.logged.push(core.globals.collect());
        core.logged.push(core.references.finalisers.roots());
        core.safepoints.wait_for(mutators, Request::SCAN_ROOTS, act(Request::SCAN_ROOTS));
    }

    /// Has every mutator do something, one by one, beside their running.
    fn handshake(&self, request: Request) {
        let core = &*self.core;
        let mutators = core.safepoints.mutators();
        Safepoints::ask_all(&mutators, request);
        core.safepoints.wait_for(&mutators, request, |mutator| core.act(mutator, request));
    }

    /// Turns live words into offsets; `None` if nothing would move.
    pub(crate) fn summarise(&self, cycle: &mut CycleStats) -> Option<Summary> {
        let space = &self.core.space;
        let black = space.black();
        let packing = match cycle.reason {
            CycleReason::Emergency => Packing::Tight,
            _ if self.core.islands == Islands::Off => Packing::Tight,
            _ if cycle.mutators_running > 0 => Packing::LongIslands,
            _ => Packing::Islands,
        };
        self.policy.pace_summary(&mut space.allocation.lock(), cycle);
        let fixed = self.core.fixed.plan(space);
        let may_move = fixed.is_some();
        let fixed = fixed.unwrap_or_default();
        let (summary, summary_ns) = self.phase(cycle.number, Phase::Summary, || {
            let (live, straddles) = (&space.live, &space.straddles);
            space.offsets.summarise(space.geometry, live, straddles, &fixed, black, packing)
        });
        cycle.live_bytes = summary.live_words * WORD_BYTES as u64;
        cycle.summary_ns = summary_ns;
        cycle.islands = u64::from(summary.islands.count);
        cycle.island_padding_bytes = summary.islands.padding_words * WORD_BYTES as u64;
        cycle.island_threshold_percent = packing.threshold_percent();
        (may_move && summary.compact < black).then_some(summary)
    }
}
