//! Copying words that other threads may look at, at the speed of a string instruction, and fetching
//! them ahead of that.

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

/// Has the processor fetch `words`, which are wanted soon.
pub fn fetch(words: &[AtomicU64]) {
    /// Words of a cache line.
    const LINE: usize = 8;
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    for line in words.chunks(LINE) {
        let line = line.as_ptr().cast();
        // SAFETY: a prefetch reads nothing that the program could see, and never faults.
        unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = words;
}
