//! Getting a new userfaultfd from the kernel, by its two doors.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};

use memmap2::{MmapOptions, MmapRaw};
use nix::errno::Errno;
use userfaultfd::Uffd;

use super::uapi;
use super::{Request, UffdIoctl};

const DEVICE: &str = "/dev/userfaultfd";

/// What the device answered instead of a descriptor.
#[derive(Debug)]
pub(crate) enum DeviceError {
    /// It could not be opened: not there, or not for us.
    Open(io::Error),
    /// It was opened, and gave no descriptor.
    New(Errno),
}

/// A new userfaultfd from `/dev/userfaultfd` (since 6.1): whoever may open the device may handle
/// kernel-mode faults too.
pub(crate) fn from_device(flags: i32) -> Result<OwnedFd, DeviceError> {
    let device =
        OpenOptions::new().read(true).write(true).open(DEVICE).map_err(DeviceError::Open)?;
    // SAFETY: this request takes the flags by value and touches no memory.
    let fd = unsafe { libc::ioctl(device.as_raw_fd(), uapi::USERFAULTFD_IOC_NEW as _, flags) };
    let fd = Errno::result(fd).map_err(DeviceError::New)?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A new userfaultfd from `userfaultfd(2)`.
pub(crate) fn from_syscall(flags: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: this system call takes the flags by value and touches no memory.
    let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, flags) };
    let fd = Errno::result(fd)?;
    let fd = i32::try_from(fd).expect("a descriptor is an int");
    // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The handshake: features to switch on in, all there are out.
pub(crate) fn handshake<K: UffdIoctl + ?Sized>(
    uffd: &K,
    api: &mut uapi::uffdio_api,
) -> Result<(), Errno> {
    // SAFETY: this request changes nothing outside its argument.
    unsafe { uffd.ioctl(Request::Api(api)) }
}

/// The descriptor as the handle of the `userfaultfd` crate, which has no safe way in.
pub(crate) fn into_uffd(fd: OwnedFd) -> Uffd {
    // SAFETY: ownership of the open descriptor goes from `fd` to the handle.
    unsafe { Uffd::from_raw_fd(fd.into_raw_fd()) }
}

/// A descriptor that the kernel has put into an event for us.
pub(crate) fn delivered(fd: u32) -> Uffd {
    let fd = i32::try_from(fd).expect("the kernel delivers descriptors, which are ints");
    // SAFETY: the kernel made it for the reader of the event, which is us; nobody else knows it.
    unsafe { Uffd::from_raw_fd(fd) }
}

/// Whether `mremap(MREMAP_DONTUNMAP)` works: pages go to another address, the mapping stays.
///
/// Tried on a page of its own. See `mremap(2)`.
pub(crate) fn try_dontunmap() -> Result<(), Errno> {
    let page = crate::page::page_size();
    let mapping =
        MmapRaw::from(MmapOptions::new().len(page).map_anon().map_err(|_| Errno::ENOMEM)?);
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_DONTUNMAP;
    // The new address is read with this flag, as a hint, and must be aligned.
    let hint = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: a page of ours with no reference into it. It stays mapped (or everything fails).
    let moved = unsafe { libc::mremap(mapping.as_mut_ptr().cast(), page, page, flags, hint) };
    if moved == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    // SAFETY: `mremap` has just made this mapping; nobody else knows it.
    unsafe { libc::munmap(moved, page) };
    Ok(())
}
