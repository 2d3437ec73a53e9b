//! The calls behind [`AltStack`](crate::AltStack).

use std::io;
use std::ptr::{self, NonNull};

use memmap2::{MmapOptions, MmapRaw};
use nix::errno::Errno;
use nix::sys::mman::{ProtFlags, mprotect};

use crate::page::page_size;

/// The calling thread's alternate stack.
pub(crate) fn current() -> io::Result<libc::stack_t> {
    let mut now = libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: 0, ss_size: 0 };
    // SAFETY: asks only; `now` has room for the answer.
    Errno::result(unsafe { libc::sigaltstack(ptr::null(), &raw mut now) })?;
    Ok(now)
}

/// Where the stack in `memory` begins: above the guard page.
pub(crate) fn stack_start(memory: &MmapRaw) -> usize {
    memory.as_mut_ptr().addr() + page_size()
}

/// Makes `memory` without its first page the alternate stack of the calling thread.
pub(crate) fn install(memory: &MmapRaw) -> io::Result<()> {
    let stack = libc::stack_t {
        ss_sp: memory.as_mut_ptr().wrapping_add(page_size()).cast(),
        ss_flags: 0,
        ss_size: memory.len() - page_size(),
    };
    put_back(&stack)
}

/// Makes `stack` the alternate stack of the calling thread: one that [`current`] returned, or one
/// of our own.
pub(crate) fn put_back(stack: &libc::stack_t) -> io::Result<()> {
    // SAFETY: the memory is mapped until it is replaced in turn: ours by the owner of the mapping,
    // others by who installed them. The kernel refuses (EPERM) if the thread is on it now.
    Errno::result(unsafe { libc::sigaltstack(stack, ptr::null_mut()) })?;
    Ok(())
}

/// New memory for a stack of `bytes` bytes, with a page below it that may not be touched.
pub(crate) fn guarded(bytes: usize) -> io::Result<MmapRaw> {
    let memory: MmapRaw = MmapOptions::new().len(bytes + page_size()).map_anon()?.into();
    let guard = NonNull::new(memory.as_mut_ptr().cast()).expect("a mapping is not at null");
    // SAFETY: the first page of a mapping that is ours alone, and that nobody points into yet.
    unsafe { mprotect(guard, page_size(), ProtFlags::PROT_NONE) }?;
    Ok(memory)
}
