//! Copying and clearing runs of words that other threads may look at.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::map::Zeroed;

/// Runs shorter than this are copied word by word: a string instruction takes longer to start.
const SHORT_RUN_WORDS: usize = 8;

/// How far ahead of a copy its source is fetched: across the page's end, where the processor's own
/// prefetching stops.
const PREFETCH_BYTES: usize = 2048;

/// Words in a cache line of the processors this is tuned for.
pub(crate) const LINE_WORDS: usize = 8;

/// Copies `from` to `to`.
///
/// If another thread writes to either meanwhile, a word may arrive as a mixture of bytes. Nobody
/// does in this crate: the old heap is only read, and a page being built has one owner.
///
/// # Panics
///
/// If the two runs are not equally long.
#[inline]
pub(crate) fn copy(from: &[AtomicU64], to: &[AtomicU64]) {
    assert_eq!(from.len(), to.len(), "a copy needs two runs of the same length");
    if from.len() < SHORT_RUN_WORDS {
        copy_words(from, to);
    } else {
        copy_long(from, to);
    }
}

#[inline(always)]
fn copy_words(from: &[AtomicU64], to: &[AtomicU64]) {
    for (source, target) in from.iter().zip(to) {
        target.store(source.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// Copies the first `run` words of `from` to the start of `to`, and perhaps a few more after them:
/// whole lines are copied without a look at how many words of the last are wanted, if both have the
/// room.
///
/// # Panics
///
/// If either is shorter than the run.
#[inline(always)]
pub(crate) fn copy_over(from: &[AtomicU64], to: &[AtomicU64], run: usize) {
    let lines = run.next_multiple_of(LINE_WORDS);
    if lines > from.len() || lines > to.len() {
        return copy(&from[..run], &to[..run]);
    }
    let (from, _) = from[..lines].as_chunks::<LINE_WORDS>();
    let (to, _) = to[..lines].as_chunks::<LINE_WORDS>();
    for (from, to) in from.iter().zip(to) {
        copy_line(from, to);
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
fn copy_line(from: &[AtomicU64; LINE_WORDS], to: &[AtomicU64; LINE_WORDS]) {
    // SAFETY: both arrays are valid for 64 bytes (reference invariant), atomics may be written
    // through shared references, and every mixture of bytes is a valid word. The instructions use
    // neither the stack nor the flags.
    unsafe {
        std::arch::asm!(
            "movups {a}, xmmword ptr [{from}]",
            "movups {b}, xmmword ptr [{from} + 16]",
            "movups {c}, xmmword ptr [{from} + 32]",
            "movups {d}, xmmword ptr [{from} + 48]",
            "prefetchw byte ptr [{to} + {ahead}]",
            "movups xmmword ptr [{to}], {a}",
            "movups xmmword ptr [{to} + 16], {b}",
            "movups xmmword ptr [{to} + 32], {c}",
            "movups xmmword ptr [{to} + 48], {d}",
            ahead = const PREFETCH_BYTES,
            from = in(reg) from,
            to = in(reg) to,
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            c = out(xmm_reg) _,
            d = out(xmm_reg) _,
            options(nostack, preserves_flags),
        );
    }
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
fn copy_line(from: &[AtomicU64; LINE_WORDS], to: &[AtomicU64; LINE_WORDS]) {
    copy_words(from, to);
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
fn copy_long(from: &[AtomicU64], to: &[AtomicU64]) {
    let (lines, rest) = (from.len() / LINE_WORDS, from.len() % LINE_WORDS * size_of::<u64>());
    // SAFETY: both slices are valid for `len` words (slice invariant), lengths are equal (checked
    // by `copy`), and atomics may be written through shared references; every mixture of bytes is
    // a valid word. `lines` is not zero (`copy` sees to it). The code does not touch the stack, and
    // the direction flag is clear as the ABI has it.
    unsafe {
        std::arch::asm!(
            "2:",
            "prefetcht0 byte ptr [rsi + {ahead}]",
            "prefetchw byte ptr [rdi + {ahead}]",
            "movups {a}, xmmword ptr [rsi]",
            "movups {b}, xmmword ptr [rsi + 16]",
            "movups {c}, xmmword ptr [rsi + 32]",
            "movups {d}, xmmword ptr [rsi + 48]",
            "movups xmmword ptr [rdi], {a}",
            "movups xmmword ptr [rdi + 16], {b}",
            "movups xmmword ptr [rdi + 32], {c}",
            "movups xmmword ptr [rdi + 48], {d}",
            "add rsi, 64",
            "add rdi, 64",
            "dec {lines}",
            "jnz 2b",
            "test ecx, ecx",
            "jz 4f",
            "3:",
            "mov {word}, qword ptr [rsi]",
            "mov qword ptr [rdi], {word}",
            "add rsi, 8",
            "add rdi, 8",
            "sub ecx, 8",
            "jnz 3b",
            "4:",
            ahead = const PREFETCH_BYTES,
            lines = inout(reg) lines => _,
            inout("rcx") rest => _,
            inout("rsi") from.as_ptr() => _,
            inout("rdi") to.as_ptr() => _,
            word = out(reg) _,
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            c = out(xmm_reg) _,
            d = out(xmm_reg) _,
            options(nostack),
        );
    }
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
fn copy_long(from: &[AtomicU64], to: &[AtomicU64]) {
    copy_words(from, to);
}

/// Fills a run of words with `value`.
#[inline]
pub(crate) fn fill(words: &[AtomicU64], value: u64) {
    if words.len() < SHORT_RUN_WORDS {
        for word in words {
            word.store(value, Ordering::Relaxed);
        }
    } else {
        fill_bytes(as_bytes(words), value);
    }
}

/// Sets a run of atomics to zero.
pub(crate) fn zero<T: Zeroed>(table: &[T]) {
    fill_bytes(as_bytes(table), 0);
}

/// Repeats the bytes of `value`.
#[cfg(all(target_arch = "x86_64", not(miri)))]
fn fill_bytes(bytes: &[AtomicU8], value: u64) {
    let (words, rest) = (bytes.len() / size_of::<u64>(), bytes.len() % size_of::<u64>());
    // SAFETY: the slice is valid for `len` bytes and atomics may be written through a shared
    // reference; the instructions use neither the stack nor the flags, and the direction flag is
    // clear as the ABI has it.
    unsafe {
        std::arch::asm!(
            "rep stosq",
            "mov rcx, {rest}",
            "rep stosb",
            rest = in(reg) rest,
            inout("rcx") words => _,
            inout("rdi") bytes.as_ptr() => _,
            in("rax") value,
            options(nostack, preserves_flags),
        );
    }
}

/// Repeats the bytes of `value`.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
fn fill_bytes(bytes: &[AtomicU8], value: u64) {
    for (byte, value) in bytes.iter().zip(value.to_ne_bytes().iter().cycle()) {
        byte.store(*value, Ordering::Relaxed);
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

/// Fetches `count` lines of `words` from `first` on; those beyond the end are left out.
#[inline(always)]
pub(crate) fn prefetch_lines(words: &[AtomicU64], first: usize, count: usize) {
    if let Some(ahead) = words.get(first..first + count * LINE_WORDS) {
        for line in 0..count {
            prefetch(&ahead[line * LINE_WORDS]);
        }
    }
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

    #[test]
    fn a_copy_over_brings_the_run_and_stays_in_bounds() {
        let from: Vec<AtomicU64> = (0..40).map(AtomicU64::new).collect();
        for run in 0..=20usize {
            for (room_from, room_to) in [(run, run), (40, run), (run, 40), (40, 40)] {
                let to: Vec<AtomicU64> = (0..40).map(|_| AtomicU64::new(u64::MAX)).collect();
                copy_over(&from[..room_from], &to[..room_to], run);
                let got = |at: usize| to[at].load(Ordering::Relaxed);
                assert!((0..run).all(|at| got(at) == at as u64));
                let end = run.next_multiple_of(LINE_WORDS).min(room_from).min(room_to);
                assert!((end..40).all(|at| got(at) == u64::MAX), "{run} {room_from} {room_to}");
            }
        }
    }
}
