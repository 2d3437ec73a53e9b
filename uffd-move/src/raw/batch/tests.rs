//! Coalescing and submission against naive twins.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::sys::{FakeKernel, FakePage};

const ROOM: usize = 24;

fn addr(page: usize) -> PageAddr {
    PageAddr::new(page * crate::page_size()).unwrap()
}

/// Different destinations and different sources, in any order.
fn any_pairs() -> impl Strategy<Value = Vec<(usize, usize)>> {
    let destinations = Just((0..ROOM).collect::<Vec<_>>());
    // Runs and shuffles both: sources are a rotation of a few, or shuffled.
    let sources = prop_oneof![
        Just((0..ROOM).collect::<Vec<_>>()).prop_shuffle(),
        (0..ROOM).prop_map(|by| {
            let mut sources: Vec<_> = (0..ROOM).collect();
            sources.rotate_left(by);
            sources
        }),
    ];
    (destinations.prop_shuffle(), sources, 0..=ROOM).prop_map(|(dst, src, count)| {
        dst.into_iter().map(|dst| (dst, src[dst])).take(count).collect()
    })
}

#[test]
fn a_full_batch_refuses_and_keeps_what_it_has() {
    let mut batch = MoveBatch::<2>::new();
    assert_eq!(batch.push(addr(1), addr(5)), Ok(()));
    assert_eq!(batch.push(addr(2), addr(6)), Ok(()));
    assert!(batch.is_full());
    assert_eq!(batch.push(addr(3), addr(7)), Err(BatchFull));
    assert_eq!(batch.pairs().collect::<Vec<_>>(), [(addr(1), addr(5)), (addr(2), addr(6))]);
    batch.clear();
    assert!(batch.is_empty());
}

#[test]
fn a_busy_page_stays_in_front_and_the_rest_goes_on_without_it() {
    let kernel = FakeKernel::new();
    let to = kernel.map(PageCount::new(4), FakePage::Missing);
    let from = kernel.map(PageCount::new(4), FakePage::Present);
    kernel.register(to);
    kernel.set_pages(from.subrange(PageCount::new(2), PageCount::ONE).unwrap(), FakePage::Busy);
    let mut batch = MoveBatch::<8>::new();
    for (dst, src) in to.pages().zip(from.pages()) {
        batch.push(dst, src).unwrap();
    }
    let mut submit = || {
        // SAFETY: the kernel's own memory, into which nobody has a reference.
        let sum = unsafe { batch.submit(&kernel, Holes::Reject, Wake::Now, Resume::SHARED) };
        (sum.unwrap(), batch.take_first(), batch.len())
    };
    let (sum, first, left) = submit();
    assert_eq!((sum.stop, sum.moved.get()), (Stop::Busy, 2));
    assert_eq!(first, to.pages().nth(2).zip(from.pages().nth(2)));
    assert_eq!(left, 1);
    let (sum, first, left) = submit();
    assert_eq!((sum.stop, sum.moved.get(), first, left), (Stop::Complete, 1, None, 0));
}

#[test]
fn an_error_leaves_in_the_batch_what_was_not_moved() {
    let kernel = FakeKernel::new();
    let to = kernel.map(PageCount::new(4), FakePage::Missing);
    let from = kernel.map(PageCount::new(4), FakePage::Present);
    kernel.register(to);
    let mut batch = MoveBatch::<8>::new();
    for (dst, src) in to.pages().zip(from.pages()) {
        batch.push(dst, src).unwrap();
    }
    kernel.script([
        crate::FakeAnswer::Partial(PageCount::new(3)),
        crate::FakeAnswer::Fail { errno: nix::errno::Errno::ENOMEM, field: Some(-12) },
    ]);
    // SAFETY: the kernel's own memory, into which nobody has a reference.
    let error = unsafe { batch.submit(&kernel, Holes::Reject, Wake::Now, Resume::default()) };
    assert_eq!(error.unwrap_err().errno, nix::errno::Errno::ENOMEM);
    assert_eq!(batch.pairs().collect::<Vec<_>>(), [to.pages().zip(from.pages()).nth(3).unwrap()]);
}

proptest! {
    #[test]
    fn runs_are_the_same_pairs_and_the_fewest(pairs in any_pairs()) {
        let mut batch = MoveBatch::<ROOM>::new();
        for (dst, src) in &pairs {
            batch.push(addr(*dst + 1), addr(*src + 100)).unwrap();
        }
        let runs: Vec<_> = batch.runs().collect();
        let unrolled: BTreeSet<_> = runs
            .iter()
            .flat_map(|(dst, src)| {
                let sources = PageRange::new(*src, dst.count()).unwrap();
                dst.pages().zip(sources.pages().collect::<Vec<_>>())
            })
            .collect();
        let given: BTreeSet<_> =
            pairs.iter().map(|(dst, src)| (addr(*dst + 1), addr(*src + 100))).collect();
        prop_assert_eq!(&unrolled, &given);
        // A pair begins a run exactly if the pair one page below at both ends is not there.
        let begins = pairs
            .iter()
            .filter(|(dst, src)| !pairs.iter().any(|(d, s)| d + 1 == *dst && s + 1 == *src))
            .count();
        prop_assert_eq!(runs.len(), begins);
        prop_assert!(runs.windows(2).all(|two| two[0].0.start() < two[1].0.start()));
    }

    #[test]
    fn a_submitted_batch_moves_each_page_to_its_place(pairs in any_pairs()) {
        let kernel = FakeKernel::new();
        let to = kernel.map(PageCount::new(ROOM), FakePage::Missing);
        let from = kernel.map(PageCount::new(ROOM), FakePage::Present);
        kernel.register(to);
        for (i, at) in from.pages().enumerate() {
            kernel.fill(PageRange::one(at).unwrap(), u8::try_from(i + 1).unwrap());
        }
        let (to, from): (Vec<_>, Vec<_>) = (to.pages().collect(), from.pages().collect());
        let mut batch = MoveBatch::<ROOM>::new();
        for (dst, src) in &pairs {
            batch.push(to[*dst], from[*src]).unwrap();
        }
        // SAFETY: the kernel's own memory, into which nobody has a reference.
        let sum = unsafe { batch.submit(&kernel, Holes::Reject, Wake::Now, Resume::default()) };
        let sum = sum.unwrap();
        prop_assert_eq!((sum.moved.get(), sum.stop), (pairs.len(), Stop::Complete));
        prop_assert!(batch.is_empty());
        for (dst, src) in &pairs {
            prop_assert_eq!(usize::from(kernel.byte(to[*dst].get())), src + 1);
        }
    }

    #[test]
    fn pages_slid_downwards_arrive_in_one_batch(gaps in prop::collection::vec(0_usize..3, 1..ROOM)) {
        // Live pages with gaps between them, slid together to the bottom of the same memory.
        let mut live = Vec::new();
        let mut at = 1;
        for gap in gaps {
            at += gap;
            live.push(at);
            at += 1;
        }
        let kernel = FakeKernel::new();
        let area = kernel.map(PageCount::new(at + 1), FakePage::Missing);
        kernel.register(area);
        let pages: Vec<_> = area.pages().collect();
        for (i, page) in live.iter().enumerate() {
            let one = PageRange::one(pages[*page]).unwrap();
            kernel.set_pages(one, FakePage::Present);
            kernel.fill(one, u8::try_from(i + 1).unwrap());
        }
        let mut batch = MoveBatch::<ROOM>::new();
        for (i, page) in live.iter().enumerate().rev() {
            batch.push(pages[i], pages[*page]).unwrap();
        }
        // SAFETY: the kernel's own memory, into which nobody has a reference.
        let sum = unsafe { batch.submit(&kernel, Holes::Reject, Wake::Now, Resume::default()) };
        prop_assert_eq!(sum.unwrap().moved.get(), live.len());
        for (i, page) in pages.iter().enumerate().take(live.len()) {
            prop_assert_eq!(usize::from(kernel.byte(page.get())), i + 1);
        }
    }
}
