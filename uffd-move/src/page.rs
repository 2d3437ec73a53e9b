//! Page-aligned addresses, counts and ranges: aligned by construction.
//!
//! The kernel answers `EINVAL` to an address or a length that is not a multiple of the page
//! size, to an empty range, and to one that wraps. None of these can be written down with the
//! types of this file.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Why a number cannot be a page address or a page range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PageError {
    /// The address is not a multiple of the page size.
    #[error("address {addr:#x} is not a multiple of the page size")]
    UnalignedAddress {
        /// The address, in bytes.
        addr: usize,
    },
    /// The length is not a multiple of the page size.
    #[error("length {len} is not a multiple of the page size")]
    UnalignedLength {
        /// The length, in bytes.
        len: usize,
    },
    /// The range has no page.
    #[error("the range has no page")]
    Empty,
    /// The range does not end before the last address.
    #[error("{pages} pages from {start:#x} reach past the end of the address space")]
    Wraps {
        /// Where the range would begin, in bytes.
        start: usize,
        /// How many pages it would have.
        pages: usize,
    },
}

/// Bytes in a page, as the kernel says.
///
/// The kernel is asked once, the answer is kept. After the first call this is one relaxed load,
/// so it may be used in a signal handler.
///
/// # Examples
///
/// ```
/// assert!(uffd_move::page_size().is_power_of_two());
/// ```
///
/// # Panics
///
/// If the kernel does not know its page size, which no Linux does.
pub fn page_size() -> usize {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    match ASKED.load(Ordering::Relaxed) {
        0 => {
            let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
                .ok()
                .flatten()
                .and_then(|size| usize::try_from(size).ok())
                .expect("sysconf(_SC_PAGESIZE) cannot fail on Linux");
            assert!(size.is_power_of_two(), "the page size is a power of two");
            ASKED.store(size, Ordering::Relaxed);
            size
        }
        size => size,
    }
}

/// A page-aligned address.
///
/// # Invariants
///
/// The address is a multiple of [`page_size`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageAddr(usize);

impl PageAddr {
    /// The page at `addr`.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`PageError::UnalignedAddress`] | `addr` is not a multiple of the page size | round, with [`PageAddr::containing`] if that is meant |
    pub fn new(addr: usize) -> Result<Self, PageError> {
        if addr & (page_size() - 1) == 0 {
            Ok(Self(addr))
        } else {
            Err(PageError::UnalignedAddress { addr })
        }
    }

    /// The page that `addr` lies in.
    pub fn containing(addr: usize) -> Self {
        Self(addr & !(page_size() - 1))
    }

    /// The address, in bytes.
    pub const fn get(self) -> usize {
        self.0
    }

    /// The address as a pointer, for memory whose provenance was exposed (mapped memory is).
    pub fn as_mut_ptr(self) -> *mut u8 {
        std::ptr::with_exposed_provenance_mut(self.0)
    }

    /// The page `count` pages further up, or `None` past the end of the address space.
    pub fn checked_add(self, count: PageCount) -> Option<Self> {
        count.checked_bytes().and_then(|bytes| self.0.checked_add(bytes)).map(Self)
    }

    /// The page `count` pages further down, or `None` below address zero.
    pub fn checked_sub(self, count: PageCount) -> Option<Self> {
        count.checked_bytes().and_then(|bytes| self.0.checked_sub(bytes)).map(Self)
    }

    /// Pages from `lower` up to here, or `None` if `lower` is higher.
    pub fn checked_offset_from(self, lower: Self) -> Option<PageCount> {
        self.0.checked_sub(lower.0).map(|bytes| PageCount(bytes / page_size()))
    }
}

impl fmt::Debug for PageAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Display for PageAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A number of pages.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PageCount(usize);

impl PageCount {
    /// No page.
    pub const ZERO: Self = Self(0);
    /// One page.
    pub const ONE: Self = Self(1);

    /// `count` pages.
    pub const fn new(count: usize) -> Self {
        Self(count)
    }

    /// The pages that `bytes` bytes fill, or `None` if the last one is not full.
    pub fn from_bytes(bytes: usize) -> Option<Self> {
        (bytes & (page_size() - 1) == 0).then(|| Self(bytes / page_size()))
    }

    /// The fewest pages that hold `bytes` bytes.
    pub fn covering(bytes: usize) -> Self {
        Self(bytes.div_ceil(page_size()))
    }

    /// The number.
    pub const fn get(self) -> usize {
        self.0
    }

    /// Whether there is no page.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Bytes in that many pages; `usize::MAX` if they would not fit into any address space.
    pub fn bytes(self) -> usize {
        self.0.saturating_mul(page_size())
    }

    /// Bytes in that many pages, or `None` if they would not fit into any address space.
    pub fn checked_bytes(self) -> Option<usize> {
        self.0.checked_mul(page_size())
    }

    /// The sum, or `None` on overflow.
    pub fn checked_add(self, more: Self) -> Option<Self> {
        self.0.checked_add(more.0).map(Self)
    }

    /// The difference, or `None` if `fewer` is more.
    pub fn checked_sub(self, fewer: Self) -> Option<Self> {
        self.0.checked_sub(fewer.0).map(Self)
    }

    /// The sum; the largest count on overflow.
    #[must_use]
    pub fn saturating_add(self, more: Self) -> Self {
        Self(self.0.saturating_add(more.0))
    }
}

impl fmt::Debug for PageCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pages", self.0)
    }
}

impl fmt::Display for PageCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One or more pages that lie one after another.
///
/// # Invariants
///
/// * There is at least one page.
/// * The end, too, is an address: `start + len` does not wrap.
///
/// # Examples
///
/// ```
/// use uffd_move::{PageAddr, PageCount, PageRange, page_size};
///
/// let start = PageAddr::new(16 * page_size())?;
/// let range = PageRange::new(start, PageCount::new(4))?;
/// assert_eq!(range.len_bytes(), 4 * page_size());
/// assert!(range.contains(range.start().get()));
/// assert!(!range.contains(range.end().get()));
/// # Ok::<(), uffd_move::PageError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PageRange {
    start: PageAddr,
    count: PageCount,
}

impl PageRange {
    /// The `count` pages from `start`.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`PageError::Empty`] | `count` is zero | leave the work out |
    /// | [`PageError::Wraps`] | the end is no address | correct the caller |
    pub fn new(start: PageAddr, count: PageCount) -> Result<Self, PageError> {
        if count.is_zero() {
            return Err(PageError::Empty);
        }
        match start.checked_add(count) {
            Some(_) => Ok(Self { start, count }),
            None => Err(PageError::Wraps { start: start.get(), pages: count.get() }),
        }
    }

    /// The pages of the `len` bytes from `addr`.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`PageError::UnalignedAddress`], [`PageError::UnalignedLength`] | not whole pages | round first |
    /// | [`PageError::Empty`], [`PageError::Wraps`] | as for [`PageRange::new`] | as there |
    pub fn from_bytes(addr: usize, len: usize) -> Result<Self, PageError> {
        let count = PageCount::from_bytes(len).ok_or(PageError::UnalignedLength { len })?;
        Self::new(PageAddr::new(addr)?, count)
    }

    /// The one page at `page`.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`PageError::Wraps`] | it is the last page of the address space | correct the caller |
    pub fn one(page: PageAddr) -> Result<Self, PageError> {
        Self::new(page, PageCount::ONE)
    }

    /// The first page.
    pub const fn start(self) -> PageAddr {
        self.start
    }

    /// The page after the last one.
    pub fn end(self) -> PageAddr {
        // The invariant says that this does not wrap.
        PageAddr(self.start.0.wrapping_add(self.len_bytes()))
    }

    /// How many pages.
    pub const fn count(self) -> PageCount {
        self.count
    }

    /// How many bytes.
    pub fn len_bytes(self) -> usize {
        self.count.bytes()
    }

    /// Whether the byte at `addr` lies in one of the pages.
    pub fn contains(self, addr: usize) -> bool {
        addr.wrapping_sub(self.start.0) < self.len_bytes()
    }

    /// Whether every page of `other` is one of these.
    pub fn contains_range(self, other: Self) -> bool {
        other.start >= self.start && other.end() <= self.end()
    }

    /// Whether some page is in both.
    pub fn overlaps(self, other: Self) -> bool {
        self.start < other.end() && other.start < self.end()
    }

    /// `count` of the pages, leaving out the first `first`; `None` unless they are all here.
    pub fn subrange(self, first: PageCount, count: PageCount) -> Option<Self> {
        let last = first.checked_add(count)?;
        if last > self.count {
            return None;
        }
        Self::new(self.start.checked_add(first)?, count).ok()
    }

    /// The pages after the first `first`; `None` if there are no more.
    pub fn rest(self, first: PageCount) -> Option<Self> {
        self.subrange(first, self.count.checked_sub(first)?)
    }

    /// The pages, one by one, upwards.
    pub fn pages(self) -> impl DoubleEndedIterator<Item = PageAddr> + ExactSizeIterator {
        let (start, size) = (self.start.0, page_size());
        (0..self.count.0).map(move |i| PageAddr(start + i * size))
    }
}

impl fmt::Debug for PageRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x}", self.start.0, self.end().0)
    }
}

impl fmt::Display for PageRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
#[path = "page/tests.rs"]
mod tests;
