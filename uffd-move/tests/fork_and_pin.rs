//! Pages that are no longer this process's alone: shared with a child, or pinned for a device.

mod support;

use support::{
    Mapped, alone, copy_pages, fork_and_stay, move_all, move_pages, pages, pin, register,
    require_move, skip_machine,
};
use uffd_move::raw::Resume;
use uffd_move::{Outcome, Stop};

#[test]
fn pages_shared_with_a_child_are_busy_until_it_is_gone_and_they_are_written() {
    alone("pages_shared_with_a_child_are_busy_until_it_is_gone_and_they_are_written", || {
        let Some(opened) = require_move() else { return };
        let (to, from) = (Mapped::new(2), Mapped::filled(2, 1));
        register(&opened.uffd, to.range);
        let busy = Ok(Outcome { done: pages(0), stop: Stop::Busy });
        let child = fork_and_stay();
        assert_eq!(move_pages(&opened.uffd, to.part(0, 1), from.part(0, 1).start()), busy);
        // Writing gives us a page of our own, child or not.
        from.set_byte(0, 50);
        let own = move_pages(&opened.uffd, to.part(0, 1), from.part(0, 1).start()).unwrap();
        assert!(own.is_complete());
        drop(child);
        from.set_byte(1, 60);
        let own = move_pages(&opened.uffd, to.part(1, 1), from.part(1, 1).start()).unwrap();
        assert!(own.is_complete());
        assert_eq!((to.byte(0), to.byte(1)), (50, 60));
    });
}

#[test]
fn one_busy_page_stops_a_run_there_and_a_copy_takes_its_place() {
    alone("one_busy_page_stops_a_run_there_and_a_copy_takes_its_place", || {
        let Some(opened) = require_move() else { return };
        let (to, from) = (Mapped::new(8), Mapped::filled(8, 1));
        register(&opened.uffd, to.range);
        let child = fork_and_stay();
        // All but one become ours again.
        (0..8).filter(|i| *i != 3).for_each(|i| from.set_byte(i, 100));
        let progress =
            move_all(&opened.uffd, to.range, from.range.start(), Resume::SHARED).unwrap();
        assert_eq!((progress.busy_page(), progress.moved), (Some(pages(3)), pages(3)));
        let copied = copy_pages(&opened.uffd, to.part(3, 1), from.part(3, 1).start()).unwrap();
        assert!(copied.is_complete());
        let rest = move_all(&opened.uffd, to.part(4, 4), from.part(4, 4).start(), Resume::SHARED);
        assert!(rest.unwrap().is_complete());
        assert_eq!((to.byte(2), to.byte(3), to.byte(4)), (100, 4, 100));
        drop(child);
    });
}

#[test]
fn a_page_pinned_for_a_device_is_busy_until_it_is_let_go() {
    alone("a_page_pinned_for_a_device_is_busy_until_it_is_let_go", || {
        let Some(opened) = require_move() else { return };
        let (to, from) = (Mapped::new(1), Mapped::filled(1, 8));
        register(&opened.uffd, to.range);
        let pinned = match pin(from.range) {
            Ok(pinned) => pinned,
            Err(errno) => return skip_machine(&format!("io_uring, to pin a page with: {errno}")),
        };
        let busy = Ok(Outcome { done: pages(0), stop: Stop::Busy });
        assert_eq!(move_pages(&opened.uffd, to.range, from.range.start()), busy);
        assert_eq!(from.byte(0), 8);
        drop(pinned);
        // The ring lets go a little later, on a worker of the kernel.
        loop {
            match move_pages(&opened.uffd, to.range, from.range.start()).unwrap() {
                Outcome { stop: Stop::Complete, .. } => break,
                Outcome { stop: Stop::Busy, .. } => std::thread::yield_now(),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(to.byte(0), 8);
    });
}
