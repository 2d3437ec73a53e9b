//! Asking for huge pages and refusing them, for memory that is somebody else's.

use std::io;
use std::ops::Range;

/// What the kernel is told about huge pages in a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// To give some where memory is touched for the first time.
    Ask,
    /// To give none.
    Refuse,
    /// To make some at once of the small pages that are there, whatever the system's setting is.
    Make,
}

/// Gives the kernel this advice for a range of addresses.
///
/// # Errors
///
/// | outcome | meaning | what to do |
/// |---|---|---|
/// | `EINVAL` | a kernel without huge pages; to make some: one that has no such request, or they are refused there | |
/// | `ENOMEM` | a part of the range is not mapped | |
/// | any other, to make some | some could not be made, others may have been | look at how many there are |
pub fn advise(range: &Range<usize>, advice: Advice) -> io::Result<()> {
    let base = std::ptr::with_exposed_provenance_mut::<libc::c_void>(range.start);
    let advice = match advice {
        Advice::Ask => libc::MADV_HUGEPAGE,
        Advice::Refuse => libc::MADV_NOHUGEPAGE,
        Advice::Make => libc::MADV_COLLAPSE,
    };
    // SAFETY: none of the three changes any content or takes memory away, whoever's it is.
    let answer = unsafe { libc::madvise(base, range.len(), advice) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
