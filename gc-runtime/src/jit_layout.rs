//! Where compiled code finds what it needs of a mutator.

use std::mem::offset_of;

use crate::raw::block::Block;
use crate::safepoint::MutatorCore;

/// The mutator's address is the block's.
const BLOCK: usize = offset_of!(MutatorCore, block);

/// Byte offsets into the block at [`Mutator::block_address`](crate::Mutator::block_address), for
/// machine code that allocates, stores and polls without calling the heap.
///
/// The block belongs to the thread that attached. All four words may be changed by the collector
/// at any time; plain aligned loads do. Only [`BUMP`](Self::BUMP) may be written, and only by the
/// thread itself.
///
/// **Allocation** of `size` bytes, a multiple of 8, at least 16 and at most a quarter of a buffer
/// of eight pages (larger objects take the slow path by themselves, because the room is not there):
///
/// ```text
///     mov  rax, [block + BUMP]
///     lea  rdx, [rax + size]
///     cmp  rdx, [block + LIMIT]
///     ja   slow                   ; Mutator::allocate; LIMIT is 0 if a safepoint is wanted
///     mov  [block + BUMP], rdx    ; rax: the object, all zeros
/// ```
///
/// The header must be written before the thread's next safepoint, in program order after the
/// allocation: machine code that is generated keeps its order; compilers of other languages need a
/// compiler barrier.
///
/// **Store** of a reference into a slot of an object that is older than the last safepoint:
///
/// ```text
///     cmp  dword ptr [block + MARKING], 0
///     jne  slow                   ; Mutator::write_slot does the store too
///     mov  [slot], value
/// ```
///
/// Slots of an object allocated since the last safepoint need no barrier.
///
/// **Safepoint**: if the 32-bit word at [`SAFEPOINT`](Self::SAFEPOINT) is not zero, write all
/// references that registers hold to roots, call
/// [`Mutator::safepoint`](crate::Mutator::safepoint), and load them again. A failed allocation
/// comes to one as well.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct JitLayout;

impl JitLayout {
    /// 64 bits: the address of the next object.
    pub const BUMP: usize = BLOCK + Block::BUMP;
    /// 64 bits: the address where the buffer ends; 0 asks for a safepoint.
    pub const LIMIT: usize = BLOCK + Block::LIMIT;
    /// 64 bits each: the same for objects without reference slots. Whoever puts these there spares the
    /// collector a look at them; the first pair is good for all.
    pub const LEAF_BUMP: usize = BLOCK + Block::LEAF_BUMP;
    /// See [`LEAF_BUMP`](Self::LEAF_BUMP).
    pub const LEAF_LIMIT: usize = BLOCK + Block::LEAF_LIMIT;
    /// 32 bits: zero if stores need no barrier.
    pub const MARKING: usize = BLOCK + Block::MARKING;
    /// 32 bits: not zero if a safepoint is wanted.
    pub const SAFEPOINT: usize = BLOCK + Block::REQUESTS;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_offsets_are_those_in_the_documents() {
        // Code that was compiled ahead of time has these numbers in it: changing them breaks it.
        let offsets = [JitLayout::BUMP, JitLayout::LIMIT, JitLayout::MARKING, JitLayout::SAFEPOINT];
        assert_eq!(offsets, [0, 8, 16, 20]);
        assert_eq!([JitLayout::LEAF_BUMP, JitLayout::LEAF_LIMIT], [24, 32]);
    }
}
