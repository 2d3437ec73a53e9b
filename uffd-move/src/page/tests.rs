use proptest::prelude::*;

use super::*;

fn addr(page: usize) -> PageAddr {
    PageAddr::new(page * page_size()).unwrap()
}

fn range(first: usize, count: usize) -> PageRange {
    PageRange::new(addr(first), PageCount::new(count)).unwrap()
}

#[test]
fn unaligned_numbers_are_refused_with_the_number() {
    assert_eq!(PageAddr::new(1), Err(PageError::UnalignedAddress { addr: 1 }));
    assert_eq!(PageRange::from_bytes(0, 1), Err(PageError::UnalignedLength { len: 1 }));
    assert_eq!(PageAddr::containing(page_size() + 1), addr(1));
}

#[test]
fn an_empty_range_is_refused() {
    assert_eq!(PageRange::from_bytes(page_size(), 0), Err(PageError::Empty));
}

#[test]
fn a_range_may_not_reach_the_last_address() {
    let last = PageAddr::containing(usize::MAX);
    assert_eq!(PageRange::one(last), Err(PageError::Wraps { start: last.get(), pages: 1 }));
    let huge = PageCount::new(usize::MAX);
    assert!(PageRange::new(addr(0), huge).is_err());
    assert_eq!(huge.checked_bytes(), None);
    assert_eq!(huge.bytes(), usize::MAX);
}

#[test]
fn covering_rounds_up_and_from_bytes_does_not_round() {
    assert_eq!(PageCount::covering(0), PageCount::ZERO);
    assert_eq!(PageCount::covering(1), PageCount::ONE);
    assert_eq!(PageCount::covering(page_size()), PageCount::ONE);
    assert_eq!(PageCount::from_bytes(page_size() + 1), None);
    assert_eq!(PageCount::from_bytes(3 * page_size()), Some(PageCount::new(3)));
}

#[test]
fn display_says_first_and_behind_last() {
    let text = range(1, 2).to_string();
    assert_eq!(text, format!("{:#x}..{:#x}", page_size(), 3 * page_size()));
}

proptest! {
    #[test]
    fn contains_agrees_with_the_list_of_pages(
        first in 0_usize..20, count in 1_usize..20, at in 0_usize..50, byte in 0_usize..4096,
    ) {
        let here = range(first, count);
        let listed = here.pages().any(|page| page == addr(at));
        prop_assert_eq!(here.contains(at * page_size() + byte % page_size()), listed);
        prop_assert_eq!(here.pages().len(), count);
    }

    #[test]
    fn overlap_agrees_with_the_lists_of_pages(
        a in 0_usize..12, b in 1_usize..12, c in 0_usize..12, d in 1_usize..12,
    ) {
        let (one, other) = (range(a, b), range(c, d));
        let common = one.pages().filter(|page| other.pages().any(|it| it == *page)).count();
        prop_assert_eq!(one.overlaps(other), common > 0);
        prop_assert_eq!(other.overlaps(one), common > 0);
        prop_assert_eq!(one.contains_range(other), common == d);
    }

    #[test]
    fn a_subrange_is_the_slice_of_the_list(
        first in 0_usize..20, count in 1_usize..20, skip in 0_usize..25, take in 0_usize..25,
    ) {
        let here = range(first, count);
        let list: Vec<_> = here.pages().collect();
        let expected = list.get(skip..skip + take).filter(|slice| !slice.is_empty());
        let part = here.subrange(PageCount::new(skip), PageCount::new(take));
        prop_assert_eq!(part.map(|part| part.pages().collect::<Vec<_>>()), expected.map(<[_]>::to_vec));
        let rest = list.get(skip..).filter(|slice| !slice.is_empty());
        prop_assert_eq!(
            here.rest(PageCount::new(skip)).map(|part| part.pages().collect::<Vec<_>>()),
            rest.map(<[_]>::to_vec)
        );
    }

    #[test]
    fn address_arithmetic_agrees_with_wide_integers(page in any::<usize>(), count in any::<usize>()) {
        let size = page_size() as u128;
        let start = PageAddr::containing(page);
        let wide = start.get() as u128 + count as u128 * size;
        let sum = start.checked_add(PageCount::new(count)).map(|end| end.get() as u128);
        prop_assert_eq!(sum, (wide <= usize::MAX as u128).then_some(wide));
        let down = (start.get() as u128).checked_sub(count as u128 * size);
        let difference = start.checked_sub(PageCount::new(count)).map(|at| at.get() as u128);
        prop_assert_eq!(difference, down);
        prop_assert_eq!(PageRange::new(start, PageCount::new(count)).is_ok(),
            count > 0 && wide <= usize::MAX as u128);
    }

    #[test]
    fn offset_undoes_addition(page in 0_usize..1000, count in 0_usize..1000) {
        let start = addr(page);
        let end = start.checked_add(PageCount::new(count)).unwrap();
        prop_assert_eq!(end.checked_offset_from(start), Some(PageCount::new(count)));
        prop_assert_eq!(start.checked_offset_from(end).is_some(), count == 0);
    }
}
