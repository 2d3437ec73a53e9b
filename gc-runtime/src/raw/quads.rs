//! Four words by one instruction, where the processor can.

use std::sync::atomic::AtomicU64;

use crate::addr::WORD_BYTES;

/// Words that a step handles.
const LANES: usize = 4;

/// What is done to words that hold addresses in one range: all are lowered by the same distance.
///
/// Each value stands there once for every lane, as the instructions want their operands.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(32))]
pub(crate) struct Quads {
    base: [u64; LANES],
    /// The last address of the range, from its base on.
    last: [u64; LANES],
    /// Bits that are set if an address lies outside, or inside a word.
    wrong: [u64; LANES],
    distance: [u64; LANES],
}

impl Quads {
    /// For words that hold the address of one of the `words` words from `base` on. Nothing if the
    /// processor has no such instructions.
    pub(crate) fn new(base: u64, words: u64, distance: u64) -> Option<Self> {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        if is_x86_feature_detected!("avx2") {
            let last = (words * WORD_BYTES as u64).wrapping_sub(WORD_BYTES as u64);
            let wrong = 1 << 63 | (WORD_BYTES as u64 - 1);
            let [base, last, wrong, distance] =
                [base, last, wrong, distance].map(|value| [value; LANES]);
            return Some(Self { base, last, wrong, distance });
        }
        let _ = (base, words, distance);
        None
    }

    /// Lowers four words at a time, from the first on, while all four hold addresses in the range;
    /// how many have been lowered.
    ///
    /// If another thread writes to them meanwhile, a word may become a mixture: nobody does, a page
    /// being built has one owner.
    #[inline(always)]
    pub(crate) fn lower(&self, words: &[AtomicU64]) -> usize {
        let all = words.len() / LANES * LANES;
        if all == 0 {
            return 0;
        }
        self.lower_all(&words[..all])
    }

    /// As [`lower`](Self::lower); `words` are some, and a multiple of four.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    #[inline(always)]
    fn lower_all(&self, words: &[AtomicU64]) -> usize {
        let start = words.as_ptr();
        let mut at = start;
        // SAFETY: `new` has seen that the processor has AVX2. The slice is valid for reads and for
        // writes through a shared reference (atomics), and the loop leaves it neither in part nor as
        // a whole: its length is a multiple of four words and not zero. `self` is aligned to 32 bytes
        // (`repr`) and valid for 128. The code does not touch the stack, and what it does to registers is
        // declared.
        unsafe {
            std::arch::asm!(
                "2:",
                "vmovdqu ymm0, ymmword ptr [{at}]",
                "vpsubq ymm1, ymm0, ymmword ptr [{quads}]",
                "vmovdqa ymm2, ymmword ptr [{quads} + 32]",
                "vpsubq ymm2, ymm2, ymm1",
                "vpor ymm2, ymm2, ymm1",
                "vptest ymm2, ymmword ptr [{quads} + 64]",
                "jnz 3f",
                "vpsubq ymm0, ymm0, ymmword ptr [{quads} + 96]",
                "vmovdqu ymmword ptr [{at}], ymm0",
                "add {at}, 32",
                "cmp {at}, {end}",
                "jb 2b",
                "3:",
                "vzeroupper",
                quads = in(reg) self,
                at = inout(reg) at,
                end = in(reg) words.as_ptr_range().end,
                // All that `vzeroupper` shortens.
                out("xmm0") _,
                out("xmm1") _,
                out("xmm2") _,
                out("xmm3") _,
                out("xmm4") _,
                out("xmm5") _,
                out("xmm6") _,
                out("xmm7") _,
                out("xmm8") _,
                out("xmm9") _,
                out("xmm10") _,
                out("xmm11") _,
                out("xmm12") _,
                out("xmm13") _,
                out("xmm14") _,
                out("xmm15") _,
                options(nostack),
            );
        }
        (at.addr() - start.addr()) / WORD_BYTES
    }

    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    fn lower_all(&self, _: &[AtomicU64]) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn words_are_lowered_up_to_the_first_four_of_which_one_lies_outside() {
        let (base, words, distance) = (0x7f00_0000_1000_u64, 512, 0x3000);
        let Some(quads) = Quads::new(base, words, distance) else {
            println!("skipped: this processor has no AVX2");
            return;
        };
        let inside = [base, base + 8, base + 511 * 8, base + 256 * 8];
        let outside = [
            0,
            1,
            base - 8,
            base + 512 * 8,
            base + 4,
            base + 7,
            base + 511 * 8 + 1,
            base ^ 1 << 63,
            base ^ 1 << 40,
            u64::MAX,
            !7,
            1 << 63,
        ];
        for len in 0..14usize {
            for (number, &odd) in
                (0..len).flat_map(|number| outside.iter().map(move |odd| (number, odd)))
            {
                let mut values: Vec<u64> = (0..len).map(|at| inside[at % 4]).collect();
                values[number] = odd;
                let slots: Vec<AtomicU64> = values.iter().copied().map(AtomicU64::new).collect();
                let done = quads.lower(&slots);
                assert_eq!(
                    done,
                    (number / 4 * 4).min(len / 4 * 4),
                    "{odd:#x} at {number} of {len}"
                );
                for (at, (slot, value)) in slots.iter().zip(values).enumerate() {
                    let lowered = if at < done { value - distance } else { value };
                    assert_eq!(slot.load(Ordering::Relaxed), lowered);
                }
            }
            let slots: Vec<AtomicU64> = (0..len).map(|at| AtomicU64::new(inside[at % 4])).collect();
            assert_eq!(quads.lower(&slots), len / 4 * 4);
        }
    }
}
