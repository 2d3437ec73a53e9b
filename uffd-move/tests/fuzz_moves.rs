//! Random sequences of requests, on the scripted kernel and on the real one, against a list of pages.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use arbitrary::{Arbitrary, Unstructured};
use support::{
    Mapped, copy_pages, madvise, move_all, move_pages_with, pages, register, require_move,
    zero_pages,
};
use uffd_move::raw::{OnHole, OnPresent, Resume};
use uffd_move::{
    FakeKernel, FakePage, Holes, OpError, Outcome, PageRange, Stop, UffdIoctl, Wake, page_size,
};

/// Pages at each end.
const PAGES: usize = 24;

/// Answers without progress before a test gives up: forks of other tests cause some.
const PATIENCE: u32 = 10_000;

/// One step. Numbers are taken modulo what there is.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Step {
    Move { dst: u8, src: u8, count: u8, skip_holes: bool },
    MoveAll { dst: u8, src: u8, count: u8, skip_present: bool, skip_holes: bool },
    Copy { dst: u8, count: u8, mark: u8 },
    Zero { dst: u8, count: u8 },
    Write { src: u8, mark: u8 },
    DropSource { src: u8, count: u8 },
    DropTarget { dst: u8, count: u8 },
}

#[derive(Clone, Debug)]
struct Case {
    steps: Vec<Step>,
}

impl<'a> Arbitrary<'a> for Case {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let mut steps = Vec::new();
        while !u.is_empty() && steps.len() < 400 {
            steps.push(u.arbitrary()?);
        }
        Ok(Self { steps })
    }
}

/// What is at each page: nothing, or a page filled with a byte.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Model {
    dst: Vec<Option<u8>>,
    src: Vec<Option<u8>>,
}

impl Model {
    /// Moves by the book: pages done, and why it ends there.
    fn move_pages(&mut self, dst: usize, src: usize, count: usize, holes: Holes) -> (usize, Stop) {
        for at in 0..count {
            if self.dst[dst + at].is_some() {
                return (at, Stop::Present);
            }
            match self.src[src + at].take() {
                None if holes == Holes::Reject => return (at, Stop::Hole),
                page => self.dst[dst + at] = page,
            }
        }
        (count, Stop::Complete)
    }

    fn fill(&mut self, dst: usize, count: usize, byte: u8) -> (usize, Stop) {
        for at in dst..dst + count {
            if self.dst[at].is_some() {
                return (at - dst, Stop::Present);
            }
            self.dst[at] = Some(byte);
        }
        (count, Stop::Complete)
    }
}

/// The memory under test: a kernel, and what it takes to write to pages and to drop them.
trait Memory {
    type Kernel: UffdIoctl;
    fn kernel(&self) -> &Self::Kernel;
    fn target(&self) -> PageRange;
    fn source(&self) -> PageRange;
    /// Pages full of `byte`, to be copied.
    fn pattern(&self, byte: u8) -> PageRange;
    fn write(&self, page: PageRange, byte: u8);
    fn discard(&self, range: PageRange);
    fn byte(&self, range: PageRange) -> u8;
}

struct Fake {
    kernel: FakeKernel,
    target: PageRange,
    source: PageRange,
    pattern: PageRange,
}

impl Memory for Fake {
    type Kernel = FakeKernel;
    fn kernel(&self) -> &FakeKernel {
        &self.kernel
    }
    fn target(&self) -> PageRange {
        self.target
    }
    fn source(&self) -> PageRange {
        self.source
    }
    fn pattern(&self, byte: u8) -> PageRange {
        self.kernel.fill(self.pattern, byte);
        self.pattern
    }
    fn write(&self, page: PageRange, byte: u8) {
        self.kernel.fill(page, byte);
        self.kernel.set_pages(page, FakePage::Present);
    }
    fn discard(&self, range: PageRange) {
        self.kernel.fill(range, 0);
        self.kernel.set_pages(range, FakePage::Missing);
    }
    fn byte(&self, range: PageRange) -> u8 {
        self.kernel.byte(range.start().get())
    }
}

struct Real<K> {
    kernel: K,
    target: Mapped,
    source: Mapped,
    pattern: Mapped,
}

impl<K: UffdIoctl> Real<K> {
    fn at(&self, page: PageRange) -> (&Mapped, usize) {
        let mapped = if self.target.range.contains(page.start().get()) {
            &self.target
        } else {
            &self.source
        };
        (mapped, (page.start().get() - mapped.range.start().get()) / page_size())
    }
}

impl<K: UffdIoctl> Memory for Real<K> {
    type Kernel = K;
    fn kernel(&self) -> &K {
        &self.kernel
    }
    fn target(&self) -> PageRange {
        self.target.range
    }
    fn source(&self) -> PageRange {
        self.source.range
    }
    fn pattern(&self, byte: u8) -> PageRange {
        (0..PAGES).for_each(|at| self.pattern.set_byte(at, byte));
        self.pattern.range
    }
    fn write(&self, page: PageRange, byte: u8) {
        let (mapped, at) = self.at(page);
        mapped.set_byte(at, byte);
    }
    fn discard(&self, range: PageRange) {
        madvise(range, libc::MADV_DONTNEED).expect("memory of our own");
    }
    fn byte(&self, range: PageRange) -> u8 {
        let (mapped, at) = self.at(range);
        mapped.byte(at)
    }
}

fn part(range: PageRange, first: usize, count: usize) -> PageRange {
    range.subrange(pages(first), pages(count)).expect("inside")
}

/// Asks again for the rest until the kernel names a reason other than "again".
fn to_the_end(count: usize, ask: impl Fn(usize) -> Result<Outcome, OpError>) -> (usize, Stop) {
    let (mut done, mut fruitless) = (0, 0);
    while done < count {
        let outcome = ask(done).expect("ranges of our own");
        done += outcome.done.get();
        match outcome.stop {
            Stop::Again if outcome.done.is_zero() => {
                fruitless += 1;
                assert!(fruitless < PATIENCE, "no progress at page {done}");
                std::thread::yield_now();
            }
            Stop::Again => {}
            Stop::Complete => assert_eq!(done, count, "complete means every page"),
            stop => return (done, stop),
        }
    }
    (done, Stop::Complete)
}

fn step(memory: &impl Memory, model: &mut Model, step: Step) {
    let (to, from, kernel) = (memory.target(), memory.source(), memory.kernel());
    let range = |first: u8, count: u8| {
        let first = usize::from(first) % PAGES;
        (first, usize::from(count) % (PAGES - first) + 1)
    };
    let holes_of = |skip: bool| if skip { Holes::Skip } else { Holes::Reject };
    match step {
        Step::Move { dst, src, count, skip_holes } => {
            let (dst, count) = range(dst, count);
            let src = usize::from(src) % (PAGES - count + 1);
            let holes = holes_of(skip_holes);
            let answer = to_the_end(count, |done| {
                let (dst, src) = (part(to, dst + done, count - done), part(from, src + done, 1));
                move_pages_with(kernel, dst, src.start(), holes, Wake::Later)
            });
            assert_eq!(answer, model.move_pages(dst, src, count, holes));
        }
        Step::MoveAll { dst, src, count, skip_present, skip_holes } => {
            let (dst, count) = range(dst, count);
            let src = usize::from(src) % (PAGES - count + 1);
            let resume = Resume {
                present: if skip_present { OnPresent::Skip } else { OnPresent::Stop },
                hole: if skip_holes { OnHole::Skip } else { OnHole::Stop },
                retries: PATIENCE,
            };
            let source = part(from, src, count).start();
            let progress = move_all(kernel, part(to, dst, count), source, resume).expect("ours");
            // Page by page, for each kind of stop may be passed by.
            let (mut moved, mut present, mut holes) = (0, 0, 0);
            let mut stop = Stop::Complete;
            for at in 0..count {
                match model.move_pages(dst + at, src + at, 1, Holes::Reject).1 {
                    Stop::Complete => moved += 1,
                    Stop::Present if skip_present => present += 1,
                    Stop::Hole if skip_holes => holes += 1,
                    other => {
                        stop = other;
                        break;
                    }
                }
            }
            let answer = (progress.moved, progress.present, progress.holes, progress.stop);
            assert_eq!(answer, (pages(moved), pages(present), pages(holes), stop));
            assert_eq!(progress.walked, pages(moved + present + holes));
        }
        Step::Copy { dst, count, mark } => {
            let (dst, count) = range(dst, count);
            let pattern = memory.pattern(mark);
            let answer = to_the_end(count, |done| {
                copy_pages(kernel, part(to, dst + done, count - done), pattern.start())
            });
            assert_eq!(answer, model.fill(dst, count, mark));
        }
        Step::Zero { dst, count } => {
            let (dst, count) = range(dst, count);
            let answer =
                to_the_end(count, |done| zero_pages(kernel, part(to, dst + done, count - done)));
            assert_eq!(answer, model.fill(dst, count, 0));
        }
        Step::Write { src, mark } => {
            let src = usize::from(src) % PAGES;
            memory.write(part(from, src, 1), mark);
            model.src[src] = Some(mark);
        }
        Step::DropSource { src, count } => {
            let (src, count) = range(src, count);
            memory.discard(part(from, src, count));
            model.src[src..src + count].fill(None);
        }
        Step::DropTarget { dst, count } => {
            let (dst, count) = range(dst, count);
            memory.discard(part(to, dst, count));
            model.dst[dst..dst + count].fill(None);
        }
    }
}

fn play(memory: &impl Memory, case: &Case) {
    register(memory.kernel(), memory.target());
    // Where the source has no page table, the kernel finds the hole before the page in the way.
    (0..PAGES).for_each(|at| memory.write(part(memory.source(), at, 1), 0));
    memory.discard(memory.source());
    let mut model = Model { dst: vec![None; PAGES], src: vec![None; PAGES] };
    for &next in &case.steps {
        step(memory, &mut model, next);
        // Touching a page that is missing would wait for ever.
        for (at, page) in model.dst.iter().enumerate() {
            if let Some(byte) = page {
                assert_eq!(memory.byte(part(memory.target(), at, 1)), *byte, "page {at}");
            }
        }
    }
    for (at, page) in model.src.iter().enumerate() {
        if let Some(byte) = page {
            assert_eq!(memory.byte(part(memory.source(), at, 1)), *byte, "source page {at}");
        }
    }
}

#[test]
fn requests_to_the_scripted_kernel_do_what_the_list_says() {
    fuzz::run("moves-fake", 400, |case: &Case| {
        let kernel = FakeKernel::new();
        let target = kernel.map(pages(PAGES), FakePage::Missing);
        let source = kernel.map(pages(PAGES), FakePage::Missing);
        let pattern = kernel.map(pages(PAGES), FakePage::Present);
        play(&Fake { kernel, target, source, pattern }, case);
    });
}

#[test]
fn requests_to_the_kernel_do_what_the_list_says() {
    if require_move().is_none() {
        return;
    }
    fuzz::run("moves-kernel", 200, |case: &Case| {
        let opened = require_move().expect("it was there");
        let [target, source, pattern] = [(); 3].map(|()| Mapped::new(PAGES));
        play(&Real { kernel: opened.uffd, target, source, pattern }, case);
    });
}
