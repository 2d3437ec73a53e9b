//! Threads that end while they hold roots, in every way a thread can end.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use gc_runtime::Heap;
use support::{check_counted_list, counted_list, on_every_transport};

fn small_heap() -> gc_runtime::HeapBuilder {
    Heap::builder().limit_bytes(16 << 20)
}

/// The heap has nothing but this thread's list, and still works.
fn assert_the_dead_hold_nothing(heap: &Heap) {
    let mut mutator = heap.attach().unwrap();
    let list = counted_list(&mut mutator, 1000, 8);
    for _ in 0..3 {
        mutator.collect();
    }
    check_counted_list(&mutator, mutator.root(list), 1000);
    let live = support::digest(&mut mutator);
    assert_eq!(live.objects, 1000, "somebody else's objects are alive");
    support::verify(&mut mutator);
}

#[test]
fn the_roots_of_a_thread_that_panics_go_with_it() {
    on_every_transport(small_heap, |heap| {
        let ended = std::thread::scope(|scope| {
            let heap = &heap;
            let dying = scope.spawn(move || {
                let mut mutator = heap.attach().unwrap();
                counted_list(&mut mutator, 5000, 8);
                panic!("a thread that panics on purpose");
            });
            dying.join()
        });
        assert!(ended.is_err());
        assert_the_dead_hold_nothing(&heap);
    });
}

#[test]
fn a_panic_in_a_blocking_region_leaves_the_mutator_usable() {
    on_every_transport(small_heap, |heap| {
        let mut mutator = heap.attach().unwrap();
        let list = counted_list(&mut mutator, 2000, 8);
        let result = catch_unwind(AssertUnwindSafe(|| {
            mutator.blocking(|| panic!("work that panics on purpose"));
        }));
        assert!(result.is_err());
        mutator.collect();
        check_counted_list(&mutator, mutator.root(list), 2000);
    });
}

#[test]
fn a_thread_that_ends_without_detaching_stops_no_cycle_and_holds_nothing() {
    on_every_transport(small_heap, |heap| {
        std::thread::scope(|scope| {
            let heap = &heap;
            let careless = scope.spawn(move || {
                let mut mutator = heap.attach().unwrap();
                counted_list(&mut mutator, 5000, 8);
                // As pthread_exit in foreign code would.
                std::mem::forget(mutator);
            });
            careless.join().unwrap();
        });
        assert_the_dead_hold_nothing(&heap);
    });
}

#[test]
fn a_global_root_outlives_the_thread_that_set_it() {
    on_every_transport(small_heap, |heap| {
        // A root that outlives its thread is a global one: that is what they are for.
        let kept = heap.global_root();
        std::thread::scope(|scope| {
            let (heap, kept) = (&heap, &kept);
            scope.spawn(move || {
                let mut mutator = heap.attach().unwrap();
                let list = counted_list(&mut mutator, 3000, 8);
                mutator.set_global(kept, mutator.root(list));
            });
        });
        let mut mutator = heap.attach().unwrap();
        mutator.collect();
        check_counted_list(&mutator, mutator.global(&kept), 3000);
        drop(kept);
        drop(mutator);
        assert_the_dead_hold_nothing(&heap);
    });
}
