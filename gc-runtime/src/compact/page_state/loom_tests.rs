//! All interleavings of a collector, two mutators and an installer over one page's states.
//!
//! The kernel is modelled by what it promises: of all who install a page, one succeeds, and the
//! page then holds what its source held at that moment.
#![allow(unsafe_code, reason = "loom's cells are read and written through raw pointers")]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::AtomicUsize;
use loom::thread;

use super::*;

const PAGE: PageIndex = PageIndex(0);

/// One page with two staging buffers, and the kernel's side of it.
struct World {
    states: PageStates<Vec<AtomicU32>>,
    buffers: [UnsafeCell<u32>; 2],
    /// What the kernel put in place: zero for nothing, else buffer number + 1.
    in_place: AtomicU32,
    /// How often a page was built.
    builds: AtomicUsize,
}

impl World {
    fn new() -> Self {
        Self {
            states: PageStates::new(vec![AtomicU32::new(0)]),
            buffers: [UnsafeCell::new(0), UnsafeCell::new(0)],
            in_place: AtomicU32::new(0),
            builds: AtomicUsize::new(0),
        }
    }

    /// Fills the page in `buffer` if nobody else does.
    fn build(&self, buffer: u32) {
        if let Ok(claim) = self.states.claim(PAGE) {
            self.builds.fetch_add(1, Ordering::Relaxed);
            self.buffers[buffer as usize].with_mut(|words| {
                // SAFETY: loom checks that nobody else has the cell.
                unsafe { *words = 42 }
            });
            self.states.publish(SourcePage::complete(claim, SourceIndex(buffer)));
        }
    }

    /// Installs the page if it is staged, as the kernel would.
    fn install(&self) -> bool {
        match self.states.get(PAGE) {
            PageState::Staged(SourceIndex(buffer)) => {
                let winner = self
                    .in_place
                    .compare_exchange(0, buffer + 1, Ordering::AcqRel, Ordering::Acquire)
                    .is_ok();
                if winner {
                    // The kernel takes the page: its content must be complete and visible.
                    self.buffers[buffer as usize].with(|words| {
                        // SAFETY: loom checks that nobody writes the cell.
                        assert_eq!(unsafe { *words }, 42, "installed before it was filled");
                    });
                }
                self.states.installed(PAGE);
                true
            }
            PageState::Installed => true,
            PageState::Unprocessed | PageState::Claimed => false,
        }
    }

    /// A mutator that faulted: it does not go on before the page is in place.
    fn fault(&self, buffer: u32) {
        self.build(buffer);
        while !self.install() {
            thread::yield_now();
        }
        assert_ne!(self.in_place.load(Ordering::Acquire), 0, "went on without a page");
    }
}

/// Without a bound on preemptions a model takes hours; every known bug of this kind needs two or
/// three.
const ONE_WAITS: usize = 3;

/// Where two threads wait for each other's work, a third preemption only lets both of them look
/// again and again, until loom gives up.
const TWO_WAIT: usize = 2;

fn explore(preemptions: usize, actors: fn(&Arc<World>) -> Vec<thread::JoinHandle<()>>) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(move || {
        let world = Arc::new(World::new());
        for actor in actors(&world) {
            actor.join().expect("an actor failed");
        }
        assert_eq!(world.states.get(PAGE), PageState::Installed);
        assert_eq!(world.builds.load(Ordering::Relaxed), 1, "a page was built twice");
        assert_ne!(world.in_place.load(Ordering::Acquire), 0);
    });
}

#[test]
fn loom_collector_and_two_mutators_build_once_and_all_see_the_page() {
    explore(TWO_WAIT, |world| {
        let collector = {
            let world = Arc::clone(world);
            thread::spawn(move || {
                world.build(0);
                world.install();
            })
        };
        let mutator = {
            let world = Arc::clone(world);
            thread::spawn(move || world.fault(1))
        };
        world.fault(1);
        vec![collector, mutator]
    });
}

#[test]
fn loom_an_installer_that_builds_nothing_never_installs_half_a_page() {
    explore(ONE_WAITS, |world| {
        let installer = {
            let world = Arc::clone(world);
            thread::spawn(move || {
                world.install();
            })
        };
        let collector = {
            let world = Arc::clone(world);
            thread::spawn(move || world.build(0))
        };
        world.fault(1);
        vec![installer, collector]
    });
}

#[test]
fn loom_collector_two_mutators_and_an_installer_agree_on_one_page() {
    explore(TWO_WAIT, |world| {
        let collector = {
            let world = Arc::clone(world);
            thread::spawn(move || {
                world.build(0);
                world.install();
            })
        };
        let mutator = {
            let world = Arc::clone(world);
            thread::spawn(move || world.fault(1))
        };
        let installer = {
            let world = Arc::clone(world);
            thread::spawn(move || {
                world.install();
            })
        };
        world.fault(1);
        vec![collector, mutator, installer]
    });
}
