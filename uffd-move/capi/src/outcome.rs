//! What the kernel did, as C sees it.

use std::ffi::c_int;

use nix::errno::Errno;
use uffd_move::{OpError, Outcome, PageCount, Stop};

/// Everything is done.
pub const UFFD_MOVE_COMPLETE: i32 = 0;
/// Stopped short: ask again for the rest.
pub const UFFD_MOVE_AGAIN: i32 = 1;
/// The next page is at its destination already.
pub const UFFD_MOVE_PRESENT: i32 = 2;
/// The next source page is not there.
pub const UFFD_MOVE_HOLE: i32 = 3;
/// The next page is shared or pinned.
pub const UFFD_MOVE_BUSY: i32 = 4;

/// How far the kernel came, and why it stopped there.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(non_camel_case_types, reason = "the name that C knows")]
pub struct uffd_move_outcome {
    /// Pages done, from the start of the range; also after an error.
    pub pages: u64,
    /// One of the constants above; meaningless after an error.
    pub stop: i32,
    /// The errno, or 0.
    pub error: i32,
}

/// The negative of an errno.
pub(crate) fn refused(errno: Errno) -> c_int {
    -(errno as c_int)
}

/// Writes what became of a request to where the caller wants it.
///
/// # Safety
///
/// `outcome` is null or points to an outcome that may be written.
pub(crate) unsafe fn report(
    answer: Result<Outcome, OpError>,
    outcome: *mut uffd_move_outcome,
) -> c_int {
    let (done, stop, error) = match answer {
        Ok(Outcome { done, stop }) => (done, number(stop), 0),
        Err(error) => (error.done, UFFD_MOVE_AGAIN, error.errno as c_int),
    };
    if !outcome.is_null() {
        // SAFETY: the caller lends it for writing.
        unsafe { outcome.write(uffd_move_outcome { pages: pages(done), stop, error }) };
    }
    -error
}

fn pages(count: PageCount) -> u64 {
    count.get() as u64
}

fn number(stop: Stop) -> i32 {
    match stop {
        Stop::Complete => UFFD_MOVE_COMPLETE,
        Stop::Present => UFFD_MOVE_PRESENT,
        Stop::Hole => UFFD_MOVE_HOLE,
        Stop::Busy => UFFD_MOVE_BUSY,
        // Also for reasons that a later version of this library knows: the next answer names them.
        _ => UFFD_MOVE_AGAIN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uffd_move::{Op, PageRange, page_size};

    #[test]
    fn an_error_keeps_the_pages_done_before_it() {
        let range = PageRange::from_bytes(page_size(), 4 * page_size()).expect("whole pages");
        let error = OpError::new(Op::Move, range, Errno::EINVAL, PageCount::new(3));
        let mut seen = uffd_move_outcome::default();
        // SAFETY: a local outcome.
        let result = unsafe { report(Err(error), &raw mut seen) };
        assert_eq!(result, -libc::EINVAL);
        assert_eq!((seen.pages, seen.error), (3, libc::EINVAL));
    }
}
