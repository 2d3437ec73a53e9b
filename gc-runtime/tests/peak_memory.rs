//! What a cycle with moved pages needs beside the heap: next to nothing.
//!
//! One test: it looks at the memory of the whole process.

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gc_runtime::{FaultDelivery, Heap, Mutator, Record, RootIndex, Transport};
use support::{Finish, Random, build, fill};

/// What the rest of the process may need meanwhile, and what a warm pool may hold.
const SLACK: u64 = 8 << 20;

/// Words of the largest object.
const LARGEST: u64 = 13;

/// Nodes of the table, each with a live object of 8 words on average.
const TABLE: u32 = 400_000;

/// Resident bytes of private anonymous memory, both spaces and everything else.
///
/// A sum over /proc/self/smaps would count a page twice that is moved while the file is read.
fn resident_anonymous() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc/self/status");
    kib_after(&status, "RssAnon:") << 10
}

fn kib_after(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a line of this name");
    line.trim().trim_end_matches(" kB").trim().parse().expect("a number of KiB")
}

/// Resident bytes of all mappings whose name passes `wanted`; `None` where they have no names.
fn resident_of(wanted: impl Fn(&str) -> bool) -> Option<u64> {
    let maps = std::fs::read_to_string("/proc/self/smaps").expect("/proc/self/smaps");
    let (mut sum, mut inside, mut named) = (0, false, false);
    for line in maps.lines() {
        if line.starts_with(|digit: char| digit.is_ascii_hexdigit() && !digit.is_uppercase())
            && line.contains('-')
        {
            let name = line.split("[anon:").nth(1).map(|rest| rest.trim_end_matches(']'));
            named |= name.is_some();
            inside = name.is_some_and(&wanted);
        } else if inside && line.starts_with("Rss:") {
            sum += kib_after(line, "Rss:") << 10;
        }
    }
    named.then_some(sum)
}

fn is_space(name: &str) -> bool {
    name == "gc heap" || name == "gc from-space"
}

/// Replaces `count` objects of the table.
fn churn(mutator: &mut Mutator, roots: Roots, random: &mut Random, count: u64) {
    for _ in 0..count {
        let shape = Record { refs: 1, data_words: 1 + random.words_below(11) };
        mutator.alloc_into(roots.node, shape).expect("room");
        let node = mutator.root(roots.node).expect("just stored");
        fill(mutator, node, 1);
        let table = mutator.root(roots.table).expect("the table");
        let slot = random.words_below(u64::from(TABLE));
        mutator.store(table, slot, Some(node));
    }
}

#[derive(Clone, Copy)]
struct Roots {
    table: RootIndex,
    node: RootIndex,
}

#[test]
fn a_moving_cycle_needs_two_percent_and_eight_mib_beside_the_heap_and_allocates_nothing() {
    for delivery in [FaultDelivery::Signal, FaultDelivery::HandlerThread] {
        let builder = Heap::builder().limit_bytes(128 << 20);
        let Some(heap) = build(builder, Transport::Move, delivery) else { return };
        let mut mutator = heap.attach().unwrap();
        let table = mutator.alloc(Record { refs: TABLE, data_words: 0 }).unwrap();
        let roots = Roots { table, node: mutator.push_root(None) };
        let mut random = Random::new(3);
        churn(&mut mutator, roots, &mut random, u64::from(TABLE) * 4);
        mutator.collect();

        let (done, sampled) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            let finish = Finish(&done);
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    sampled.fetch_max(resident_anonymous(), Ordering::Relaxed);
                    std::thread::sleep(std::time::Duration::from_micros(100));
                }
            });
            for cycle in 0..12 {
                churn(&mut mutator, roots, &mut random, u64::from(TABLE) / 2);
                let before = resident_anonymous();
                sampled.store(before, Ordering::Relaxed);
                let flips = heap.flips();
                std::thread::scope(|scope| {
                    let collect = scope.spawn(|| heap.collect());
                    // Beside the cycle: faults, and pages for new objects.
                    let mut allocated = 0;
                    while !collect.is_finished() {
                        churn(&mut mutator, roots, &mut random, 100);
                        allocated += 100 * LARGEST * 8;
                    }
                    let peak = sampled.load(Ordering::Relaxed);
                    let bound = before + allocated + before / 50 + SLACK;
                    assert!(
                        peak <= bound,
                        "cycle {cycle} by {delivery:?}: {peak} bytes resident, {before} before, \
                         {allocated} allocated, at most {bound}"
                    );
                });
                assert!(heap.flips() > flips, "nothing moved");
            }
            drop(finish);
        });

        // A steady state: the same work between cycles, none of it beside them.
        for _ in 0..10 {
            churn(&mut mutator, roots, &mut random, u64::from(TABLE) / 2);
            mutator.collect();
        }
        let stats = heap.stats();
        let log = &stats.cycle_log;
        let warm = &log[log.len() - 6..];
        let allocated: Vec<u64> = warm.iter().map(|cycle| cycle.pages_allocated).collect();
        assert_eq!(allocated, [0; 6], "pages allocated in a steady state by {delivery:?}");
        for cycle in warm {
            assert!(cycle.pages_moved > 0 && cycle.pages_recycled > 0, "{cycle:?}");
        }

        // From-space is empty between cycles, and all of the heap's memory is under its name.
        let used = heap.used_bytes() as u64;
        match resident_of(|name| name == "gc from-space") {
            None => eprintln!("skipped: this kernel does not name mappings"),
            Some(from) => {
                assert_eq!(from, 0, "from-space keeps memory between cycles");
                let spaces = resident_of(is_space).expect("named");
                let limit = heap.limit_bytes() as u64;
                assert!(spaces >= used / 2, "{spaces} bytes of heap for {used} in use");
                assert!(spaces <= limit + limit / 50 + SLACK, "{spaces} bytes for {limit}");
            }
        }
    }
    side_tables_are_small();
}

/// With the heap full, what carries the collector's names beside the two spaces is small.
fn side_tables_are_small() {
    let limit_bytes = 256usize << 20;
    let limit = limit_bytes as u64;
    let builder = Heap::builder().limit_bytes(limit_bytes);
    let Some(heap) = build(builder, Transport::Move, FaultDelivery::Signal) else { return };
    assert!(heap.stats().metadata_bytes_per_mib * 1000 <= 45 << 20);
    let before = resident_of(|name| name.starts_with("gc ") && !is_space(name));
    let mut mutator = heap.attach().expect("a mutator");
    let list = support::counted_list(&mut mutator, limit / 256 * 6 / 10, 30);
    mutator.collect();
    let used = heap.used_bytes() as u64;
    let after = resident_of(|name| name.starts_with("gc ") && !is_space(name));
    if let (Some(before), Some(after)) = (before, after) {
        let tables = after - before;
        // Tables of huge pages are rounded up to 2 MiB each.
        let bound = used * 45 / 1000 + (6 << 20);
        assert!(tables <= bound, "{tables} bytes of tables for {used} in use");
        eprintln!("{tables} bytes of tables for {used} bytes in use");
    }
    support::check_counted_list(&mutator, mutator.root(list), limit / 256 * 6 / 10);
}
