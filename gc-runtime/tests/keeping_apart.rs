//! A collector thread leaves the processor of a mutator that runs, where another has none.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use gc_runtime::{Heap, Record};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use support::{FOR_EVER, check_counted_list, counted_list, verify};

const MIB: usize = 1 << 20;
const SMALL: Record = Record { refs: 1, data_words: 2 };
const LIST: u64 = 100_000;

/// To the kernel: the thread that asks.
const THIS_THREAD: Pid = Pid::from_raw(0);

fn set(processors: &[usize]) -> CpuSet {
    let mut set = CpuSet::new();
    processors.iter().for_each(|&processor| set.set(processor).unwrap());
    set
}

/// The only collector thread of this process.
fn collector_thread() -> Pid {
    let named = fs::read_dir("/proc/self/task").unwrap().map(Result::unwrap).find(|task| {
        fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name == "gc-collector-0\n")
    });
    Pid::from_raw(named.unwrap().file_name().to_str().unwrap().parse().unwrap())
}

/// On one processor: garbage, so that cycle follows upon cycle.
fn allocate_on(processor: usize, heap: &Heap, over: &AtomicBool) {
    sched_setaffinity(THIS_THREAD, &set(&[processor])).unwrap();
    let mut mutator = heap.attach().unwrap();
    let root = mutator.push_root(None);
    while !over.load(Ordering::Relaxed) {
        mutator.alloc_into(root, SMALL).unwrap();
    }
}

#[test]
fn a_collector_thread_leaves_a_mutators_processor_and_may_use_all_that_it_might_before() {
    let all = sched_getaffinity(THIS_THREAD).unwrap();
    let mut all = (0..CpuSet::count()).filter(|&processor| all.is_set(processor).unwrap());
    let (Some(one), Some(other)) = (all.next(), all.next()) else {
        return eprintln!("skipped: one processor is all there is");
    };
    let heap = Heap::builder().limit_bytes(64 * MIB).collector_threads(1).build().unwrap();
    let mut mutator = heap.attach().unwrap();
    let root = counted_list(&mut mutator, LIST, 2);
    // A thread names itself when it begins.
    mutator.collect();
    let collector = collector_thread();
    let over = AtomicBool::new(false);
    mutator.blocking(|| {
        thread::scope(|scope| {
            scope.spawn(|| allocate_on(one, &heap, &over));
            let end = Instant::now() + FOR_EVER;
            while heap.stats().moved_apart == 0 && Instant::now() < end {
                // Where the mutator is; then it may go, but nobody else makes it.
                for allowed in [set(&[one]), set(&[one, other])] {
                    sched_setaffinity(collector, &allowed).unwrap();
                    thread::sleep(Duration::from_millis(1));
                }
            }
            over.store(true, Ordering::Relaxed);
        });
        // From here on there is nobody to keep apart from.
        heap.collect();
    });
    let stats = heap.stats();
    assert!(stats.moved_apart > 0, "{:?}", stats.cycle_log.last());
    assert_eq!(sched_getaffinity(collector).unwrap(), set(&[one, other]));
    check_counted_list(&mutator, mutator.root(root), LIST);
    verify(&mut mutator);
}
