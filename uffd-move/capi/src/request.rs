//! The requests, with their arguments checked as far as numbers can be.

use std::ffi::{c_int, c_void};
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use uffd_move::{Holes, OpError, Outcome, PageAddr, PageRange, Wake, raw};

use crate::outcome::{refused, report, uffd_move_outcome};

/// A source page that is not there is skipped.
pub const UFFD_MOVE_SKIP_HOLES: u32 = 1;
/// Who waits for the pages is let run by [`uffd_move_wake`] only.
pub const UFFD_MOVE_WAKE_LATER: u32 = 2;

/// An open descriptor's number and whole pages, or nothing.
pub(crate) fn checked<T>(
    fd: c_int,
    start: *const T,
    len: usize,
) -> Option<(BorrowedFd<'static>, PageRange)> {
    let range = PageRange::from_bytes(start.expose_provenance(), len).ok()?;
    // SAFETY: not -1; a number that is no descriptor gives EBADF, one of something else ENOTTY.
    let fd = (fd >= 0).then(|| unsafe { BorrowedFd::borrow_raw(fd) })?;
    Some((fd, range))
}

/// Both flags, or nothing if there is another one or one that is not `allowed`.
fn flags(flags: u32, allowed: u32) -> Option<(Holes, Wake)> {
    let has = |flag| flags & flag != 0;
    let holes = if has(UFFD_MOVE_SKIP_HOLES) { Holes::Skip } else { Holes::Reject };
    let wake = if has(UFFD_MOVE_WAKE_LATER) { Wake::Later } else { Wake::Now };
    (flags & !allowed == 0).then_some((holes, wake))
}

/// A request that has a destination only.
///
/// # Safety
///
/// As for [`report`].
unsafe fn fill(
    fd: c_int,
    dst: *mut c_void,
    len: usize,
    modes: u32,
    outcome: *mut uffd_move_outcome,
    request: impl FnOnce(BorrowedFd<'static>, PageRange, Wake) -> Result<Outcome, OpError>,
) -> c_int {
    let (Some((fd, to)), Some((_, wake))) =
        (checked(fd, dst, len), flags(modes, UFFD_MOVE_WAKE_LATER))
    else {
        return refused(Errno::EINVAL);
    };
    // SAFETY: handed on.
    unsafe { report(request(fd, to, wake), outcome) }
}

/// Moves the pages at `src` to `dst`.
///
/// # Safety
///
/// As for [`raw::move_pages`]; `outcome` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uffd_move_pages(
    fd: c_int,
    dst: *mut c_void,
    src: *mut c_void,
    len: usize,
    modes: u32,
    outcome: *mut uffd_move_outcome,
) -> c_int {
    let source = PageAddr::new(src.expose_provenance());
    let (Some((fd, to)), Ok(from), Some((holes, wake))) =
        (checked(fd, dst, len), source, flags(modes, UFFD_MOVE_SKIP_HOLES | UFFD_MOVE_WAKE_LATER))
    else {
        return refused(Errno::EINVAL);
    };
    // SAFETY: both ranges are the caller's, and as long as each other.
    let answer = unsafe { raw::move_pages(&fd, to, from, holes, wake) };
    // SAFETY: handed on.
    unsafe { report(answer, outcome) }
}

/// Fills missing pages with copies.
///
/// # Safety
///
/// As for [`raw::copy_pages`]; `outcome` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uffd_move_copy(
    fd: c_int,
    dst: *mut c_void,
    src: *const c_void,
    len: usize,
    modes: u32,
    outcome: *mut uffd_move_outcome,
) -> c_int {
    let request = |fd: BorrowedFd<'static>, to, wake| {
        // SAFETY: the destination is the caller's, and the source readable.
        unsafe { raw::copy_pages(&fd, to, src.cast(), wake) }
    };
    // SAFETY: handed on.
    unsafe { fill(fd, dst, len, modes, outcome, request) }
}

/// Maps what the page cache has there.
///
/// # Safety
///
/// As for [`raw::continue_pages`]; `outcome` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uffd_move_continue(
    fd: c_int,
    dst: *mut c_void,
    len: usize,
    modes: u32,
    outcome: *mut uffd_move_outcome,
) -> c_int {
    let request = |fd: BorrowedFd<'static>, to, wake| {
        // SAFETY: the destination is the caller's.
        unsafe { raw::continue_pages(&fd, to, wake) }
    };
    // SAFETY: handed on.
    unsafe { fill(fd, dst, len, modes, outcome, request) }
}

/// Fills missing pages with zeros.
///
/// # Safety
///
/// As for [`raw::zero_pages`]; `outcome` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uffd_move_zero(
    fd: c_int,
    dst: *mut c_void,
    len: usize,
    modes: u32,
    outcome: *mut uffd_move_outcome,
) -> c_int {
    let request = |fd: BorrowedFd<'static>, to, wake| {
        // SAFETY: the destination is the caller's.
        unsafe { raw::zero_pages(&fd, to, wake) }
    };
    // SAFETY: handed on.
    unsafe { fill(fd, dst, len, modes, outcome, request) }
}

/// Lets the threads run that wait for a page of the range.
///
/// # Safety
///
/// Whoever waits there looks again when woken, as every thread does that waits in a fault.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uffd_move_wake(fd: c_int, start: *mut c_void, len: usize) -> c_int {
    let Some((fd, range)) = checked(fd, start, len) else { return refused(Errno::EINVAL) };
    // SAFETY: waking changes no memory.
    match unsafe { raw::wake_pages(&fd, range) } {
        Ok(()) => 0,
        Err(error) => refused(error.errno),
    }
}
