//! The sequences that `JitLayout` publishes, assembled as a compiler would: inline, the block in a
//! register, the offsets as displacements.

use std::marker::PhantomData;
use std::sync::atomic::AtomicU64;

use gc_runtime::{JitLayout, Mutator};

/// A mutator's block, as compiled code has it.
#[derive(Debug, Clone, Copy)]
pub struct Block<'m> {
    address: usize,
    mutator: PhantomData<&'m Mutator>,
}

impl<'m> Block<'m> {
    /// The block of this mutator.
    #[must_use]
    pub fn of(mutator: &'m Mutator) -> Self {
        Self { address: mutator.block_address(), mutator: PhantomData }
    }

    /// Stores a reference into a slot of an object, or calls `slow` to do it while marking runs.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    #[inline(always)]
    pub fn store(self, slot: &AtomicU64, value: u64, slow: impl FnOnce()) {
        // SAFETY: the mutator whose block this is lives (lifetime), and so does the slot; both are
        // atomics. The sequence does not touch the stack.
        unsafe {
            std::arch::asm!(
                "cmp dword ptr [{block} + {marking}], 0",
                "jne {slow}",
                "mov qword ptr [{slot}], {value}",
                block = in(reg) self.address,
                slot = in(reg) slot.as_ptr(),
                value = in(reg) value,
                marking = const JitLayout::MARKING,
                slow = label { slow() },
                options(nostack),
            );
        }
    }

    /// Without the assembly there is only the slow path.
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    pub fn store(self, _slot: &AtomicU64, _value: u64, slow: impl FnOnce()) {
        slow();
    }
}

/// Allocates up to `times` objects of `BYTES` bytes and writes their headers; how many are still to be
/// allocated when there is no room, or the mutator is wanted at a safepoint.
///
/// `BYTES` must be what an object with this header has.
#[cfg(all(target_arch = "x86_64", not(miri)))]
pub fn allocate<const BYTES: usize>(mutator: &mut Mutator, header: u64, times: u32) -> u32 {
    let mut left = times;
    if times > 0 {
        // SAFETY: the block is the mutator's, which lives and which this thread has exclusively; the
        // sequence is the published one, and what it writes lies in the buffer that it checks for.
        // It does not touch the stack.
        unsafe {
            std::arch::asm!(
                "2:",
                "mov {object}, qword ptr [{block} + {bump}]",
                "lea {end}, [{object} + {bytes}]",
                "cmp {end}, qword ptr [{block} + {limit}]",
                "ja 3f",
                "mov qword ptr [{block} + {bump}], {end}",
                "mov qword ptr [{object}], {header}",
                "dec {left:e}",
                "jnz 2b",
                "3:",
                block = in(reg) mutator.block_address(),
                header = in(reg) header,
                left = inout(reg) left,
                object = out(reg) _,
                end = out(reg) _,
                bump = const JitLayout::BUMP,
                limit = const JitLayout::LIMIT,
                bytes = const BYTES,
                options(nostack),
            );
        }
    }
    left
}

/// Without the assembly there is only the slow path.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
pub fn allocate<const BYTES: usize>(_mutator: &mut Mutator, _header: u64, times: u32) -> u32 {
    times
}
