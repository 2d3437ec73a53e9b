//! Moving pages of private anonymous memory, one and many, by both layers.

mod support;

use std::sync::atomic::Ordering;

use support::{Mapped, is_resident, move_pages, move_pages_with, pages, register, require_move};
use uffd_move::{
    Area, Holes, MoveError, Outcome, PageCount, RegisterMode, Registration, Stop, Wake, page_size,
};

#[test]
fn a_moved_page_has_its_contents_and_its_old_place_is_empty() {
    let Some(opened) = require_move() else { return };
    let (to, from) = (Mapped::new(1), Mapped::filled(1, 7));
    register(&opened.uffd, to.range);
    let outcome = move_pages(&opened.uffd, to.range, from.range.start());
    assert_eq!(outcome, Ok(Outcome { done: pages(1), stop: Stop::Complete }));
    assert_eq!(to.byte(0), 7);
    assert!(!is_resident(from.range.start()));
    assert_eq!(from.byte(0), 0);
}

#[test]
fn many_pages_move_in_one_call() {
    let Some(opened) = require_move() else { return };
    const COUNT: usize = 700;
    let (to, from) = (Mapped::new(COUNT), Mapped::filled(COUNT, 1));
    register(&opened.uffd, to.range);
    let outcome = move_pages(&opened.uffd, to.range, from.range.start()).unwrap();
    assert!(outcome.is_complete());
    for i in 0..COUNT {
        assert_eq!(to.byte(i), 1_u8.wrapping_add(u8::try_from(i % 251).unwrap()));
    }
}

#[test]
fn the_same_page_goes_round_for_ever() {
    let Some(opened) = require_move() else { return };
    let (here, there) = (Mapped::filled(1, 42), Mapped::new(1));
    register(&opened.uffd, here.range);
    register(&opened.uffd, there.range);
    for _ in 0..1000 {
        assert!(move_pages(&opened.uffd, there.range, here.range.start()).unwrap().is_complete());
        assert!(move_pages(&opened.uffd, here.range, there.range.start()).unwrap().is_complete());
    }
    assert_eq!(here.byte(0), 42);
}

#[test]
fn a_zero_page_moves_too() {
    let Some(opened) = require_move() else { return };
    let (to, from) = (Mapped::new(2), Mapped::new(2));
    // Reading untouched memory maps the shared zero page.
    assert_eq!((from.byte(0), from.byte(1)), (0, 0));
    register(&opened.uffd, to.range);
    let outcome = move_pages(&opened.uffd, to.range, from.range.start()).unwrap();
    assert!(outcome.is_complete());
    assert_eq!((to.byte(0), to.byte(1)), (0, 0));
    to.set_byte(0, 5);
    assert_eq!((to.byte(0), to.byte(1)), (5, 0));
}

#[test]
fn holes_are_skipped_when_asked_for_and_count_as_moved() {
    let Some(opened) = require_move() else { return };
    let (to, from) = (Mapped::new(4), Mapped::new(4));
    from.set_byte(0, 1);
    from.set_byte(3, 4);
    register(&opened.uffd, to.range);
    let start = from.range.start();
    let outcome = move_pages_with(&opened.uffd, to.range, start, Holes::Skip, Wake::Now).unwrap();
    assert_eq!(outcome, Outcome { done: pages(4), stop: Stop::Complete });
    assert_eq!((to.byte(0), to.byte(3)), (1, 4));
    assert!(!is_resident(to.part(1, 1).start()) && !is_resident(to.part(2, 1).start()));
}

#[test]
fn the_safe_layer_moves_between_areas_and_registrations() {
    let Some(opened) = require_move() else { return };
    let registered = |count| {
        let area = Area::anonymous(PageCount::new(count)).unwrap();
        Registration::new(&opened.uffd, area, RegisterMode::MISSING).unwrap()
    };
    let source = Area::anonymous(PageCount::new(4)).unwrap();
    source.write(2 * page_size(), b"third page");
    let (first, second) = (registered(4), registered(4));
    let moved = first
        .mover()
        .unwrap()
        .move_pages(first.range(), &source, source.range(), Holes::Skip, Wake::Now)
        .unwrap();
    assert!(moved.is_complete());
    let third = first.area().pages(2, 1).unwrap();
    let to = second.area().pages(0, 1).unwrap();
    let moved = second
        .mover()
        .unwrap()
        .move_pages(to, first.area(), third, Holes::Reject, Wake::Now)
        .unwrap();
    assert!(moved.is_complete());
    let mut bytes = [0; 10];
    second.area().read(0, &mut bytes);
    assert_eq!(&bytes, b"third page");
}

#[test]
fn the_safe_layer_refuses_what_is_outside() {
    let Some(opened) = require_move() else { return };
    let area = Area::anonymous(PageCount::new(4)).unwrap();
    let to = Registration::new(&opened.uffd, area, RegisterMode::MISSING).unwrap();
    let source = Area::anonymous(PageCount::new(4)).unwrap();
    let (here, there) = (to.range(), source.range());
    let mover = to.mover().unwrap();
    let attempt = |dst, src| mover.move_pages(dst, &source, src, Holes::Reject, Wake::Now);
    assert!(matches!(attempt(there, there), Err(MoveError::DestinationOutside { .. })));
    assert!(matches!(attempt(here, here), Err(MoveError::SourceOutside { .. })));
    let three = source.pages(0, 3).unwrap();
    assert!(matches!(attempt(here, three), Err(MoveError::LengthMismatch { .. })));
    let slide = mover.move_pages(
        to.area().pages(0, 2).unwrap(),
        to.area(),
        to.area().pages(1, 2).unwrap(),
        Holes::Reject,
        Wake::Now,
    );
    assert!(matches!(slide, Err(MoveError::Overlap { .. })));
}

#[test]
fn copy_and_zero_fill_what_is_missing() {
    let Some(opened) = require_move() else { return };
    let area = Area::anonymous(PageCount::new(2)).unwrap();
    let to = Registration::new(&opened.uffd, area, RegisterMode::MISSING).unwrap();
    let filler = to.filler().unwrap();
    let (first, second) = (to.area().pages(0, 1).unwrap(), to.area().pages(1, 1).unwrap());
    assert!(filler.copy_pages(first, &vec![9; page_size()], Wake::Now).unwrap().is_complete());
    assert!(filler.zero_pages(second, Wake::Now).unwrap().is_complete());
    assert!(matches!(
        filler.copy_pages(first, &[1], Wake::Now),
        Err(MoveError::LengthMismatch { .. })
    ));
    let again = filler.copy_pages(first, &vec![1; page_size()], Wake::Now).unwrap();
    assert_eq!(again, Outcome { done: PageCount::ZERO, stop: Stop::Present });
    let last = to.area().byte(2 * page_size() - 1).unwrap().load(Ordering::Relaxed);
    assert_eq!((to.area().byte(0).unwrap().load(Ordering::Relaxed), last), (9, 0));
}

#[test]
fn a_registration_that_is_dropped_lets_waiting_threads_go() {
    let Some(opened) = require_move() else { return };
    let to = Mapped::new(1);
    let range = to.range;
    register(&opened.uffd, range);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| to.byte(0));
        // Until the reader waits: its fault is in the descriptor.
        let mut buffer = uffd_move::EventBuffer::new(4);
        while buffer.read(&opened.uffd).unwrap().next().is_none() {
            std::thread::yield_now();
        }
        assert!(!reader.is_finished());
        support::unregister(&opened.uffd, range).unwrap();
        assert_eq!(reader.join().unwrap(), 0);
    });
}

#[test]
fn an_area_comes_back_unregistered() {
    let Some(opened) = require_move() else { return };
    let area = Area::anonymous(PageCount::ONE).unwrap();
    let registration = Registration::new(&opened.uffd, area, RegisterMode::MISSING).unwrap();
    assert!(format!("{registration:?}").contains("Registration"));
    let area = registration.into_area().unwrap();
    // Nobody serves its faults any more: this would wait for ever.
    assert_eq!(area.byte(0).unwrap().load(Ordering::Relaxed), 0);
}
