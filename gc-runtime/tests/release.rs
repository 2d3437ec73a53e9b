//! Free memory goes back to the system: when it has not been used for a while, on request, and when
//! memory is short; whole chunks of it, with their page tables.
//!
//! Each test looks at the memory of its whole process, so each runs in a process of its own.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gc_runtime::{
    Container, Decay, Event, FaultDelivery, Heap, HeapBuilder, Mutator, PageTables, Pressure,
    Record, Release, ReleaseBy, ReleaseReason, RootIndex, Transport,
};
use support::group::Group;
use support::{
    FOR_EVER, Finish, build, check_counted_list, counted_list, in_a_process_of_its_own, verify,
};

const MIB: usize = 1 << 20;
const CHUNK: usize = 2 * MIB;

/// Nodes of a list of a MiB.
const MIB_NODES: u64 = (MIB / 256) as u64;

const SHORT: Decay =
    Decay { cycles: 2, at_least: Duration::from_millis(50), at_most: Duration::from_millis(100) };

/// The transports whose heap keeps free memory from cycle to cycle.
const KEEPERS: [Transport; 2] = [Transport::Move, Transport::Stw];

fn heap_of(transport: Transport, builder: HeapBuilder) -> Option<Heap> {
    // Other programs on this machine must not have a say in what is given back.
    build(builder.pressure(Pressure::Ignore), transport, FaultDelivery::Signal)
}

fn builder() -> HeapBuilder {
    Heap::builder().limit_bytes(256 * MIB)
}

fn list(mutator: &mut Mutator, mib: u64) -> (RootIndex, u64) {
    (counted_list(mutator, mib * MIB_NODES, 30), mib * MIB_NODES)
}

fn kib(text: &str, name: &str) -> usize {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a line of this name");
    line.trim().trim_end_matches(" kB").trim().parse().expect("a number of KiB")
}

/// What a heap has in memory, in bytes: mappings have names only where the kernel gives them some,
/// so that it is found by the address of one of its objects.
#[derive(Debug, Default, PartialEq, Eq)]
struct HeapMemory {
    resident: usize,
    lazy: usize,
    huge: usize,
    mappings: usize,
}

/// What heaps are aligned to.
const HEAP_ALIGN: u64 = 1 << 30;

/// Some address of the mutator's heap.
fn address_in(mutator: &mut Mutator) -> u64 {
    let roots = mutator.root_count();
    let root = mutator.alloc(Record { refs: 0, data_words: 1 }).unwrap();
    let address = mutator.root(root).expect("just stored").object().address();
    mutator.truncate_roots(roots);
    address
}

fn heap_memory(address: u64) -> HeapMemory {
    let maps = fs::read_to_string("/proc/self/smaps").unwrap();
    let (mut found, mut inside) = (HeapMemory::default(), false);
    let heap = address / HEAP_ALIGN * HEAP_ALIGN;
    for line in maps.lines() {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        if let Some((start, end)) = range {
            let number = |text| u64::from_str_radix(text, 16).expect("an address");
            inside = number(start) < heap + HEAP_ALIGN && heap < number(end);
            found.mappings += usize::from(inside);
        } else if inside && line.starts_with("Rss:") {
            found.resident += kib(line, "Rss:") << 10;
        } else if inside && line.starts_with("LazyFree:") {
            found.lazy += kib(line, "LazyFree:") << 10;
        } else if inside && line.starts_with("AnonHugePages:") {
            found.huge += kib(line, "AnonHugePages:") << 10;
        }
    }
    assert!(found.mappings > 0, "no mapping at {address:#x}");
    found
}

fn table_bytes() -> usize {
    kib(&fs::read_to_string("/proc/self/status").unwrap(), "VmPTE:") << 10
}

/// Waits until `done`, in a blocking region, so that cycles can run meanwhile.
fn wait_for(mutator: &mut Mutator, what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + FOR_EVER;
    mutator.blocking(|| {
        while !done() {
            assert!(Instant::now() < end, "still not: {what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    });
}

/// A heap with a small list that lives, after a large one has died and been collected.
fn exhaled(heap: &Heap) -> (Mutator, RootIndex, u64, u64) {
    let mut mutator = heap.attach().unwrap();
    let address = address_in(&mut mutator);
    let (root, len) = list(&mut mutator, 8);
    let (large, _) = list(&mut mutator, 100);
    mutator.collect();
    mutator.set_root(large, None);
    mutator.collect();
    (mutator, root, len, address)
}

/// What a heap may have in memory when nothing free is left: whole chunks.
fn at_most(heap: &Heap) -> usize {
    heap.used_bytes().next_multiple_of(CHUNK)
}

in_a_process_of_its_own! {
    what_is_not_used_goes_back_by_itself_although_no_cycle_follows, child_unused: {
        for transport in KEEPERS {
            let builder = builder().release(Release::After(SHORT));
            let Some(heap) = heap_of(transport, builder) else { continue };
            let (mut mutator, root, len, at) = exhaled(&heap);
            let cycles = heap.stats().cycles;
            // The warm pool stays: 6 MiB.
            wait_for(&mut mutator, "given back", || {
                heap_memory(at).resident <= at_most(&heap) + 6 * MIB + CHUNK
            });
            // Told when the last batch is done, a little after it is seen.
            wait_for(&mut mutator, "told", || heap.stats().pages_released_between > 20_000);
            assert_eq!(heap.stats().cycles, cycles, "a cycle has done it");
            check_counted_list(&mutator, mutator.root(root), len);
            verify(&mut mutator);
            list(&mut mutator, 100);
            verify(&mut mutator);
        }
    };

    trim_gives_back_everything_but_what_is_in_use, child_trim: {
        for transport in KEEPERS {
            let Some(heap) = heap_of(transport, builder().release(Release::OnRequest)) else {
                continue;
            };
            let (mut mutator, root, len, at) = exhaled(&heap);
            assert!(heap.free_chunks() >= 40, "{} chunks", heap.free_chunks());
            assert!(heap_memory(at).resident > 100 * MIB, "{:?}", heap_memory(at));
            let bytes = mutator.blocking(|| heap.trim());
            assert!(bytes > 80 * MIB, "{bytes} bytes");
            assert_eq!(heap.free_chunks(), 0);
            let memory = heap_memory(at);
            assert!(memory.resident <= at_most(&heap), "{memory:?}, {} used", heap.used_bytes());
            assert_eq!((memory.mappings, memory.huge), (1, 0));
            assert_eq!(mutator.blocking(|| heap.trim()), 0);
            assert!(!heap.page_map().is_empty());
            check_counted_list(&mutator, mutator.root(root), len);
            for _ in 0..3 {
                list(&mut mutator, 20);
                mutator.collect();
                verify(&mut mutator);
                check_counted_list(&mutator, mutator.root(root), len);
            }
        }
    };

    a_heap_that_frees_everything_at_once_and_then_stops_keeps_no_hint, child_burst: {
        for transport in KEEPERS {
            for round in 0..4 {
                let builder = builder().release(Release::After(SHORT));
                let Some(heap) = heap_of(transport, builder) else { continue };
                let mut mutator = heap.attach().unwrap();
                let at = address_in(&mut mutator);
                let (large, _) = list(&mut mutator, 60 + round);
                mutator.set_root(large, None);
                // One cycle and nothing after it: no other free comes to the aid of a lost one.
                mutator.collect();
                let kept = |heap: &Heap| (at_most(heap) + 6 * MIB).next_multiple_of(CHUNK);
                wait_for(&mut mutator, "no hint beyond what is kept", || {
                    heap.free_chunks() * CHUNK <= kept(&heap)
                        && heap_memory(at).resident <= kept(&heap)
                });
                mutator.blocking(|| heap.trim());
                let left = (heap.free_chunks(), heap_memory(at).resident);
                assert_eq!(left, (0, 0), "{transport}, round {round}: {:?}", heap.stats());
            }
        }
    };

    memory_freed_lazily_is_dropped_by_trim, child_lazy: {
        for transport in KEEPERS {
            let builder = builder().release(Release::After(SHORT)).release_by(ReleaseBy::Freeing);
            let Some(heap) = heap_of(transport, builder) else { continue };
            let (mut mutator, root, len, at) = exhaled(&heap);
            wait_for(&mut mutator, "freed lazily", || heap_memory(at).lazy > 60 * MIB);
            // Used again before it was taken: objects must be zero all the same.
            let (again, again_len) = list(&mut mutator, 60);
            check_counted_list(&mutator, mutator.root(again), again_len);
            mutator.collect();
            verify(&mut mutator);
            check_counted_list(&mutator, mutator.root(again), again_len);
            mutator.set_root(again, None);
            mutator.collect();
            // Also what the heap's own thread frees lazily at the same time.
            mutator.blocking(|| heap.trim());
            let memory = heap_memory(at);
            assert!(memory.resident <= at_most(&heap) && memory.lazy == 0, "{memory:?}");
            check_counted_list(&mutator, mutator.root(root), len);
        }
    };

    page_tables_go_with_the_memory_whether_the_kernel_frees_them_or_not, child_tables: {
        for transport in KEEPERS {
            for page_tables in [PageTables::Ask, PageTables::Remap] {
                let builder = Heap::builder().limit_bytes(1024 * MIB).page_tables(page_tables);
                let builder = builder.release(Release::OnRequest);
                let Some(heap) = heap_of(transport, builder) else { continue };
                let mut mutator = heap.attach().unwrap();
                let at = address_in(&mut mutator);
                let (root, len) = list(&mut mutator, 8);
                let (large, _) = list(&mut mutator, 400);
                let full = table_bytes();
                mutator.set_root(large, None);
                mutator.collect();
                mutator.blocking(|| heap.trim());
                // 400 MiB have 800 KiB of tables; those of side tables stay.
                let small = table_bytes();
                assert!(small + (600 << 10) < full, "{transport}, {page_tables:?}: {full}, {small}");
                assert_eq!(heap_memory(at).mappings, 1, "{transport}, {page_tables:?}");
                // The range can still be set aside as one, and is as large as before.
                let flips = heap.flips();
                let (again, _) = list(&mut mutator, 400);
                mutator.set_root(again, None);
                mutator.collect();
                assert!(heap.flips() > flips, "{transport}, {page_tables:?}");
                check_counted_list(&mutator, mutator.root(root), len);
                verify(&mut mutator);
            }
        }
    };

    huge_pages_go_back_whole_and_none_is_cut, child_huge: {
        for by in [ReleaseBy::Dropping, ReleaseBy::Freeing] {
            let builder = builder().release(Release::After(SHORT)).release_by(by);
            let Some(heap) = heap_of(Transport::Stw, builder) else { return };
            let mut mutator = heap.attach().unwrap();
            let at = address_in(&mut mutator);
            if let Err(error) = support::memory::want_huge_pages(at) {
                return println!("skipped: no huge pages: {error}");
            }
            let (large, _) = list(&mut mutator, 100);
            let full = heap_memory(at);
            if full.huge < 80 * MIB {
                return println!("skipped: {full:?} in huge pages");
            }
            mutator.set_root(large, None);
            mutator.collect();
            let free = |memory: &HeapMemory| memory.resident - memory.lazy;
            wait_for(&mut mutator, "given back", || free(&heap_memory(at)) < full.resident / 2);
            mutator.blocking(|| heap.trim());
            let left = heap_memory(at);
            // What is in small pages now was so before: a page that was cut would be left in pieces.
            let small = |memory: &HeapMemory| memory.resident - memory.huge;
            assert!(left.resident < 4 * MIB, "{by:?}: {left:?}");
            assert!(small(&left) <= small(&full), "{by:?}: {full:?}, then {left:?}");
            list(&mut mutator, 20);
            verify(&mut mutator);
        }
    };

    a_heap_that_moves_its_pages_has_no_huge_ones_even_if_they_are_asked_for, child_small: {
        let Some(heap) = heap_of(Transport::Move, builder()) else { return };
        let (mut mutator, root, len, at) = exhaled(&heap);
        assert!(support::memory::make_huge_pages(at).is_err(), "the kernel has made huge pages");
        assert_eq!(heap_memory(at).huge, 0);
        mutator.collect();
        assert_eq!(heap_memory(at).huge, 0);
        check_counted_list(&mutator, mutator.root(root), len);
    };

    memory_that_is_locked_stays_and_is_counted, child_locked: {
        for transport in KEEPERS {
            let Some(heap) = heap_of(transport, builder().release(Release::OnRequest)) else {
                continue;
            };
            let (mut mutator, root, len, at) = exhaled(&heap);
            support::memory::lock_resident_memory();
            let bytes = mutator.blocking(|| heap.trim());
            assert_eq!(bytes, 0, "{transport}");
            assert!(heap.stats().pages_kept_back > 10_000, "{}", heap.stats().pages_kept_back);
            let (garbage, _) = list(&mut mutator, 60);
            mutator.set_root(garbage, None);
            mutator.collect();
            verify(&mut mutator);
            check_counted_list(&mutator, mutator.root(root), len);
            support::memory::unlock_memory();
            mutator.blocking(|| heap.trim());
            assert!(heap_memory(at).resident <= at_most(&heap), "{:?}", heap_memory(at));
        }
    };
}

/// Microseconds that some task has waited for memory, of the whole system.
fn stalled_us() -> Option<u64> {
    support::group::stalled_us(Path::new("/proc/pressure/memory"))
}

/// A file that does not fit beside what a group has.
fn large_file(folder: &Path) -> PathBuf {
    let path = folder.join("file");
    let mut file = fs::File::create(&path).expect("a scratch file");
    for _ in 0..96 {
        file.write_all(&[7; MIB]).expect("room for a file");
    }
    // What has not been written back cannot make room.
    file.sync_all().expect("a scratch file");
    path
}

/// Makes memory short: reads the file again and again.
fn thrash(path: &Path, done: &AtomicBool) {
    let mut buffer = vec![0u8; 1 << 16];
    while !done.load(Ordering::Relaxed) {
        let mut file = fs::File::open(path).expect("just written");
        while file.read(&mut buffer).is_ok_and(|read| read > 0) && !done.load(Ordering::Relaxed) {}
    }
}

fn pressure() {
    let (group, before) = match (Group::new(1 << 30), stalled_us()) {
        (Ok(group), Some(before)) => (group, before),
        (Err(reason), _) => return println!("skipped: {reason}"),
        (_, None) => return println!("skipped: the kernel does not tell of memory pressure"),
    };
    group.join().expect("root may move its own process");
    let released = Arc::new(AtomicBool::new(false));
    let heap = Heap::builder()
        .limit_bytes(256 * MIB)
        .container(Container::Ignore)
        .release(Release::OnRequest)
        .build()
        .unwrap();
    let note = Arc::clone(&released);
    heap.listen(Arc::new(move |event: &Event| {
        if let Event::Released { reason: ReleaseReason::Pressure, pages, .. } = event {
            note.store(*pages > 0, Ordering::Relaxed);
        }
    }));
    let (mut mutator, root, len, at) = exhaled(&heap);
    let full = heap_memory(at).resident;
    let folder = tempfile::tempdir().unwrap();
    let file = large_file(folder.path());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let finish = Finish(&done);
        // No room for the file.
        group.set(full + 48 * MIB).expect("a limit");
        for _ in 0..2 {
            scope.spawn(|| thrash(&file, &done));
        }
        let end = Instant::now() + Duration::from_secs(25);
        mutator.blocking(|| {
            while !released.load(Ordering::Relaxed) && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        drop(finish);
    });
    let stalled = Duration::from_micros(stalled_us().unwrap_or(0).saturating_sub(before));
    group.leave().expect("back to where it came from");
    if !released.load(Ordering::Relaxed) && stalled < Duration::from_secs(1) {
        return println!("skipped: memory did not become short, only {stalled:?} of stalls");
    }
    assert!(released.load(Ordering::Relaxed), "nothing was given back in {stalled:?} of stalls");
    assert!(heap_memory(at).resident < full / 2, "{:?} of {full}", heap_memory(at));
    check_counted_list(&mutator, mutator.root(root), len);
    verify(&mut mutator);
}

/// Cycles that breathe within the time that memory is kept do not fault it in again.
fn breath() {
    let Some(heap) = heap_of(Transport::Move, builder()) else { return };
    let mut mutator = heap.attach().unwrap();
    let (_, _) = list(&mut mutator, 8);
    let mut faults = Vec::new();
    for _ in 0..8 {
        let (large, _) = list(&mut mutator, 60);
        mutator.set_root(large, None);
        mutator.collect();
        faults.push(support::memory::minor_faults());
    }
    let each: Vec<u64> = faults.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // 60 MiB are 15360 pages.
    assert!(each[2..].iter().all(|&faults| faults < 6000), "faults in each cycle: {each:?}");
}

in_a_process_of_its_own! {
    memory_pressure_gives_back_what_is_free, child_under_pressure: pressure();
    a_heap_that_breathes_does_not_fault_its_memory_in_again, child_breath: breath();
}
