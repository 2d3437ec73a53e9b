//! Pinning, lending and aligned allocation through a mutator.

use std::sync::atomic::Ordering;

use crate::addr::{ObjectRef, WORD_BYTES};
use crate::error::OutOfMemory;
use crate::fixed::pins::{LentBytes, Pin};
use crate::local::Local;
use crate::model::{Header, ObjectModel};
use crate::mutator::Mutator;

impl<M: ObjectModel> Mutator<M> {
    /// Keeps an object alive and at its address until the answer is dropped.
    pub fn pin(&self, object: Local<'_>) -> Pin {
        self.log_if_marking(object.object().address());
        Pin::new(&self.heap.core().fixed.pins, object.object())
    }

    /// Lends an object's bytes to system calls: they are there, and stay there, until the answer is
    /// dropped.
    ///
    /// Without it a system call on heap memory fails with `EFAULT` if it meets a page that has not
    /// been rebuilt yet (see userfaultfd(2), `UFFD_FEATURE_SIGBUS`).
    ///
    /// ```
    /// use gc_runtime::{Heap, Record};
    ///
    /// let heap = Heap::builder().limit_bytes(16 << 20).build()?;
    /// let mut mutator = heap.attach()?;
    /// let buffer = mutator.alloc(Record { refs: 0, data_words: 512 })?;
    /// let lent = mutator.lend(mutator.root(buffer).unwrap());
    /// let (address, bytes) = (lent.address() + 8, lent.bytes() - 8);
    /// // read(2) into `address`, in a blocking region; then:
    /// drop(lent);
    /// # assert!(address > 0 && bytes == 4096);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lend(&self, object: Local<'_>) -> LentBytes {
        let words = self.raw_words(object);
        let bytes = size_of_val(words);
        self.log_if_marking(object.object().address());
        // Nothing is set aside from here on; what is missing now comes with a touch.
        let lent = LentBytes::new(&self.heap.core().fixed.pins, object.object(), bytes);
        let page_words = self.heap.core().space.geometry.page_words();
        for word in words.iter().step_by(page_words).chain(words.last()) {
            std::hint::black_box(word.load(Ordering::Relaxed));
        }
        lent
    }

    /// Allocates an object at an address that is a multiple of `align_bytes`, and that stays one
    /// wherever the object moves.
    ///
    /// Such objects have pages of their own, and move by whole pages: not for small objects in
    /// great numbers.
    ///
    /// # Errors
    ///
    /// As [`allocate`](Self::allocate).
    ///
    /// # Panics
    ///
    /// If `align_bytes` is no power of two, or more than a page.
    pub fn allocate_aligned(
        &mut self,
        header: Header,
        align_bytes: usize,
    ) -> Result<ObjectRef, OutOfMemory> {
        let heap = self.heap.clone();
        let core = heap.core();
        let page_bytes = core.space.geometry.page_bytes();
        assert!(
            align_bytes.is_power_of_two() && align_bytes <= page_bytes,
            "an alignment of {align_bytes} bytes: powers of two up to {page_bytes} are to be had"
        );
        if align_bytes <= WORD_BYTES {
            return self.allocate(header);
        }
        let words = u64::from(core.space.model.layout(header).words());
        let object = self.allocate_pages(words, header)?;
        core.fixed.aligned.add(object.address());
        Ok(object)
    }
}
