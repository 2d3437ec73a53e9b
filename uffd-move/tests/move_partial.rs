//! Short moves keep their count, on the real kernel.

mod support;

use support::{Mapped, move_all, move_pages, pages, register, require_move};
use uffd_move::raw::{OnHole, OnPresent, Resume};
use uffd_move::{Outcome, Stop};

#[test]
fn short_move_keeps_its_count() {
    let Some(opened) = require_move() else { return };
    let (to, from) = (Mapped::new(8), Mapped::new(8));
    (0..5).for_each(|i| from.set_byte(i, 10));
    register(&opened.uffd, to.range);
    let first = move_pages(&opened.uffd, to.range, from.range.start());
    assert_eq!(first, Ok(Outcome { done: pages(5), stop: Stop::Again }));
    // The reason is said when the rest is asked for.
    let rest = move_pages(&opened.uffd, to.part(5, 3), from.part(5, 3).start());
    assert_eq!(rest, Ok(Outcome { done: pages(0), stop: Stop::Hole }));
    assert!((0..5).all(|i| to.byte(i) == 10));
}

#[test]
fn the_driver_passes_by_what_others_did() {
    let Some(opened) = require_move() else { return };
    let (to, from) = (Mapped::new(8), Mapped::new(8));
    (0..8).filter(|i| *i != 5).for_each(|i| from.set_byte(i, 20));
    register(&opened.uffd, to.range);
    let early = Mapped::filled(1, 99);
    assert!(move_pages(&opened.uffd, to.part(2, 1), early.range.start()).unwrap().is_complete());

    let progress = move_all(&opened.uffd, to.range, from.range.start(), Resume::SHARED).unwrap();
    assert!(progress.is_complete());
    let counts = (progress.moved.get(), progress.present.get(), progress.holes.get());
    assert_eq!(counts, (6, 1, 1));
    assert_eq!((to.byte(2), to.byte(3), from.byte(2)), (99, 20, 20));
}

#[test]
fn the_driver_stops_where_the_policy_says() {
    let Some(opened) = require_move() else { return };
    let (to, from) = (Mapped::new(4), Mapped::new(4));
    [0, 1, 3].into_iter().for_each(|i| from.set_byte(i, 30));
    register(&opened.uffd, to.range);
    let resume = Resume { present: OnPresent::Skip, hole: OnHole::Stop, retries: 3 };
    let progress = move_all(&opened.uffd, to.range, from.range.start(), resume).unwrap();
    assert_eq!((progress.stop, progress.walked), (Stop::Hole, pages(2)));
}
