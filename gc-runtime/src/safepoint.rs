//! Asking mutators to stop or to do something, knowing that they have, letting them go.
//!
//! A mutator is *running* (it owns its state), *safe* (in a blocking region or parked: the
//! collector may act on its behalf) or *held* (the collector is acting, or all are stopped; the
//! mutator cannot become running). Requests are bits that whoever owns the state at the moment
//! carries out: the mutator at its next poll, or the collector for a safe mutator.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::embedder_roots::{RootVisitor, Roots};
use crate::forward::Forwarding;
use crate::mark::barrier::BarrierLog;
use crate::raw::block::Block;
use crate::raw::futex;
use crate::raw::held_words::HeldWords;
use crate::roots::ShadowStack;

const RUNNING: u32 = 0;
const SAFE: u32 = 1;
const HELD: u32 = 2;

/// How long the collector sleeps before it looks again; a lost wake-up costs no more.
const ARRIVAL_WAIT: Duration = Duration::from_millis(2);

/// Rounds of waiting after which the collector looks whether the thread is still there; about a
/// tenth of a second.
const ROUNDS_UNTIL_DOUBT: u32 = 50;

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
            large_start: AtomicUsize::new(0),
            large_end: AtomicUsize::new(0),
            flips_seen: AtomicU64::new(flips_seen),
            refills: AtomicU32::new(0),
            roots: ShadowStack::new()?,
            log: BarrierLog::default(),
            thread: nix::unistd::gettid().as_raw(),
            dead: AtomicBool::new(false),
            embedder_roots,
        })
    }

    /// Whether it runs at the moment: not in a blocking region, parked or held.
    pub(crate) fn is_running(&self) -> bool {
        self.state.load(Ordering::Relaxed) == RUNNING && !self.is_dead()
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
    pub(crate) fn leave_safe(&self) {
        loop {
            let requests = self.block.requests.load(Ordering::SeqCst);
            if requests & Request::STOP.0 != 0 {
                futex::wait(&self.block.requests, requests, None);
                continue;
            }
            match self.state.compare_exchange(SAFE, RUNNING, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return,
                Err(state) => futex::wait(&self.state, state, None),
            }
        }
    }

    /// By the collector: keeps a safe mutator from running.
    pub(crate) fn try_hold(&self) -> bool {
        self.state.compare_exchange(SAFE, HELD, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// By the collector: acts for the mutator if it is safe, and lets go of it whatever happens.
    pub(crate) fn while_held(&self, act: impl FnOnce(&Self)) -> bool {
        struct Release<'a>(&'a MutatorCore);
        impl Drop for Release<'_> {
            fn drop(&mut self) {
                self.0.release();
            }
        }
        self.try_hold() && {
            let held = Release(self);
            act(held.0);
            true
        }
    }

    /// By the collector: lets go of a held mutator.
    pub(crate) fn release(&self) {
        self.state.store(SAFE, Ordering::SeqCst);
        futex::wake_all(&self.state);
    }

    fn let_go(&self) {
        self.block.requests.fetch_and(!Request::STOP.0, Ordering::SeqCst);
        futex::wake_all(&self.block.requests);
        self.release();
    }
}

/// All mutators of a heap.
#[derive(Debug, Default)]
pub(crate) struct Safepoints {
    mutators: Mutex<Vec<Arc<MutatorCore>>>,
    arrivals: AtomicU32,
}

/// The list of mutators, held still: nobody attaches or detaches.
pub(crate) type Mutators<'a> = MutexGuard<'a, Vec<Arc<MutatorCore>>>;

impl Safepoints {
    /// Holds the list of mutators still. The collector may keep it during a whole pause.
    pub(crate) fn mutators(&self) -> Mutators<'_> {
        // A panic in the object model while they were held has left the list whole.
        self.mutators.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrived(&self) {
        self.arrivals.fetch_add(1, Ordering::SeqCst);
        futex::wake_all(&self.arrivals);
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

    /// Stops all mutators; they are held when this returns.
    pub(crate) fn stop(&self, mutators: &Mutators<'_>) {
        Self::ask_all(mutators, Request::STOP);
        self.wait_each(mutators, MutatorCore::try_hold);
    }

    /// Lets all mutators go again.
    pub(crate) fn resume(mutators: &Mutators<'_>) {
        for mutator in mutators.iter() {
            mutator.let_go();
        }
    }

    /// Waits until `ready` has been true for every mutator.
    pub(crate) fn wait_each(&self, mutators: &Mutators<'_>, ready: impl Fn(&MutatorCore) -> bool) {
        for mutator in mutators.iter() {
            let mut rounds = 0u32;
            loop {
                let arrivals = self.arrivals.load(Ordering::SeqCst);
                if ready(mutator) {
                    break;
                }
                rounds += 1;
                if rounds.is_multiple_of(ROUNDS_UNTIL_DOUBT) {
                    mutator.bury_if_gone();
                }
                futex::wait(&self.arrivals, arrivals, Some(ARRIVAL_WAIT));
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
                            core.leave_safe();
                        }
                    }
                    core.enter_safe(safepoints);
                });
            }
            for _ in 0..100 {
                let mutators = safepoints.mutators();
                safepoints.stop(&mutators);
                assert_eq!(running.load(Ordering::SeqCst), 0);
                Safepoints::resume(&mutators);
            }
            working.store(false, Ordering::Relaxed);
        });
    }

    #[test]
    fn a_safe_mutator_is_served_by_the_collector() {
        let safepoints = Safepoints::default();
        let core = mutator();
        core.enter_safe(&safepoints);
        safepoints.mutators().push(Arc::clone(&core));
        let mutators = safepoints.mutators();
        let served = AtomicU32::new(0);
        Safepoints::ask_all(&mutators, Request::SCAN_ROOTS);
        safepoints.wait_for(&mutators, Request::SCAN_ROOTS, |_| {
            served.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(served.load(Ordering::Relaxed), 1);
        assert!(!core.has(Request::SCAN_ROOTS));
        core.leave_safe();
    }
}
