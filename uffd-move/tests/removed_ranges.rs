//! Ranges that go away while somebody works on them: what the kernel reports, and in what order.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use support::{
    Mapped, alone, move_pages, pages, register, require_move, require_move_with, unregister,
};
use uffd_move::{Event, EventBuffer, Fault, Features, Opened, Outcome, Stop, page_size};

fn next_event(opened: &Opened) -> Event {
    let mut buffer = EventBuffer::new(1);
    loop {
        if let Some(event) = buffer.read(&opened.uffd).expect("must succeed here").next() {
            return event;
        }
        std::thread::yield_now();
    }
}

fn next_fault(opened: &Opened) -> Fault {
    match next_event(opened) {
        Event::Fault(fault) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn unregistering_what_was_unmapped_does_no_harm() {
    alone("unregistering_what_was_unmapped_does_no_harm", || {
        let Some(opened) = require_move() else { return };
        let mapped = Mapped::new(3);
        register(&opened.uffd, mapped.range);
        let middle = mapped.part(1, 1);
        mapped.unmap(middle);
        // EINVAL on kernels that want a mapping at the start, nothing on others.
        if let Err(error) = unregister(&opened.uffd, middle) {
            assert_eq!(error.errno, nix::errno::Errno::EINVAL);
        }
        unregister(&opened.uffd, mapped.part(0, 1)).unwrap();
        unregister(&opened.uffd, mapped.part(2, 1)).unwrap();
    });
}

#[test]
fn madvise_waits_until_its_event_is_read_and_then_the_page_is_missing_again() {
    let Some(opened) = require_move_with(Features::EVENT_REMOVE) else { return };
    let (to, from) = (Mapped::new(2), Mapped::filled(2, 1));
    register(&opened.uffd, to.range);
    assert!(move_pages(&opened.uffd, to.range, from.range.start()).unwrap().is_complete());
    std::thread::scope(|scope| {
        let (sender, done) = mpsc::channel();
        let part = to.part(1, 1);
        let to = &to;
        scope.spawn(move || {
            to.advise(part, libc::MADV_DONTNEED).unwrap();
            sender.send(()).unwrap();
        });
        match next_event(&opened) {
            Event::Remove(range) => assert_eq!(range, part),
            other => panic!("{other:?}"),
        }
        done.recv().unwrap();
    });
    from.set_byte(1, 70);
    assert!(
        move_pages(&opened.uffd, to.part(1, 1), from.part(1, 1).start()).unwrap().is_complete()
    );
    assert_eq!((to.byte(0), to.byte(1)), (1, 70));
}

#[test]
fn munmap_reports_the_range_after_it_is_gone() {
    alone("munmap_reports_the_range_after_it_is_gone", || {
        let Some(opened) = require_move_with(Features::EVENT_UNMAP) else { return };
        let (to, from) = (Mapped::new(3), Mapped::filled(1, 1));
        register(&opened.uffd, to.range);
        let middle = to.part(1, 1);
        std::thread::scope(|scope| {
            let unmapper = scope.spawn(|| to.unmap(middle));
            match next_event(&opened) {
                Event::Unmap(range) => assert_eq!(range, middle),
                other => panic!("{other:?}"),
            }
            unmapper.join().unwrap();
        });
        let late = move_pages(&opened.uffd, middle, from.range.start());
        assert_eq!(late, Ok(Outcome { done: pages(0), stop: Stop::Hole }));
        assert_eq!(from.byte(0), 1, "the source page is not lost");
        // Unmapping the rest would wait for a reader, too.
        unregister(&opened.uffd, to.part(0, 1)).unwrap();
        unregister(&opened.uffd, to.part(2, 1)).unwrap();
    });
}

#[test]
fn mremap_reports_both_addresses_and_the_registration_goes_along() {
    alone("mremap_reports_both_addresses_and_the_registration_goes_along", || {
        let Some(opened) = require_move_with(Features::EVENT_REMAP) else { return };
        // A page below and above, so that the kernel must find another place to grow.
        let around = Mapped::new(4);
        let mut to = Mapped::of(around.part(1, 1));
        register(&opened.uffd, to.range);
        let old = to.range;
        let remapper = std::thread::spawn(move || {
            to.remap();
            to
        });
        let (from_addr, to_addr, len) = match next_event(&opened) {
            Event::Remap { from, to, len } => (from, to, len),
            other => panic!("{other:?}"),
        };
        let to = remapper.join().unwrap();
        assert_eq!((from_addr, to_addr), (old.start().get(), to.range.start().get()));
        assert!(len >= page_size());
        let from = Mapped::filled(1, 33);
        let first = to.part(0, 1);
        assert!(move_pages(&opened.uffd, first, from.range.start()).unwrap().is_complete());
        assert_eq!(to.byte(0), 33);
        // `around` still names pages that `to` has unmapped or moved.
        std::mem::forget(around);
    });
}

#[test]
fn a_fork_reports_a_descriptor_for_the_child() {
    alone("a_fork_reports_a_descriptor_for_the_child", || {
        let Some(opened) = require_move_with(Features::EVENT_FORK) else { return };
        let to = Mapped::new(1);
        register(&opened.uffd, to.range);
        // The C library holds the locks of its allocator while fork waits for us: from here on the
        // reader must not allocate (docs/events.md).
        let mut buffer = EventBuffer::new(1);
        std::thread::scope(|scope| {
            let forker = scope.spawn(support::fork_and_stay);
            let event = loop {
                if let Some(event) = buffer.read(&opened.uffd).unwrap().next() {
                    break event;
                }
                std::thread::yield_now();
            };
            drop(forker.join().unwrap());
            match event {
                Event::Fork { uffd } => assert!(std::os::fd::AsRawFd::as_raw_fd(&uffd) > 2),
                other => panic!("{other:?}"),
            }
        });
    });
}

#[test]
fn a_thread_that_waits_is_let_go_when_the_range_is_unregistered() {
    let Some(opened) = require_move() else { return };
    let to = Mapped::new(1);
    register(&opened.uffd, to.range);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| to.byte(0));
        assert_eq!(next_fault(&opened).page(), to.range.start());
        unregister(&opened.uffd, to.range).unwrap();
        assert_eq!(reader.join().unwrap(), 0);
    });
}

#[test]
fn faults_moves_and_removals_at_once_lose_no_page() {
    // One thread serves, one reads, one throws away: every byte read is one that was put there.
    let Some(opened) = require_move_with(Features::EVENT_REMOVE) else { return };
    const ROUNDS: usize = 300;
    let to = Mapped::new(4);
    register(&opened.uffd, to.range);
    let source = Mapped::new(1);
    std::thread::scope(|scope| {
        let (to, opened) = (&to, &opened);
        let remover = scope.spawn(move || {
            for i in 0..ROUNDS {
                to.advise(to.part(i % 4, 1), libc::MADV_DONTNEED).unwrap();
            }
        });
        let reader = scope.spawn(move || {
            for i in 0..ROUNDS {
                assert_eq!(to.byte(i % 4), 90);
            }
        });
        let mut buffer = EventBuffer::new(8);
        let mut waiting: Vec<Fault> = Vec::new();
        while !(remover.is_finished() && reader.is_finished()) {
            for event in buffer.read(&opened.uffd).unwrap() {
                if let Event::Fault(fault) = event {
                    waiting.push(fault);
                }
            }
            waiting.retain(|fault| {
                source.set_byte(0, 90);
                let page = uffd_move::PageRange::one(fault.page()).unwrap();
                match move_pages(&opened.uffd, page, source.range.start()).unwrap().stop {
                    Stop::Complete => false,
                    // Somebody has it; who waits must look again.
                    Stop::Present => {
                        support::wake(&opened.uffd, page);
                        false
                    }
                    // A removal is under way: read its event first, then try again.
                    Stop::Again => true,
                    other => panic!("{other:?}"),
                }
            });
        }
    });
}

/// The kernel's own wake-up comes before the range is unregistered, and some faults come between.
#[test]
fn a_thread_that_faults_while_its_range_is_unregistered_is_not_left_asleep() {
    const ROUNDS: usize = 30_000;
    // In an emulated machine as many rounds take minutes: what counts there is that some are done.
    const ENOUGH: usize = 500;
    let started = Instant::now();
    let Some(opened) = require_move() else { return };
    // Not borrowed but shared: a thread that sleeps for ever must not keep the test from failing.
    let mapped = Arc::new(Mapped::new(1));
    let turn = Arc::new(AtomicUsize::new(0));
    let (sender, done) = mpsc::channel();
    let toucher = {
        let (mapped, turn) = (Arc::clone(&mapped), Arc::clone(&turn));
        move || {
            for round in 1..=ROUNDS {
                let mut spins = 0;
                loop {
                    match turn.load(Ordering::Acquire) {
                        usize::MAX => return,
                        present if present == round => break,
                        _ => spins += 1,
                    }
                    if spins % 4096 == 0 {
                        // On a single processor the other thread waits for this one.
                        std::thread::yield_now();
                    }
                    std::hint::spin_loop();
                }
                // Comes now a little earlier, now a little later than the other thread.
                (0..round % 97 * 8).for_each(|_| std::hint::spin_loop());
                assert_eq!(mapped.byte(0), 0);
                sender.send(()).expect("the test waits for this");
            }
        }
    };
    std::thread::spawn(toucher);
    for round in 1..=ROUNDS {
        mapped.advise(mapped.range, libc::MADV_DONTNEED).unwrap();
        register(&opened.uffd, mapped.range);
        turn.store(round, Ordering::Release);
        unregister(&opened.uffd, mapped.range).unwrap();
        done.recv_timeout(Duration::from_secs(20))
            .unwrap_or_else(|_| panic!("round {round}: the thread sleeps in its fault"));
        if round >= ENOUGH && started.elapsed() > Duration::from_secs(5) {
            break;
        }
    }
    turn.store(usize::MAX, Ordering::Release);
}
