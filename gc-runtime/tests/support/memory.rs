//! The process's memory, locked and counted.

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
