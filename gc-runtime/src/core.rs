//! What a heap is made of, and what its mutators and its collector do to each other.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::error::OomCause;
use crate::event::{CycleReason, Event, ReleaseReason};
use crate::fixed::FixedObjects;
use crate::layout::Content;
use crate::mark;
use crate::mark::barrier::{BarrierMode, LoggedReferences};
use crate::model::ObjectModel;
use crate::observe::Observers;
use crate::options::{Islands, Zeal};
use crate::references::References;
use crate::release::{Drainer, Release};
use crate::roots::GlobalRoots;
use crate::safepoint::{MutatorCore, Mutators, Request, Safepoints};
use crate::space::moving_space::MovingSpace;
use crate::verify::{Check, CheckResult};

/// The shared state of one heap.
#[derive(Debug)]
pub(crate) struct HeapCore<M> {
    pub(crate) space: Arc<MovingSpace<M>>,
    pub(crate) safepoints: Safepoints,
    pub(crate) globals: Arc<GlobalRoots>,
    pub(crate) logged: LoggedReferences,
    pub(crate) references: References,
    pub(crate) fixed: FixedObjects,
    pub(crate) release: Release,
    /// What mutators that attach now have to log ([`BarrierMode`]).
    pub(crate) barrier_mode: AtomicU32,
    /// How often the heap was set aside; a mutator's roots are as of the number it has seen.
    pub(crate) flips: AtomicU64,
    pub(crate) control: Control,
    pub(crate) observers: Observers,
    pub(crate) islands: Islands,
    pub(crate) zeal: Zeal,
    pub(crate) broken: AtomicBool,
    pub(crate) owner: u32,
}

/// Which cycles were asked for, begun and finished.
#[derive(Debug, Default)]
pub(crate) struct Control {
    state: Mutex<ControlState>,
    changed: Condvar,
}

/// See [`Control`].
#[derive(Debug, Default)]
pub(crate) struct ControlState {
    pub(crate) requested: u64,
    /// The strongest reason for the next cycle to begin.
    pub(crate) reason: CycleReason,
    pub(crate) begun: u64,
    pub(crate) finished: u64,
    pub(crate) checks_requested: Vec<Check>,
    pub(crate) checks_begun: u64,
    pub(crate) checks_asked: u64,
    pub(crate) check_results: Vec<(u64, CheckResult)>,
    pub(crate) trims_asked: u64,
    /// All trims up to this one are done; the last of them gave back so many pages.
    pub(crate) trimmed: u64,
    pub(crate) trimmed_pages: u64,
    pub(crate) shed_asked: bool,
    pub(crate) shutdown: bool,
}

impl Control {
    pub(crate) fn lock(&self) -> MutexGuard<'_, ControlState> {
        self.state.lock().expect("no panic while the control state is held")
    }

    /// Asks for a cycle that begins after this call; its number.
    pub(crate) fn request_cycle(&self, reason: CycleReason) -> u64 {
        let mut state = self.lock();
        state.requested = state.requested.max(state.begun + 1);
        state.reason = state.reason.max(reason);
        self.changed.notify_all();
        state.requested
    }

    /// Asks for a cycle if none is running or asked for; the number of the next to finish.
    pub(crate) fn suggest_cycle(&self, reason: CycleReason) -> u64 {
        let mut state = self.lock();
        if state.finished == state.requested {
            state.requested = state.begun + 1;
            state.reason = state.reason.max(reason);
            self.changed.notify_all();
        }
        state.finished + 1
    }

    /// Waits until `done` is true of the state.
    pub(crate) fn wait_until(
        &self,
        done: impl Fn(&ControlState) -> bool,
    ) -> MutexGuard<'_, ControlState> {
        self.changed
            .wait_while(self.lock(), |state| !done(state))
            .expect("no panic while the control state is held")
    }

    /// Waits until `done` is true of the state, but no longer than `limit`; whether it is.
    fn wait_until_or(&self, limit: Duration, done: impl Fn(&ControlState) -> bool) -> bool {
        let (state, _) = self
            .changed
            .wait_timeout_while(self.lock(), limit, |state| !done(state))
            .expect("no panic while the control state is held");
        done(&state)
    }

    /// Changes the state and tells everybody.
    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut ControlState) -> R) -> R {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }
}

impl<M: ObjectModel> Drainer for HeapCore<M> {
    fn drain(&self, reason: ReleaseReason) {
        if self.broken.load(Ordering::Acquire) {
            return;
        }
        let began = Instant::now();
        let given = self.release.drain(&self.space, reason);
        if let Some(event) = given.event(reason, began) {
            self.observers.tell(&event);
            self.control.update(|state| state.shed_asked = true);
        }
        if reason == ReleaseReason::Pressure && self.has_garbage() {
            self.control.suggest_cycle(CycleReason::Pressure);
        }
    }

    fn release(&self) -> &Release {
        &self.release
    }
}

/// A mutator that is held back for so long at a time has stalled.
const LONG_WAIT: Duration = Duration::from_millis(1);

/// How long a mutator that would help and cannot waits before it looks again.
const HELP_WAIT: Duration = Duration::from_micros(50);

/// Breaks the heap unless it is forgotten.
struct BreakOnPanic<'a, M: ObjectModel>(&'a HeapCore<M>);

impl<M: ObjectModel> Drop for BreakOnPanic<'_, M> {
    fn drop(&mut self) {
        self.0.break_heap();
    }
}

impl<M: ObjectModel> HeapCore<M> {
    /// Why the heap cannot be used by the calling process, if it cannot.
    pub(crate) fn unusable(&self) -> Option<OomCause> {
        if std::process::id() != self.owner {
            Some(OomCause::Forked)
        } else if self.broken.load(Ordering::Acquire) {
            Some(OomCause::Broken)
        } else {
            None
        }
    }

    /// Changes what all mutators log, which the caller has stopped, and who attaches later.
    pub(crate) fn set_barrier(&self, mutators: &Mutators<'_>, mode: BarrierMode) {
        for mutator in mutators.iter() {
            mutator.block.marking.store(mode as u32, Ordering::Relaxed);
        }
        self.barrier_mode.store(mode as u32, Ordering::Release);
    }

    /// Carries out `request` for a mutator whose state the caller owns.
    pub(crate) fn act(&self, mutator: &MutatorCore, request: Request) {
        let breaks = BreakOnPanic(self);
        match request {
            Request::START_LOGGING => {
                mutator.block.marking.store(BarrierMode::LogBoth as u32, Ordering::Relaxed);
            }
            Request::SCAN_ROOTS => {
                self.retire_buffers(mutator);
                self.logged.push(mutator.collect_roots());
                mutator.block.marking.store(BarrierMode::LogOld as u32, Ordering::Relaxed);
            }
            Request::FLUSH_LOG => mutator.log.flush(&self.logged),
            _ => unreachable!("stopping is not an action"),
        }
        std::mem::forget(breaks);
    }

    /// Ends all of a mutator's allocations: notes what was born in this cycle.
    pub(crate) fn retire_buffers(&self, mutator: &MutatorCore) {
        self.retire_buffer(mutator, Content::Slots);
        self.retire_buffer(mutator, Content::Leaves);
        self.retire_large(mutator);
    }

    /// Ends one of a mutator's allocation buffers.
    pub(crate) fn retire_buffer(&self, mutator: &MutatorCore, content: Content) {
        if let Some(Range { start, end }) = mutator.block.retire(content) {
            self.note_born(start, end);
        }
    }

    /// Ends a mutator's last large allocation.
    pub(crate) fn retire_large(&self, mutator: &MutatorCore) {
        let end = mutator.large_end.swap(0, Ordering::Relaxed);
        self.note_born(mutator.large_start.swap(0, Ordering::Relaxed), end);
    }

    fn note_born(&self, start: usize, end: usize) {
        if start < end {
            let geometry = self.space.geometry;
            let word =
                |address: usize| geometry.word_of(address as u64).expect("a buffer's address");
            let breaks = BreakOnPanic(self);
            // The end may be the heap's own, which is no address inside it.
            self.space.note_born(word(start), word(end - crate::addr::WORD_BYTES) + 1);
            std::mem::forget(breaks);
        }
    }

    /// The object model panicked, or the collector did. Nobody may use the heap any more, but
    /// nobody hangs either.
    pub(crate) fn break_heap(&self) {
        if self.space.gate.enter().is_some() {
            crate::raw::fatal::fatal("a panic while pages were missing", 0);
        }
        tracing::error!("a panic in the object model or the collector: the heap is broken");
        self.broken.store(true, Ordering::Release);
        self.control.update(|_| ());
    }

    /// By a mutator that would have to wait for the collector: does some of its work; whether there
    /// was any that can be shared.
    fn help(&self) -> bool {
        let breaks = BreakOnPanic(self);
        let helped = mark::help(&self.space, &self.references.discovered) || self.space.help() > 0;
        std::mem::forget(breaks);
        helped
    }

    /// Gives a mutator's roots their new addresses, if the heap was set aside since it last did.
    /// The caller owns the mutator's state.
    pub(crate) fn adopt_flip(&self, mutator: &MutatorCore) {
        let flips = self.flips.load(Ordering::Acquire);
        if mutator.flips_seen.load(Ordering::Relaxed) != flips {
            let breaks = BreakOnPanic(self);
            mutator.forward_roots(&self.space.forwarding());
            std::mem::forget(breaks);
            mutator.flips_seen.store(flips, Ordering::Release);
            self.safepoints.report();
        }
    }

    /// By a running mutator: carries out everything it was asked for.
    pub(crate) fn poll(&self, mutator: &MutatorCore) {
        while mutator.block.requests.load(Ordering::Acquire) != 0 {
            for request in [Request::START_LOGGING, Request::SCAN_ROOTS, Request::FLUSH_LOG] {
                if mutator.has(request) {
                    // In a broken heap nobody waits for the deed, and what panicked would again.
                    if !self.broken.load(Ordering::Acquire) {
                        self.act(mutator, request);
                    }
                    mutator.carried_out(request);
                    self.safepoints.report();
                }
            }
            if mutator.has(Request::STOP) {
                mutator.enter_safe(&self.safepoints);
                self.leave_safe(mutator);
            }
        }
    }

    /// By a safe mutator: runs again, with its roots up to date.
    pub(crate) fn leave_safe(&self, mutator: &MutatorCore) {
        mutator.leave_safe(&self.safepoints);
        self.adopt_flip(mutator);
    }

    /// By a running mutator: asks for a cycle and waits for it. It asks when it has ceased to run,
    /// so that the cycle does not take it for one that runs.
    pub(crate) fn collect(&self, mutator: &MutatorCore) {
        mutator.enter_safe(&self.safepoints);
        let ticket = self.control.request_cycle(CycleReason::Requested);
        let over =
            |state: &ControlState| state.finished >= ticket || self.broken.load(Ordering::Acquire);
        drop(self.control.wait_until(over));
        self.leave_safe(mutator);
        self.poll(mutator);
    }

    /// By a running mutator: helps, or waits, until `done`.
    pub(crate) fn wait_helping(&self, mutator: &MutatorCore, done: impl Fn(&ControlState) -> bool) {
        let over = |state: &ControlState| done(state) || self.broken.load(Ordering::Acquire);
        while !self.help_or_wait(mutator, over) {}
    }

    /// By a running mutator: does some of the collector's work, or waits a little while there is none
    /// that can be shared; whether it is over.
    pub(crate) fn help_or_wait(
        &self,
        mutator: &MutatorCore,
        over: impl Fn(&ControlState) -> bool,
    ) -> bool {
        if self.help() {
            self.poll(mutator);
            return over(&self.control.lock());
        }
        let is_over = mutator.doze(|| {
            mutator.enter_safe(&self.safepoints);
            let is_over = self.control.wait_until_or(HELP_WAIT, over);
            self.leave_safe(mutator);
            is_over
        });
        self.poll(mutator);
        is_over
    }

    /// Whether a quarter of what is in use may be garbage: it has been allocated since the last cycle.
    fn has_garbage(&self) -> bool {
        let page_bytes = self.space.geometry.page_bytes() as u64;
        let used = u64::from(self.space.allocation.lock().top) * page_bytes;
        used / 4 * 3 > self.observers.stats().live_bytes
    }

    /// Bytes that may be in use.
    pub(crate) fn limit_bytes(&self) -> u64 {
        let pages = self.space.allocation.lock().limit;
        u64::from(pages) * self.space.geometry.page_bytes() as u64
    }

    /// A mutator has waited for memory since `began`.
    pub(crate) fn tell_stall(&self, began: Instant) {
        let thread = nix::unistd::gettid().as_raw().unsigned_abs();
        self.observers.tell(&Event::Stalled { began, took: began.elapsed(), thread });
    }

    /// A mutator has been held back since `began`.
    pub(crate) fn tell_held_back(&self, began: Instant) {
        let took = began.elapsed();
        self.space.counters.held_back_ns.add_time(took);
        if took >= LONG_WAIT {
            self.tell_stall(began);
        }
    }

    /// Tells that the cursor has a new limit or target.
    pub(crate) fn tell_limit(&self, limit: u32, target: u32) {
        let bytes = |pages: u32| u64::from(pages) * self.space.geometry.page_bytes() as u64;
        let (limit_bytes, target_bytes) = (bytes(limit), bytes(target));
        self.observers.tell(&Event::LimitChanged { limit_bytes, target_bytes });
    }
}
