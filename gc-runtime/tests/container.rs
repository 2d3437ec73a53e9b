//! A heap in a control group with less memory than its limit ends with a value, not with a signal;
//! one whose group waits for memory gives back what is free.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gc_runtime::{
    Container, Event, FaultDelivery, Heap, HeapBuilder, OomCause, Record, Release, ReleaseReason,
    Transport,
};
use support::group::{self, Group};
use support::{FOR_EVER, build, check_counted_list, counted_list, in_a_process_of_its_own, verify};

const MIB: usize = 1 << 20;

/// What the group may use at first.
const LITTLE: usize = 96 * MIB;

fn large_heap() -> HeapBuilder {
    Heap::builder().limit_bytes(1024 * MIB)
}

/// Lists of 256-byte nodes until there is no room: bytes, and why it ended.
fn fill_up(heap: &Heap) -> (usize, OomCause) {
    let mut mutator = heap.attach().unwrap();
    let (list, node) = (mutator.push_root(None), mutator.push_root(None));
    let mut made = 0u64;
    let error = loop {
        if let Err(error) = mutator.alloc_into(node, Record { refs: 1, data_words: 30 }) {
            break error;
        }
        made += 1;
        let new = mutator.root(node).expect("just stored");
        mutator.store(new, 0, mutator.root(list));
        for word in mutator.words(new) {
            word.store(made - 1, Ordering::Relaxed);
        }
        mutator.set_root(list, Some(new));
    };
    mutator.set_root(node, None);
    check_counted_list(&mutator, mutator.root(list), made);
    (usize::try_from(made).unwrap() * 256, error.cause)
}

fn small_group() {
    let group = match Group::new(LITTLE) {
        Ok(group) => group,
        Err(reason) => {
            println!("skipped: {reason}");
            return;
        }
    };
    group.join().expect("root may move its own process");
    for transport in Transport::ALL {
        group.set(LITTLE).unwrap();
        let Some(heap) = build(large_heap(), transport, FaultDelivery::Signal) else { continue };
        assert!(heap.limit_bytes() < LITTLE, "{} bytes", heap.limit_bytes());
        let (bytes, cause) = fill_up(&heap);
        eprintln!("{transport}: {} MiB of {} MiB", bytes / MIB, LITTLE / MIB);
        assert_eq!(cause, OomCause::Container);
        assert!(bytes > LITTLE / 5, "{transport}: only {bytes} bytes were to be had");
        assert_eq!(heap.stats().limit_bytes, heap.limit_bytes());

        // The group is given more: the heap notices with the next cycle.
        let before = heap.limit_bytes();
        group.set(2 * LITTLE).unwrap();
        heap.collect();
        assert!(heap.limit_bytes() > before, "{transport}: still {before} bytes");
        heap.verify().unwrap();
    }
}

fn ignored_group() {
    let group = match Group::new(LITTLE) {
        Ok(group) => group,
        Err(reason) => return println!("skipped: {reason}"),
    };
    group.join().expect("root may move its own process");
    let heap = large_heap().container(Container::Ignore).build().unwrap();
    assert_eq!(heap.limit_bytes(), 1024 * MIB);
}

fn wait_for(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + FOR_EVER;
    while !done() {
        assert!(Instant::now() < end, "still not: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Set in a process that takes memory: the folder of the group that it does so in.
const TAKES_IN: &str = "GC_RUNTIME_TEST_TAKES_IN";

#[test]
fn child_that_takes_memory() {
    let Some(folder) = std::env::var_os(TAKES_IN) else { return };
    group::join(Path::new(&folder)).expect("root may move its own process");
    let taken: Vec<_> = (0..64).map(|_| vec![7u8; MIB]).collect();
    std::thread::sleep(FOR_EVER);
    drop(std::hint::black_box(taken));
}

/// A process that takes 64 MiB, slower and slower where it may not, and keeps them until it is
/// dropped.
struct Taker(Child);

impl Taker {
    fn start(group: &Group) -> Self {
        let binary = std::env::current_exe().expect("the test's own binary");
        let child = Command::new(binary)
            .args(["--exact", "child_that_takes_memory"])
            .env(TAKES_IN, group.folder())
            .stdout(Stdio::null())
            .spawn();
        Self(child.expect("the test's binary can be started"))
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Groups for a heap and for its neighbour. The limit that the heap's processes reach is that of the
/// group above: the heap's own `memory.events` do not tell of it, its `memory.pressure` does.
struct Family {
    heap: Group,
    above: Group,
    neighbour: Group,
    _all: Group,
}

impl Family {
    fn new() -> Result<Self, String> {
        let all = Group::new(1 << 30)?;
        let above = all.below("above")?;
        // Who can swap reaches no limit for long.
        all.keep_from_swapping();
        let (heap, neighbour) = (above.below("heap")?, all.below("neighbour")?);
        heap.stalled_us().ok_or("the kernel does not tell of a group's pressure")?;
        neighbour.set_high(Some(8 * MIB)).map_err(|error| format!("memory.high: {error}"))?;
        Ok(Self { heap, above, neighbour, _all: all })
    }
}

fn is_open(path: &Path) -> bool {
    let open = fs::read_dir("/proc/self/fd").expect("the process's own files").flatten();
    open.filter_map(|file| fs::read_link(file.path()).ok()).any(|file| file == path)
}

fn stalling_group() {
    let family = match Family::new() {
        Ok(family) => family,
        Err(reason) => return println!("skipped: {reason}"),
    };
    family.heap.join().expect("root may move its own process");
    // Those that keep free memory from cycle to cycle.
    for transport in [Transport::Move, Transport::Stw] {
        let builder = Heap::builder().limit_bytes(256 * MIB).container(Container::Ignore);
        let builder = builder.release(Release::OnRequest);
        let Some(heap) = build(builder, transport, FaultDelivery::Signal) else { continue };
        let file = family.heap.pressure_file();
        assert!(is_open(&file), "{transport}: {} is not watched", file.display());
        let given = Arc::new(AtomicU64::new(0));
        let note = Arc::clone(&given);
        heap.listen(Arc::new(move |event: &Event| {
            if let Event::Released { reason: ReleaseReason::Pressure, pages, .. } = event {
                note.fetch_add(*pages, Ordering::Relaxed);
            }
        }));
        let mut mutator = heap.attach().unwrap();
        let len = (8 * MIB / 256) as u64;
        let root = counted_list(&mut mutator, len, 30);
        let large = counted_list(&mut mutator, (100 * MIB / 256) as u64, 30);
        mutator.collect();
        mutator.set_root(large, None);
        mutator.collect();
        mutator.blocking(|| {
            let before = family.neighbour.stalled_us();
            let enough = before.map(|before| before + 1_000_000);
            let taker = Taker::start(&family.neighbour);
            wait_for("a second of the neighbour's stalls", || {
                family.neighbour.stalled_us() > enough
            });
            // A watch on the whole system would have been told by now.
            std::thread::sleep(Duration::from_secs(1));
            drop(taker);
            let own = family.heap.stalled_us();
            let given_for_others = given.load(Ordering::Relaxed);
            assert_eq!(given_for_others, 0, "{transport}: given back after {own:?} us of its own");

            let used = family.above.usage().expect("a number");
            family.above.set_high(Some(used + 8 * MIB)).expect("a limit above what is in use");
            let _taker = Taker::start(&family.heap);
            // 100 MiB are 25600 pages.
            wait_for("given back", || given.load(Ordering::Relaxed) > 20_000);
        });
        family.above.set_high(None).expect("no limit");
        let stalled = family.heap.stalled_us().unwrap_or(0) / 1000;
        let given = given.load(Ordering::Relaxed);
        eprintln!("{transport}: {given} pages given back, {stalled} ms of stalls so far");
        assert!(heap.stats().pages_released_between >= given, "{:?}", heap.stats());
        check_counted_list(&mutator, mutator.root(root), len);
        verify(&mut mutator);
    }
}

in_a_process_of_its_own! {
    a_heap_gives_back_what_is_free_when_its_own_group_stalls_and_not_when_a_neighbour_does, child_in_a_group_that_stalls: stalling_group();
    a_heap_in_a_small_container_is_full_before_the_kernel_kills_it, child_in_a_small_group: small_group();
    a_heap_that_ignores_its_container_has_the_limit_that_was_asked_for, child_that_ignores_its_group: ignored_group();
}
