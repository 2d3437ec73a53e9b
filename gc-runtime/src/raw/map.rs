//! Address ranges: reserving, backing, moving aside, releasing and naming them.

use std::ffi::CStr;
use std::io;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use memmap2::{MmapOptions, MmapRaw};
use nix::sys::mman::{
    MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mmap_anonymous, mprotect, munmap,
};

/// What a thread may do with a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing: every touch faults.
    None,
    /// Reading and writing.
    ReadWrite,
}

impl Access {
    fn flags(self) -> ProtFlags {
        match self {
            Self::None => ProtFlags::PROT_NONE,
            Self::ReadWrite => ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
        }
    }
}

/// A range of addresses that belongs to this heap until it is dropped.
///
/// # Invariants
///
/// `base` is page-aligned, `len` a multiple of the page size, and no other part of the program
/// maps or unmaps anything inside `base..base + len` while the value lives.
#[derive(Debug)]
pub(crate) struct Reservation {
    base: usize,
    len: usize,
    /// What was asked for of the whole range: bits of `ASKED_*`.
    asked: AtomicU8,
    name: Mutex<&'static CStr>,
}

const ASKED_SMALL_PAGES: u8 = 1;
const ASKED_NO_FORK: u8 = 2;
const ASKED_NO_MERGING: u8 = 4;

fn pointer(address: usize) -> NonNull<libc::c_void> {
    NonNull::new(std::ptr::without_provenance_mut(address)).expect("a mapping is never at null")
}

impl Reservation {
    /// Reserves `len` bytes of addresses aligned to `align` (both multiples of the page size),
    /// without memory behind them.
    pub(crate) fn new(len: usize, align: usize, name: &'static CStr) -> io::Result<Self> {
        let span =
            len.checked_add(align).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))?;
        let span_size =
            NonZeroUsize::new(span).ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
        // SAFETY: without MAP_FIXED the kernel picks addresses nobody uses.
        let start = unsafe {
            mmap_anonymous(
                None,
                span_size,
                ProtFlags::PROT_NONE,
                MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE,
            )
        }?;
        let start = start.as_ptr().expose_provenance();
        let base = start.next_multiple_of(align);
        for (from, to) in [(start, base), (base + len, start + span)] {
            if from < to {
                // SAFETY: the trimmed ends belong to the mapping made above and nobody knows them.
                unsafe { munmap(pointer(from), to - from) }?;
            }
        }
        // INVARIANT: the range was just mapped for this value alone.
        let reservation = Self { base, len, asked: AtomicU8::new(0), name: Mutex::new(name) };
        name_range(base, len, name);
        Ok(reservation)
    }

    /// Address of the first byte.
    pub(crate) fn base(&self) -> usize {
        self.base
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The whole range as words.
    ///
    /// Whether an access succeeds depends on what backs the range at that moment; the page-state
    /// protocol sees to it that nobody touches what is not there, or faults and waits.
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: the range stays reserved for this value's life (type invariant), atomics allow
        // shared writing, zero is a valid word, and the base is page-aligned. An access to a page
        // without backing raises a signal; it does not read other memory.
        unsafe {
            std::slice::from_raw_parts(
                std::ptr::with_exposed_provenance(self.base),
                self.len / size_of::<u64>(),
            )
        }
    }

    /// Backs the whole range with private anonymous memory of zeros, page by page on first touch.
    pub(crate) fn back_with_memory(&self) -> io::Result<()> {
        self.replace(Access::ReadWrite, MapFlags::MAP_NORESERVE)
    }

    /// Takes whatever backs the range away, page tables included.
    pub(crate) fn seal(&self) -> io::Result<()> {
        self.replace(Access::None, MapFlags::MAP_NORESERVE)
    }

    fn replace(&self, access: Access, extra: MapFlags) -> io::Result<()> {
        // SAFETY: MAP_FIXED replaces only this reservation's own range (type invariant).
        unsafe {
            mmap_anonymous(
                NonZeroUsize::new(self.base),
                NonZeroUsize::new(self.len).expect("reservations are not empty"),
                access.flags(),
                MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED | extra,
            )
        }?;
        Ok(())
    }

    /// Maps the start of `file` (shared) over the whole range.
    pub(crate) fn back_with_file(&self, file: BorrowedFd<'_>, access: Access) -> io::Result<()> {
        // SAFETY: MAP_FIXED replaces only this reservation's own range (type invariant).
        unsafe {
            mmap(
                NonZeroUsize::new(self.base),
                NonZeroUsize::new(self.len).expect("reservations are not empty"),
                access.flags(),
                MapFlags::MAP_SHARED | MapFlags::MAP_FIXED | MapFlags::MAP_NORESERVE,
                file,
                0,
            )
        }?;
        Ok(())
    }

    /// Moves everything behind this range to `aside`, leaving this range mapped but empty.
    ///
    /// Both ranges must be equally long. Page tables move, not pages, when both are aligned to
    /// what one table covers (mremap(2), `MREMAP_DONTUNMAP`).
    pub(crate) fn move_aside(&self, aside: &Self) -> io::Result<()> {
        assert_eq!(self.len, aside.len, "heap and from-space have the same size");
        // SAFETY: both ranges are reservations of this heap (type invariant); what `aside` held
        // before is replaced on purpose.
        let moved = unsafe {
            libc::mremap(
                pointer(self.base).as_ptr(),
                self.len,
                self.len,
                libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED | libc::MREMAP_DONTUNMAP,
                pointer(aside.base).as_ptr(),
            )
        };
        if moved == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Changes what may be done with `len` bytes from `offset`.
    pub(crate) fn protect(&self, offset: usize, len: usize, access: Access) -> io::Result<()> {
        let address = self.checked(offset, len);
        // SAFETY: the range lies inside this reservation (checked); no reference into it exists
        // but slices of atomics, whose users cope with faults.
        unsafe { mprotect(address, len, access.flags()) }?;
        Ok(())
    }

    /// Gives the memory behind `len` bytes from `offset` back; they read as zeros afterwards.
    pub(crate) fn discard(&self, offset: usize, len: usize) -> io::Result<()> {
        self.advise(offset, len, MmapAdvise::MADV_DONTNEED)
    }

    /// Puts memory behind `len` bytes from `offset`, as writing to each page would.
    pub(crate) fn populate(&self, offset: usize, len: usize) -> io::Result<()> {
        self.advise(offset, len, MmapAdvise::MADV_POPULATE_WRITE)
    }

    /// Refuses huge pages for the whole range: moving one small page out of a huge one splits it.
    pub(crate) fn refuse_huge_pages(&self) {
        // A kernel without huge pages refuses the request; then there is nothing to refuse.
        let _ = self.advise(0, self.len, MmapAdvise::MADV_NOHUGEPAGE);
        self.asked.fetch_or(ASKED_SMALL_PAGES, Ordering::Relaxed);
    }

    /// Whether it does.
    pub(crate) fn refuses_huge_pages(&self) -> bool {
        self.asked.load(Ordering::Relaxed) & ASKED_SMALL_PAGES != 0
    }

    /// Keeps the kernel from merging pages that are alike (KSM) where a process asks for that as a
    /// whole: mremap takes all of them apart again, in the pause.
    pub(crate) fn refuse_merging(&self) {
        // A kernel that does not merge refuses the request.
        let _ = self.advise(0, self.len, MmapAdvise::MADV_UNMERGEABLE);
        self.asked.fetch_or(ASKED_NO_MERGING, Ordering::Relaxed);
    }

    /// Keeps the range out of forked children.
    pub(crate) fn exclude_from_fork(&self) -> io::Result<()> {
        self.asked.fetch_or(ASKED_NO_FORK, Ordering::Relaxed);
        self.advise(0, self.len, MmapAdvise::MADV_DONTFORK)
    }

    /// Asks for a part, newly mapped, what was asked for of the whole range; the number of system
    /// calls.
    pub(super) fn ask_again(&self, offset: usize, len: usize) -> io::Result<u32> {
        let asked = self.asked.load(Ordering::Relaxed);
        let mut calls = 1;
        if asked & ASKED_SMALL_PAGES != 0 {
            // As for the whole range.
            let _ = self.advise(offset, len, MmapAdvise::MADV_NOHUGEPAGE);
            calls += 1;
        }
        if asked & ASKED_NO_MERGING != 0 {
            // As for the whole range.
            let _ = self.advise(offset, len, MmapAdvise::MADV_UNMERGEABLE);
            calls += 1;
        }
        if asked & ASKED_NO_FORK != 0 {
            self.advise(offset, len, MmapAdvise::MADV_DONTFORK)?;
            calls += 1;
        }
        let name = *self.name.lock().unwrap_or_else(PoisonError::into_inner);
        name_range(self.base + offset, len, name);
        Ok(calls)
    }

    pub(super) fn advise(&self, offset: usize, len: usize, advice: MmapAdvise) -> io::Result<()> {
        let address = self.checked(offset, len);
        // SAFETY: the range lies inside this reservation (checked) and its words are only ever
        // seen as atomics, so that reading zeros afterwards is defined.
        unsafe { madvise(address, len, advice) }?;
        Ok(())
    }

    pub(super) fn checked(&self, offset: usize, len: usize) -> NonNull<libc::c_void> {
        let end = offset.checked_add(len).expect("a range inside a mapping does not wrap");
        assert!(end <= self.len, "bytes {offset}..{end} of a range of {} bytes", self.len);
        pointer(self.base + offset)
    }

    /// Names the range in `/proc/self/maps` where the kernel can.
    pub(crate) fn name(&self, name: &'static CStr) {
        *self.name.lock().unwrap_or_else(PoisonError::into_inner) = name;
        name_range(self.base, self.len, name);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: the range is this value's own and nobody can reach it any more.
        let unmapped = unsafe { munmap(pointer(self.base), self.len) };
        debug_assert!(unmapped.is_ok(), "unmapping {:#x}: {unmapped:?}", self.base);
    }
}

fn name_range(base: usize, len: usize, name: &CStr) {
    // SAFETY: naming changes nothing but the text in /proc; kernels without the option refuse it,
    // and the name is a live C string.
    unsafe {
        libc::prctl(libc::PR_SET_VMA, libc::PR_SET_VMA_ANON_NAME, base, len, name.as_ptr());
    }
}

/// Words that side tables can be made of: any bit pattern is valid, zero means nothing yet.
///
/// # Safety
///
/// The type must be an atomic integer, so that zeroed memory is a valid value.
pub(crate) unsafe trait Zeroed {}
// SAFETY: atomic integers are valid for every bit pattern.
unsafe impl Zeroed for AtomicU8 {}
// SAFETY: as above.
unsafe impl Zeroed for AtomicU32 {}
// SAFETY: as above.
unsafe impl Zeroed for AtomicU64 {}

/// Tables from this size on ask for huge pages: collectors jump about in them, and every translation
/// that is missing costs more than the access.
const HUGE_TABLE_BYTES: usize = 2 << 20;

/// A side table: a zeroed array of atomics that takes memory only where it has been touched.
#[derive(Debug)]
pub(crate) struct SideTable<T: Zeroed> {
    map: MmapRaw,
    len: usize,
    /// Bytes that are given back together.
    unit: usize,
    values: PhantomData<T>,
}

impl<T: Zeroed> SideTable<T> {
    /// Makes a table of `len` zeros of which most will be used, by the collector first.
    pub(crate) fn new(len: usize, name: &CStr) -> io::Result<Self> {
        let mut table = Self::sparse(len, name)?;
        if table.map.len() >= HUGE_TABLE_BYTES {
            table.unit = HUGE_TABLE_BYTES;
            let base = table.map.as_ptr().expose_provenance();
            // SAFETY: advice about the table's own pages; it changes no content. A kernel without
            // huge pages refuses it, and then pages are small.
            let _ = unsafe { madvise(pointer(base), table.map.len(), MmapAdvise::MADV_HUGEPAGE) };
        }
        Ok(table)
    }

    /// Makes a table of `len` zeros of which few will be used, or which mutators write to: it takes
    /// milliseconds to fill a huge page with zeros where the machine has no memory behind it yet,
    /// and whoever wrote to it first would wait for that.
    pub(crate) fn sparse(len: usize, name: &CStr) -> io::Result<Self> {
        let bytes = (len * size_of::<T>()).max(1);
        let map = MmapRaw::from(MmapOptions::new().len(bytes).no_reserve_swap().map_anon()?);
        let table = Self { map, len, unit: uffd_move::page_size(), values: PhantomData };
        name_range(table.map.as_ptr().expose_provenance(), table.map.len(), name);
        Ok(table)
    }

    /// Sets the entries of `range` to zero. The memory stays: it is needed again soon.
    pub(crate) fn clear(&self, range: std::ops::Range<usize>) {
        super::words::zero(&self[range]);
    }

    /// Puts memory behind the first `len` entries, as writing to each page would; what is there stays.
    pub(crate) fn populate(&self, len: usize) {
        let base = self.map.as_ptr().expose_provenance();
        let bytes = (len * size_of::<T>()).min(self.map.len());
        if bytes > 0 {
            // SAFETY: the range is the table's own, and no content changes. A kernel without the
            // request refuses it, and then whoever writes first waits.
            let _ = unsafe { madvise(pointer(base), bytes, MmapAdvise::MADV_POPULATE_WRITE) };
        }
    }

    /// Gives back the memory behind the entries from `first` on, which read as zeros afterwards; as
    /// much of it as lies in whole huge pages if the table asks for them.
    pub(crate) fn shed(&self, first: usize) {
        let base = self.map.as_ptr().expose_provenance();
        let start = (base + first * size_of::<T>()).next_multiple_of(self.unit);
        let len = (base + self.map.len()).saturating_sub(start);
        if len > 0 {
            // SAFETY: the range is the table's own, and its entries are only ever seen as atomics,
            // so that reading zeros afterwards is defined. If the kernel refuses, the memory stays.
            let _ = unsafe { madvise(pointer(start), len, MmapAdvise::MADV_DONTNEED) };
        }
    }
}

impl<T: Zeroed> Deref for SideTable<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the mapping lives as long as the table, is page-aligned, at least `len` values
        // long, zeroed at birth, and `T` is valid for every bit pattern (`Zeroed`).
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast::<T>(), self.len) }
    }
}

/// A second mapping of a heap file, to write pages through before mutators can see them.
#[derive(Debug)]
pub(crate) struct FileView {
    map: MmapRaw,
}

impl FileView {
    /// Maps the first `len` bytes of `file`, shared, and not for forked children: what they wrote
    /// would be in the file.
    pub(crate) fn new(file: &std::fs::File, len: usize) -> io::Result<Self> {
        let view = Self { map: MmapOptions::new().len(len).no_reserve_swap().map_raw(file)? };
        let base = pointer(view.map.as_ptr().expose_provenance());
        // SAFETY: the range is this view's own mapping; the advice changes no content.
        unsafe { madvise(base, view.map.len(), MmapAdvise::MADV_DONTFORK) }?;
        Ok(view)
    }

    /// The file's content as words.
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping lives as long as the view, is page-aligned and `len` bytes long, the
        // file is never shortened below what is accessed, and every bit pattern is a word.
        unsafe {
            std::slice::from_raw_parts(self.map.as_ptr().cast(), self.map.len() / size_of::<u64>())
        }
    }

    /// Drops the view's page table entries; the file keeps its pages.
    pub(crate) fn forget_pages(&self) {
        let base = pointer(self.map.as_ptr().expose_provenance());
        // SAFETY: the range is this view's own; for a shared file mapping the data stays in the
        // file, so that no word changes. If the kernel refuses, entries stay, which is harmless.
        let _ = unsafe { madvise(base, self.map.len(), MmapAdvise::MADV_DONTNEED) };
    }
}
