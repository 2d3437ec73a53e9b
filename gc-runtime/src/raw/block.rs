//! What compiled code sees of a mutator: memory for its next objects, and two words to look at.

use std::mem::offset_of;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::held_words::HeldWords;
use crate::layout::Content;

/// Words that a new object has at least, and in which its header is.
const HEADER_WORDS: u32 = 2;

/// An allocation buffer.
///
/// # Invariants
///
/// `bump` is the address of one of the heap's words, or of the heap's end. `limit` is zero, or such
/// an address too. Both hold for each by itself: whoever mixes an old one with a new one still gets
/// words of the heap.
#[repr(C)]
#[derive(Debug)]
struct Buffer {
    /// Address of the next free byte.
    bump: AtomicUsize,
    /// Address of the buffer's end; zero asks the mutator to come to a safepoint.
    limit: AtomicUsize,
}

/// Address of a buffer's first byte, or zero, and of its true end.
#[derive(Debug, Default)]
struct Bounds {
    start: AtomicUsize,
    end: AtomicUsize,
}

/// The published block of a mutator: two buffers, of which compiled code may use the first for
/// everything.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Block {
    slots: Buffer,
    /// What the write barrier logs; zero is nothing.
    pub(crate) marking: AtomicU32,
    /// Pending requests; not zero means poll.
    pub(crate) requests: AtomicU32,
    leaves: Buffer,
    slots_bounds: Bounds,
    leaves_bounds: Bounds,
    heap: HeldWords,
}

/// Words for a new object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewWords<'a> {
    /// Where they are.
    pub(crate) address: NonZeroU64,
    /// The first two of them.
    pub(crate) header: &'a [AtomicU64; HEADER_WORDS as usize],
}

impl Buffer {
    fn new(heap: &HeldWords) -> Self {
        Self { bump: AtomicUsize::new(heap.base()), limit: AtomicUsize::new(0) }
    }
}

impl Block {
    pub(crate) const BUMP: usize = offset_of!(Self, slots) + offset_of!(Buffer, bump);
    pub(crate) const LIMIT: usize = offset_of!(Self, slots) + offset_of!(Buffer, limit);
    pub(crate) const LEAF_BUMP: usize = offset_of!(Self, leaves) + offset_of!(Buffer, bump);
    pub(crate) const LEAF_LIMIT: usize = offset_of!(Self, leaves) + offset_of!(Buffer, limit);
    pub(crate) const MARKING: usize = offset_of!(Self, marking);
    pub(crate) const REQUESTS: usize = offset_of!(Self, requests);

    /// Without buffers.
    pub(crate) fn new(heap: HeldWords, marking: u32) -> Self {
        Self {
            slots: Buffer::new(&heap),
            marking: AtomicU32::new(marking),
            requests: AtomicU32::new(0),
            leaves: Buffer::new(&heap),
            slots_bounds: Bounds::default(),
            leaves_bounds: Bounds::default(),
            heap,
        }
    }

    #[inline(always)]
    fn buffer(&self, content: Content) -> &Buffer {
        match content {
            Content::Slots => &self.slots,
            Content::Leaves => &self.leaves,
        }
    }

    fn bounds(&self, content: Content) -> &Bounds {
        match content {
            Content::Slots => &self.slots_bounds,
            Content::Leaves => &self.leaves_bounds,
        }
    }

    /// By the mutator: the next `words` words of a buffer, unless there are not so many, or it is
    /// wanted at a safepoint, or they are less than a header.
    #[inline(always)]
    pub(crate) fn take(&self, content: Content, words: u32) -> Option<NewWords<'_>> {
        let buffer = self.buffer(content);
        let bump = buffer.bump.load(Ordering::Relaxed);
        // Cannot overflow: `bump` is an address of the heap, behind which there is room for this
        // much (`HeldWords`).
        let end = bump.wrapping_add(words as usize * size_of::<u64>());
        if words < HEADER_WORDS || end > buffer.limit.load(Ordering::Relaxed) {
            return None;
        }
        buffer.bump.store(end, Ordering::Relaxed);
        let header = std::ptr::with_exposed_provenance::<[AtomicU64; HEADER_WORDS as usize]>(bump);
        // SAFETY: `bump` and `limit`, which is not below `end` and so not zero, are addresses of the
        // heap (invariant of `Buffer`); the two words that are asked for lie between. They stay
        // while `self.heap` lives, and atomics may be shared.
        let header = unsafe { &*header };
        // SAFETY: an address of the heap is not zero (type invariant of `HeldWords`).
        let address = unsafe { NonZeroU64::new_unchecked(bump as u64) };
        Some(NewWords { address, header })
    }

    /// Asks the mutator to come to a safepoint at its next allocation.
    pub(crate) fn interrupt(&self) {
        self.slots.limit.store(0, Ordering::Release);
        self.leaves.limit.store(0, Ordering::Release);
    }

    /// By the mutator, which has polled: lets it use the rest of its buffers.
    pub(crate) fn reopen(&self) {
        for content in [Content::Slots, Content::Leaves] {
            self.set_limit(content, self.bounds(content).end.load(Ordering::Relaxed));
        }
    }

    /// By the owner of the mutator's state: a new buffer, `range` being addresses of the heap.
    ///
    /// # Panics
    ///
    /// If they are not.
    pub(crate) fn refill(&self, content: Content, range: Range<usize>) {
        let Range { start, end } = range;
        let inside = self.heap.base() <= start && start < end && end <= self.heap.end();
        let aligned = (start | end).is_multiple_of(size_of::<u64>());
        assert!(inside && aligned, "a buffer outside the heap");
        let bounds = self.bounds(content);
        bounds.start.store(start, Ordering::Relaxed);
        bounds.end.store(end, Ordering::Relaxed);
        self.buffer(content).bump.store(start, Ordering::Relaxed);
        self.set_limit(content, end);
    }

    fn set_limit(&self, content: Content, end: usize) {
        self.buffer(content).limit.swap(end, Ordering::SeqCst);
        // A request that came meanwhile would have to wait for the end of the buffer. Either it
        // lowers the limit after this, or it is seen here.
        if self.requests.load(Ordering::SeqCst) != 0 {
            self.interrupt();
        }
    }

    /// By the owner of the mutator's state: ends a buffer, if there is one; what has been allocated
    /// in it.
    pub(crate) fn retire(&self, content: Content) -> Option<Range<usize>> {
        let (buffer, bounds) = (self.buffer(content), self.bounds(content));
        buffer.limit.store(0, Ordering::Relaxed);
        bounds.end.store(0, Ordering::Relaxed);
        let bump = buffer.bump.swap(self.heap.base(), Ordering::Relaxed);
        let start = bounds.start.swap(0, Ordering::Relaxed);
        (start != 0).then_some(start..bump)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn block(words: u64) -> (Block, usize) {
        let heap: Vec<AtomicU64> = (0..words).map(AtomicU64::new).collect();
        let heap = HeldWords::of(Arc::new(heap), |vec| vec);
        let base = heap.base();
        (Block::new(heap, 0), base)
    }

    fn offset(new: Option<NewWords<'_>>, base: usize) -> Option<u64> {
        new.map(|new| new.address.get() - base as u64)
    }

    #[test]
    fn words_are_taken_in_order_until_the_buffer_is_empty() {
        let (block, base) = block(64);
        assert_eq!(offset(block.take(Content::Slots, 2), base), None);
        block.refill(Content::Slots, base + 64..base + 128);
        assert_eq!(offset(block.take(Content::Slots, 3), base), Some(64));
        assert_eq!(block.take(Content::Slots, 2).unwrap().header[1].load(Ordering::Relaxed), 12);
        assert_eq!(offset(block.take(Content::Slots, 4), base), None);
        assert_eq!(offset(block.take(Content::Slots, u32::MAX), base), None);
        assert_eq!(offset(block.take(Content::Slots, 3), base), Some(64 + 40));
        assert_eq!(block.retire(Content::Slots), Some(base + 64..base + 128));
        assert_eq!(
            (block.retire(Content::Slots), offset(block.take(Content::Slots, 2), base)),
            (None, None)
        );
    }

    #[test]
    fn less_than_a_header_is_never_taken() {
        let (block, base) = block(64);
        block.refill(Content::Slots, base..base + 512);
        assert!(block.take(Content::Slots, 0).is_none() && block.take(Content::Slots, 1).is_none());
        assert_eq!(offset(block.take(Content::Slots, 64), base), Some(0));
    }

    #[test]
    fn an_interrupted_mutator_takes_nothing_until_it_has_polled() {
        let (block, base) = block(64);
        block.refill(Content::Slots, base..base + 512);
        block.interrupt();
        assert!(block.take(Content::Slots, 2).is_none());
        block.requests.store(1, Ordering::Relaxed);
        block.reopen();
        assert!(block.take(Content::Slots, 2).is_none(), "it was asked again");
        block.requests.store(0, Ordering::Relaxed);
        block.reopen();
        assert_eq!(offset(block.take(Content::Slots, 2), base), Some(0));
    }

    #[test]
    fn leaves_have_a_buffer_of_their_own() {
        let (block, base) = block(64);
        block.refill(Content::Slots, base..base + 64);
        block.refill(Content::Leaves, base + 64..base + 128);
        assert_eq!(offset(block.take(Content::Leaves, 2), base), Some(64));
        assert_eq!(offset(block.take(Content::Slots, 2), base), Some(0));
        block.interrupt();
        assert!(block.take(Content::Leaves, 2).is_none());
        block.reopen();
        assert_eq!(offset(block.take(Content::Leaves, 2), base), Some(80));
        assert_eq!(block.retire(Content::Leaves), Some(base + 64..base + 96));
        assert_eq!(block.retire(Content::Slots), Some(base..base + 16));
    }

    #[test]
    #[should_panic(expected = "a buffer outside the heap")]
    fn a_buffer_outside_the_heap_is_refused() {
        let (block, base) = block(64);
        block.refill(Content::Slots, base + 256..base + 520);
    }
}
