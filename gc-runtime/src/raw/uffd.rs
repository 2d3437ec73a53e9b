//! Userfaultfd requests on the heap's own ranges.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use nix::errno::Errno;
use uffd_move::{Holes, OpError, Outcome, PageAddr, PageRange, RegisterMode, Wake, raw};
use userfaultfd::Uffd;

use super::map::Reservation;

/// A userfaultfd that serves one heap.
#[derive(Clone, Debug)]
pub(crate) struct HeapUffd {
    uffd: Arc<Uffd>,
    wake: Wake,
}

/// Pages of a reservation: from which, how many.
fn pages(range: &Reservation, first: u32, count: u32) -> PageRange {
    let start = address(range, first).get();
    let len = count as usize * uffd_move::page_size();
    assert!(start + len <= range.base() + range.len(), "pages {first}+{count} of a smaller range");
    PageRange::from_bytes(start, len).expect("pages of a mapping are aligned and do not wrap")
}

fn address(range: &Reservation, page: u32) -> PageAddr {
    PageAddr::new(range.base() + page as usize * uffd_move::page_size())
        .expect("reservations are page-aligned")
}

impl HeapUffd {
    /// `wake` says whether threads sleep in the kernel for their pages, or get a signal.
    pub(crate) fn new(uffd: Arc<Uffd>, wake: Wake) -> Self {
        Self { uffd, wake }
    }

    /// A second descriptor of the same userfaultfd, to read events from.
    pub(crate) fn events(&self) -> io::Result<OwnedFd> {
        // SAFETY: the descriptor is open for as long as `self` is borrowed.
        let fd = unsafe { BorrowedFd::borrow_raw(self.uffd.as_raw_fd()) };
        fd.try_clone_to_owned()
    }

    /// Registers the whole range.
    pub(crate) fn register(&self, heap: &Reservation, mode: RegisterMode) -> io::Result<()> {
        let range = whole(heap);
        // SAFETY: the range is this heap's own and its faults are served by the heap's handler.
        unsafe { raw::register(&*self.uffd, range, mode) }.map_err(os_error)?;
        Ok(())
    }

    /// Unregisters the whole range; missing pages read as zeros afterwards.
    pub(crate) fn unregister(&self, heap: &Reservation) -> io::Result<()> {
        // SAFETY: the range is this heap's own, and every page with content is in place.
        unsafe { raw::unregister(&*self.uffd, whole(heap)) }.map_err(os_error)
    }

    /// Moves pages from `from` to `heap`.
    pub(crate) fn move_pages(
        &self,
        heap: &Reservation,
        page: u32,
        from: &Reservation,
        source: u32,
        count: u32,
        holes: Holes,
    ) -> Result<Outcome, OpError> {
        let target = pages(heap, page, count);
        let source = pages(from, source, count).start();
        // SAFETY: both ranges belong to this heap, whose words are only ever seen as atomics; the
        // source has `count` pages (checked by `pages`).
        unsafe { raw::move_pages(&*self.uffd, target, source, holes, self.wake) }
    }

    /// Fills pages of `heap` with copies of whole pages of words.
    pub(crate) fn copy_pages(
        &self,
        heap: &Reservation,
        page: u32,
        words: &[AtomicU64],
    ) -> Result<Outcome, OpError> {
        let bytes = size_of_val(words);
        let count = u32::try_from(bytes / uffd_move::page_size()).expect("a short run of pages");
        let target = pages(heap, page, count);
        // SAFETY: the target belongs to this heap and the source words stay mapped during the call.
        unsafe { raw::copy_pages(&*self.uffd, target, words.as_ptr().cast(), self.wake) }
    }

    /// Maps pages of `heap` to what the page cache has at their place.
    pub(crate) fn continue_pages(
        &self,
        heap: &Reservation,
        page: u32,
        count: u32,
    ) -> Result<Outcome, OpError> {
        // SAFETY: the target belongs to this heap.
        unsafe { raw::continue_pages(&*self.uffd, pages(heap, page, count), self.wake) }
    }

    /// Fills pages of `heap` with zeros.
    pub(crate) fn zero_pages(
        &self,
        heap: &Reservation,
        page: u32,
        count: u32,
    ) -> Result<Outcome, OpError> {
        // SAFETY: the target belongs to this heap.
        unsafe { raw::zero_pages(&*self.uffd, pages(heap, page, count), self.wake) }
    }

    /// Lets threads that wait for pages of `heap` run.
    pub(crate) fn wake(&self, heap: &Reservation, page: u32, count: u32) {
        if self.wake == Wake::Now {
            // SAFETY: waking changes no memory. It fails only for ranges that are not registered,
            // where nobody waits.
            let _ = unsafe { raw::wake_pages(&*self.uffd, pages(heap, page, count)) };
        }
    }
}

fn whole(range: &Reservation) -> PageRange {
    PageRange::from_bytes(range.base(), range.len()).expect("reservations are page-aligned")
}

fn os_error(error: OpError) -> io::Error {
    io::Error::other(error)
}

/// Whether an answer means that trying again soon may help.
pub(crate) fn is_transient(error: &OpError) -> bool {
    matches!(error.errno, Errno::EINTR | Errno::EAGAIN | Errno::ENOMEM)
}

/// Pages a run of `count` pages has, as the kernel counts them.
pub(crate) fn done(outcome: Outcome) -> u32 {
    u32::try_from(outcome.done.get()).expect("no more than was asked for")
}
