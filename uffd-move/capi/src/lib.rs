//! The C interface of `uffd-move`: `include/uffd_move.h`, over [`uffd_move::raw`].
//!
//! The functions and their obligations are described in the header, for those who call them; this
//! is their implementation. Descriptors are the caller's.
//!
//! ```
//! // The same function that C calls. A null reason is not written to.
//! let can = unsafe { uffd_move_capi::uffd_move_probe(std::ptr::null_mut(), 0) };
//! assert!(can == 0 || can == 1);
//! ```
#![allow(unsafe_code, reason = "the border to C: pointers and descriptors that the caller owns")]

mod outcome;
mod request;

use std::ffi::{c_char, c_int, c_void};
use std::os::fd::{AsFd, IntoRawFd};

use nix::errno::Errno;
use uffd_move::{Features, OpenError, OpenOptions, RegisterMode, Support, raw};

pub use outcome::{
    UFFD_MOVE_AGAIN, UFFD_MOVE_BUSY, UFFD_MOVE_COMPLETE, UFFD_MOVE_HOLE, UFFD_MOVE_PRESENT,
    uffd_move_outcome,
};
pub use request::{
    UFFD_MOVE_SKIP_HOLES, UFFD_MOVE_WAKE_LATER, uffd_move_continue, uffd_move_copy,
    uffd_move_pages, uffd_move_wake, uffd_move_zero,
};

/// Faults arrive as `SIGBUS`.
pub const UFFD_MOVE_OPEN_SIGBUS: u32 = 1;

/// The page is not there.
pub const UFFD_MOVE_MISSING: u32 = 1;
/// The page is there, and write-protected.
pub const UFFD_MOVE_WRITE_PROTECT: u32 = 2;
/// The page is in the page cache and not mapped here.
pub const UFFD_MOVE_MINOR: u32 = 4;

const SAID_NO: &str = "this kernel said no and did not say why";

/// Whether this kernel can move pages here: 1 or 0, and why not.
///
/// # Safety
///
/// `reason` is null or has room for `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uffd_move_probe(reason: *mut c_char, size: usize) -> c_int {
    let support = Support::probe();
    let no = [&support.userfaultfd, support.move_pages.verdict()]
        .into_iter()
        .find(|answer| !answer.is_yes());
    let Some(no) = no else { return 1 };
    if !reason.is_null() && size > 0 {
        let text = no.reason().unwrap_or(SAID_NO).as_bytes();
        let len = text.len().min(size - 1);
        // SAFETY: `len` bytes fit, and the text is somewhere else.
        unsafe { std::ptr::copy_nonoverlapping(text.as_ptr().cast(), reason, len) };
        // SAFETY: less than `size` bytes on.
        let end = unsafe { reason.add(len) };
        // SAFETY: the last of at most `size` bytes.
        unsafe { end.write(0) };
    }
    0
}

/// Opens a userfaultfd that can move pages.
#[unsafe(no_mangle)]
pub extern "C" fn uffd_move_open(flags: u32) -> c_int {
    let mut features = Features::MOVE;
    match flags {
        0 => {}
        UFFD_MOVE_OPEN_SIGBUS => features |= Features::SIGBUS,
        _ => return outcome::refused(Errno::EINVAL),
    }
    match OpenOptions::new().require(features).open() {
        Ok(opened) => {
            // A second one: `Uffd` closes its own when it goes, also after `into_raw_fd`.
            match opened.uffd.as_fd().try_clone_to_owned() {
                Ok(fd) => fd.into_raw_fd(),
                Err(error) => -error.raw_os_error().unwrap_or(libc::EMFILE),
            }
        }
        Err(OpenError::MissingFeatures { .. }) => outcome::refused(Errno::EOPNOTSUPP),
        Err(OpenError::Refused { syscall: errno, .. } | OpenError::Handshake { errno }) => {
            outcome::refused(errno)
        }
        Err(_) => outcome::refused(Errno::EIO),
    }
}

/// From now on the faults of `modes` in the range come to `fd`.
///
/// # Safety
///
/// As for [`raw::register`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uffd_move_register(
    fd: c_int,
    start: *mut c_void,
    len: usize,
    modes: u32,
) -> c_int {
    let Some((fd, range)) = request::checked(fd, start, len) else {
        return outcome::refused(Errno::EINVAL);
    };
    let Some(modes) = RegisterMode::from_bits(modes.into()).filter(|modes| !modes.is_empty())
    else {
        return outcome::refused(Errno::EINVAL);
    };
    // SAFETY: the caller serves the faults.
    match unsafe { raw::register(&fd, range, modes) } {
        Ok(_) => 0,
        Err(error) => outcome::refused(error.errno),
    }
}

/// From now on the faults in the range are the kernel's again.
///
/// # Safety
///
/// As for [`raw::unregister`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uffd_move_unregister(fd: c_int, start: *mut c_void, len: usize) -> c_int {
    let Some((fd, range)) = request::checked(fd, start, len) else {
        return outcome::refused(Errno::EINVAL);
    };
    // SAFETY: the caller wants missing pages to be zeros.
    match unsafe { raw::unregister(&fd, range) } {
        Ok(()) => 0,
        Err(error) => outcome::refused(error.errno),
    }
}
