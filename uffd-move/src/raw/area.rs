//! Memory whose pages may come and go: raw pointers and atomics, never references to plain bytes.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU8, Ordering};

use memmap2::{MmapOptions, MmapRaw};

use crate::page::{PageCount, PageError, PageRange};

use super::touch::{Access, touch_range};

/// A span of memory whose pages may be taken out and put in while it is used.
///
/// It hands out raw pointers and atomics only. That is what makes moving its pages safe: no
/// reference can see a byte change, for there is none.
///
/// Touching a page that is missing waits for whoever serves the faults of the range, or raises
/// SIGBUS; where nobody has registered it, the page appears, zeroed.
///
/// # Invariants
///
/// The range is mapped, readable and writable, as long as the value lives.
///
/// # Examples
///
/// ```
/// use uffd_move::{Area, PageCount};
///
/// let area = Area::anonymous(PageCount::new(2))?;
/// area.write(10, b"hello");
/// let mut bytes = [0; 5];
/// area.read(10, &mut bytes);
/// assert_eq!(&bytes, b"hello");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Area {
    range: PageRange,
    // None: somebody else's memory, see `from_raw`.
    mapping: Option<MmapRaw>,
}

impl Area {
    /// New private anonymous memory of `count` pages: what can be moved.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | `EINVAL` | `count` is zero | |
    /// | `ENOMEM` | no address space | free some |
    ///
    /// # References
    ///
    /// `mmap(2)`
    pub fn anonymous(count: PageCount) -> io::Result<Self> {
        if count.is_zero() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, PageError::Empty));
        }
        let mapping = MmapOptions::new().len(count.bytes()).map_anon()?;
        Self::try_from(MmapRaw::from(mapping)).map_err(io::Error::other)
    }

    /// Somebody else's memory.
    ///
    /// # Safety
    ///
    /// * The range is mapped, readable and writable, as long as the value lives.
    /// * No reference is alive into any of it meanwhile, and nobody relies on its contents staying
    ///   what they are.
    pub unsafe fn from_raw(range: PageRange) -> Self {
        Self { range, mapping: None }
    }

    /// Where it is.
    pub fn range(&self) -> PageRange {
        self.range
    }

    /// How many pages it has.
    pub fn count(&self) -> PageCount {
        self.range.count()
    }

    /// `count` of its pages, leaving out the first `first`.
    pub fn pages(&self, first: usize, count: usize) -> Option<PageRange> {
        self.range.subrange(PageCount::new(first), PageCount::new(count))
    }

    /// The first byte.
    pub fn as_mut_ptr(&self) -> *mut u8 {
        match &self.mapping {
            Some(mapping) => mapping.as_mut_ptr(),
            None => self.range.start().as_mut_ptr(),
        }
    }

    /// The byte at `offset`, or `None` behind the end.
    pub fn byte(&self, offset: usize) -> Option<&AtomicU8> {
        if offset >= self.range.len_bytes() {
            return None;
        }
        // SAFETY: inside the range, which is mapped as long as `self` (invariant), and others
        // access it by atomics or by pointers that they answer for.
        Some(unsafe { AtomicU8::from_ptr(self.as_mut_ptr().wrapping_add(offset)) })
    }

    /// Reads the bytes from `offset` on, each by itself.
    ///
    /// # Panics
    ///
    /// If they are not all inside.
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        for (i, byte) in into.iter_mut().enumerate() {
            *byte = self.byte(offset + i).expect("inside the area").load(Ordering::Relaxed);
        }
    }

    /// Writes the bytes from `offset` on, each by itself.
    ///
    /// # Panics
    ///
    /// If they are not all inside.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        for (i, byte) in bytes.iter().enumerate() {
            self.byte(offset + i).expect("inside the area").store(*byte, Ordering::Relaxed);
        }
    }

    /// Touches the `len` bytes from `offset`, so that their pages are there for a system call.
    /// See [`raw::touch_range`](crate::raw::touch_range) for what that is worth.
    ///
    /// # Panics
    ///
    /// If they are not all inside.
    pub fn touch(&self, offset: usize, len: usize, access: Access) {
        let end = offset.checked_add(len).expect("inside the area");
        assert!(end <= self.range.len_bytes(), "inside the area");
        // SAFETY: inside the range, which is mapped (invariant) and used by atomics only.
        unsafe { touch_range(self.as_mut_ptr().wrapping_add(offset), len, access) };
    }
}

/// Takes a mapping over, for instance a view of a memfd. Its length must be whole pages.
impl TryFrom<MmapRaw> for Area {
    type Error = PageError;

    fn try_from(mapping: MmapRaw) -> Result<Self, PageError> {
        let start = mapping.as_mut_ptr().expose_provenance();
        let range = PageRange::from_bytes(start, mapping.len())?;
        Ok(Self { range, mapping: Some(mapping) })
    }
}

impl fmt::Debug for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Area")
            .field("range", &self.range)
            .field("owned", &self.mapping.is_some())
            .finish_non_exhaustive()
    }
}
