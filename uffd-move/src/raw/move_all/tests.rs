//! The driver against a naive twin, on the fake kernel.

use proptest::prelude::*;

use super::*;
use crate::sys::{FakeAnswer, FakeKernel, FakePage};

const PAGES: usize = 12;

fn run(
    kernel: &FakeKernel,
    to: PageRange,
    from: PageRange,
    holes: Holes,
    resume: Resume,
) -> Result<Progress, OpError> {
    // SAFETY: the kernel's own memory, into which nobody has a reference.
    unsafe { move_all(kernel, to, from.start(), holes, Wake::Now, resume) }
}

fn mapped(count: usize) -> (FakeKernel, PageRange, PageRange) {
    let kernel = FakeKernel::new();
    let to = kernel.map(PageCount::new(count), FakePage::Missing);
    let from = kernel.map(PageCount::new(count), FakePage::Present);
    kernel.register(to);
    (kernel, to, from)
}

#[test]
fn partial_moves_are_resumed_where_they_stopped() {
    let (kernel, to, from) = mapped(10);
    kernel.script([3, 0, 5].map(|n| FakeAnswer::Partial(PageCount::new(n))));
    let progress = run(&kernel, to, from, Holes::Reject, Resume::default()).unwrap();
    assert!(progress.is_complete());
    assert_eq!((progress.moved.get(), progress.calls), (10, 4));
    let asked: Vec<_> =
        kernel.calls().iter().map(|call| call.range.unwrap().count().get()).collect();
    assert_eq!(asked, [10, 7, 7, 2]);
}

#[test]
fn it_gives_up_after_so_many_fruitless_answers_in_a_row() {
    let (kernel, to, from) = mapped(2);
    let nothing = FakeAnswer::Fail { errno: nix::errno::Errno::EAGAIN, field: None };
    kernel.script([nothing; 5]);
    kernel.script([FakeAnswer::Partial(PageCount::ONE)]);
    kernel.script([nothing; 6]);
    let resume = Resume { retries: 5, ..Resume::default() };
    let progress = run(&kernel, to, from, Holes::Reject, resume).unwrap();
    assert_eq!((progress.stop, progress.walked.get(), progress.calls), (Stop::Again, 1, 12));
}

#[test]
fn a_busy_page_is_named() {
    let (kernel, to, from) = mapped(5);
    kernel.set_pages(from.subrange(PageCount::new(3), PageCount::ONE).unwrap(), FakePage::Busy);
    let progress = run(&kernel, to, from, Holes::Reject, Resume::SHARED).unwrap();
    assert_eq!(progress.busy_page(), Some(PageCount::new(3)));
    assert_eq!(progress.moved.get(), 3);
}

#[test]
fn an_error_says_how_far_the_work_had_come() {
    let (kernel, to, from) = mapped(5);
    kernel.script([
        FakeAnswer::Partial(PageCount::new(2)),
        FakeAnswer::Fail { errno: nix::errno::Errno::ENOMEM, field: Some(-12) },
    ]);
    let error = run(&kernel, to, from, Holes::Reject, Resume::default()).unwrap_err();
    assert_eq!(error.range, to.rest(PageCount::new(2)).unwrap());
}

fn any_page() -> impl Strategy<Value = FakePage> {
    prop_oneof![
        4 => Just(FakePage::Present),
        4 => Just(FakePage::Missing),
        1 => Just(FakePage::Busy),
    ]
}

fn any_resume() -> impl Strategy<Value = Resume> {
    let present = prop_oneof![Just(OnPresent::Stop), Just(OnPresent::Skip)];
    let hole = prop_oneof![Just(OnHole::Stop), Just(OnHole::Skip)];
    (present, hole).prop_map(|(present, hole)| Resume { present, hole, retries: 50 })
}

/// What should come of it, page by page, without calls and without a kernel.
fn twin(
    to: &mut [FakePage],
    from: &mut [FakePage],
    holes: Holes,
    resume: Resume,
) -> (usize, usize, usize, Stop) {
    let (mut moved, mut present, mut hole) = (0, 0, 0);
    for (to, from) in to.iter_mut().zip(from) {
        if *to != FakePage::Missing {
            if resume.present == OnPresent::Stop {
                return (moved, present, hole, Stop::Present);
            }
            present += 1;
        } else if *from == FakePage::Missing {
            match (holes, resume.hole) {
                (Holes::Skip, _) => moved += 1,
                (Holes::Reject, OnHole::Skip) => hole += 1,
                (Holes::Reject, OnHole::Stop) => return (moved, present, hole, Stop::Hole),
            }
        } else if *from == FakePage::Busy {
            return (moved, present, hole, Stop::Busy);
        } else {
            *to = FakePage::Present;
            *from = FakePage::Missing;
            moved += 1;
        }
    }
    (moved, present, hole, Stop::Complete)
}

proptest! {
    #[test]
    fn the_driver_does_what_page_by_page_would_do(
        pages in prop::collection::vec((any_page(), any_page()), 1..PAGES),
        partial in prop::collection::vec(0_usize..4, 0..6),
        skip_holes in any::<bool>(),
        resume in any_resume(),
    ) {
        let holes = if skip_holes { Holes::Skip } else { Holes::Reject };
        let (mut to_twin, mut from_twin): (Vec<_>, Vec<_>) = pages.iter().copied().unzip();
        let (kernel, to, from) = mapped(pages.len());
        for (i, (dst, src)) in pages.iter().enumerate() {
            let one = |range: PageRange| range.subrange(PageCount::new(i), PageCount::ONE).unwrap();
            kernel.set_pages(one(to), *dst);
            kernel.set_pages(one(from), *src);
            kernel.fill(one(from), u8::try_from(i + 1).unwrap());
        }
        kernel.script(partial.iter().map(|n| FakeAnswer::Partial(PageCount::new(*n))));

        let progress = run(&kernel, to, from, holes, resume).unwrap();
        let (moved, present, hole, stop) = twin(&mut to_twin, &mut from_twin, holes, resume);
        prop_assert_eq!(
            (progress.moved.get(), progress.present.get(), progress.holes.get(), progress.stop),
            (moved, present, hole, stop)
        );
        prop_assert_eq!(progress.walked.get(), moved + present + hole);
        let state = |range: PageRange| range.pages().map(|at| kernel.page(at).unwrap()).collect::<Vec<_>>();
        prop_assert_eq!(state(to), to_twin);
        prop_assert_eq!(state(from), from_twin);
        for (i, (dst, src)) in pages.iter().enumerate() {
            let at = to.pages().nth(i).unwrap();
            let came = (*dst, *src) == (FakePage::Missing, FakePage::Present)
                && kernel.page(at) == Some(FakePage::Present);
            if came {
                prop_assert_eq!(usize::from(kernel.byte(at.get())), i + 1);
            }
        }
    }
}
