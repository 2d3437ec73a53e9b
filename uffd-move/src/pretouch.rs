//! System calls on memory that may be missing.
//!
//! With [`FaultScope::UserOnly`](crate::FaultScope::UserOnly), or with fault delivery by SIGBUS, the
//! kernel does not wait for a missing page in the middle of a system call: `read(2)` into such
//! memory fails with `EFAULT`, as if the memory did not exist. (No signal is raised.) And a call
//! that has transferred some bytes before that returns a short count, or leaves a half-written
//! structure.
//!
//! Three ways out: copy through memory that is not registered; run the call where the collector
//! cannot take pages away; or touch the pages in user mode first, and again on `EFAULT`. The last
//! is [`Area::while_touched`], and [`raw::with_touched`](crate::raw::with_touched) below it.

use std::io;

use crate::raw::{Access, Area, touched_again};

/// Tries before `EFAULT` is taken for an answer.
const ATTEMPTS: u32 = 16;

impl Area {
    /// Runs `call`, which hands the `len` bytes from `offset` to the kernel, with their pages
    /// touched; and again while it fails with `EFAULT`.
    ///
    /// `call` must be one that may be repeated after `EFAULT`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{self, Write};
    /// use uffd_move::{Area, PageCount, raw::Access};
    ///
    /// let area = Area::anonymous(PageCount::ONE)?;
    /// let mut calls = 0;
    /// let answer = area.while_touched(0, 100, Access::Read, || {
    ///     calls += 1;
    ///     if calls < 3 { Err(io::Error::from_raw_os_error(14)) } else { Ok("written") }
    /// })?;
    /// assert_eq!(answer, "written");
    /// # Ok::<(), io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | `EFAULT` | the pages were taken away again, every time | keep the collector from flipping meanwhile |
    /// | other | `call`'s own | |
    ///
    /// # Panics
    ///
    /// If the bytes are not all inside the area.
    pub fn while_touched<T>(
        &self,
        offset: usize,
        len: usize,
        access: Access,
        call: impl FnMut() -> io::Result<T>,
    ) -> io::Result<T> {
        touched_again(ATTEMPTS, || self.touch(offset, len, access), call)
    }
}
