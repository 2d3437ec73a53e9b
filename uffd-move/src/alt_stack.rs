//! An alternate stack for signal handlers: faults must be served when the thread's own is short.

use std::fmt;
use std::io;
use std::marker::PhantomData;

use memmap2::MmapRaw;

use crate::page::PageCount;
use crate::sys::alt_stack as sys;

/// The calling thread has an alternate signal stack, at least as long as this lives.
///
/// Rust gives its threads a small one for its stack overflow check; a thread made by C has none. A
/// fault handler that rebuilds a page, and may fault again on the way, wants more.
///
/// There is a page below the stack that may not be touched, so an overflow is a clean SIGSEGV.
/// Dropping it puts back what was there before.
///
/// # Examples
///
/// ```
/// let stack = uffd_move::AltStack::ensure(64 << 10)?;
/// assert!(stack.size_bytes() >= 64 << 10);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # References
///
/// `sigaltstack(2)`
pub struct AltStack {
    // None: the one that was there is large enough.
    own: Option<Own>,
    start: usize,
    size: usize,
    // The stack belongs to the thread that made it.
    _thread: PhantomData<*mut ()>,
}

struct Own {
    memory: Option<MmapRaw>,
    before: libc::stack_t,
}

impl AltStack {
    /// Sees to it that the calling thread has an alternate stack of `min_bytes` bytes or more.
    ///
    /// Does nothing if it has one.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | `ENOMEM` | no address space, or fewer bytes than the kernel's minimum | free some; ask for more |
    /// | `EPERM` | the thread is on its alternate stack now | do not call this in a signal handler |
    pub fn ensure(min_bytes: usize) -> io::Result<Self> {
        let before = sys::current()?;
        if before.ss_flags & libc::SS_DISABLE == 0 && before.ss_size >= min_bytes {
            let (start, size) = (before.ss_sp.addr(), before.ss_size);
            return Ok(Self { own: None, start, size, _thread: PhantomData });
        }
        let size = PageCount::covering(min_bytes.max(libc::SIGSTKSZ)).bytes();
        let memory = sys::guarded(size)?;
        sys::install(&memory)?;
        let start = sys::stack_start(&memory);
        let own = Own { memory: Some(memory), before };
        Ok(Self { own: Some(own), start, size, _thread: PhantomData })
    }

    /// Its size in bytes.
    pub fn size_bytes(&self) -> usize {
        self.size
    }

    /// Whether the byte at `addr` is in it: in a handler, whether a local variable is.
    pub fn contains(&self, addr: usize) -> bool {
        addr.wrapping_sub(self.start) < self.size
    }

    /// Whether this made a new one.
    pub fn is_new(&self) -> bool {
        self.own.is_some()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let Some(memory) = self.memory.take() else { return };
        // If another stack was put above ours since, it will put ours back; and if we are on ours
        // now, the kernel refuses. The memory must stay in both cases.
        let ours = sys::current().is_ok_and(|now| now.ss_sp.addr() == sys::stack_start(&memory));
        if !ours || sys::put_back(&self.before).is_err() {
            std::mem::forget(memory);
        }
    }
}

impl fmt::Debug for AltStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AltStack")
            .field("size", &self.size)
            .field("new", &self.own.is_some())
            .finish_non_exhaustive()
    }
}
