//! Threads, roots and heaps that come and go while cycles run.

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use gc_runtime::{Heap, Record, Zeal};
use support::{
    FOR_EVER, Finish, Random, all_ways, build, check_counted_list, counted_list, digest,
    on_every_transport,
};

/// Global roots that one thread makes between two cycles.
const ROOTS_PER_CYCLE: u64 = 10_000;

#[test]
fn threads_may_attach_and_detach_at_any_moment_of_a_cycle() {
    on_every_transport(
        || Heap::builder().limit_bytes(64 << 20).zeal(Zeal::full()),
        |heap| {
            let (done, visits) = (AtomicBool::new(false), AtomicU64::new(0));
            let shared = heap.global_root();
            {
                let mut mutator = heap.attach().unwrap();
                let list = counted_list(&mut mutator, 3000, 10);
                mutator.set_global(&shared, mutator.root(list));
            }
            std::thread::scope(|scope| {
                let finish = Finish(&done);
                for number in 0..3u64 {
                    let (heap, done, visits, shared) = (&heap, &done, &visits, &shared);
                    scope.spawn(move || {
                        let mut round = number;
                        while !done.load(Ordering::Relaxed) {
                            round += 1;
                            let mut mutator = heap.attach().unwrap();
                            let own = counted_list(&mut mutator, round % 50, 5);
                            mutator.safepoint();
                            check_counted_list(&mutator, mutator.root(own), round % 50);
                            if round % 16 == 0 {
                                check_counted_list(&mutator, mutator.global(shared), 3000);
                            }
                            visits.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
                let end = Instant::now() + FOR_EVER;
                let mut cycles = 0;
                // Where there are few processors twelve cycles may be over before a thread has begun.
                while cycles < 12 || visits.load(Ordering::Relaxed) < 12 {
                    assert!(Instant::now() < end, "{visits:?} after {cycles} cycles");
                    heap.collect();
                    cycles += 1;
                }
                drop(finish);
            });
            heap.verify().unwrap();
        },
    );
}

#[test]
fn a_mutator_that_blocks_for_long_delays_no_cycle() {
    on_every_transport(
        || Heap::builder().limit_bytes(32 << 20),
        |heap| {
            std::thread::scope(|scope| {
                let (blocked, is_blocked) = mpsc::channel();
                let (release, released) = mpsc::channel::<()>();
                let sleeper = &heap;
                let thread = scope.spawn(move || {
                    let mut mutator = sleeper.attach().unwrap();
                    let list = counted_list(&mut mutator, 500, 12);
                    let answer = mutator.blocking(|| {
                        blocked.send(()).unwrap();
                        released.recv_timeout(FOR_EVER)
                    });
                    assert_eq!(answer, Ok(()), "the cycles waited for a blocked mutator");
                    check_counted_list(&mutator, mutator.root(list), 500);
                });
                is_blocked.recv().unwrap();
                let mut mutator = heap.attach().unwrap();
                counted_list(&mut mutator, 500, 12);
                for _ in 0..5 {
                    mutator.collect();
                }
                drop(mutator);
                release.send(()).unwrap();
                thread.join().unwrap();
            });
        },
    );
}

#[test]
fn roots_are_right_after_cycles_that_were_slept_through() {
    on_every_transport(
        || Heap::builder().limit_bytes(32 << 20).zeal(Zeal::full()),
        |heap| {
            let mut mutator = heap.attach().unwrap();
            let garbage = counted_list(&mut mutator, 2000, 9);
            let list = counted_list(&mut mutator, 2000, 9);
            mutator.set_root(garbage, None);
            let before = digest(&mut mutator);
            let flips = heap.flips();
            mutator.blocking(|| {
                // Somebody else makes holes, so that every cycle has something to move.
                let mut other = heap.attach().unwrap();
                for _ in 0..4 {
                    let holes = counted_list(&mut other, 1000, 9);
                    other.collect();
                    other.set_root(holes, None);
                }
            });
            assert!(heap.flips() >= flips + 3, "nothing moved");
            check_counted_list(&mutator, mutator.root(list), 2000);
            assert_eq!(digest(&mut mutator), before);
        },
    );
}

#[test]
fn global_roots_may_be_made_and_dropped_while_marking_runs() {
    on_every_transport(
        || Heap::builder().limit_bytes(64 << 20).zeal(Zeal::full()),
        |heap| {
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let finish = Finish(&done);
                for number in 0..2u64 {
                    let (heap, done) = (&heap, &done);
                    scope.spawn(move || {
                        let mut mutator = heap.attach().unwrap();
                        let mut random = Random::new(number);
                        let mut globals = Vec::new();
                        let scratch = mutator.push_root(None);
                        let mut made = 0u64;
                        while !done.load(Ordering::Relaxed) {
                            made += 1;
                            mutator.alloc_into(scratch, Record { refs: 1, data_words: 6 }).unwrap();
                            let node = mutator.root(scratch).unwrap();
                            mutator.set_word(node, 0, made);
                            let global = heap.global_root();
                            assert!(mutator.global(&global).is_none(), "a new root is not null");
                            mutator.set_global(&global, Some(node));
                            mutator.set_root(scratch, None);
                            globals.push((made, global));
                            if globals.len() > 200 {
                                let at = random.words_below(globals.len() as u64) as usize;
                                let (expected, global) = globals.swap_remove(at);
                                // Out of the root that goes away, into one that stays.
                                let node = mutator.global(&global).unwrap();
                                assert_eq!(mutator.word(node, 0), expected);
                                mutator.store(node, 0, None);
                                let (_, keeper) = &globals[at % globals.len()];
                                mutator.store(mutator.global(keeper).unwrap(), 0, Some(node));
                                drop(global);
                            }
                            mutator.safepoint();
                            if made.is_multiple_of(ROOTS_PER_CYCLE) {
                                // Slots of dropped roots come back with the next cycle.
                                let flips = heap.flips();
                                mutator.blocking(|| {
                                    while heap.flips() == flips && !done.load(Ordering::Relaxed) {
                                        std::thread::yield_now();
                                    }
                                });
                            }
                        }
                        for (expected, global) in &globals {
                            let node = mutator.global(global).unwrap();
                            assert_eq!(mutator.word(node, 0), *expected);
                        }
                    });
                }
                for _ in 0..10 {
                    heap.collect();
                }
                drop(finish);
            });
            heap.verify().unwrap();
            heap.collect();
            heap.collect();
            let left = heap.graph_digest().unwrap();
            assert_eq!(left.objects, 0, "dropped roots hold objects");
        },
    );
}

#[test]
fn heaps_of_all_transports_live_side_by_side_in_one_process() {
    let heaps: Vec<Heap> = all_ways()
        .into_iter()
        .filter_map(|(transport, delivery)| {
            build(Heap::builder().limit_bytes(24 << 20), transport, delivery)
        })
        .collect();
    std::thread::scope(|scope| {
        for heap in &heaps {
            scope.spawn(move || {
                let mut mutator = heap.attach().unwrap();
                let mut lists = Vec::new();
                for round in 0..6 {
                    lists.push(counted_list(&mut mutator, 800, 11));
                    if round % 2 == 0 {
                        mutator.set_root(lists[round / 2], None);
                    }
                    mutator.collect();
                    for &list in &lists {
                        let head = mutator.root(list);
                        let len = if head.is_some() { 800 } else { 0 };
                        check_counted_list(&mutator, head, len);
                    }
                }
                support::verify(&mut mutator);
            });
        }
    });
    // One thread in all of them at once, signal stack included.
    let mut mutators: Vec<_> = heaps.iter().map(|heap| heap.attach().unwrap()).collect();
    let mut lists: Vec<_> =
        mutators.iter_mut().map(|mutator| counted_list(mutator, 3000, 20)).collect();
    while !mutators.is_empty() {
        for heap in &heaps {
            // Every mutator of this thread must be blocking while the thread waits.
            block_all(&mut mutators, &mut || heap.collect());
        }
        for (mutator, &list) in mutators.iter().zip(&lists) {
            check_counted_list(mutator, mutator.root(list), 3000);
        }
        // Not in the order in which they attached: they share a signal stack.
        mutators.remove(0);
        lists.remove(0);
    }
}

fn block_all(mutators: &mut [gc_runtime::Mutator], work: &mut dyn FnMut()) {
    match mutators.split_first_mut() {
        None => work(),
        Some((first, rest)) => first.blocking(|| block_all(rest, work)),
    }
}

#[test]
fn a_heap_may_be_dropped_while_cycles_are_asked_for() {
    for round in 0..8u32 {
        on_every_transport(
            || {
                Heap::builder()
                    .limit_bytes(8 << 20)
                    .zeal(Zeal { every_refills: 1, ..Zeal::default() })
            },
            |heap| {
                let mut mutator = heap.attach().unwrap();
                for _ in 0..=round {
                    counted_list(&mut mutator, 500, 20);
                }
                let clone = heap.clone();
                let collector = std::thread::spawn(move || clone.collect());
                drop(mutator);
                drop(heap);
                collector.join().unwrap();
            },
        );
    }
}
