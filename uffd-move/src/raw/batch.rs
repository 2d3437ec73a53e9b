//! Many page pairs, the fewest system calls.

use std::fmt;

use crate::error::OpError;
use crate::outcome::{Holes, Stop, Wake};
use crate::page::{PageAddr, PageCount, PageRange};
use crate::sys::UffdIoctl;

use super::move_all::{Resume, move_all};

/// A page to move: where to, and where from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PagePair {
    dst: PageAddr,
    src: PageAddr,
}

/// The batch has no room; submit it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the batch is full")]
pub struct BatchFull;

/// Page pairs collected to be moved together, with the fewest system calls.
///
/// The room is in the value itself (`N` pairs), so a signal handler may use one. Pairs that lie
/// next to each other at both ends become one call: 16 pages in one call cost a fraction of 16
/// calls.
///
/// Pairs are moved in ascending order of their destination, whatever the order they came in. So a
/// page that is both a source and a destination in one batch is moved away in time only if all
/// pages move downwards and keep their order, as they do when a heap is slid together.
///
/// # Examples
///
/// ```
/// use uffd_move::{FakeKernel, FakePage, Holes, PageCount, Wake};
/// use uffd_move::raw::{MoveBatch, Resume};
///
/// let kernel = FakeKernel::new();
/// let to = kernel.map(PageCount::new(3), FakePage::Missing);
/// let from = kernel.map(PageCount::new(3), FakePage::Present);
/// kernel.register(to);
///
/// let mut batch: MoveBatch = MoveBatch::new();
/// for (dst, src) in to.pages().zip(from.pages()).rev() {
///     batch.push(dst, src)?;
/// }
/// // SAFETY: nobody else uses this memory.
/// let submitted = unsafe { batch.submit(&kernel, Holes::Reject, Wake::Now, Resume::default()) }?;
/// assert_eq!((submitted.moved.get(), submitted.calls), (3, 1));
/// assert!(batch.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct MoveBatch<const N: usize = 64> {
    pairs: [PagePair; N],
    len: usize,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the batch may still hold pages"]
#[non_exhaustive]
pub struct Submitted {
    /// Pages moved (with [`Holes::Skip`] holes count as moved).
    pub moved: PageCount,
    /// Pages left out because the destination was there.
    pub present: PageCount,
    /// Pages left out because the source was not there.
    pub holes: PageCount,
    /// System calls made.
    pub calls: u64,
    /// Why it stopped. Unless complete, the first pair that is still in the batch is the one.
    pub stop: Stop,
}

impl<const N: usize> Default for MoveBatch<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> MoveBatch<N> {
    /// An empty batch.
    pub fn new() -> Self {
        let nowhere = PageAddr::containing(0);
        Self { pairs: [PagePair { dst: nowhere, src: nowhere }; N], len: 0 }
    }

    /// Adds the page at `src`, to be moved to `dst`.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`BatchFull`] | there are `N` pairs in it | submit, then push again |
    pub fn push(&mut self, dst: PageAddr, src: PageAddr) -> Result<(), BatchFull> {
        let free = self.pairs.get_mut(self.len).ok_or(BatchFull)?;
        *free = PagePair { dst, src };
        self.len += 1;
        Ok(())
    }

    /// Pairs in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether there is no room.
    pub fn is_full(&self) -> bool {
        self.len == N
    }

    /// Forgets all pairs.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// The pairs, destination first. After a submission that stopped short, the first is the one
    /// that stopped it.
    pub fn pairs(&self) -> impl ExactSizeIterator<Item = (PageAddr, PageAddr)> {
        self.pairs[..self.len].iter().map(|pair| (pair.dst, pair.src))
    }

    /// Takes the first pair out: to deal with it in another way, and submit the others again.
    pub fn take_first(&mut self) -> Option<(PageAddr, PageAddr)> {
        let first = self.pairs().next()?;
        self.drop_first(1);
        Some(first)
    }

    /// The runs that would be submitted: destination pages, and the first source page. The fewest
    /// there can be, in ascending order of destination.
    pub fn runs(&mut self) -> impl Iterator<Item = (PageRange, PageAddr)> {
        self.sort();
        let mut rest = &self.pairs[..self.len];
        std::iter::from_fn(move || {
            let (run, src) = first_run(rest)?;
            rest = &rest[run.count().get()..];
            Some((run, src))
        })
    }

    /// Moves the pages, run by run. What is dealt with leaves the batch.
    ///
    /// Stops at the first page that `resume` does not let it pass by; that page and all behind it
    /// stay in the batch, in front the one that stopped it.
    ///
    /// # Errors
    ///
    /// As for [`move_pages`](super::move_pages). What was dealt with before has left the batch.
    ///
    /// # Safety
    ///
    /// As for [`move_pages`](super::move_pages), for each pair.
    pub unsafe fn submit<K: UffdIoctl + ?Sized>(
        &mut self,
        uffd: &K,
        holes: Holes,
        wake: Wake,
        resume: Resume,
    ) -> Result<Submitted, OpError> {
        let mut sum = Submitted {
            moved: PageCount::ZERO,
            present: PageCount::ZERO,
            holes: PageCount::ZERO,
            calls: 0,
            stop: Stop::Complete,
        };
        self.sort();
        let mut dealt_with = 0;
        let mut failed = None;
        while let Some((dst, src)) = first_run(&self.pairs[dealt_with..self.len]) {
            // SAFETY: handed on; a run is made of pairs that lie next to each other.
            match unsafe { move_all(uffd, dst, src, holes, wake, resume) } {
                Ok(run) => {
                    dealt_with += run.walked.get();
                    sum.moved = sum.moved.saturating_add(run.moved);
                    sum.present = sum.present.saturating_add(run.present);
                    sum.holes = sum.holes.saturating_add(run.holes);
                    sum.calls += run.calls;
                    sum.stop = run.stop;
                }
                Err(error) => {
                    // The error's range is the rest of the run: what is before it is dealt with.
                    let walked = error.range.start().checked_offset_from(dst.start());
                    dealt_with += walked.map_or(0, PageCount::get) + error.done.get();
                    failed = Some(error);
                }
            }
            if failed.is_some() || !sum.stop.eq(&Stop::Complete) {
                break;
            }
        }
        self.drop_first(dealt_with);
        failed.map_or(Ok(sum), Err)
    }

    fn sort(&mut self) {
        // In place, without a buffer.
        self.pairs[..self.len].sort_unstable_by_key(|pair| pair.dst);
    }

    fn drop_first(&mut self, count: usize) {
        self.pairs.copy_within(count..self.len, 0);
        self.len -= count;
    }
}

/// The longest run at the beginning of `pairs`, which are sorted by destination.
fn first_run(pairs: &[PagePair]) -> Option<(PageRange, PageAddr)> {
    let first = pairs.first()?;
    let continues = |i: usize, pair: &PagePair| {
        let count = PageCount::new(i);
        first.dst.checked_add(count) == Some(pair.dst)
            && first.src.checked_add(count) == Some(pair.src)
    };
    let count = pairs.iter().enumerate().take_while(|(i, pair)| continues(*i, pair)).count();
    // Only the last page of the address space has no range, and nothing is mapped there.
    let run = PageRange::new(first.dst, PageCount::new(count)).ok()?;
    Some((run, first.src))
}

impl<const N: usize> fmt::Debug for MoveBatch<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.pairs()).finish()
    }
}

#[cfg(test)]
#[path = "batch/tests.rs"]
mod tests;
