//! Pages that the kernel will not move: the cycle completes, nothing is lost, and each is counted by
//! the reason.
//!
//! What is shared, pinned, merged or locked belongs to the whole process, so each test runs in a
//! process of its own.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![allow(unsafe_code, reason = "fork, registered buffers and vmsplice are what this is about")]

mod support;

use std::fs;
use std::io::{PipeReader, Read, pipe};
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use gc_runtime::{
    Container, FaultDelivery, Fork, Heap, HeapStats, Mutator, Pressure, Record, Release, RootIndex,
    Transport,
};
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, alarm, fork};
use support::group::Group;
use support::{Finish, build, in_a_process_of_its_own, verify};

/// Objects of the table.
const OBJECTS: u32 = 40_000;

/// Of those below, every second one lives, so that they are packed; the others live all, so that
/// their pages slide as they are.
const SPARSE: u32 = OBJECTS / 4;

/// 256 bytes with the header.
const OBJECT: Record = Record { refs: 0, data_words: 31 };

/// Cycles that each disturbance has to bear.
const CYCLES: usize = 4;

fn lives(at: u32, odd: u32) -> bool {
    at >= SPARSE || at % 2 == odd
}

/// A heap with a table, some of whose objects have died.
struct Scene {
    heap: Heap,
    mutator: Mutator,
    table: RootIndex,
    object: RootIndex,
}

impl Scene {
    fn new(transport: Transport) -> Option<Self> {
        let builder = Heap::builder()
            .limit_bytes(64 << 20)
            .fork(Fork::Inherit)
            .container(Container::Ignore)
            .pressure(Pressure::Ignore)
            .release(Release::OnRequest);
        let heap = build(builder, transport, FaultDelivery::Signal)?;
        let mut mutator = heap.attach().unwrap();
        let table = mutator.alloc(Record { refs: OBJECTS, data_words: 0 }).unwrap();
        let object = mutator.push_root(None);
        let mut scene = Self { heap, mutator, table, object };
        scene.fill(0);
        Some(scene)
    }

    /// Replaces all objects; of the sparse ones those with the remainder `odd` live.
    fn fill(&mut self, odd: u32) {
        for at in 0..OBJECTS {
            let table = self.mutator.root(self.table).expect("the table");
            self.mutator.store(table, at, None);
            self.mutator.alloc_into(self.object, OBJECT).unwrap();
            if !lives(at, odd) {
                continue;
            }
            let object = self.mutator.root(self.object).expect("just stored");
            for word in self.mutator.words(object) {
                word.store(u64::from(at) * 3, Ordering::Relaxed);
            }
            let table = self.mutator.root(self.table).expect("the table");
            self.mutator.store(table, at, Some(object));
        }
    }

    fn check(&self, odd: u32) {
        let table = self.mutator.root(self.table).expect("the table");
        for at in (0..OBJECTS).filter(|&at| lives(at, odd)) {
            let object = self.mutator.load(table, at).expect("an object");
            let words = self.mutator.words(object);
            assert!(
                words.iter().all(|word| word.load(Ordering::Relaxed) == u64::from(at) * 3),
                "object {at} has changed"
            );
        }
    }

    /// Bytes of some of the live objects.
    fn some_bytes(&self, mut each: impl FnMut(*mut libc::c_void, usize)) {
        let table = self.mutator.root(self.table).expect("the table");
        for at in (0..OBJECTS).step_by(500) {
            let Some(object) = self.mutator.load(table, at) else { continue };
            let bytes = self.mutator.bytes(object);
            each(bytes.as_ptr().cast_mut().cast(), bytes.len());
        }
    }

    /// Collects and checks, and again with other objects dead.
    fn cycles(&mut self) -> HeapStats {
        for round in 0..CYCLES {
            let odd = u32::from(round % 2 == 1);
            self.mutator.collect();
            self.check(odd);
            verify(&mut self.mutator);
            self.fill(1 - odd);
        }
        let stats = self.heap.stats();
        assert!(self.heap.flips() > 0, "nothing was set aside");
        eprintln!(
            "{}: {} pages moved; copied instead: {} busy, {} stalled, {} refused",
            stats.transport,
            stats.pages_moved,
            stats.busy_fallbacks,
            stats.stalled_fallbacks,
            stats.refused_fallbacks
        );
        stats
    }
}

/// A child that stays until it is dropped, and shares every page until then.
struct Sharer(Pid);

impl Sharer {
    fn new() -> Self {
        // SAFETY: the child only sleeps and ends.
        match unsafe { fork() }.expect("fork") {
            ForkResult::Child => loop {
                alarm::set(120);
                nix::unistd::pause();
            },
            ForkResult::Parent { child } => Self(child),
        }
    }
}

impl Drop for Sharer {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGKILL);
        let _ = waitpid(self.0, None);
    }
}

fn forks() {
    for transport in Transport::ALL {
        let Some(mut scene) = Scene::new(transport) else { continue };
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let finish = Finish(&stop);
            let stop = &stop;
            scope.spawn(move || {
                // Children at any moment of a cycle, one of them alive at all times.
                let mut last = None;
                while !stop.load(Ordering::Relaxed) {
                    last = Some(Sharer::new());
                    std::thread::sleep(Duration::from_millis(3));
                }
                drop(last);
            });
            let shared = Sharer::new();
            let stats = scene.cycles();
            drop(shared);
            if transport == Transport::Move {
                assert!(stats.busy_fallbacks > 0, "no page was busy");
            }
            drop(finish);
        });
    }
}

fn registered_buffers() {
    for transport in Transport::ALL {
        let Some(mut scene) = Scene::new(transport) else { continue };
        let ring = match io_uring::IoUring::new(2) {
            Ok(ring) => ring,
            Err(error) => {
                println!("skipped: no io_uring: {error}");
                return;
            }
        };
        let mut buffers = Vec::new();
        scene.some_bytes(|base, len| {
            buffers.push(libc::iovec { iov_base: base, iov_len: len });
        });
        // SAFETY: no request ever names the buffers, so that the kernel only keeps their pages.
        unsafe { ring.submitter().register_buffers(&buffers) }.expect("root may pin a few pages");
        let stats = scene.cycles();
        if transport == Transport::Move {
            assert!(stats.busy_fallbacks > 0, "no page was busy");
        }
        drop(ring);
    }
}

/// Puts `len` bytes at `base` into a pipe without copying: it refers to the pages themselves.
fn splice(to: &impl AsFd, base: *mut libc::c_void, len: usize) {
    use std::os::fd::AsRawFd;
    let vector = libc::iovec { iov_base: base, iov_len: len };
    // SAFETY: the bytes lie in the heap and stay mapped; the pipe only reads them.
    let sent = unsafe { libc::vmsplice(to.as_fd().as_raw_fd(), &raw const vector, 1, 0) };
    assert_eq!(usize::try_from(sent).ok(), Some(len), "{}", std::io::Error::last_os_error());
}

fn read_all(mut from: PipeReader) -> usize {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).expect("the pipe");
    bytes.len()
}

fn spliced_pages() {
    for transport in Transport::ALL {
        let Some(mut scene) = Scene::new(transport) else { continue };
        let mut pipes = Vec::new();
        let mut spliced = 0;
        scene.some_bytes(|base, len| {
            let (read, write) = pipe().expect("a pipe");
            splice(&write, base, len);
            pipes.push(read);
            spliced += len;
        });
        scene.cycles();
        // A splice holds a reference, which is no pin: the page may be moved and used again, so
        // that what comes out of the pipe is anything. As much of it as went in.
        assert_eq!(pipes.into_iter().map(read_all).sum::<usize>(), spliced);
        scene.mutator.collect();
        verify(&mut scene.mutator);
    }
}

/// Lets the kernel merge equal pages while it lives.
struct Merging {
    run: String,
    pages: String,
    sleep: String,
}

const KSM: &str = "/sys/kernel/mm/ksm";

impl Merging {
    fn new() -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("{KSM}: {error}");
        let read = |name: &str| fs::read_to_string(format!("{KSM}/{name}")).map_err(failed);
        let before = Self {
            run: read("run")?,
            pages: read("pages_to_scan")?,
            sleep: read("sleep_millisecs")?,
        };
        if before.run.trim() == "1" {
            return Err("merging is on already and somebody else's".to_owned());
        }
        for (name, value) in [("pages_to_scan", "5000"), ("sleep_millisecs", "5"), ("run", "1")] {
            fs::write(format!("{KSM}/{name}"), value).map_err(failed)?;
        }
        // SAFETY: a request about the whole process that takes numbers only.
        let merge = unsafe { libc::prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0) };
        match merge {
            0 => Ok(before),
            _ => Err(format!("no merging by process: {}", std::io::Error::last_os_error())),
        }
    }

    /// Pages of this process that are merged with others.
    fn merged() -> u64 {
        let text = fs::read_to_string("/proc/self/ksm_merging_pages").unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }
}

impl Drop for Merging {
    fn drop(&mut self) {
        for (name, value) in
            [("run", &self.run), ("pages_to_scan", &self.pages), ("sleep_millisecs", &self.sleep)]
        {
            let _ = fs::write(format!("{KSM}/{name}"), value);
        }
    }
}

/// Rows of four pages.
const ROWS: u32 = 500;

/// prctl(2): merge all of the process's memory, Linux 6.4.
const PR_SET_MEMORY_MERGE: libc::c_int = 67;

/// Whether the mapping of `address` may be merged.
fn is_mergeable(address: u64) -> bool {
    let maps = fs::read_to_string("/proc/self/smaps").unwrap();
    let mut inside = false;
    for line in maps.lines() {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        if let Some((start, end)) = range {
            let number = |text| u64::from_str_radix(text, 16).expect("an address");
            inside = (number(start)..number(end)).contains(&address);
        } else if inside && let Some(flags) = line.strip_prefix("VmFlags:") {
            return flags.split_whitespace().any(|flag| flag == "mg");
        }
    }
    panic!("no mapping at {address:#x}");
}

/// Rows of pages that are alike, above a gap, so that they slide; the list of them.
fn rows(heap: &Heap) -> (Mutator, RootIndex) {
    let mut mutator = heap.attach().unwrap();
    let object = mutator.push_root(None);
    let row = Record { refs: 0, data_words: 2047 };
    for _ in 0..100 {
        mutator.alloc_into(object, row).unwrap();
    }
    let table = mutator.alloc(Record { refs: ROWS, data_words: 0 }).unwrap();
    for at in 0..ROWS {
        mutator.alloc_into(object, row).unwrap();
        let row = mutator.root(object).expect("just stored");
        mutator.words(row).iter().for_each(|word| word.store(99, Ordering::Relaxed));
        let table = mutator.root(table).expect("the table");
        mutator.store(table, at, Some(row));
    }
    (mutator, table)
}

fn check_rows(mutator: &Mutator, table: RootIndex) {
    let table = mutator.root(table).expect("the table");
    for at in 0..ROWS {
        let row = mutator.load(table, at).expect("a row");
        assert!(mutator.words(row).iter().all(|word| word.load(Ordering::Relaxed) == 99));
    }
}

fn mergeable_heap(transport: Transport) -> Option<Heap> {
    let builder = Heap::builder().limit_bytes(64 << 20).pressure(Pressure::Ignore);
    build(builder, transport, FaultDelivery::Signal)
}

/// Asked for after the heap was built, merging takes hold of it. mremap takes such pages apart again
/// (the pause is longer for it), so that they are not busy when they are moved.
fn merged_pages() {
    let Some(heap) = mergeable_heap(Transport::Move) else { return };
    let (mut mutator, table) = rows(&heap);
    let merging = match Merging::new() {
        Ok(merging) => merging,
        Err(reason) => return println!("skipped: {reason}"),
    };
    let end = Instant::now() + Duration::from_secs(30);
    mutator.blocking(|| {
        while Merging::merged() < 1000 && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let merged = Merging::merged();
    if merged < 1000 {
        return println!("skipped: only {merged} pages were merged in half a minute");
    }
    mutator.collect();
    let stats = heap.stats();
    eprintln!(
        "{merged} pages merged; {} slid, {} busy, flip pause {} us",
        stats.bytes_slid >> 12,
        stats.busy_fallbacks,
        stats.cycle_log.last().map_or(0, |cycle| cycle.flip_pause_ns / 1000)
    );
    assert!(heap.flips() > 0, "nothing was set aside");
    check_rows(&mutator, table);
    verify(&mut mutator);
    drop(mutator);

    // A heap that is built while merging is on keeps out of it.
    for transport in [Transport::Move, Transport::Copy] {
        let Some(heap) = mergeable_heap(transport) else { continue };
        let (mut mutator, table) = rows(&heap);
        for _ in 0..2 {
            let address = mutator.root(table).expect("the table").object().address();
            assert!(!is_mergeable(address), "{transport}");
            mutator.collect();
            mutator.blocking(|| heap.trim());
        }
        check_rows(&mutator, table);
    }
    drop(merging);
}

fn locked_pages() {
    for transport in Transport::ALL {
        let Some(mut scene) = Scene::new(transport) else { continue };
        let all = MlockAllFlags::MCL_CURRENT | MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
        mlockall(all).expect("root may lock memory");
        let stats = scene.cycles();
        if transport == Transport::Move {
            // Locked pages do not go to where memory is not locked.
            assert!(stats.refused_fallbacks > 0, "no page was refused");
        }
        nix::sys::mman::munlockall().expect("unlocking");
        scene.mutator.collect();
        verify(&mut scene.mutator);
    }
}

/// Beside what the group has: page tables, for some transports a copy of what lives, and files that
/// the kernel can take back.
const ROOM: usize = 24 << 20;

fn a_limit_that_is_reached() {
    let group = match Group::new(1 << 30) {
        Ok(group) => group,
        Err(reason) => return println!("skipped: {reason}"),
    };
    group.join().expect("root may move its own process");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, vec![7u8; 64 << 20]).expect("room for a file");
    fs::File::open(&file).and_then(|file| file.sync_all()).expect("a scratch file");
    for transport in Transport::ALL {
        let Some(mut scene) = Scene::new(transport) else { continue };
        // So that the heap has all that it needs in a cycle.
        scene.cycles();
        for round in 0..CYCLES {
            let odd = u32::from(round % 2 == 1);
            scene.check(odd);
            let before = group.times_reached();
            group.forget_files();
            let limit = group.usage().expect("a number") + ROOM;
            group.set(limit).expect("a limit above what is in use");
            let stop = std::sync::atomic::AtomicBool::new(false);
            std::thread::scope(|scope| {
                let (file, finish) = (&file, Finish(&stop));
                let stop = &stop;
                // What is free goes to a file that is read, up to the limit.
                scope.spawn(move || {
                    let mut buffer = vec![0u8; 1 << 16];
                    while !stop.load(Ordering::Relaxed) {
                        let mut file = fs::File::open(file).expect("just written");
                        while !stop.load(Ordering::Relaxed)
                            && file.read(&mut buffer).is_ok_and(|read| read > 0)
                        {
                        }
                    }
                });
                let heap = scene.heap.clone();
                let end = Instant::now() + Duration::from_secs(20);
                scene.mutator.blocking(|| {
                    while group.times_reached() == before {
                        assert!(Instant::now() < end, "the file does not fill the group");
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    heap.collect();
                });
                drop(finish);
            });
            let reached = group.times_reached() - before;
            group.set(1 << 30).unwrap();
            eprintln!("{transport}: at the limit {reached} times");
            scene.check(odd);
            verify(&mut scene.mutator);
            scene.fill(1 - odd);
        }
    }
    group.leave().expect("back to where it came from");
}

in_a_process_of_its_own! {
    forks_in_the_middle_of_cycles_lose_nothing_and_shared_pages_are_counted, child_that_forks: forks();
    registered_buffers_in_the_heap_are_copied_away_from_and_counted, child_with_registered_buffers: registered_buffers();
    pages_in_a_pipe_hinder_no_cycle_and_change_nothing_in_the_heap, child_that_splices: spliced_pages();
    merged_pages_survive_and_a_new_heap_keeps_out_of_merging, child_that_is_merged: merged_pages();
    locked_memory_is_copied_and_counted, child_that_locks: locked_pages();
    a_limit_that_is_reached_while_the_heap_is_compacted_loses_nothing, child_at_its_limit: a_limit_that_is_reached();
}
