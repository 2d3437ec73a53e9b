//! Heap and from-space of private anonymous memory; pages change between them by mremap.

use std::io;
use std::sync::atomic::AtomicU64;

use uffd_move::{RegisterMode, Stop};

use crate::counters::Counters;
use crate::options::Fork;
use crate::raw::fatal::fatal;
use crate::raw::map::Reservation;
use crate::raw::uffd::{HeapUffd, done, is_transient};

/// Both spaces and the userfaultfd that serves the heap.
#[derive(Debug)]
pub(crate) struct AnonSpaces {
    pub(crate) heap: Reservation,
    pub(crate) from: Reservation,
    pub(crate) uffd: HeapUffd,
    fork: Fork,
}

impl AnonSpaces {
    pub(crate) fn new(
        heap: Reservation,
        from: Reservation,
        uffd: HeapUffd,
        fork: Fork,
    ) -> io::Result<Self> {
        heap.back_with_memory()?;
        heap.refuse_huge_pages();
        heap.refuse_merging();
        heap.name(c"gc heap");
        if fork == Fork::Exclude {
            heap.exclude_from_fork()?;
        }
        Ok(Self { heap, from, uffd, fork })
    }

    /// Sets the heap aside and registers the empty range.
    ///
    /// In this order: registering first makes the kernel walk every page in mremap.
    pub(crate) fn flip(&self) -> io::Result<()> {
        self.heap.move_aside(&self.from)?;
        if self.fork == Fork::Inherit {
            // The child has no use for half-emptied pages.
            self.from.exclude_from_fork()?;
        }
        self.uffd.register(&self.heap, RegisterMode::MISSING)
    }

    /// Copies a run of pages of `page_words` words each to `page` of the heap; when it returns they are
    /// there, whoever did it.
    pub(crate) fn copy_into_place(
        &self,
        page: u32,
        words: &[AtomicU64],
        page_words: usize,
        counters: &Counters,
    ) {
        let mut at = 0;
        while at * page_words < words.len() {
            counters.ioctls.add(1);
            #[expect(clippy::cast_possible_truncation, reason = "pages are counted in 32 bits")]
            let target = page + at as u32;
            match self.uffd.copy_pages(&self.heap, target, &words[at * page_words..]) {
                Ok(outcome) => {
                    at += done(outcome) as usize;
                    counters.pages_allocated.add(done(outcome));
                    match outcome.stop {
                        Stop::Complete => {}
                        Stop::Present => {
                            self.uffd.wake(&self.heap, target + done(outcome), 1);
                            at += 1;
                        }
                        _ => std::thread::yield_now(),
                    }
                }
                Err(error) if is_transient(&error) => {
                    at += error.done.get();
                    std::thread::yield_now();
                }
                Err(error) => {
                    fatal("a page of the heap cannot be copied into place", error.errno as i32)
                }
            }
        }
    }

    pub(crate) fn close(&self) -> io::Result<()> {
        self.uffd.unregister(&self.heap)
    }

    /// Empties from-space and drops its page tables, so that the next flip finds nothing to unmap.
    pub(crate) fn release(&self) {
        if let Err(error) = self.from.seal() {
            tracing::warn!(%error, "from-space keeps its memory until the next cycle");
        }
        self.from.name(c"gc from-space");
    }
}
