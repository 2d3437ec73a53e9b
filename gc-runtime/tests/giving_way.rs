//! A collector that is ahead of the mutators gives way, where threads are more than processors.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use gc_runtime::{CycleReason, CycleStats, Heap, HeapStats, Record};
use support::{FOR_EVER, check_counted_list, counted_list, verify};

const MIB: usize = 1 << 20;
/// 32 bytes: marking is much work for little memory.
const SMALL: Record = Record { refs: 1, data_words: 2 };
const LIST: u64 = 400_000;

/// Mutators beside the collector, one for each processor, that allocate for a tenth of their time, until
/// `seen` in a heap with twenty times the room of what is alive.
fn leisurely(heap: &Heap, seen: impl Fn(&HeapStats) -> bool + Sync) {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..processors {
            scope.spawn(|| {
                let mut mutator = heap.attach().unwrap();
                let root = mutator.push_root(None);
                while !over.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    for _ in 0..256 {
                        mutator.alloc_into(root, SMALL).unwrap();
                    }
                    let pause = 9 * began.elapsed().min(Duration::from_micros(100));
                    let until = Instant::now() + pause;
                    while Instant::now() < until {
                        mutator.safepoint();
                    }
                }
            });
        }
        let end = Instant::now() + FOR_EVER;
        while !seen(&heap.stats()) && Instant::now() < end {
            thread::sleep(Duration::from_millis(1));
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_collector_that_is_ahead_gives_way_and_it_is_counted() {
    let heap = Heap::builder().limit_bytes(256 * MIB).build().unwrap();
    let mut mutator = heap.attach().unwrap();
    let root = counted_list(&mut mutator, LIST, 2);
    mutator.blocking(|| leisurely(&heap, |stats| stats.given_way_ns > 0));
    let stats = heap.stats();
    assert!(stats.given_way_ns > 0, "{:?}", stats.cycle_log.last());
    let sum: u64 = stats.cycle_log.iter().map(|cycle| cycle.given_way_ns).sum();
    assert_eq!(stats.given_way_ns, sum);
    for cycle in &stats.cycle_log {
        let worked = cycle.mark_ns + cycle.compact_ns;
        assert!(cycle.given_way_ns <= worked, "more than the phases took: {cycle:?}");
    }
    check_counted_list(&mutator, mutator.root(root), LIST);
    verify(&mut mutator);
}

#[test]
fn a_collector_that_somebody_waits_for_does_not_give_way() {
    let heap = Heap::builder().limit_bytes(256 * MIB).build().unwrap();
    let mut mutator = heap.attach().unwrap();
    let root = counted_list(&mut mutator, LIST, 2);
    let processors = thread::available_parallelism().map_or(1, usize::from) as u64;
    let of_interest = |cycle: &CycleStats| {
        cycle.reason == CycleReason::Requested && cycle.mutators_running >= processors
    };
    mutator.blocking(|| {
        leisurely(&heap, |stats| {
            heap.collect();
            stats.cycle_log.iter().filter(|cycle| of_interest(cycle)).count() > 3
        });
    });
    let cycles = heap.stats().cycle_log;
    assert!(cycles.iter().any(of_interest), "{:?}", cycles.last());
    let gave_way = |cycle: &&CycleStats| of_interest(cycle) && cycle.given_way_ns > 0;
    assert_eq!(cycles.iter().find(gave_way), None);
    check_counted_list(&mutator, mutator.root(root), LIST);
}
