//! Copying words that other threads may look at, at the speed of a string instruction.

use std::sync::atomic::AtomicU64;

/// Copies `from` to `to`.
///
/// A word that another thread writes meanwhile may arrive as a mixture of bytes.
///
/// # Panics
///
/// If the two are not equally long.
pub fn copy(from: &[AtomicU64], to: &[AtomicU64]) {
    assert_eq!(from.len(), to.len(), "a copy needs two runs of the same length");
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: both slices are valid for as many words (checked), which are atomics, so that they
    // may be written through a shared reference; every mixture of bytes is a valid word. The
    // instruction does not touch the stack, and the direction flag is clear as the ABI has it.
    unsafe {
        std::arch::asm!(
            "rep movsq",
            inout("rcx") from.len() => _,
            inout("rsi") from.as_ptr() => _,
            inout("rdi") to.as_ptr() => _,
            options(nostack, preserves_flags),
        );
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    for (from, to) in from.iter().zip(to) {
        to.store(
            from.load(std::sync::atomic::Ordering::Relaxed),
            std::sync::atomic::Ordering::Relaxed,
        );
    }
}
