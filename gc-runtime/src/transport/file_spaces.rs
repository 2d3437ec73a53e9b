//! Heap and from-space of two memfds that change places with each cycle.
//!
//! The file behind the heap is also mapped a second time, to build pages through before mutators
//! can see them. This is what collectors did before pages could be moved, and its price: a page
//! fault on the second mapping for every page, page cache work, and holes to punch.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::os::fd::AsFd;

use crate::compact::page_state::SourceIndex;
use crate::counters::Counters;
use crate::forward::Plan;
use crate::raw::map::{Access, FileView, Reservation};

/// Emptied pages are given back in pieces of this many.
const RELEASE_PAGES: u32 = 512;

#[derive(Debug)]
struct HeapFile {
    file: File,
    view: FileView,
}

/// Both spaces, both files.
#[derive(Debug)]
pub(crate) struct FileSpaces {
    pub(crate) heap: Reservation,
    pub(crate) from: Reservation,
    files: [HeapFile; 2],
    /// Which file is behind the heap.
    current: AtomicUsize,
    released: AtomicU32,
    page_bytes: usize,
}

impl FileSpaces {
    pub(crate) fn new(heap: Reservation, from: Reservation, page_bytes: usize) -> io::Result<Self> {
        let open = || -> io::Result<HeapFile> {
            let file = File::from(memfd_create(c"gc heap", MFdFlags::MFD_CLOEXEC)?);
            file.set_len(heap.len() as u64)?;
            let view = FileView::new(&file, heap.len())?;
            Ok(HeapFile { file, view })
        };
        let files = [open()?, open()?];
        let spaces = Self {
            heap,
            from,
            files,
            current: AtomicUsize::new(0),
            released: AtomicU32::new(0),
            page_bytes,
        };
        spaces.map_heap(Access::ReadWrite)?;
        Ok(spaces)
    }

    fn map_heap(&self, access: Access) -> io::Result<()> {
        self.heap.back_with_file(self.current().file.as_fd(), access)?;
        self.heap.refuse_huge_pages();
        // Shared memory is no snapshot: what a child writes, or builds in a fault of its own, would be
        // in the parent's heap.
        self.heap.exclude_from_fork()
    }

    fn current(&self) -> &HeapFile {
        &self.files[self.current.load(Ordering::Acquire)]
    }

    fn other(&self) -> &HeapFile {
        &self.files[1 - self.current.load(Ordering::Acquire)]
    }

    /// Sets the heap aside and maps the other, empty file in its place.
    pub(crate) fn flip(&self, plan: Plan, access: Access) -> io::Result<()> {
        self.heap.move_aside(&self.from)?;
        self.current.fetch_xor(1, Ordering::AcqRel);
        self.released.store(plan.dense, Ordering::Relaxed);
        self.map_heap(access)
    }

    /// The words that will be seen at the page of the heap with the same number.
    pub(crate) fn source_words(&self, source: SourceIndex) -> &[AtomicU64] {
        self.words_of(source.0, 1)
    }

    /// `count` pages of the file behind the heap, through the second mapping.
    pub(crate) fn words_of(&self, page: u32, count: u32) -> &[AtomicU64] {
        let page_words = self.page_bytes / size_of::<u64>();
        let first = page as usize * page_words;
        &self.current().view.words()[first..first + count as usize * page_words]
    }

    pub(crate) fn emptied(&self, bound: u32, counters: &Counters) {
        let released = self.released.load(Ordering::Acquire);
        if bound >= released + RELEASE_PAGES
            && self
                .released
                .compare_exchange(released, bound, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        {
            counters.madvise_calls.add(1);
            counters.pages_released.add(bound - released);
            // Memory that stays is given back at the end of the cycle.
            let _ = self.punch(self.other(), released..bound);
        }
    }

    /// Gives the memory behind pages of the heap back; the number of system calls.
    pub(crate) fn give_up(&self, pages: Range<u32>) -> io::Result<u32> {
        self.punch(self.current(), pages)?;
        Ok(1)
    }

    fn punch(&self, file: &HeapFile, pages: Range<u32>) -> io::Result<()> {
        let bytes =
            |pages: u32| i64::from(pages) * i64::try_from(self.page_bytes).unwrap_or(i64::MAX);
        let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let (start, len) = (bytes(pages.start), bytes(pages.end - pages.start));
        fallocate(&file.file, punch, start, len)?;
        Ok(())
    }

    /// Empties the file that was set aside and the second mapping's page tables.
    pub(crate) fn release(&self, counters: &Counters) {
        let aside = self.other();
        counters.madvise_calls.add(2);
        let emptied =
            aside.file.set_len(0).and_then(|()| aside.file.set_len(self.heap.len() as u64));
        if let Err(error) = emptied.and_then(|()| self.from.seal()) {
            tracing::warn!(%error, "from-space keeps its memory until the next cycle");
        }
        self.from.name(c"gc from-space");
        self.current().view.forget_pages();
        aside.view.forget_pages();
    }
}
