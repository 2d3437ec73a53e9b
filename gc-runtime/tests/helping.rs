//! Mutators that are ahead of the collector mark for it instead of waiting.

mod support;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::time::Instant;

use gc_runtime::{
    AttachError, CycleReason, CycleStats, FaultDelivery, Header, Heap, HeapBuilder, HeapStats,
    Mutator, ObjectLayout, ObjectModel, Record, Transport, VerifyError,
};
use support::{FOR_EVER, Random, build, on_every_transport, random_graph, verify};

const MIB: usize = 1 << 20;

/// Objects of a graph, and those of them that stay in a root.
const NODES: usize = 120_000;
const ROOTS: usize = 1000;

/// Makes garbage until `seen`; no longer than it can.
fn press(mutator: &mut Mutator, seen: impl Fn(&HeapStats) -> bool) {
    let heap = mutator.heap().clone();
    let root = mutator.push_root(None);
    let end = Instant::now() + FOR_EVER;
    let garbage = Record { refs: 1, data_words: 30 };
    while !seen(&heap.stats())
        && Instant::now() < end
        && (0..16 * 1024).all(|_| mutator.alloc_into(root, garbage).is_ok())
    {}
    mutator.set_root(root, None);
}

/// In a heap that has too little room beside them to go on unhindered for a whole cycle.
fn graphs_are_whole_after_mutators_have_marked(collector_threads: usize, mutators: usize) {
    let builder = || Heap::builder().limit_bytes(32 * MIB).collector_threads(collector_threads);
    on_every_transport(builder, |heap| {
        let pressed = |stats: &HeapStats| stats.cycles > 5 && stats.bytes_marked_by_mutators > 0;
        // Between two of these the graphs are as they were.
        let barrier = Barrier::new(mutators + 1);
        let looks = std::thread::scope(|scope| {
            for seed in 1..=mutators {
                let (heap, barrier) = (&heap, &barrier);
                scope.spawn(move || {
                    let mutator = &mut heap.attach().expect("a sound heap");
                    let random = &mut Random::new(seed as u64);
                    random_graph(mutator, random, NODES / mutators, 12);
                    mutator.truncate_roots(ROOTS);
                    mutator.blocking(|| (barrier.wait(), barrier.wait()));
                    press(mutator, pressed);
                    mutator.blocking(|| (barrier.wait(), barrier.wait()));
                });
            }
            [(); 2].map(|()| {
                barrier.wait();
                let look = (heap.verify(), heap.graph_digest());
                barrier.wait();
                look
            })
        });
        let [before, after] = looks;
        before.0.expect("sound before");
        after.0.expect("sound afterwards");
        assert_eq!(before.1, after.1);
        assert!(pressed(&heap.stats()), "{:?}", heap.stats().cycle_log.last());
        let stats = heap.stats();
        let sum: u64 = stats.cycle_log.iter().map(|cycle| cycle.bytes_marked_by_mutators).sum();
        assert_eq!(stats.bytes_marked_by_mutators, sum);
    });
}

#[test]
fn graphs_are_whole_after_a_mutator_has_marked_for_one_thread() {
    graphs_are_whole_after_mutators_have_marked(1, 1);
}

#[test]
fn graphs_are_whole_after_mutators_have_marked_for_one_thread() {
    graphs_are_whole_after_mutators_have_marked(1, 3);
}

#[test]
fn graphs_are_whole_after_mutators_have_marked_for_two_threads() {
    graphs_are_whole_after_mutators_have_marked(2, 2);
}

#[test]
fn a_mutator_that_has_no_memory_at_all_marks_until_there_is_some() {
    on_every_transport(
        || Heap::builder().limit_bytes(32 * MIB).collector_threads(1),
        |heap| {
            let mutator = &mut heap.attach().expect("a sound heap");
            let kept = Record { refs: 1, data_words: 30 };
            let end = Instant::now() + FOR_EVER;
            loop {
                // Everything lives: when the heap is full there is nothing left to be handed out.
                while let Ok(object) = mutator.alloc(kept) {
                    let last = mutator.root(object).expect("just stored");
                    mutator.store(last, 0, Some(last));
                }
                let stats = heap.stats();
                let full = |cycle: &&CycleStats| cycle.reason == CycleReason::Emergency;
                let full: Vec<_> = stats.cycle_log.iter().filter(full).collect();
                assert!(!full.is_empty(), "{:?}", stats.cycle_log.last());
                if full.iter().any(|cycle| cycle.bytes_marked_by_mutators > 0) {
                    break;
                }
                // Such a marking takes a few milliseconds: it may be over before the mutator wakes up.
                assert!(Instant::now() < end, "{full:?}");
                mutator.truncate_roots(0);
            }
            verify(mutator);
        },
    );
}

thread_local! {
    static ARMED: Cell<bool> = const { Cell::new(false) };
}

const OLD: u64 = 1 << 62;

/// Panics on an armed thread that asks for the layout of an old object.
struct Armed;

impl ObjectModel for Armed {
    fn layout(&self, header: Header) -> ObjectLayout {
        let old = header.first() & OLD != 0;
        assert!(!(old && ARMED.get()), "the object model panics, as the test wants");
        let words = u32::try_from(header.first() & 0xffff).expect("16 bits");
        ObjectLayout::range(words, 1, words - 1)
    }
}

#[test]
fn a_panic_of_a_mutator_that_marks_breaks_the_heap_and_reaches_the_mutator() {
    // Pages are built in the pause: what else would ask a mutator about old objects?
    let builder = HeapBuilder::new(Armed).limit_bytes(32 * MIB);
    let heap = build(builder, Transport::Stw, FaultDelivery::Signal).expect("it needs nothing");
    let mut mutator = heap.attach().unwrap();
    for _ in 0..20 * MIB / 256 {
        let object = mutator.allocate(Header::one(1 << 63 | OLD | 32)).unwrap();
        mutator.push_root(mutator.local(object));
    }
    ARMED.set(true);
    let end = Instant::now() + FOR_EVER;
    let made = catch_unwind(AssertUnwindSafe(|| {
        while Instant::now() < end {
            mutator.allocate(Header::one(1 << 63 | 32)).expect("garbage only");
        }
    }));
    ARMED.set(false);
    assert!(made.is_err(), "it never marked: {:?}", heap.stats().cycle_log.last());
    assert_eq!(heap.attach().map(|_| ()).unwrap_err(), AttachError::Broken);
    drop(mutator);
    assert_eq!(heap.verify(), Err(VerifyError::Unusable));
}
