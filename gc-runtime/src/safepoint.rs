//! Asking mutators to stop or to do something, knowing that they have, letting them go.
//!
//! A mutator is *running* (it owns its state), *safe* (in a blocking region or parked: the
//! collector may act on its behalf), *held* (the collector is acting) or *stopped* (all are; neither
//! can become running). Requests are bits that whoever owns the state at the moment carries out:
//! the mutator at its next poll, or the collector for a safe mutator.
//!
//! The collector sleeps until the last mutator that it waits for arrives, and all stopped ones are
//! woken by one system call: where processors are few, a thread that wakes another is often put
//! aside for it, and what it had still to do for the others would wait for milliseconds.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::embedder_roots::{RootVisitor, Roots};
use crate::forward::Forwarding;
use crate::mark::barrier::{BarrierLog, BarrierMode};
use crate::processor::LastSeen;
use crate::raw::block::Block;
use crate::raw::futex;
use crate::raw::held_words::HeldWords;
use crate::roots::ShadowStack;
use crate::stats::ns;

const RUNNING: u32 = 0;
const SAFE: u32 = 1;
const HELD: u32 = 2;
const STOPPED: u32 = 3;

/// How long the collector sleeps before it looks again; a lost wake-up costs no more.
const ARRIVAL_WAIT: Duration = Duration::from_millis(2);

/// Rounds of waiting after which the collector looks whether the thread is still there; about a
/// tenth of a second.
const ROUNDS_UNTIL_DOUBT: u32 = 50;

/// In [`MutatorCore::went_on`]: it waits for the end of a pause.
const WAITING: u64 = u64::MAX;

/// What a mutator is asked to do at its next poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request(pub(crate) u32);

impl Request {
    /// Park until let go.
    pub(crate) const STOP: Self = Self(1);
    /// Begin to log old and new values.
    pub(crate) const START_LOGGING: Self = Self(2);
    /// Hand the roots to the collector, and allocate black from now on.
    pub(crate) const SCAN_ROOTS: Self = Self(4);
    /// Hand the log to the collector.
    pub(crate) const FLUSH_LOG: Self = Self(8);
}

/// The part of a mutator that the collector sees. The published block comes first.
#[repr(C)]
pub(crate) struct MutatorCore {
    pub(crate) block: Block,
    state: AtomicU32,
    /// When it last went on after a pause that it had to wait for, in nanoseconds of
    /// [`Safepoints::now`]; or [`WAITING`].
    went_on: AtomicU64,
    /// The last large allocation, which has pages of its own.
    pub(crate) large_start: AtomicUsize,
    pub(crate) large_end: AtomicUsize,
    /// The flip whose new addresses the roots have.
    pub(crate) flips_seen: AtomicU64,
    /// Refills of the allocation buffer so far, for zeal.
    pub(crate) refills: AtomicU32,
    pub(crate) roots: ShadowStack,
    pub(crate) log: BarrierLog,
    /// The thread that attached, as gettid(2) names it.
    thread: i32,
    /// Where it was when it last asked for a buffer.
    pub(crate) last_seen: LastSeen,
    /// It sleeps for a moment because it is short of memory, and will go on where it is.
    dozes: AtomicBool,
    /// It ended without detaching.
    dead: AtomicBool,
    /// Roots in the embedder's memory.
    embedder_roots: Option<Arc<dyn Roots>>,
}

impl fmt::Debug for MutatorCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MutatorCore")
            .field("state", &self.state)
            .field("block", &self.block)
            .finish_non_exhaustive()
    }
}

impl MutatorCore {
    pub(crate) fn new(
        heap: HeldWords,
        marking: u32,
        flips_seen: u64,
        embedder_roots: Option<Arc<dyn Roots>>,
    ) -> std::io::Result<Self> {
        Ok(Self {
            block: Block::new(heap, marking),
            state: AtomicU32::new(RUNNING),
            went_on: AtomicU64::new(0),
            large_start: AtomicUsize::new(0),
            large_end: AtomicUsize::new(0),
            flips_seen: AtomicU64::new(flips_seen),
            refills: AtomicU32::new(0),
            roots: ShadowStack::new()?,
            log: BarrierLog::default(),
            thread: nix::unistd::gettid().as_raw(),
            last_seen: LastSeen::default(),
            dozes: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            embedder_roots,
        })
    }

    /// Whether this mutator logs references.
    pub(crate) fn is_logging(&self) -> bool {
        BarrierMode::logs(self.block.marking.load(Ordering::Relaxed))
    }

    /// Whether it runs at the moment: not in a blocking region, parked or held.
    pub(crate) fn is_running(&self) -> bool {
        self.state.load(Ordering::Relaxed) == RUNNING && !self.is_dead()
    }

    /// Whether it runs, or will in a moment without being asked: who is on its processor is in its way.
    pub(crate) fn needs_processor(&self) -> bool {
        self.is_running() || (self.dozes.load(Ordering::Relaxed) && !self.is_dead())
    }

    /// By the mutator: it waits, for as short as it can, in `wait`.
    pub(crate) fn doze<R>(&self, wait: impl FnOnce() -> R) -> R {
        self.dozes.store(true, Ordering::Relaxed);
        let result = wait();
        self.dozes.store(false, Ordering::Relaxed);
        result
    }

    /// Whether its thread ended without detaching: nobody will ever carry out a request.
    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// By the collector, which waits for this mutator: if its thread is gone, its roots go too and
    /// it is safe for ever.
    fn bury_if_gone(&self) {
        if !std::path::Path::new(&format!("/proc/self/task/{}", self.thread)).exists()
            && std::path::Path::new("/proc/self/task").exists()
            && self
                .state
                .compare_exchange(RUNNING, SAFE, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
        {
            self.roots.truncate(0);
            self.dead.store(true, Ordering::Relaxed);
            tracing::warn!(target: "gc", thread = self.thread, "a thread ended without detaching: its roots are dropped");
        }
    }

    /// What the mutator's roots refer to. By the owner of the state.
    pub(crate) fn collect_roots(&self) -> Vec<u64> {
        let mut values = self.roots.collect();
        if let Some(roots) = &self.embedder_roots
            && !self.is_dead()
        {
            roots.visit(&mut RootVisitor::collect(&mut values));
        }
        values
    }

    /// Gives the mutator's roots their new addresses. By the owner of the state.
    pub(crate) fn forward_roots(&self, forwarding: &Forwarding<'_>) {
        self.roots.forward(forwarding);
        if let Some(roots) = &self.embedder_roots
            && !self.is_dead()
        {
            roots.visit(&mut RootVisitor::forward(forwarding));
        }
    }

    pub(crate) fn has(&self, request: Request) -> bool {
        self.block.requests.load(Ordering::Acquire) & request.0 != 0
    }

    /// Says that a request has been carried out. Only by the owner of the state.
    pub(crate) fn carried_out(&self, request: Request) {
        self.block.requests.fetch_and(!request.0, Ordering::AcqRel);
    }

    fn ask(&self, request: Request) {
        self.block.requests.fetch_or(request.0, Ordering::AcqRel);
        // Makes the next allocation take the slow path, which polls.
        self.block.interrupt();
    }

    /// By the mutator: from here on the collector may act for it.
    pub(crate) fn enter_safe(&self, safepoints: &Safepoints) {
        self.state.store(SAFE, Ordering::SeqCst);
        safepoints.arrived();
    }

    /// By the mutator: waits until nobody holds it and it is not asked to stop, then runs again.
    pub(crate) fn leave_safe(&self, safepoints: &Safepoints) {
        let mut waited = false;
        loop {
            // Read before what says that there is a pause: its end changes the number.
            let pauses = safepoints.pauses.load(Ordering::SeqCst);
            let state = match self.has(Request::STOP) {
                true => STOPPED,
                false => match self.state.compare_exchange(
                    SAFE,
                    RUNNING,
                    Ordering::SeqCst,
                    Ordering::SeqCst,
                ) {
                    Ok(_) => break,
                    Err(state) => state,
                },
            };
            if state == STOPPED {
                self.went_on.store(WAITING, Ordering::Relaxed);
                waited = true;
                futex::wait(&safepoints.pauses, pauses, None);
            } else {
                futex::wait(&self.state, state, None);
            }
        }
        if waited {
            self.went_on.store(safepoints.now(), Ordering::Relaxed);
        }
    }

    /// By the collector: keeps a safe mutator from running, as `state` says.
    fn try_keep(&self, state: u32) -> bool {
        self.state.compare_exchange(SAFE, state, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// By the collector: acts for the mutator if it is safe, and lets go of it whatever happens.
    pub(crate) fn while_held(&self, act: impl FnOnce(&Self)) -> bool {
        struct Release<'a>(&'a MutatorCore);
        impl Drop for Release<'_> {
            fn drop(&mut self) {
                self.0.release();
            }
        }
        self.try_keep(HELD) && {
            let held = Release(self);
            act(held.0);
            true
        }
    }

    /// By the collector: lets go of a held mutator.
    fn release(&self) {
        self.state.store(SAFE, Ordering::SeqCst);
        futex::wake_all(&self.state);
    }
}

/// All mutators of a heap.
#[derive(Debug)]
pub(crate) struct Safepoints {
    mutators: Mutex<Vec<Arc<MutatorCore>>>,
    /// How often a mutator has become safe or carried out a request.
    arrivals: AtomicU32,
    /// The number of arrivals at which the collector wants to be woken.
    wanted: AtomicU32,
    /// Pauses that are over; stopped mutators sleep on it.
    pauses: AtomicU32,
    epoch: Instant,
}

impl Default for Safepoints {
    fn default() -> Self {
        Self {
            mutators: Mutex::default(),
            arrivals: AtomicU32::new(0),
            wanted: AtomicU32::new(0),
            pauses: AtomicU32::new(0),
            epoch: Instant::now(),
        }
    }
}

/// The list of mutators, held still: nobody attaches or detaches.
pub(crate) type Mutators<'a> = MutexGuard<'a, Vec<Arc<MutatorCore>>>;

impl Safepoints {
    /// Holds the list of mutators still. The collector may keep it during a whole pause.
    pub(crate) fn mutators(&self) -> Mutators<'_> {
        // A panic in the object model while they were held has left the list whole.
        self.mutators.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nanoseconds since these safepoints were made.
    fn now(&self) -> u64 {
        ns(self.epoch.elapsed())
    }

    fn arrived(&self) {
        let arrivals = self.arrivals.fetch_add(1, Ordering::SeqCst).wrapping_add(1);
        if arrivals == self.wanted.load(Ordering::SeqCst) {
            futex::wake_all(&self.arrivals);
        }
    }

    /// By a mutator that carried out a request while running.
    pub(crate) fn report(&self) {
        self.arrived();
    }

    /// Asks every mutator for `request`, beside their running. Does not wait.
    pub(crate) fn ask_all(mutators: &Mutators<'_>, request: Request) {
        for mutator in mutators.iter() {
            mutator.ask(request);
        }
    }

    /// Waits until every mutator has carried out `request`; does so itself, by `act`, for those
    /// that are safe.
    pub(crate) fn wait_for(
        &self,
        mutators: &Mutators<'_>,
        request: Request,
        act: impl Fn(&MutatorCore),
    ) {
        self.wait_each(mutators, |mutator| {
            if !mutator.has(request) {
                return true;
            }
            mutator.while_held(|mutator| {
                if mutator.has(request) {
                    act(mutator);
                    mutator.carried_out(request);
                }
            })
        });
    }

    /// Stops all mutators; none can run when this returns.
    pub(crate) fn stop(&self, mutators: &Mutators<'_>) {
        Self::ask_all(mutators, Request::STOP);
        self.wait_each(mutators, |mutator| mutator.try_keep(STOPPED));
    }

    /// Lets all mutators go again; when the last of those that waited for it could go on.
    pub(crate) fn resume(&self, mutators: &Mutators<'_>) -> Instant {
        for mutator in mutators.iter() {
            mutator.block.requests.fetch_and(!Request::STOP.0, Ordering::SeqCst);
            mutator.state.store(SAFE, Ordering::SeqCst);
        }
        let began = self.now();
        self.pauses.fetch_add(1, Ordering::SeqCst);
        futex::wake_all(&self.pauses);
        // They may have run for long when the collector does again. All have been let go by now,
        // those that run and those that have no processor yet.
        let now = self.now();
        let end = mutators
            .iter()
            .map(|mutator| mutator.went_on.load(Ordering::Relaxed).clamp(began, now))
            .fold(began, u64::max);
        self.epoch + Duration::from_nanos(end)
    }

    /// Waits until `ready` has been true for every mutator; asks each until it is, and not again.
    pub(crate) fn wait_each(&self, mutators: &Mutators<'_>, ready: impl Fn(&MutatorCore) -> bool) {
        let mut missing: Vec<&MutatorCore> = mutators.iter().map(|mutator| &**mutator).collect();
        let mut rounds = 0u32;
        loop {
            // Who is not ready below has not arrived by now.
            let arrivals = self.arrivals.load(Ordering::SeqCst);
            missing.retain(|mutator| !ready(mutator));
            if missing.is_empty() {
                break;
            }
            rounds += 1;
            if rounds.is_multiple_of(ROUNDS_UNTIL_DOUBT) {
                missing.iter().for_each(|mutator| mutator.bury_if_gone());
            }
            self.wait_for_arrivals(arrivals, u32::try_from(missing.len()).unwrap_or(u32::MAX));
        }
    }

    /// Sleeps until there have been `count` arrivals since there were `before`, or for a while.
    fn wait_for_arrivals(&self, before: u32, count: u32) {
        self.wanted.store(before.wrapping_add(count), Ordering::SeqCst);
        loop {
            let arrivals = self.arrivals.load(Ordering::SeqCst);
            if arrivals.wrapping_sub(before) >= count {
                break;
            }
            futex::wait(&self.arrivals, arrivals, Some(ARRIVAL_WAIT));
            if self.arrivals.load(Ordering::SeqCst) == arrivals {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    fn mutator() -> Arc<MutatorCore> {
        let heap: Vec<AtomicU64> = vec![AtomicU64::new(0)];
        let heap = HeldWords::of(Arc::new(heap), |vec| vec);
        Arc::new(MutatorCore::new(heap, 0, 0, None).unwrap())
    }

    fn a_safe_mutator() -> (Safepoints, Arc<MutatorCore>) {
        let (safepoints, core) = (Safepoints::default(), mutator());
        core.enter_safe(&safepoints);
        safepoints.mutators().push(Arc::clone(&core));
        (safepoints, core)
    }

    #[test]
    fn a_safe_mutator_needs_a_processor_only_while_it_dozes() {
        let (safepoints, core) = a_safe_mutator();
        assert!(!core.needs_processor());
        core.doze(|| assert!(core.needs_processor() && !core.is_running()));
        assert!(!core.needs_processor());
        core.leave_safe(&safepoints);
        assert!(core.needs_processor());
    }

    #[test]
    fn nobody_runs_while_the_world_is_stopped() {
        let safepoints = Safepoints::default();
        let (running, working) = (AtomicU32::new(0), AtomicBool::new(true));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let core = mutator();
                safepoints.mutators().push(Arc::clone(&core));
                let (safepoints, running, working) = (&safepoints, &running, &working);
                scope.spawn(move || {
                    while working.load(Ordering::Relaxed) {
                        running.fetch_add(1, Ordering::SeqCst);
                        std::hint::spin_loop();
                        running.fetch_sub(1, Ordering::SeqCst);
                        if core.has(Request::STOP) {
                            core.enter_safe(safepoints);
                            core.leave_safe(safepoints);
                        }
                    }
                    core.enter_safe(safepoints);
                });
            }
            for _ in 0..100 {
                let mutators = safepoints.mutators();
                safepoints.stop(&mutators);
                assert_eq!(running.load(Ordering::SeqCst), 0);
                safepoints.resume(&mutators);
            }
            working.store(false, Ordering::Relaxed);
        });
    }

    #[test]
    fn a_pause_ends_before_those_who_wait_for_it_run_on() {
        let (safepoints, core) = a_safe_mutator();
        for _ in 0..20 {
            let mutators = safepoints.mutators();
            safepoints.stop(&mutators);
            std::thread::scope(|scope| {
                let waiting = scope.spawn(|| {
                    core.leave_safe(&safepoints);
                    Instant::now()
                });
                while core.went_on.load(Ordering::Relaxed) != WAITING {
                    std::thread::yield_now();
                }
                let asked = Instant::now();
                let ended = safepoints.resume(&mutators);
                let ran_on = waiting.join().unwrap();
                assert!(asked <= ended && ended <= ran_on, "{asked:?} {ended:?} {ran_on:?}");
            });
            core.enter_safe(&safepoints);
        }
    }

    #[test]
    fn a_safe_mutator_is_served_by_the_collector() {
        let (safepoints, core) = a_safe_mutator();
        let mutators = safepoints.mutators();
        let served = AtomicU32::new(0);
        Safepoints::ask_all(&mutators, Request::SCAN_ROOTS);
        safepoints.wait_for(&mutators, Request::SCAN_ROOTS, |_| {
            served.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(served.load(Ordering::Relaxed), 1);
        assert!(!core.has(Request::SCAN_ROOTS));
        core.leave_safe(&safepoints);
    }
}
