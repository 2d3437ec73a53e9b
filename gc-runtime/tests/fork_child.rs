//! A forked child cannot use the heap, is told so, and does its parent no harm.
#![allow(unsafe_code, reason = "fork is what this is about")]

mod support;

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use gc_runtime::{AttachError, FaultDelivery, Fork, Heap, Mutator, OomCause, Record, Transport};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, alarm, dup2_stderr, fork};
use support::{Finish, all_ways, build, check_counted_list, counted_list, digest};

/// A child that hangs is ended by a signal after this many seconds, and the test fails.
const PATIENCE: u32 = 20;

/// How a child ends that panicked.
const PANICKED: u8 = 99;

/// Runs `work` in a forked child; how it ended. The child's status is what `work` returns.
fn in_fork(work: impl FnOnce() -> u8) -> WaitStatus {
    // SAFETY: the child only calls `work` and `_exit`. The C library makes its allocator usable in
    // the child of a process with threads, and `work` takes no lock that another thread may hold.
    match unsafe { fork() }.expect("fork") {
        ForkResult::Child => {
            alarm::set(PATIENCE);
            // A child that unwound further would run the parent's test.
            let status = catch_unwind(AssertUnwindSafe(work)).unwrap_or(PANICKED);
            // SAFETY: ends the child without running the parent's exit handlers.
            unsafe { libc::_exit(i32::from(status)) }
        }
        ForkResult::Parent { child } => waitpid(child, None).expect("the child's end"),
    }
}

/// The same, of a child that is to die by a signal. The standard library's handler may have something to
/// say of it, without ending the line (that a thread of the parent was about to start or to end), and
/// what this program prints is read by lines.
fn dies_in_fork(work: impl FnOnce() -> u8) -> WaitStatus {
    in_fork(|| {
        let nowhere = File::options().write(true).open("/dev/null").expect("/dev/null");
        dup2_stderr(nowhere).expect("standard error leads nowhere");
        work()
    })
}

fn assert_exited_well(status: WaitStatus) {
    assert!(matches!(status, WaitStatus::Exited(_, 0)), "the child: {status:?}");
}

fn on_every_fork_mode(test: impl Fn(Heap, Mutator)) {
    for (transport, delivery) in all_ways() {
        for mode in [Fork::Exclude, Fork::Inherit] {
            let builder = Heap::builder().limit_bytes(16 << 20).fork(mode);
            let Some(heap) = build(builder, transport, delivery) else { continue };
            eprintln!("-- {transport} by {delivery:?}, {mode:?}");
            let mutator = heap.attach().expect("a mutator");
            test(heap, mutator);
        }
    }
}

/// The parent's heap still takes and gives objects, and moves them.
fn assert_goes_on(mutator: &mut Mutator) {
    let list = counted_list(mutator, 1000, 10);
    for _ in 0..2 {
        let before = digest(mutator);
        mutator.collect();
        assert_eq!(digest(mutator), before);
        check_counted_list(mutator, mutator.root(list), 1000);
    }
}

/// Faults are still served: somebody collects until this thread has had one.
fn assert_faults_are_served(mutator: &mut Mutator) {
    let heap = mutator.heap().clone();
    let list = counted_list(mutator, 20_000, 20);
    for _ in 0..300 {
        let garbage = counted_list(mutator, 2000, 20);
        std::thread::scope(|scope| {
            let collector = scope.spawn(|| heap.collect());
            while !collector.is_finished() {
                check_counted_list(mutator, mutator.root(list), 20_000);
                mutator.safepoint();
            }
        });
        mutator.set_root(garbage, None);
        if heap.stats().faults_by_mutators > 0 || heap.transport() == Transport::Stw {
            return;
        }
    }
    panic!("no fault in 300 cycles");
}

#[test]
fn a_child_that_attaches_or_asks_is_told_whose_heap_it_is() {
    on_every_fork_mode(|heap, mut mutator| {
        counted_list(&mut mutator, 1000, 10);
        let owner = std::process::id();
        let status = in_fork(|| {
            if !matches!(heap.attach(), Err(AttachError::Forked { owner: named }) if named == owner)
            {
                return 1;
            }
            if heap.verify().is_ok() || heap.graph_digest().is_some() {
                return 2;
            }
            heap.collect();
            0
        });
        assert_exited_well(status);
        assert_goes_on(&mut mutator);
    });
}

#[test]
fn a_childs_allocation_fails_with_the_reason() {
    on_every_fork_mode(|_heap, mut mutator| {
        counted_list(&mut mutator, 1000, 10);
        let status = in_fork(|| {
            // Large enough not to be taken from the buffer that the parent has filled half.
            match mutator.alloc(Record { refs: 0, data_words: 100_000 }) {
                Err(error) if error.cause == OomCause::Forked => 0,
                Err(_) => 1,
                Ok(_) => 2,
            }
        });
        assert_exited_well(status);
        assert_goes_on(&mut mutator);
    });
}

#[test]
fn a_childs_collection_returns() {
    on_every_fork_mode(|_heap, mut mutator| {
        counted_list(&mut mutator, 1000, 10);
        let status = in_fork(|| {
            mutator.collect();
            0
        });
        assert_exited_well(status);
        assert_goes_on(&mut mutator);
    });
}

#[test]
fn a_child_that_drops_its_copy_leaves_the_parents_heap_working() {
    on_every_fork_mode(|heap, mut mutator| {
        counted_list(&mut mutator, 1000, 10);
        drop(heap);
        let mut copy = Some(mutator);
        let status = in_fork(|| {
            // The last one: the heap goes with it.
            drop(copy.take());
            0
        });
        assert_exited_well(status);
        let mut mutator = copy.take().expect("the parent's");
        assert_goes_on(&mut mutator);
        assert_faults_are_served(&mut mutator);
    });
}

#[test]
fn a_child_that_touches_an_excluded_heap_dies_instead_of_hanging() {
    for transport in [Transport::Move, Transport::Copy, Transport::Continue, Transport::Mprotect] {
        let builder = Heap::builder().limit_bytes(16 << 20).fork(Fork::Exclude);
        let Some(heap) = build(builder, transport, FaultDelivery::Signal) else { continue };
        let mut mutator = heap.attach().unwrap();
        let list = counted_list(&mut mutator, 1000, 10);
        mutator.collect();
        let status = dies_in_fork(|| {
            let head = mutator.root(list).expect("the list");
            u8::from(mutator.word(head, 0) == 999)
        });
        assert!(
            matches!(status, WaitStatus::Signaled(_, Signal::SIGSEGV, _)),
            "{transport}: {status:?}"
        );
        assert_goes_on(&mut mutator);
    }
}

#[test]
fn a_child_that_writes_to_a_heap_of_files_does_not_write_to_its_parents() {
    for transport in [Transport::Continue, Transport::Mprotect] {
        for mode in [Fork::Exclude, Fork::Inherit] {
            let builder = Heap::builder().limit_bytes(16 << 20).fork(mode);
            let Some(heap) = build(builder, transport, FaultDelivery::Signal) else { continue };
            let mut mutator = heap.attach().unwrap();
            let garbage = counted_list(&mut mutator, 2000, 20);
            let list = counted_list(&mut mutator, 10_000, 20);
            mutator.set_root(garbage, None);
            mutator.collect();
            let before = digest(&mut mutator);
            let status = dies_in_fork(|| {
                let head = mutator.root(list).expect("the list");
                mutator.set_word(head, 0, 1);
                0
            });
            assert!(
                matches!(status, WaitStatus::Signaled(_, Signal::SIGSEGV, _)),
                "{transport}, {mode:?}: {status:?}"
            );
            assert_eq!(digest(&mut mutator), before, "{transport}, {mode:?}");
            assert_goes_on(&mut mutator);
        }
    }
}

/// Forks a child that walks and overwrites a list while pages of the heap may be missing.
fn fork_a_writer(mutator: &Mutator, list: gc_runtime::RootIndex) {
    // However it ends: what counts is the parent's heap.
    in_fork(|| {
        let mut node = mutator.root(list);
        while let Some(current) = node {
            mutator.set_word(current, 0, u64::MAX);
            node = mutator.load(current, 0);
        }
        0
    });
}

#[test]
fn a_child_that_faults_in_the_middle_of_a_cycle_leaves_its_parents_pages_alone() {
    on_every_fork_mode(|heap, mut mutator| {
        let list = counted_list(&mut mutator, 10_000, 20);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let finish = Finish(&done);
            let (heap, done) = (&heap, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    heap.collect();
                }
            });
            for _ in 0..10 {
                let garbage = counted_list(&mut mutator, 500, 20);
                fork_a_writer(&mutator, list);
                mutator.set_root(garbage, None);
                check_counted_list(&mutator, mutator.root(list), 10_000);
                mutator.safepoint();
            }
            drop(finish);
            mutator.blocking(|| ());
            // The last cycle may still need this thread.
            drop(mutator);
        });
        heap.verify().expect("a sound heap");
    });
}
