//! Records through a mutator: the safe way to read and write objects of the built-in model.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crate::addr::ObjectRef;
use crate::error::OutOfMemory;
use crate::layout::Content;
use crate::local::{Local, RootIndex};
use crate::model::Header;
use crate::mutator::{Mutator, address_of};
use crate::raw::words;
use crate::record::{Record, Records};

impl Mutator<Records> {
    /// Allocates a record of null references and zero data, and pushes a root that holds it.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`OutOfMemory`] | a full cycle did not free enough, or the record is too large | drop references, or give up; the heap is intact |
    ///
    /// # Panics
    ///
    /// If `record.refs` exceeds [`Record::MAX_REFS`], or there are 2^20 roots already.
    #[inline]
    pub fn alloc(&mut self, record: Record) -> Result<RootIndex, OutOfMemory> {
        let object = self.alloc_unrooted(record)?;
        Ok(self.push_root(Some(Local::new(object))))
    }

    /// Allocates a record as [`alloc`](Self::alloc) does, and makes the root `root` hold it.
    ///
    /// # Errors
    ///
    /// As [`alloc`](Self::alloc); the root is unchanged then.
    ///
    /// # Panics
    ///
    /// If `record.refs` exceeds [`Record::MAX_REFS`], or there is no such root any more.
    #[inline]
    pub fn alloc_into(&mut self, root: RootIndex, record: Record) -> Result<(), OutOfMemory> {
        let object = self.alloc_unrooted(record)?;
        self.set_root(root, Some(Local::new(object)));
        Ok(())
    }

    /// Allocates a record of null references and zero data, without a root.
    ///
    /// The reference is good until the next safepoint: put it into a root or a record before the
    /// next allocation ([`local`](Self::local)).
    ///
    /// # Errors
    ///
    /// As [`alloc`](Self::alloc).
    ///
    /// # Panics
    ///
    /// If `record.refs` exceeds [`Record::MAX_REFS`].
    #[inline]
    pub fn alloc_unrooted(&mut self, record: Record) -> Result<ObjectRef, OutOfMemory> {
        assert!(record.refs <= Record::MAX_REFS, "a record of {} slots", record.refs);
        let (words, header) = (record.words(), Header::one(record.header()));
        let content = if record.refs == 0 { Content::Leaves } else { Content::Slots };
        match u32::try_from(words) {
            Ok(words) => self.allocate_words(words, content, header),
            Err(_) => self.allocate_slow(words, content, header),
        }
    }

    #[inline(always)]
    fn record(&self, object: Local<'_>) -> Record {
        Record::from_header(self.header(object).first())
    }

    /// How many reference slots a record has.
    #[must_use]
    #[inline]
    pub fn refs(&self, object: Local<'_>) -> u32 {
        self.record(object).refs
    }

    /// How many data words a record has.
    #[must_use]
    #[inline]
    pub fn data_words(&self, object: Local<'_>) -> u32 {
        self.record(object).data_words
    }

    #[inline(always)]
    fn slot(&self, object: Local<'_>, slot: u32) -> &AtomicU64 {
        let refs = self.record(object).refs;
        if slot >= refs {
            no_such_slot(slot, refs);
        }
        self.word_at(object, 1 + slot as usize)
    }

    /// The object that a slot refers to; `None` for null.
    ///
    /// # Panics
    ///
    /// If the record has no such slot.
    #[must_use]
    #[inline]
    pub fn load<'m>(&'m self, object: Local<'m>, slot: u32) -> Option<Local<'m>> {
        Local::from_value(self.slot(object, slot).load(Ordering::Acquire))
    }

    /// Makes a slot refer to another object, or to none. Includes the write barrier.
    ///
    /// # Panics
    ///
    /// If the record has no such slot.
    #[inline]
    pub fn store(&self, object: Local<'_>, slot: u32, value: Option<Local<'_>>) {
        let slot = self.slot(object, slot);
        let value = address_of(value);
        self.before_store(slot, value);
        slot.store(value, Ordering::Release);
    }

    /// Makes a slot refer to `new` if it refers to `old`.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | what the slot refers to | it was not `old` | decide again |
    ///
    /// # Panics
    ///
    /// If the record has no such slot.
    pub fn compare_exchange<'m>(
        &'m self,
        object: Local<'m>,
        slot: u32,
        old: Option<Local<'m>>,
        new: Option<Local<'m>>,
    ) -> Result<(), Option<Local<'m>>> {
        let slot = self.slot(object, slot);
        self.before_store(slot, address_of(new));
        slot.compare_exchange(address_of(old), address_of(new), Ordering::AcqRel, Ordering::Acquire)
            .map(|_| ())
            .map_err(Local::from_value)
    }

    /// A record's data words.
    #[must_use]
    #[inline]
    pub fn words<'m>(&'m self, object: Local<'m>) -> &'m [AtomicU64] {
        let words = self.words_from(object);
        let record = Record::from_header(words[0].load(Ordering::Relaxed));
        let first = 1 + record.refs as usize;
        &words[first..first + record.data_words as usize]
    }

    /// A record's data as bytes; eight for each word.
    #[must_use]
    #[inline]
    pub fn bytes<'m>(&'m self, object: Local<'m>) -> &'m [AtomicU8] {
        words::as_bytes(self.words(object))
    }

    /// Data word `index` of a record.
    ///
    /// # Panics
    ///
    /// If the record has no such word.
    #[must_use]
    #[inline]
    pub fn word(&self, object: Local<'_>, index: u32) -> u64 {
        self.data_word(object, index).load(Ordering::Relaxed)
    }

    /// Changes data word `index` of a record.
    ///
    /// # Panics
    ///
    /// If the record has no such word.
    #[inline]
    pub fn set_word(&self, object: Local<'_>, index: u32, value: u64) {
        self.data_word(object, index).store(value, Ordering::Relaxed);
    }

    #[inline(always)]
    fn data_word(&self, object: Local<'_>, index: u32) -> &AtomicU64 {
        let record = self.record(object);
        if index >= record.data_words {
            no_such_word(index, record.data_words);
        }
        self.word_at(object, 1 + record.refs as usize + index as usize)
    }
}

#[cold]
#[inline(never)]
fn no_such_slot(slot: u32, refs: u32) -> ! {
    panic!("slot {slot} of a record with {refs}");
}

#[cold]
#[inline(never)]
fn no_such_word(word: u32, words: u32) -> ! {
    panic!("word {word} of a record with {words}");
}
