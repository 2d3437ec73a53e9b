//! How much memory a heap uses: limits that change while it runs, growth, stalls, emergencies.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gc_runtime::{
    CycleReason, Event, Growth, Heap, HeapStats, LimitError, Mutator, OomCause, Record, RootIndex,
    Transport, Zeal,
};
use support::{
    FOR_EVER, Finish, Random, check_counted_list, counted_list, digest, in_all_ways,
    on_every_transport, verify,
};

const MIB: usize = 1 << 20;

/// 256 bytes.
const NODE: Record = Record { refs: 1, data_words: 30 };

/// Objects of this many bytes that nobody keeps.
fn garbage(mutator: &mut Mutator, bytes: usize) {
    let root = mutator.push_root(None);
    for _ in 0..bytes / 256 {
        mutator.alloc_into(root, NODE).expect("all of it is garbage");
    }
    mutator.set_root(root, None);
}

/// A list of about this many bytes.
fn list(mutator: &mut Mutator, bytes: usize) -> (RootIndex, u64) {
    let len = (bytes / 256) as u64;
    (counted_list(mutator, len, 30), len)
}

#[test]
fn a_limit_of_half_the_live_data_takes_nothing_away_and_gives_nothing_more() {
    on_every_transport(
        || Heap::builder().limit_bytes(16 * MIB).zeal(Zeal { every_refills: 0, ..Zeal::full() }),
        |heap| {
            let mut mutator = heap.attach().unwrap();
            let (root, len) = list(&mut mutator, 8 * MIB);
            let before = digest(&mut mutator);
            heap.set_limit_bytes(4 * MIB).unwrap();
            assert_eq!(heap.limit_bytes(), 4 * MIB);
            mutator.collect();
            assert_eq!(digest(&mut mutator), before);
            check_counted_list(&mutator, mutator.root(root), len);

            // What is left of the buffer may still be had; then it ends.
            let scratch = mutator.push_root(None);
            let error = (0..1000).find_map(|_| mutator.alloc_into(scratch, NODE).err());
            let error = error.expect("no room at half the live data");
            assert_eq!(error.cause, OomCause::Full);
            assert_eq!(error.limit_bytes, 4 << 20);
            assert!(error.live_bytes >= 8 << 20, "{error}");
            mutator.set_root(scratch, None);
            mutator.collect();
            assert_eq!(digest(&mut mutator), before);

            // Half of it, cut off and stored into, is still the program's.
            let mut node = mutator.root(root).unwrap();
            for _ in 0..len / 8 {
                node = mutator.load(node, 0).unwrap();
            }
            mutator.store(node, 0, None);
            mutator.collect();
            list(&mut mutator, MIB);
            heap.set_limit_bytes(16 * MIB).unwrap();
            list(&mut mutator, 8 * MIB);
            verify(&mut mutator);
        },
    );
}

#[test]
fn a_full_heap_goes_on_when_its_limit_is_raised() {
    on_every_transport(
        || Heap::builder().limit_bytes(4 * MIB).max_limit_bytes(12 * MIB),
        |heap| {
            let mut mutator = heap.attach().unwrap();
            let mut fill = |bytes: usize| (0..bytes / 256).find_map(|_| mutator.alloc(NODE).err());
            assert_eq!(fill(8 * MIB).expect("no room").cause, OomCause::Full);
            heap.set_limit_bytes(12 * MIB).unwrap();
            assert_eq!(fill(7 * MIB), None);
            assert_eq!(fill(8 * MIB).expect("no room").limit_bytes, 12 << 20);
            let stats = heap.stats();
            assert_eq!((stats.limit_bytes, stats.out_of_memory), (12 * MIB, 2));
            drop(mutator);
            heap.verify().unwrap();
        },
    );
}

#[test]
fn a_limit_out_of_range_is_refused_with_the_range_and_changes_nothing() {
    let heap = Heap::builder().limit_bytes(8 * MIB).max_limit_bytes(16 * MIB).build().unwrap();
    for bytes in [0, 4096, 17 * MIB, usize::MAX] {
        let error = heap.set_limit_bytes(bytes).unwrap_err();
        let LimitError::OutOfRange { limit_bytes, min, max } = error else { panic!("{error}") };
        assert_eq!((limit_bytes, max), (bytes, 16 * MIB));
        assert!(!(min..=max).contains(&bytes));
        assert_eq!(heap.limit_bytes(), 8 * MIB);
    }
}

#[test]
fn a_limit_that_changes_all_the_time_harms_nobody() {
    on_every_transport(
        || Heap::builder().limit_bytes(24 * MIB),
        |heap| {
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let finish = Finish(&done);
                let (heap, done) = (&heap, &done);
                scope.spawn(move || {
                    let mut random = Random::new(3);
                    while !done.load(Ordering::Relaxed) {
                        let mib = 6 + usize::try_from(random.below(19)).unwrap();
                        heap.set_limit_bytes(mib * MIB).unwrap();
                        std::thread::yield_now();
                    }
                });
                let mut mutator = heap.attach().unwrap();
                let (root, len) = list(&mut mutator, 3 * MIB);
                for _ in 0..30 {
                    garbage(&mut mutator, MIB);
                    check_counted_list(&mutator, mutator.root(root), len);
                }
                drop(finish);
            });
            heap.verify().unwrap();
        },
    );
}

#[test]
fn a_lowered_limit_gives_memory_back_at_the_next_cycle() {
    on_every_transport(
        || Heap::builder().limit_bytes(64 * MIB),
        |heap| {
            let page = uffd_move::page_size();
            let mut mutator = heap.attach().unwrap();
            let (root, len) = list(&mut mutator, 4 * MIB);
            garbage(&mut mutator, 80 * MIB);
            heap.set_limit_bytes(8 * MIB).unwrap();
            mutator.collect();
            mutator.collect();
            let pages = heap.page_map().len();
            assert!(pages * page <= 10 * MIB, "{pages} pages are kept");
            check_counted_list(&mutator, mutator.root(root), len);
        },
    );
}

#[test]
fn a_soft_limit_bounds_garbage_and_gives_way_to_live_data() {
    on_every_transport(
        || Heap::builder().limit_bytes(64 * MIB).soft_limit_bytes(12 * MIB),
        |heap| {
            let mut mutator = heap.attach().unwrap();
            let (_, _) = list(&mut mutator, 2 * MIB);
            for round in 1..=4 {
                // Not a quarter of the limit, and nobody else asks for a cycle.
                garbage(&mut mutator, 12 * MIB);
                let done = Instant::now() + FOR_EVER;
                mutator.blocking(|| {
                    while heap.stats().cycles < round {
                        assert!(Instant::now() < done, "no cycle at the soft limit");
                        std::thread::yield_now();
                    }
                });
            }
            let stats = heap.stats();
            assert_eq!((stats.target_bytes, stats.limit_bytes), (12 * MIB, 64 * MIB));
            list(&mut mutator, 40 * MIB);
            mutator.collect();
            assert!(heap.stats().target_bytes > 42 * MIB);
            assert_eq!(heap.stats().out_of_memory, 0);
        },
    );
}

#[test]
fn an_adaptive_heap_is_as_large_as_its_live_data_need() {
    on_every_transport(
        || Heap::builder().limit_bytes(512 * MIB).growth(Growth::Adaptive),
        |heap| {
            let mut mutator = heap.attach().unwrap();
            let small = list(&mut mutator, MIB);
            mutator.collect();
            mutator.collect();
            let before = heap.stats().target_bytes;
            assert!(before < 256 * MIB, "{before} bytes for one MiB");
            let large = list(&mut mutator, 60 * MIB);
            mutator.collect();
            mutator.collect();
            let after = heap.stats().target_bytes;
            assert!(after > 61 * MIB * 5 / 4 - MIB, "{after} bytes for 61 MiB");
            check_counted_list(&mutator, mutator.root(small.0), small.1);
            check_counted_list(&mutator, mutator.root(large.0), large.1);
        },
    );
}

/// A large object for which there is room once.
const LARGE: Record = Record { refs: 0, data_words: (10 << 20) / 8 };

#[test]
fn a_mutator_that_waits_for_memory_is_counted_and_told() {
    on_every_transport(
        || Heap::builder().limit_bytes(16 * MIB),
        |heap| {
            let told = Arc::new(Mutex::new(Vec::new()));
            let sink = Arc::clone(&told);
            heap.listen(Arc::new(move |event: &Event| {
                if let Event::Stalled { took, .. } = event {
                    sink.lock().unwrap().push(*took);
                }
            }));
            let mut mutator = heap.attach().unwrap();
            let root = mutator.alloc(LARGE).unwrap();
            mutator.collect();
            mutator.set_root(root, None);
            mutator.alloc_into(root, LARGE).unwrap();
            let stats = heap.stats();
            let told = told.lock().unwrap();
            assert!(!told.is_empty(), "there was room for two");
            assert_eq!(stats.stall_ns.len(), told.len() as u64);
            let sum: u128 = told.iter().map(Duration::as_nanos).sum();
            assert_eq!(u128::from(stats.allocation_stall_ns), sum);
            assert!(sum > 0);
        },
    );
}

/// A list of 20 MiB in a heap of 32, beside which garbage is made until `seen`: with two thirds live
/// there is not room enough to go on unhindered for a whole cycle.
fn saturate(heap: &Heap, seen: impl Fn(&HeapStats) -> bool) -> (Mutator, RootIndex, u64) {
    let mut mutator = heap.attach().unwrap();
    let (root, len) = list(&mut mutator, 20 * MIB);
    let end = Instant::now() + FOR_EVER;
    while !seen(&heap.stats()) {
        assert!(Instant::now() < end, "{:?}", heap.stats().cycle_log.last());
        garbage(&mut mutator, 4 * MIB);
    }
    (mutator, root, len)
}

#[test]
fn a_mutator_that_is_ahead_of_the_collector_is_held_back_and_counted() {
    on_every_transport(
        || Heap::builder().limit_bytes(32 * MIB),
        |heap| {
            let (mutator, root, len) = saturate(&heap, |stats| stats.held_back_ns > 0);
            let stats = heap.stats();
            let sum: u64 = stats.cycle_log.iter().map(|cycle| cycle.held_back_ns).sum();
            assert_eq!(stats.held_back_ns, sum);
            check_counted_list(&mutator, mutator.root(root), len);
        },
    );
}

#[test]
fn a_mutator_that_is_ahead_of_the_collector_builds_pages_for_it() {
    in_all_ways(
        || Heap::builder().limit_bytes(32 * MIB),
        |heap| {
            if heap.transport() == Transport::Stw {
                // Pages are built in a pause, when nobody is ahead.
                return;
            }
            let (mut mutator, root, len) = saturate(&heap, |stats| stats.pages_helped > 0);
            check_counted_list(&mutator, mutator.root(root), len);
            verify(&mut mutator);
        },
    );
}

#[test]
fn an_emergency_finds_the_room_that_dense_pages_keep() {
    on_every_transport(
        || Heap::builder().limit_bytes(16 * MIB),
        |heap| {
            let mut mutator = heap.attach().unwrap();
            let small = Record { refs: 0, data_words: 7 };
            let mut roots = Vec::new();
            while let Ok(root) = mutator.alloc(small) {
                roots.push(root);
            }
            // Pages stay live enough not to be touched by an ordinary cycle.
            for &root in roots.iter().skip(5).step_by(16) {
                mutator.set_root(root, None);
            }
            mutator.collect();
            let cycles = heap.stats().emergency_cycles;
            let freed = roots.len() / 16 * 64;
            let words = u32::try_from(freed / 8 * 8 / 10).unwrap();
            let large = Record { refs: 0, data_words: words };
            mutator.alloc(large).expect("dead words in dense pages are room, too");
            // The cycle that found it may not have ended yet.
            mutator.collect();
            let stats = heap.stats();
            assert!(stats.emergency_cycles > cycles, "an ordinary cycle found it");
            let log = &stats.cycle_log;
            assert!(log.iter().any(|cycle| cycle.reason == CycleReason::Emergency));
            verify(&mut mutator);
        },
    );
}
