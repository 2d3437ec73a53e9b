//! Waiting for a 32-bit word to change (futex(2)).

use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Sleeps while `word` holds `expected`, at most for `limit`; may return early.
pub(crate) fn wait(word: &AtomicU32, expected: u32, limit: Option<Duration>) {
    let timeout = limit.map(|limit| libc::timespec {
        tv_sec: limit.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    });
    let timeout_ptr = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: `word` is a valid aligned 32-bit word for the whole call and the timeout is null or
    // points to a live timespec. Every way the call can fail means "look again", which callers do.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            expected,
            timeout_ptr,
        );
    }
}

/// Sleeps for at most `limit`; a signal ends it.
///
/// [`std::thread::sleep`] goes on sleeping after each signal and need not end in a storm of them:
/// every time the timer's slack is added.
pub(crate) fn nap(limit: Duration) {
    wait(&AtomicU32::new(0), 0, Some(limit));
}

/// Wakes every thread that waits for `word`.
pub(crate) fn wake_all(word: &AtomicU32) {
    // SAFETY: waking only uses the address of a live word as a key.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            i32::MAX,
        );
    }
}
