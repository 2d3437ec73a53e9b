//! Heap and from-space of private anonymous memory; pages change between them by mremap.

use std::io;

use uffd_move::RegisterMode;

use crate::options::Fork;
use crate::raw::map::Reservation;
use crate::raw::uffd::HeapUffd;

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
