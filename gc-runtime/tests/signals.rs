//! Other signals than the heap's own, before it and beside it.
#![allow(unsafe_code, reason = "signal handlers are what this is about")]

mod support;

use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering};

use gc_runtime::{FaultDelivery, Heap, Transport, Zeal};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, mprotect};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use support::{
    Finish, all_ways, build, check_counted_list, counted_list, digest, in_a_process_of_its_own,
};

/// The embedder's own memory, which its own handler repairs.
static PAGE: AtomicUsize = AtomicUsize::new(0);
static FILE: AtomicI32 = AtomicI32::new(-1);
static REPAIRS: AtomicU64 = AtomicU64::new(0);

extern "C" fn repair(signal: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo.
    let info = unsafe { &*info };
    // SAFETY: both signals come with an address here.
    let address = unsafe { info.si_addr() }.addr();
    let (page, len) = (PAGE.load(Ordering::SeqCst), uffd_move::page_size());
    if !(page..page + len).contains(&address) {
        // SAFETY: ends the process at once, which a test cannot miss.
        unsafe { libc::_exit(99) };
    }
    if signal == libc::SIGSEGV {
        // SAFETY: the page is the embedder's own; mprotect is a plain system call.
        unsafe {
            libc::mprotect(
                std::ptr::with_exposed_provenance_mut(page),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
            )
        };
    } else {
        let len = libc::off_t::try_from(len).expect("the size of a page");
        // SAFETY: the descriptor stays open; ftruncate is async-signal-safe.
        unsafe { libc::ftruncate(FILE.load(Ordering::SeqCst), len) };
    }
    REPAIRS.fetch_add(1, Ordering::SeqCst);
}

fn handle(signal: Signal, handler: SigHandler, flags: SaFlags) {
    let action = SigAction::new(handler, flags, SigSet::empty());
    // SAFETY: the handlers of this file only do what signal-safety(7) allows.
    unsafe { sigaction(signal, &action) }.expect("a handler can be installed");
}

/// Reads a word of the embedder's page, which faults if it is closed or beyond its file's end.
fn read(page: NonNull<libc::c_void>) -> u64 {
    // SAFETY: the page is mapped for as long as the process lives; a fault is repaired.
    unsafe { page.cast::<u64>().read_volatile() }
}

fn own_faults_are_repaired() {
    let len = NonZeroUsize::new(uffd_move::page_size()).expect("a page has bytes");
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping, wherever the kernel likes.
    let closed = unsafe { mmap_anonymous(None, len, access, MapFlags::MAP_PRIVATE) };
    let closed = closed.expect("a page of memory");
    let file = memfd_create(c"embedder", MFdFlags::MFD_CLOEXEC).expect("a file");
    // SAFETY: as above.
    let beyond = unsafe { mmap(None, len, access, MapFlags::MAP_SHARED, &file, 0) };
    let beyond = beyond.expect("a mapping of the file");
    FILE.store(file.as_raw_fd(), Ordering::SeqCst);

    let before = REPAIRS.load(Ordering::SeqCst);
    PAGE.store(closed.as_ptr().expose_provenance(), Ordering::SeqCst);
    // SAFETY: the embedder's own page.
    unsafe { mprotect(closed, len.get(), ProtFlags::PROT_NONE) }.expect("the page can be closed");
    assert_eq!(read(closed), 0);
    assert_eq!(REPAIRS.load(Ordering::SeqCst), before + 1, "SIGSEGV did not arrive");
    PAGE.store(beyond.as_ptr().expose_provenance(), Ordering::SeqCst);
    assert_eq!(read(beyond), 0);
    assert_eq!(REPAIRS.load(Ordering::SeqCst), before + 2, "SIGBUS did not arrive");
}

fn handlers_of_its_own() {
    let flags = SaFlags::SA_SIGINFO | SaFlags::SA_ONSTACK;
    handle(Signal::SIGSEGV, SigHandler::SigAction(repair), flags);
    handle(Signal::SIGBUS, SigHandler::SigAction(repair), flags);
    own_faults_are_repaired();
    for (transport, delivery) in all_ways() {
        let builder = Heap::builder().limit_bytes(32 << 20).zeal(Zeal::full());
        let Some(heap) = build(builder, transport, delivery) else { continue };
        let mut mutator = heap.attach().expect("room for a mutator");
        let garbage = counted_list(&mut mutator, 3000, 30);
        let list = counted_list(&mut mutator, 10_000, 30);
        mutator.set_root(garbage, None);
        for _ in 0..3 {
            own_faults_are_repaired();
            mutator.collect();
            check_counted_list(&mutator, mutator.root(list), 10_000);
        }
        drop(mutator);
        drop(heap);
        own_faults_are_repaired();
    }
}

static TICKS: AtomicU64 = AtomicU64::new(0);

extern "C" fn tick(_signal: i32) {
    TICKS.fetch_add(1, Ordering::Relaxed);
}

/// A profiler's timer: a signal at every millisecond of processor time, on whichever thread runs.
fn profile(microseconds: i64) {
    let time = libc::timeval { tv_sec: 0, tv_usec: microseconds };
    let timer = libc::itimerval { it_interval: time, it_value: time };
    // SAFETY: the timer is filled in, and nobody asks for the old one.
    let result =
        unsafe { libc::setitimer(libc::ITIMER_PROF, &raw const timer, std::ptr::null_mut()) };
    assert_eq!(result, 0);
}

fn storm(transport: Transport, delivery: FaultDelivery) {
    let builder = Heap::builder().limit_bytes(48 << 20).zeal(Zeal::full());
    let Some(heap) = build(builder, transport, delivery) else { return };
    let done = AtomicBool::new(false);
    let mut mutator = heap.attach().expect("a mutator");
    let list = counted_list(&mut mutator, 20_000, 40);
    let before = digest(&mut mutator);
    // SAFETY: pthread_self has no preconditions.
    let target = unsafe { libc::pthread_self() };
    std::thread::scope(|scope| {
        let finish = Finish(&done);
        let sender = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // SAFETY: the thread lives longer than this scope.
                unsafe { libc::pthread_kill(target, libc::SIGUSR1) };
                // Without a pause the target does little but take signals.
                std::thread::sleep(std::time::Duration::from_micros(20));
            }
        });
        let collector = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let mut other = heap.attach().expect("a mutator");
                counted_list(&mut other, 500, 30);
                drop(other);
                heap.collect();
            }
        });
        for _ in 0..8 {
            let cycles = heap.stats().cycles;
            while heap.stats().cycles == cycles {
                check_counted_list(&mutator, mutator.root(list), 20_000);
                mutator.safepoint();
            }
        }
        drop(finish);
        mutator.blocking(|| {
            collector.join().expect("the collecting thread");
            sender.join().expect("the sending thread");
        });
    });
    assert_eq!(digest(&mut mutator), before);
}

fn storm_of_signals() {
    for flags in [SaFlags::SA_RESTART, SaFlags::empty()] {
        handle(Signal::SIGUSR1, SigHandler::Handler(tick), flags);
        handle(Signal::SIGPROF, SigHandler::Handler(tick), flags);
        let before = TICKS.load(Ordering::Relaxed);
        profile(1000);
        for (transport, delivery) in all_ways() {
            storm(transport, delivery);
        }
        profile(0);
        assert!(TICKS.load(Ordering::Relaxed) > before + 100, "no storm");
    }
}

in_a_process_of_its_own! {
    handlers_that_were_there_before_the_heap_still_get_their_own_faults, child_with_handlers_of_its_own: handlers_of_its_own();
    a_storm_of_signals_during_compaction_disturbs_nothing, child_in_a_storm_of_signals: storm_of_signals();
}
