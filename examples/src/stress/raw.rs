//! Pins on heap pages, as another part of the program might hold them. The only unsafe code here.
#![allow(unsafe_code, reason = "registering a buffer with io_uring is unsafe")]

use std::sync::atomic::AtomicU8;

use io_uring::IoUring;

/// Keeps the pages of some bytes where they are (`FOLL_PIN`), until it is dropped.
pub struct Pin {
    _ring: IoUring,
}

impl std::fmt::Debug for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pin").finish_non_exhaustive()
    }
}

impl Pin {
    /// Pins the pages of `bytes`; `None` where the kernel does not let us.
    #[must_use]
    pub fn new(bytes: &[AtomicU8]) -> Option<Self> {
        if bytes.is_empty() {
            return None;
        }
        let ring = IoUring::new(2).ok()?;
        let buffer =
            libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        // SAFETY: no request ever uses the buffer, so that the kernel only keeps the pages; it
        // neither reads nor writes them, and they may be unmapped while they are pinned.
        unsafe { ring.submitter().register_buffers(&[buffer]) }.ok()?;
        Some(Self { _ring: ring })
    }
}
