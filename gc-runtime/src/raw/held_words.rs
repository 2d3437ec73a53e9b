//! A heap's words without the way through the heap: what a mutator reads and writes.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// The most that is ever added to an address of a heap before it is compared: an object of 2^32
/// words.
const MOST_BYTES: usize = (u32::MAX as usize) * size_of::<u64>();

/// A slice of words, and its owner.
///
/// # Invariants
///
/// `base` is the address of `len` words that are there for as long as `owner` lives; it is not
/// zero, and `MOST_BYTES` behind the last of them is still an address.
pub(crate) struct HeldWords {
    base: usize,
    len: usize,
    _owner: Arc<dyn Any + Send + Sync>,
}

impl fmt::Debug for HeldWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldWords").field("base", &self.base).field("len", &self.len).finish()
    }
}

impl HeldWords {
    /// The words that `words` finds in `owner`, which is kept alive.
    pub(crate) fn of<T: Send + Sync + 'static>(
        owner: Arc<T>,
        words: fn(&T) -> &[AtomicU64],
    ) -> Self {
        let slice = words(&owner);
        let (base, len) = (slice.as_ptr().expose_provenance(), slice.len());
        let end = base + size_of_val(slice);
        assert!(end.checked_add(MOST_BYTES).is_some(), "addresses of programs end long before");
        // INVARIANT: a slice that is borrowed from a shared owner for any lifetime stays as long as
        // nobody can change or drop the owner, which takes the only reference to it.
        Self { base, len, _owner: owner }
    }

    /// All of them.
    #[inline(always)]
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: `len` words are at `base` while the owner lives (type invariant), which this
        // value sees to; atomics may be shared, and the address was exposed.
        unsafe {
            std::slice::from_raw_parts(std::ptr::with_exposed_provenance(self.base), self.len)
        }
    }

    /// Address of the first word.
    pub(crate) fn base(&self) -> usize {
        self.base
    }

    /// Address behind the last word.
    pub(crate) fn end(&self) -> usize {
        self.base + self.len * size_of::<u64>()
    }

    /// The number of the word at `address`, or a number beyond all words if there is none.
    #[inline(always)]
    pub(crate) fn index_of(&self, address: u64) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "an address of this process")]
        let offset = (address as usize).wrapping_sub(self.base);
        offset / size_of::<u64>()
    }

    /// Whether `value` is the address of one of the words.
    #[inline(always)]
    pub(crate) fn has(&self, value: u64) -> bool {
        value.is_multiple_of(size_of::<u64>() as u64) && self.index_of(value) < self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn words_outlive_every_other_owner() {
        let vec: Vec<AtomicU64> = (0..4).map(AtomicU64::new).collect();
        let held = HeldWords::of(Arc::new(vec), |vec| vec);
        assert_eq!(held.words()[3].load(Ordering::Relaxed), 3);
        assert!(held.has(held.base() as u64) && held.has(held.end() as u64 - 8));
        for other in [0, held.base() as u64 - 8, held.base() as u64 + 4, held.end() as u64] {
            assert!(!held.has(other), "{other:#x}");
        }
    }
}
