//! Huge pages: moved whole where they fit, split where they do not.

mod support;

use support::{Mapped, move_pages, register, require_move, skip_machine, smaps_kib};
use uffd_move::{PageAddr, PageCount, PageRange, page_size};

const HUGE: usize = 2 << 20;

/// The first aligned huge page of `mapped`.
fn huge_in(mapped: &Mapped) -> PageRange {
    let start = mapped.range.start().get().next_multiple_of(HUGE);
    PageRange::from_bytes(start, HUGE).expect("must succeed here")
}

fn first_page_index(mapped: &Mapped, range: PageRange) -> usize {
    range.start().checked_offset_from(mapped.range.start()).expect("must succeed here").get()
}

/// Memory with one real huge page in it, or a loud skip: the machine may have none to give.
fn with_huge_page(mark: u8) -> Option<(Mapped, PageRange)> {
    let mapped = Mapped::new(2 * HUGE / page_size());
    let huge = huge_in(&mapped);
    if mapped.advise(huge, libc::MADV_HUGEPAGE).is_err() {
        skip_machine("no transparent huge pages on this machine");
        return None;
    }
    let first = first_page_index(&mapped, huge);
    (0..huge.count().get()).for_each(|i| mapped.set_byte(first + i, mark));
    if smaps_kib(huge.start(), "AnonHugePages") * 1024 < HUGE {
        skip_machine("the machine has no free huge page now");
        return None;
    }
    Some((mapped, huge))
}

#[test]
fn an_aligned_huge_page_moves_whole() {
    let Some(opened) = require_move() else { return };
    let Some((from, huge)) = with_huge_page(11) else { return };
    let to = Mapped::new(2 * HUGE / page_size());
    let target = huge_in(&to);
    register(&opened.uffd, target);
    let outcome = move_pages(&opened.uffd, target, huge.start()).unwrap();
    assert!(outcome.is_complete());
    assert_eq!(smaps_kib(target.start(), "AnonHugePages") * 1024, HUGE);
    assert_eq!(smaps_kib(huge.start(), "AnonHugePages"), 0);
    let first = first_page_index(&to, target);
    assert!((0..target.count().get()).all(|i| to.byte(first + i) == 11));
    drop(from);
}

#[test]
fn a_part_of_a_huge_page_moves_after_a_split() {
    let Some(opened) = require_move() else { return };
    let Some((from, huge)) = with_huge_page(12) else { return };
    let to = Mapped::new(3);
    register(&opened.uffd, to.range);
    let src: PageAddr = huge.start().checked_add(PageCount::new(100)).unwrap();
    let outcome = move_pages(&opened.uffd, to.range, src).unwrap();
    assert!(outcome.is_complete());
    assert!((0..3).all(|i| to.byte(i) == 12));
    let first = first_page_index(&from, huge);
    assert_eq!(
        (from.byte(first + 99), from.byte(first + 100), from.byte(first + 103)),
        (12, 0, 12)
    );
}

#[test]
fn a_huge_page_moves_to_an_unaligned_place_page_by_page() {
    let Some(opened) = require_move() else { return };
    let Some((_from, huge)) = with_huge_page(13) else { return };
    let to = Mapped::new(2 * HUGE / page_size());
    let target = PageRange::new(
        huge_in(&to).start().checked_add(PageCount::ONE).unwrap(),
        PageCount::new(HUGE / page_size() - 1),
    )
    .unwrap();
    register(&opened.uffd, to.range);
    let outcome = move_pages(&opened.uffd, target, huge.start()).unwrap();
    assert!(outcome.is_complete());
    let first = first_page_index(&to, target);
    assert!((0..target.count().get()).all(|i| to.byte(first + i) == 13));
}
