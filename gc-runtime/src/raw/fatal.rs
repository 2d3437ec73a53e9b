//! The last resort: a message and an abort, from a signal handler if need be.

/// Ends the process because the heap cannot be kept intact. Allocates nothing.
pub(crate) fn fatal(what: &str, errno: i32) -> ! {
    let mut digits = [0u8; 12];
    let mut at = digits.len();
    let mut rest = errno.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    for part in [b"gc-runtime: ".as_slice(), what.as_bytes(), b" (errno ", &digits[at..], b")\n"] {
        // SAFETY: write(2) is async-signal-safe and the slice is live; nothing is left to do if
        // it fails.
        unsafe { libc::write(2, part.as_ptr().cast(), part.len()) };
    }
    std::process::abort()
}
