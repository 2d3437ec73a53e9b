//! Touching pages in user mode, so that a system call finds them.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::page::page_size;

/// What is going to be done with the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reading, as `write(2)` reads its buffer.
    Read,
    /// Writing, as `read(2)` writes its buffer. No byte is changed by the touch.
    Write,
}

/// Touches every page of the `len` bytes from `addr`, so that each is present afterwards.
///
/// The faults that this raises are served as usual. A page may be taken away again before it is
/// used; see [`with_touched`].
///
/// # Safety
///
/// * All of the bytes are mapped, and may be read (and written, for [`Access::Write`]).
/// * Other threads access them by atomics or not at all while this runs.
pub unsafe fn touch_range(addr: *mut u8, len: usize, access: Access) {
    let mut at = 0;
    while at < len {
        let byte = addr.wrapping_add(at);
        // SAFETY: the caller says that the byte is mapped and shared by atomics only.
        let byte = unsafe { AtomicU8::from_ptr(byte) };
        match access {
            Access::Read => {
                std::hint::black_box(byte.load(Ordering::Relaxed));
            }
            // A real write access that changes nothing, also against a concurrent writer.
            Access::Write => {
                byte.fetch_or(0, Ordering::Relaxed);
            }
        }
        let into_page = addr.wrapping_add(at).addr() & (page_size() - 1);
        at += page_size() - into_page;
    }
}

/// Touches the bytes, runs `call`, and does both again while `call` fails with `EFAULT`.
///
/// With [`crate::FaultScope::UserOnly`] or [`crate::Features::SIGBUS`] the kernel does not wait
/// for a missing page inside a system call: the call fails with `EFAULT`. A page that was touched
/// may be taken away again by the next flip, so touching once is not enough for certain; after
/// `attempts` tries the last error is returned.
///
/// # Errors
///
/// | outcome | meaning | what to do |
/// |---|---|---|
/// | `EFAULT` | taken away every time (or not mapped) | keep the collector from flipping meanwhile |
/// | other | `call`'s own | |
///
/// # Safety
///
/// As for [`touch_range`].
pub unsafe fn with_touched<T>(
    addr: *mut u8,
    len: usize,
    access: Access,
    attempts: u32,
    call: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    // SAFETY: handed on.
    touched_again(attempts, || unsafe { touch_range(addr, len, access) }, call)
}

/// `touch`, then `call`; and both again while `call` fails with `EFAULT`, `attempts` times at most.
pub(crate) fn touched_again<T>(
    attempts: u32,
    mut touch: impl FnMut(),
    mut call: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    let mut left = attempts.max(1);
    loop {
        touch();
        left -= 1;
        match call() {
            Err(error) if error.raw_os_error() == Some(libc::EFAULT) && left > 0 => {}
            answer => return answer,
        }
    }
}
