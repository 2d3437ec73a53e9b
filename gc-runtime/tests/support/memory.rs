//! The process's memory: locked, counted, and asked for in huge pages.
#![allow(unsafe_code, reason = "advice about a heap's addresses from outside")]

use nix::sys::mman::{MlockAllFlags, mlockall, munlockall};
use nix::sys::resource::{UsageWho, getrusage};

/// Locks what is in memory now; later pages are as usual.
pub fn lock_resident_memory() {
    mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT))
        .expect("root may lock memory");
}

/// The reverse.
pub fn unlock_memory() {
    munlockall().expect("unlocking");
}

/// Page faults of this process so far that needed no I/O.
pub fn minor_faults() -> u64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("getrusage");
    u64::try_from(usage.minor_page_faults()).unwrap_or(0)
}

/// Asks for huge pages in the GiB around `address`, which is a heap's.
pub fn want_huge_pages(address: u64) -> std::io::Result<()> {
    advise(address, libc::MADV_HUGEPAGE)
}

/// Has the kernel make huge pages there at once.
pub fn make_huge_pages(address: u64) -> std::io::Result<()> {
    advise(address, libc::MADV_COLLAPSE)
}

fn advise(address: u64, advice: libc::c_int) -> std::io::Result<()> {
    const GIB: usize = 1 << 30;
    let start = usize::try_from(address).expect("an address") / GIB * GIB;
    let base = std::ptr::with_exposed_provenance_mut::<libc::c_void>(start);
    // SAFETY: neither advice changes any content.
    let answer = unsafe { libc::madvise(base, GIB, advice) };
    if answer == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
