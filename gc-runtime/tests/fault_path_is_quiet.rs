//! Serving a fault in a signal handler allocates nothing.
#![allow(unsafe_code, reason = "a global allocator that counts")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gc_runtime::{Heap, Transport};
use support::{Finish, check_counted_list, counted_list, on_every_transport};

/// The system's allocator, which counts for threads that want to know.
struct Counting;

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

/// Allocations and frees by watched threads.
static CALLS: AtomicU64 = AtomicU64::new(0);

fn count() {
    if WATCHED.try_with(Cell::get).unwrap_or(false) {
        CALLS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: hands everything on to the system's allocator; counting allocates nothing, because the
// thread-local has a constant initialiser and no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the allocator's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `work` and counts the calls of the allocator that it makes.
fn watch(work: impl FnOnce()) -> u64 {
    let before = CALLS.load(Ordering::Relaxed);
    WATCHED.set(true);
    work();
    WATCHED.set(false);
    CALLS.load(Ordering::Relaxed) - before
}

#[test]
fn serving_a_fault_allocates_nothing() {
    assert!(watch(|| drop(std::hint::black_box(Box::new(1)))) >= 2, "the allocator does not count");
    on_every_transport(
        || Heap::builder().limit_bytes(64 << 20),
        |heap| {
            let stop = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let finish = Finish(&stop);
                let (heap, stop) = (&heap, &stop);
                let mut mutator = heap.attach().unwrap();
                let list = counted_list(&mut mutator, 30_000, 60);
                let collector = scope.spawn(move || {
                    // Garbage before the list, in every cycle, so that all of it moves.
                    while !stop.load(Ordering::Relaxed) {
                        let mut other = heap.attach().unwrap();
                        counted_list(&mut other, 1000, 30);
                        drop(other);
                        heap.collect();
                    }
                });
                let (mut calls, mut rounds) = (0, 0);
                // Faults are counted when a cycle ends.
                while heap.stats().faults_by_mutators == 0 || heap.stats().cycles < 5 {
                    calls += watch(|| check_counted_list(&mutator, mutator.root(list), 30_000));
                    mutator.safepoint();
                    rounds += 1;
                    if heap.transport() == Transport::Stw && heap.stats().cycles >= 3 {
                        break;
                    }
                    assert!(rounds < 100_000, "a mutator that never faults");
                }
                drop(finish);
                mutator.blocking(|| collector.join()).unwrap();
                assert_eq!(calls, 0, "{calls} calls of the allocator while reading the heap");
            });
        },
    );
}
