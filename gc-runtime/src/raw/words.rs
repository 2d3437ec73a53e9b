//! Copying and clearing runs of words that other threads may look at.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::map::Zeroed;

/// Runs shorter than this are copied word by word: a string instruction takes longer to start.
const SHORT_RUN_WORDS: usize = 24;

/// Copies `from` to `to`, as if by one relaxed load and store per word.
///
/// # Panics
///
/// If the two runs are not equally long.
#[inline]
pub(crate) fn copy(from: &[AtomicU64], to: &[AtomicU64]) {
    assert_eq!(from.len(), to.len(), "a copy needs two runs of the same length");
    if from.len() < SHORT_RUN_WORDS {
        for (source, target) in from.iter().zip(to) {
            target.store(source.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    } else {
        copy_long(from, to);
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
fn copy_long(from: &[AtomicU64], to: &[AtomicU64]) {
    // SAFETY: both slices are valid for `len` words (slice invariant), lengths are equal (checked
    // by `copy`), and atomics may be written through shared references. The instruction moves
    // whole aligned words, which the hardware makes single accesses, so a concurrent atomic
    // access sees old or new words, never halves. It does not touch the stack and leaves the
    // direction flag clear as the ABI has it.
    unsafe {
        std::arch::asm!(
            "rep movsq",
            inout("rcx") from.len() => _,
            inout("rsi") from.as_ptr() => _,
            inout("rdi") to.as_ptr() => _,
            options(nostack, preserves_flags),
        );
    }
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
fn copy_long(from: &[AtomicU64], to: &[AtomicU64]) {
    for (source, target) in from.iter().zip(to) {
        target.store(source.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// Fills a run of words with `value`, as if by one relaxed store per word.
#[inline]
pub(crate) fn fill(words: &[AtomicU64], value: u64) {
    if words.len() < SHORT_RUN_WORDS {
        for word in words {
            word.store(value, Ordering::Relaxed);
        }
    } else {
        fill_long(words, value);
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
fn fill_long(words: &[AtomicU64], value: u64) {
    // SAFETY: the slice is valid for `len` words and atomics may be written through a shared
    // reference; the instruction stores whole aligned words and uses neither stack nor flags.
    unsafe {
        std::arch::asm!(
            "rep stosq",
            inout("rcx") words.len() => _,
            inout("rdi") words.as_ptr() => _,
            in("rax") value,
            options(nostack, preserves_flags),
        );
    }
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
fn fill_long(words: &[AtomicU64], value: u64) {
    for word in words {
        word.store(value, Ordering::Relaxed);
    }
}

/// The same memory as bytes.
pub(crate) fn as_bytes<T: Zeroed>(table: &[T]) -> &[AtomicU8] {
    // SAFETY: `T` is an atomic integer (`Zeroed`), whose bytes are valid `AtomicU8`s; the length
    // in bytes cannot overflow because the slice exists, and the lifetime is the slice's own.
    unsafe { std::slice::from_raw_parts(table.as_ptr().cast(), size_of_val(table)) }
}

/// Asks the processor to fetch the line of `word` soon.
#[inline(always)]
pub(crate) fn prefetch(word: &AtomicU64) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: prefetching is a hint without effect on memory; any address is allowed.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(
            std::ptr::from_ref(word).cast(),
        );
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = word;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_runs_arrive_whole() {
        for len in [0, 1, 23, 24, 25, 500] {
            let from: Vec<AtomicU64> = (0..len).map(AtomicU64::new).collect();
            let to: Vec<AtomicU64> = (0..len).map(|_| AtomicU64::new(u64::MAX)).collect();
            copy(&from, &to);
            assert!(to.iter().zip(0..).all(|(word, i)| word.load(Ordering::Relaxed) == i));
            fill(&to, 7);
            assert!(to.iter().all(|word| word.load(Ordering::Relaxed) == 7));
        }
    }
}
