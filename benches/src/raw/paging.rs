//! Asking the kernel to write pages out.

use std::io;
use std::sync::atomic::AtomicU64;

use uffd_move::page_size;

/// Has the kernel write the pages of `words` to swap (`MADV_PAGEOUT`), the whole of the first and the
/// last page too. It may leave some in memory.
///
/// # Errors
///
/// | outcome | meaning | what to do |
/// |---|---|---|
/// | `EINVAL` | the memory is locked, or the kernel has no `MADV_PAGEOUT` | |
pub fn page_out(words: &[AtomicU64]) -> io::Result<()> {
    let start = words.as_ptr().addr() / page_size() * page_size();
    let end = (words.as_ptr().addr() + size_of_val(words)).next_multiple_of(page_size());
    let base = std::ptr::with_exposed_provenance_mut::<libc::c_void>(start);
    // SAFETY: the advice changes no content, whoever else has data on these pages: what was written
    // out is read back when it is touched.
    let answer = unsafe { libc::madvise(base, end - start, libc::MADV_PAGEOUT) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
