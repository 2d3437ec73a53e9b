//! Objects of any model through a mutator: what a runtime with its own layout calls.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::addr::ObjectRef;
use crate::error::OutOfMemory;
use crate::layout::ObjectLayout;
use crate::local::Local;
use crate::model::{Header, ObjectModel};
use crate::mutator::Mutator;

impl<M: ObjectModel> Mutator<M> {
    /// Allocates an object with this header; the rest of it is zeros.
    ///
    /// How large it is follows from the header. The reference is good until the next safepoint:
    /// put it into a root before the next allocation.
    ///
    /// ```
    /// use gc_runtime::{Header, HeapBuilder, ObjectLayout, ObjectModel};
    ///
    /// /// The header's low half is the object's size in words, all of them slots.
    /// struct Tuples;
    ///
    /// impl ObjectModel for Tuples {
    ///     fn layout(&self, header: Header) -> ObjectLayout {
    ///         let words = u32::try_from(header.first() & 0xffff_ffff).unwrap_or(2).max(2);
    ///         ObjectLayout::range(words, 1, words - 1)
    ///     }
    /// }
    ///
    /// let heap = HeapBuilder::new(Tuples).limit_bytes(16 << 20).build()?;
    /// let mut mutator = heap.attach()?;
    /// let object = mutator.allocate(Header::one(1 << 63 | 3))?;
    /// let object = mutator.local(object).expect("an object of this heap");
    /// mutator.write(object, 1, object.object().address()); // refers to itself
    /// let root = mutator.push_root(Some(object));
    /// mutator.collect();
    /// let object = mutator.root(root).unwrap();
    /// assert_eq!(mutator.read_reference(object, 1), Some(object));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`OutOfMemory`] | a full cycle did not free enough, or the object is too large | drop references, or give up; the heap is intact |
    ///
    /// # Panics
    ///
    /// If the model does.
    #[inline]
    pub fn allocate(&mut self, header: Header) -> Result<ObjectRef, OutOfMemory> {
        debug_assert!(header.first() != 0, "a header of zero is no object");
        let layout = self.heap.core().space.model.layout(header);
        self.allocate_words(layout.words(), layout.content(), header)
    }

    pub(crate) fn write_header(&self, object: ObjectRef, header: Header) {
        let words = self.words_from(Local::new(object));
        words[0].store(header.first(), Ordering::Relaxed);
        if M::HEADER_WORDS > 1 {
            words[1].store(header.second(), Ordering::Relaxed);
        }
    }

    /// Takes a reference for an object, if it is an address of this heap.
    ///
    /// Nothing checks that the reference is as of this mutator's last safepoint: a stale one reads
    /// whatever is there now.
    #[must_use]
    #[inline]
    pub fn local(&self, object: ObjectRef) -> Option<Local<'_>> {
        self.reference(object.address())
    }

    /// The object that a slot's value refers to; `None` for what is no address of this heap, as
    /// null and tagged integers are.
    #[must_use]
    #[inline]
    pub fn reference(&self, value: u64) -> Option<Local<'_>> {
        if self.words.has(value) { Local::from_value(value) } else { None }
    }

    /// The heap's words from the object's header on.
    #[inline(always)]
    pub(crate) fn words_from(&self, object: Local<'_>) -> &[AtomicU64] {
        &self.words.words()[self.words.index_of(object.object().address())..]
    }

    /// Word `word` of an object.
    #[inline(always)]
    pub(crate) fn word_at(&self, object: Local<'_>, word: usize) -> &AtomicU64 {
        let first = self.words.index_of(object.object().address());
        &self.words.words()[first.wrapping_add(word)]
    }

    /// An object's header.
    #[must_use]
    #[inline]
    pub fn header(&self, object: Local<'_>) -> Header {
        let first = self.word_at(object, 0).load(Ordering::Relaxed);
        match M::HEADER_WORDS {
            1 => Header::one(first),
            _ => Header::two(first, self.word_at(object, 1).load(Ordering::Relaxed)),
        }
    }

    /// An object's layout.
    #[must_use]
    #[inline]
    pub fn layout(&self, object: Local<'_>) -> ObjectLayout {
        self.heap.core().space.model.layout(self.header(object))
    }

    /// Word `word` of an object, the header being word 0, to be read and written without barriers:
    /// data, or slots of an object that is younger than the last safepoint.
    ///
    /// The number is not checked against the object's size: a wrong one is another object's word.
    ///
    /// # Panics
    ///
    /// If the word lies beyond the heap.
    #[must_use]
    #[inline]
    pub fn raw_word<'m>(&'m self, object: Local<'m>, word: u32) -> &'m AtomicU64 {
        self.word_at(object, word as usize)
    }

    /// All words of an object, the header included.
    #[must_use]
    #[inline]
    pub fn raw_words<'m>(&'m self, object: Local<'m>) -> &'m [AtomicU64] {
        &self.words_from(object)[..self.layout(object).words() as usize]
    }

    /// Reads word `word` of an object. Slots that refer weakly are read with
    /// [`read_weak`](Self::read_weak).
    ///
    /// # Panics
    ///
    /// If the word lies beyond the heap.
    #[must_use]
    #[inline]
    pub fn read(&self, object: Local<'_>, word: u32) -> u64 {
        self.raw_word(object, word).load(Ordering::Acquire)
    }

    /// The object that slot `word` of an object refers to, if it refers to one.
    ///
    /// # Panics
    ///
    /// If the word lies beyond the heap.
    #[must_use]
    #[inline]
    pub fn read_reference<'m>(&'m self, object: Local<'m>, word: u32) -> Option<Local<'m>> {
        self.reference(self.read(object, word))
    }

    /// Writes slot `word` of an object: a reference, or any value that is none. Includes the write
    /// barrier.
    ///
    /// # Panics
    ///
    /// If the word lies beyond the heap.
    #[inline]
    pub fn write(&self, object: Local<'_>, word: u32, value: u64) {
        self.write_slot(self.raw_word(object, word), value);
    }

    /// Writes a slot wherever it is: in an object, or among the [roots](crate::Roots) of the whole
    /// heap. Includes the write barrier.
    #[inline]
    pub fn write_slot(&self, slot: &AtomicU64, value: u64) {
        self.before_store(slot, value);
        slot.store(value, Ordering::Release);
    }
}
