//! The seam: anything that takes userfaultfd requests.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use nix::errno::Errno;
use userfaultfd::Uffd;

use super::uapi;

/// One request, with the structure that the kernel reads and answers in.
#[derive(Debug)]
#[non_exhaustive]
pub enum Request<'a> {
    /// `UFFDIO_API`.
    Api(&'a mut uapi::uffdio_api),
    /// `UFFDIO_REGISTER`.
    Register(&'a mut uapi::uffdio_register),
    /// `UFFDIO_UNREGISTER`.
    Unregister(&'a mut uapi::uffdio_range),
    /// `UFFDIO_WAKE`.
    Wake(&'a mut uapi::uffdio_range),
    /// `UFFDIO_COPY`.
    Copy(&'a mut uapi::uffdio_copy),
    /// `UFFDIO_ZEROPAGE`.
    Zeropage(&'a mut uapi::uffdio_zeropage),
    /// `UFFDIO_MOVE`.
    Move(&'a mut uapi::uffdio_move),
    /// `UFFDIO_WRITEPROTECT`.
    WriteProtect(&'a mut uapi::uffdio_writeprotect),
    /// `UFFDIO_CONTINUE`.
    Continue(&'a mut uapi::uffdio_continue),
}

/// Anything that takes userfaultfd requests: a descriptor, or the [`FakeKernel`](super::FakeKernel).
///
/// A trait of our own and not `AsFd`, because the fake has no descriptor. For a descriptor type
/// that is not in the list below there is [`AnyFd`].
pub trait UffdIoctl {
    /// Hands `request` to the kernel, once, and returns its answer untouched.
    ///
    /// What the kernel wrote into the structure stays there, also on failure.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | any [`Errno`] | the kernel's own | decode it together with the output field, as `raw` does |
    ///
    /// # Safety
    ///
    /// * The request changes what is mapped at the addresses in it. The caller answers for every
    ///   reference into these pages, as with `mmap(MAP_FIXED)`.
    /// * A copy reads `len` bytes from `src`.
    unsafe fn ioctl(&self, request: Request<'_>) -> Result<(), Errno>;
}

unsafe fn on_raw_fd(fd: RawFd, request: Request<'_>) -> Result<(), Errno> {
    let (code, arg) = match request {
        Request::Api(arg) => (uapi::UFFDIO_API, std::ptr::from_mut(arg).cast::<libc::c_void>()),
        Request::Register(arg) => (uapi::UFFDIO_REGISTER, std::ptr::from_mut(arg).cast()),
        Request::Unregister(arg) => (uapi::UFFDIO_UNREGISTER, std::ptr::from_mut(arg).cast()),
        Request::Wake(arg) => (uapi::UFFDIO_WAKE, std::ptr::from_mut(arg).cast()),
        Request::Copy(arg) => (uapi::UFFDIO_COPY, std::ptr::from_mut(arg).cast()),
        Request::Zeropage(arg) => (uapi::UFFDIO_ZEROPAGE, std::ptr::from_mut(arg).cast()),
        Request::Move(arg) => (uapi::UFFDIO_MOVE, std::ptr::from_mut(arg).cast()),
        Request::WriteProtect(arg) => (uapi::UFFDIO_WRITEPROTECT, std::ptr::from_mut(arg).cast()),
        Request::Continue(arg) => (uapi::UFFDIO_CONTINUE, std::ptr::from_mut(arg).cast()),
    };
    // SAFETY: `code` and the type behind `arg` were paired in the match above, so the kernel reads
    // and writes exactly that structure. What the request does to memory is the caller's promise.
    let answer = unsafe { libc::ioctl(fd, code as _, arg) };
    Errno::result(answer).map(drop)
}

impl UffdIoctl for OwnedFd {
    unsafe fn ioctl(&self, request: Request<'_>) -> Result<(), Errno> {
        // SAFETY: handed on; the descriptor is open as long as `self`.
        unsafe { on_raw_fd(self.as_raw_fd(), request) }
    }
}

impl UffdIoctl for BorrowedFd<'_> {
    unsafe fn ioctl(&self, request: Request<'_>) -> Result<(), Errno> {
        // SAFETY: handed on; the descriptor is open as long as `self`.
        unsafe { on_raw_fd(self.as_raw_fd(), request) }
    }
}

/// The handle of the `userfaultfd` crate.
///
/// Its own methods serve where they lose nothing: register (keeps unknown bits of the answer),
/// unregister and wake. Its `copy` casts a negative result to a huge `usize`, its `zeropage` drops
/// the progress of a failed call, and it has no move; these go straight to the descriptor.
impl UffdIoctl for Uffd {
    unsafe fn ioctl(&self, request: Request<'_>) -> Result<(), Errno> {
        match request {
            Request::Register(arg) => {
                let mode = userfaultfd::RegisterMode::from_bits_retain(arg.mode);
                let (start, len) = pointer_and_len(arg.range)?;
                let ioctls = self.register_with_mode(start, len, mode).map_err(|e| errno_of(&e))?;
                arg.ioctls = ioctls.bits();
                Ok(())
            }
            Request::Unregister(arg) => {
                let (start, len) = pointer_and_len(*arg)?;
                self.unregister(start, len).map_err(|e| errno_of(&e))
            }
            Request::Wake(arg) => {
                let (start, len) = pointer_and_len(*arg)?;
                self.wake(start, len).map_err(|e| errno_of(&e))
            }
            // SAFETY: handed on; the descriptor is open as long as `self`.
            other => unsafe { on_raw_fd(self.as_raw_fd(), other) },
        }
    }
}

fn pointer_and_len(range: uapi::uffdio_range) -> Result<(*mut libc::c_void, usize), Errno> {
    let start = usize::try_from(range.start).map_err(|_| Errno::EINVAL)?;
    let len = usize::try_from(range.len).map_err(|_| Errno::EINVAL)?;
    Ok((std::ptr::without_provenance_mut(start), len))
}

/// The errno inside an error of the `userfaultfd` crate (which uses another version of `nix`).
fn errno_of(error: &userfaultfd::Error) -> Errno {
    match error {
        userfaultfd::Error::SystemError(errno)
        | userfaultfd::Error::CopyFailed(errno)
        | userfaultfd::Error::ZeropageFailed(errno) => Errno::from_raw(*errno as i32),
        _ => Errno::EIO,
    }
}

impl<T: UffdIoctl + ?Sized> UffdIoctl for &T {
    unsafe fn ioctl(&self, request: Request<'_>) -> Result<(), Errno> {
        // SAFETY: handed on.
        unsafe { (**self).ioctl(request) }
    }
}

impl<T: UffdIoctl + ?Sized> UffdIoctl for Arc<T> {
    unsafe fn ioctl(&self, request: Request<'_>) -> Result<(), Errno> {
        // SAFETY: handed on.
        unsafe { (**self).ioctl(request) }
    }
}

impl<T: UffdIoctl + ?Sized> UffdIoctl for Box<T> {
    unsafe fn ioctl(&self, request: Request<'_>) -> Result<(), Errno> {
        // SAFETY: handed on.
        unsafe { (**self).ioctl(request) }
    }
}

/// Any other owner of a descriptor: `AnyFd(my_handle)` takes requests if `my_handle` is `AsFd`.
///
/// # Examples
///
/// ```
/// use std::fs::File;
/// use uffd_move::{AnyFd, UffdIoctl};
///
/// fn takes_requests(_: &impl UffdIoctl) {}
/// takes_requests(&AnyFd(File::open("/dev/null")?));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct AnyFd<T>(
    /// The owner.
    pub T,
);

impl<T: AsFd> UffdIoctl for AnyFd<T> {
    unsafe fn ioctl(&self, request: Request<'_>) -> Result<(), Errno> {
        // SAFETY: handed on; the descriptor is open as long as `self`.
        unsafe { on_raw_fd(self.0.as_fd().as_raw_fd(), request) }
    }
}

impl<T: AsFd> AsFd for AnyFd<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
