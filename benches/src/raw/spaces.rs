//! A heap without objects, and the from-space that its pages are set aside in.

use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};
use nix::sys::mman::{MmapAdvise, madvise};
use uffd_move::{
    Features, Holes, OpError, OpenOptions, Outcome, PageAddr, PageCount, PageRange, RegisterMode,
    SignalRoute, Wake, page_size, raw,
};
use userfaultfd::Uffd;

use crate::error::BenchError;
use crate::raw::{FaultEntry, ServeFault};

/// Bytes of a huge page.
pub const HUGE_BYTES: usize = 2 << 20;

/// Whether touching a missing page raises SIGBUS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// It does, on the thread that touched it.
    Signal,
    /// Nobody touches one: pages are only put in place.
    Nobody,
}

/// Two ranges of private anonymous memory, of small pages unless they were asked to be huge.
///
/// # Invariants
///
/// Both mappings are `pages` pages long, readable and writable as long as the value lives, and
/// accessed as atomics only.
#[derive(Debug)]
pub struct Spaces {
    heap: MmapRaw,
    from: MmapRaw,
    uffd: Uffd,
    pages: usize,
}

impl Spaces {
    /// Two spaces of `pages` pages, without memory behind them.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`BenchError::Uffd`] | this kernel cannot move pages, or will not let us | leave the question out |
    /// | [`BenchError::System`] | no address space | |
    pub fn new(pages: usize, delivery: Delivery) -> Result<Self, BenchError> {
        Self::advised(pages, delivery, MmapAdvise::MADV_NOHUGEPAGE)
    }

    /// The same with huge pages, where the kernel gives them. Nobody touches a missing page.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn huge(pages: usize) -> Result<Self, BenchError> {
        Self::advised(pages, Delivery::Nobody, MmapAdvise::MADV_HUGEPAGE)
    }

    fn advised(pages: usize, delivery: Delivery, size: MmapAdvise) -> Result<Self, BenchError> {
        let mut features = Features::MOVE;
        if delivery == Delivery::Signal {
            features |= Features::SIGBUS;
        }
        let opened = OpenOptions::new().require(features).open()?;
        let map = || -> io::Result<MmapRaw> {
            let map = MmapRaw::from(MmapOptions::new().len(pages * page_size()).map_anon()?);
            // SAFETY: advice about pages of our own that changes no content. A kernel without huge
            // pages refuses it, and then pages are small.
            let _ = unsafe { madvise(start(&map), map.len(), size) };
            Ok(map)
        };
        Ok(Self { heap: map()?, from: map()?, uffd: opened.uffd, pages })
    }

    /// The first page of each space that a huge page can begin with: of the heap, of from-space.
    #[must_use]
    pub fn first_huge(&self) -> (usize, usize) {
        let first = |map: &MmapRaw| {
            let address = map.as_mut_ptr().addr();
            (address.next_multiple_of(HUGE_BYTES) - address) / page_size()
        };
        (first(&self.heap), first(&self.from))
    }

    /// How many pages each space has.
    #[must_use]
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// The heap's words.
    #[must_use]
    pub fn heap(&self) -> &[AtomicU64] {
        words(&self.heap)
    }

    /// From-space's words.
    #[must_use]
    pub fn from(&self) -> &[AtomicU64] {
        words(&self.from)
    }

    /// The words of from-space's page `page`.
    #[must_use]
    pub fn from_page(&self, page: usize) -> &[AtomicU64] {
        let words = page_size() / size_of::<u64>();
        &self.from()[page * words..(page + 1) * words]
    }

    /// The page of an address in the heap.
    #[must_use]
    pub fn page_of(&self, addr: usize) -> usize {
        addr.saturating_sub(self.heap.as_mut_ptr().addr()) / page_size()
    }

    /// Sets the heap's pages aside, to from-space, and has the heap's faults come to us.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`BenchError::System`], [`BenchError::Op`] | mremap or registration was refused | |
    pub fn set_aside(&self) -> Result<(), BenchError> {
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED | libc::MREMAP_DONTUNMAP;
        let (heap, from) = (start(&self.heap).as_ptr(), start(&self.from).as_ptr());
        let len = self.heap.len();
        // SAFETY: both mappings are ours and equally long (type invariant); what from-space held is
        // replaced on purpose. Others see words change, which atomics allow.
        let moved = unsafe { libc::mremap(heap, len, len, flags, from) };
        if moved == libc::MAP_FAILED {
            return Err(io::Error::last_os_error().into());
        }
        self.register()
    }

    /// Has the heap's faults come to us.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`BenchError::Op`] | the kernel refused | |
    pub fn register(&self) -> Result<(), BenchError> {
        // SAFETY: registering changes no page; who touches a missing one is served by the route,
        // or nobody does.
        unsafe { raw::register(&self.uffd, self.range(0, self.pages), RegisterMode::MISSING) }?;
        Ok(())
    }

    /// Missing pages of the heap are plain memory again.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`BenchError::Op`] | the kernel refused | |
    pub fn unregister(&self) -> Result<(), BenchError> {
        // SAFETY: what is missing may read as zeros from here on.
        unsafe { raw::unregister(&self.uffd, self.range(0, self.pages)) }?;
        Ok(())
    }

    /// Serves the faults of `space` by `owner`, until the route is dropped.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`BenchError::Route`] | the router is full | |
    pub fn route(&self, owner: Arc<dyn ServeFault>) -> Result<SignalRoute, BenchError> {
        let entry = Arc::new(FaultEntry::new(owner));
        Ok(uffd_move::route(uffd_move::FaultSignal::Bus, self.range(0, self.pages), entry)?)
    }

    /// Moves `count` pages of from-space, from page `source` on, to the heap's page `page` and
    /// those after it, in one request.
    ///
    /// # Errors
    ///
    /// See [`uffd_move::raw::move_pages`].
    ///
    /// # Panics
    ///
    /// If a page is outside the spaces.
    pub fn move_pages(&self, page: usize, source: usize, count: usize) -> Result<Outcome, OpError> {
        assert!(source + count <= self.pages, "inside from-space");
        let source = PageAddr::containing(self.from.as_mut_ptr().addr() + source * page_size());
        let to = self.range(page, count);
        // SAFETY: both ranges are inside our mappings (checked), which no reference but of atomics
        // looks into.
        unsafe { raw::move_pages(&self.uffd, to, source, Holes::Reject, Wake::Later) }
    }

    /// Fills the heap's page `page` and those after it with a copy of `bytes`.
    ///
    /// # Errors
    ///
    /// See [`uffd_move::raw::copy_pages`].
    pub fn copy_pages(&self, page: usize, bytes: &[AtomicU64]) -> Result<Outcome, OpError> {
        let to = self.range(page, size_of_val(bytes) / page_size());
        // SAFETY: `to` is inside our mapping (checked) and as long as `bytes`, which are borrowed;
        // a racing writer would only change what is copied.
        unsafe { raw::copy_pages(&self.uffd, to, bytes.as_ptr().cast(), Wake::Later) }
    }

    /// Fills `count` pages of the heap with zeros.
    ///
    /// # Errors
    ///
    /// See [`uffd_move::raw::zero_pages`].
    pub fn zero_pages(&self, page: usize, count: usize) -> Result<Outcome, OpError> {
        // SAFETY: the range is inside our mapping (checked).
        unsafe { raw::zero_pages(&self.uffd, self.range(page, count), Wake::Later) }
    }

    /// Gives pages of from-space back to the kernel.
    pub fn discard_from(&self, pages: Range<usize>) {
        discard(&self.from, pages);
    }

    /// Gives pages of the heap back to the kernel.
    pub fn discard_heap(&self, pages: Range<usize>) {
        discard(&self.heap, pages);
    }

    fn range(&self, page: usize, count: usize) -> PageRange {
        assert!(page + count <= self.pages, "inside the heap");
        let start = PageAddr::containing(self.heap.as_mut_ptr().addr() + page * page_size());
        PageRange::new(start, PageCount::new(count)).expect("a mapping does not wrap")
    }
}

/// Writes `value` to the first word of each page, so that it has memory behind it.
pub(crate) fn touch(words: &[AtomicU64], value: u64) {
    let stride = page_size() / size_of::<u64>();
    words.iter().step_by(stride).for_each(|word| word.store(value, Ordering::Relaxed));
}

fn start(map: &MmapRaw) -> NonNull<libc::c_void> {
    NonNull::new(map.as_mut_ptr().cast()).expect("a mapping is never at null")
}

fn words(map: &MmapRaw) -> &[AtomicU64] {
    // SAFETY: the mapping lives as long as the value that is borrowed, is page-aligned and as long
    // as it says, and every bit pattern is a word. A missing page raises a signal.
    unsafe { std::slice::from_raw_parts(map.as_mut_ptr().cast(), map.len() / size_of::<u64>()) }
}

fn discard(map: &MmapRaw, pages: Range<usize>) {
    assert!(pages.end * page_size() <= map.len(), "inside the space");
    let at = map.as_mut_ptr().wrapping_add(pages.start * page_size());
    let at = NonNull::new(at.cast()).expect("a mapping is never at null");
    // SAFETY: inside our own mapping (checked), of which only atomics are seen: they may read zeros
    // afterwards. If the kernel refuses, the memory stays, which is harmless.
    let _ = unsafe { madvise(at, pages.len() * page_size(), MmapAdvise::MADV_DONTNEED) };
}
