//! What the kernel did: how many pages, and why it stopped there.

use crate::page::PageCount;

/// What to do about a source page that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[doc(alias = "UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES")]
pub enum Holes {
    /// Stop at it, with [`Stop::Hole`].
    Reject,
    /// Leave the destination page missing, and count the page as moved.
    Skip,
}

/// When the threads that wait for a page are let run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[doc(alias = "DONTWAKE")]
pub enum Wake {
    /// As soon as the page is there, in the same system call.
    Now,
    /// Not before somebody asks for it (see [`crate::raw::wake_pages`]).
    Later,
}

/// Why the kernel stopped. Each of these is something a correct program meets every day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stop {
    /// Everything is done.
    Complete,
    /// `EAGAIN`: stopped short, after some pages or before the first (then the address space was
    /// being changed by `fork`, `mremap`, `munmap` or `madvise`). Ask again for the rest; if
    /// there was another reason, the next answer names it.
    Again,
    /// `EEXIST`: the first page that is not done is present already. Somebody else did it; or this
    /// very request did, on Linux 6.18, whose move may take a second look at a page that it has just
    /// moved if another thread touched it at that moment. Who alone may fill the page takes it as done.
    Present,
    /// `ENOENT`: nothing is mapped at the first source page that is not done. A continue answers
    /// this too (as `EFAULT`) if the page cache has no such page. Two threads that move the same
    /// pair at the same moment may meet it too: one of them has it.
    Hole,
    /// `EBUSY`: the first source page that is not done cannot change its address now: it is
    /// shared with a forked child, pinned for I/O, or under writeback. Copy it instead.
    Busy,
}

/// How far the kernel came, and why it stopped there. Progress is never lost.
///
/// # Invariants
///
/// `stop` is [`Stop::Complete`] exactly if `done` is the number of pages asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "the kernel may have stopped short"]
pub struct Outcome {
    /// Pages done, from the start of the range.
    pub done: PageCount,
    /// Why there are no more.
    pub stop: Stop,
}

impl Outcome {
    /// Whether every page is done.
    pub fn is_complete(self) -> bool {
        self.stop == Stop::Complete
    }
}
