//! Request in, outcome out: nothing that the kernel said is lost on the way.

use nix::errno::Errno;

use crate::error::{Op, OpError};
use crate::features::{RangeIoctls, RegisterMode};
use crate::outcome::{Holes, Outcome, Stop, Wake};
use crate::page::{PageAddr, PageCount, PageRange, page_size};
use crate::sys::uapi;
use crate::sys::{Request, UffdIoctl};

/// Moves the pages at `src` to `dst`: the page itself changes its address, nothing is copied.
///
/// Afterwards nothing is mapped at the source pages that were moved (they read as zero when they
/// are private anonymous memory and touched again). `src` has as many pages as `dst`.
///
/// # Errors
///
/// | outcome | meaning | what to do |
/// |---|---|---|
/// | [`Stop::Complete`] | all moved | |
/// | [`Stop::Again`] | `EAGAIN` | ask again for the rest ([`move_all`](super::move_all) does) |
/// | [`Stop::Present`] | `EEXIST`: the destination page is there | somebody else did it; go on behind it |
/// | [`Stop::Hole`] | `ENOENT`: the source page is not there (or neither range is mapped) | go on behind it |
/// | [`Stop::Busy`] | `EBUSY`: the source page is shared with a forked child, or pinned | [`copy_pages`] |
/// | `EINVAL` | the ranges differ in protection or lock state, or one is shared, not anonymous or not registered here, or another process asks | do not move between these |
/// | `EFAULT` | the source page is poisoned | the page is lost |
/// | `ENOMEM` | no memory for page tables | free some |
/// | `EINTR`, `ESRCH` | the process is dying | stop |
///
/// # Safety
///
/// * The caller owns both ranges: no reference is alive into any of their pages.
/// * `src` has `dst.count()` pages.
/// * `uffd` belongs to this process, and the ranges stay mapped during the call.
///
/// # References
///
/// `UFFDIO_MOVE(2const)`
#[doc(alias = "UFFDIO_MOVE")]
pub unsafe fn move_pages<K: UffdIoctl + ?Sized>(
    uffd: &K,
    dst: PageRange,
    src: PageAddr,
    holes: Holes,
    wake: Wake,
) -> Result<Outcome, OpError> {
    let holes = match holes {
        Holes::Reject => 0,
        Holes::Skip => uapi::UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES,
    };
    let mut arg = uapi::uffdio_move {
        dst: word(dst.start().get()),
        src: word(src.get()),
        len: word(dst.len_bytes()),
        mode: holes | dont_wake(wake),
        // Some kernels leave this field alone when they answer EAGAIN at once.
        r#move: 0,
    };
    // SAFETY: the caller owns both ranges.
    let answer = unsafe { uffd.ioctl(Request::Move(&mut arg)) };
    decode(Op::Move, dst, answer, arg.r#move)
}

/// Fills the missing pages at `dst` with a copy of the bytes from `src`.
///
/// Each page appears at once with all its contents. The kernel allocates it.
///
/// # Errors
///
/// | outcome | meaning | what to do |
/// |---|---|---|
/// | [`Stop::Again`], [`Stop::Present`] | as for [`move_pages`] | as there |
/// | `ENOENT` | `dst` is not registered here, or not mapped | do not copy there |
/// | `EFAULT` | a byte of `src` cannot be read | correct the caller |
/// | `ENOMEM`, `ENOSPC` | no memory, no room in the file system | free some |
/// | `EINVAL`, `ESRCH` | unsuitable mapping; the process is dying | |
///
/// # Safety
///
/// * The caller owns `dst`: no reference is alive into any of its pages.
/// * `src` is valid for reads of `dst.len_bytes()` bytes, which nobody writes meanwhile.
///
/// # References
///
/// `UFFDIO_COPY(2const)`
#[doc(alias = "UFFDIO_COPY")]
pub unsafe fn copy_pages<K: UffdIoctl + ?Sized>(
    uffd: &K,
    dst: PageRange,
    src: *const u8,
    wake: Wake,
) -> Result<Outcome, OpError> {
    let mut arg = uapi::uffdio_copy {
        dst: word(dst.start().get()),
        src: word(src.expose_provenance()),
        len: word(dst.len_bytes()),
        mode: dont_wake(wake),
        copy: 0,
    };
    // SAFETY: the caller owns `dst`, and `src` may be read.
    let answer = unsafe { uffd.ioctl(Request::Copy(&mut arg)) };
    decode(Op::Copy, dst, answer, arg.copy)
}

/// Maps the pages that the page cache has for `dst`, without filling them.
///
/// # Errors
///
/// | outcome | meaning | what to do |
/// |---|---|---|
/// | [`Stop::Again`], [`Stop::Present`] | as for [`move_pages`] | as there |
/// | [`Stop::Hole`] | the page cache has no such page | write to it through another mapping first |
/// | `ENOENT`, `EINVAL` | `dst` is not registered for minor faults | do not continue there |
/// | `ENOMEM`, `ESRCH` | no memory; the process is dying | |
///
/// # Safety
///
/// * The caller owns `dst`: no reference is alive into any of its pages.
///
/// # References
///
/// `UFFDIO_CONTINUE(2const)`
#[doc(alias = "UFFDIO_CONTINUE")]
pub unsafe fn continue_pages<K: UffdIoctl + ?Sized>(
    uffd: &K,
    dst: PageRange,
    wake: Wake,
) -> Result<Outcome, OpError> {
    let mut arg = uapi::uffdio_continue { range: range_of(dst), mode: dont_wake(wake), mapped: 0 };
    // SAFETY: the caller owns `dst`.
    let answer = unsafe { uffd.ioctl(Request::Continue(&mut arg)) };
    decode(Op::Continue, dst, answer, arg.mapped)
}

/// Fills the missing pages at `dst` with zeros (the kernel's shared zero page until written to).
///
/// # Errors
///
/// As for [`copy_pages`]; there is no source to be unreadable.
///
/// # Safety
///
/// * The caller owns `dst`: no reference is alive into any of its pages.
///
/// # References
///
/// `UFFDIO_ZEROPAGE(2const)`
#[doc(alias = "UFFDIO_ZEROPAGE")]
pub unsafe fn zero_pages<K: UffdIoctl + ?Sized>(
    uffd: &K,
    dst: PageRange,
    wake: Wake,
) -> Result<Outcome, OpError> {
    let mut arg =
        uapi::uffdio_zeropage { range: range_of(dst), mode: dont_wake(wake), zeropage: 0 };
    // SAFETY: the caller owns `dst`.
    let answer = unsafe { uffd.ioctl(Request::Zeropage(&mut arg)) };
    decode(Op::Zero, dst, answer, arg.zeropage)
}

/// Lets the threads run that wait for a page of `range`.
///
/// They look again; if the page is still missing they wait again, with a new event.
///
/// # Errors
///
/// | outcome | meaning | what to do |
/// |---|---|---|
/// | `EINVAL` | the kernel does not take the range | correct the caller |
///
/// # Safety
///
/// * Who waits for a page of `range` may run: it was put in place, or may be asked for again.
///
/// # References
///
/// `UFFDIO_WAKE(2const)`
#[doc(alias = "UFFDIO_WAKE")]
pub unsafe fn wake_pages<K: UffdIoctl + ?Sized>(uffd: &K, range: PageRange) -> Result<(), OpError> {
    let mut arg = range_of(range);
    // SAFETY: waking changes no memory.
    let answer = unsafe { uffd.ioctl(Request::Wake(&mut arg)) };
    answer.map_err(|errno| OpError::new(Op::Wake, range, errno, PageCount::ZERO))
}

/// From now on the faults of `mode` in `range` come to `uffd`.
///
/// Returns the requests that the range accepts. Ask this, not the kernel's version.
///
/// # Errors
///
/// | outcome | meaning | what to do |
/// |---|---|---|
/// | `EINVAL` | nothing is mapped there, or the memory cannot be registered so | ask [`crate::Support`] first |
/// | `EBUSY` | another userfaultfd has a page of the range | unregister there |
/// | `ENOMEM` | too many mappings (`vm.max_map_count`) | register fewer, larger ranges |
/// | `EPERM` | the mapping may not be written to | |
///
/// # Safety
///
/// * The caller owns `range`, and somebody serves its faults: a thread that touches a missing page
///   waits until then (or gets SIGBUS, with [`crate::Features::SIGBUS`]).
///
/// # References
///
/// `UFFDIO_REGISTER(2const)`
#[doc(alias = "UFFDIO_REGISTER")]
pub unsafe fn register<K: UffdIoctl + ?Sized>(
    uffd: &K,
    range: PageRange,
    mode: RegisterMode,
) -> Result<RangeIoctls, OpError> {
    let mut arg = uapi::uffdio_register { range: range_of(range), mode: mode.bits(), ioctls: 0 };
    // SAFETY: registering changes no page, and the caller serves the faults.
    let answer = unsafe { uffd.ioctl(Request::Register(&mut arg)) };
    match answer {
        Ok(()) => Ok(RangeIoctls::from_bits_retain(arg.ioctls)),
        Err(errno) => Err(OpError::new(Op::Register, range, errno, PageCount::ZERO)),
    }
}

/// From now on the faults in `range` are the kernel's again. Who waits there is let run.
///
/// # Errors
///
/// | outcome | meaning | what to do |
/// |---|---|---|
/// | `EINVAL` | nothing is mapped there | nothing: unmapping unregistered it |
///
/// # Safety
///
/// * Missing pages of `range` read as zero from now on. The caller owns them and wants that.
///
/// # References
///
/// `UFFDIO_UNREGISTER(2const)`
#[doc(alias = "UFFDIO_UNREGISTER")]
pub unsafe fn unregister<K: UffdIoctl + ?Sized>(uffd: &K, range: PageRange) -> Result<(), OpError> {
    let mut arg = range_of(range);
    // SAFETY: the caller wants the kernel's own fault handling back.
    let answer = unsafe { uffd.ioctl(Request::Unregister(&mut arg)) };
    answer.map_err(|errno| OpError::new(Op::Unregister, range, errno, PageCount::ZERO))?;
    // The kernel wakes before it unregisters. Where faults take only the lock of their mapping, a
    // thread can go to sleep in between, and nobody is left to wake it.
    // SAFETY: waking changes no memory; nothing can be wrong with a range that was registered.
    let _ = unsafe { wake_pages(uffd, range) };
    Ok(())
}

fn dont_wake(wake: Wake) -> u64 {
    match wake {
        Wake::Now => 0,
        Wake::Later => uapi::MODE_DONTWAKE,
    }
}

/// A `usize` as the kernel's word. All of Linux has at most 64 bits.
fn word(bytes: usize) -> u64 {
    bytes as u64
}

fn range_of(range: PageRange) -> uapi::uffdio_range {
    uapi::uffdio_range { start: word(range.start().get()), len: word(range.len_bytes()) }
}

/// Joins the two things the kernel says, the return value and the output field.
///
/// The field is signed: bytes done, or a negative errno, or left alone (then it is the 0 that it
/// was set to). `EAGAIN` comes with all three. Progress counts whatever the errno is.
fn decode(
    op: Op,
    range: PageRange,
    answer: Result<(), Errno>,
    field: i64,
) -> Result<Outcome, OpError> {
    let asked = range.count();
    let bytes = usize::try_from(field).unwrap_or(0);
    let done = PageCount::new((bytes / page_size()).min(asked.get()));
    let stop = match answer {
        Ok(()) if done == asked => Stop::Complete,
        // No kernel answers so; what it did not count it did not do.
        Ok(()) => Stop::Again,
        // Nor so. Asking for nothing more is the only sane continuation.
        Err(_) if done == asked => Stop::Complete,
        Err(Errno::EAGAIN) => Stop::Again,
        Err(Errno::EEXIST) if op != Op::WriteProtect => Stop::Present,
        Err(Errno::ENOENT) if op == Op::Move => Stop::Hole,
        // The page cache has no such page. If the field is untouched, the request itself could
        // not be read, which is an error.
        Err(Errno::EFAULT) if op == Op::Continue && field == -i64::from(libc::EFAULT) => Stop::Hole,
        Err(Errno::EBUSY) if op == Op::Move => Stop::Busy,
        Err(errno) => return Err(OpError::new(op, range, errno, done)),
    };
    Ok(Outcome { done, stop })
}

#[cfg(test)]
#[path = "request/tests.rs"]
mod tests;
