//! The cache on the heap: a hash table of chains, and a list through the entries in the order of use.

use std::sync::atomic::Ordering;

use gc_runtime::{GlobalRoot, Heap, Local, Mutator, RootIndex};

use super::{Cache, hash_value, value_word};
use crate::error::Failure;
use crate::gc_memory::{GcHand, held, narrow};
use crate::measure::StepClock;
use crate::memory::Hand;
use crate::random::mix;

mod header {
    pub(super) const TABLE: u32 = 0;
    /// The entry that was used last.
    pub(super) const NEWEST: u32 = 1;
    pub(super) const OLDEST: u32 = 2;
    pub(super) const REFS: u32 = 3;
}

mod entry {
    /// The next entry in the same bucket.
    pub(super) const CHAIN: u32 = 0;
    pub(super) const NEWER: u32 = 1;
    pub(super) const OLDER: u32 = 2;
    pub(super) const VALUE: u32 = 3;
    pub(super) const REFS: u32 = 4;
    pub(super) const KEY: u32 = 0;
    pub(super) const WORDS: u32 = 1;
}

pub(super) struct GcCache {
    hand: GcHand,
    header: RootIndex,
    entry: RootIndex,
    value: RootIndex,
}

impl GcCache {
    pub(super) fn new(heap: &Heap, kept: &GlobalRoot, keys: u64) -> Result<Self, Failure> {
        let mut hand = GcHand::new(heap)?;
        let header = hand.alloc(header::REFS, 0)?;
        let buckets = usize::try_from(keys.next_power_of_two()).expect("the table fits in memory");
        let table = hand.alloc(narrow(buckets), 0)?;
        let m = &*hand;
        m.store(held(m, header), header::TABLE, m.root(table));
        m.set_global(kept, m.root(header));
        m.set_root(table, None);
        let value = m.push_root(None);
        Ok(Self { header, entry: table, value, hand })
    }
}

/// The table and a key's bucket in it.
fn bucket<'m>(m: &'m Mutator, header: Local<'m>, key: u64) -> (Local<'m>, u32) {
    let table = m.load(header, header::TABLE).expect("the cache has a table");
    let buckets = u64::from(m.refs(table));
    (table, u32::try_from(mix(key, 0) % buckets).expect("the remainder of a u32"))
}

fn find<'m>(m: &'m Mutator, header: Local<'m>, key: u64) -> Option<Local<'m>> {
    let (table, bucket) = bucket(m, header, key);
    let mut next = m.load(table, bucket);
    while let Some(found) = next {
        if m.word(found, entry::KEY) == key {
            return Some(found);
        }
        next = m.load(found, entry::CHAIN);
    }
    None
}

/// Takes an entry out of the list.
fn unlink<'m>(m: &'m Mutator, header: Local<'m>, gone: Local<'m>) {
    let (newer, older) = (m.load(gone, entry::NEWER), m.load(gone, entry::OLDER));
    match newer {
        Some(newer) => m.store(newer, entry::OLDER, older),
        None => m.store(header, header::NEWEST, older),
    }
    match older {
        Some(older) => m.store(older, entry::NEWER, newer),
        None => m.store(header, header::OLDEST, newer),
    }
}

/// Puts an entry in front of the list.
fn push_newest<'m>(m: &'m Mutator, header: Local<'m>, new: Local<'m>) {
    let second = m.load(header, header::NEWEST);
    m.store(new, entry::NEWER, None);
    m.store(new, entry::OLDER, second);
    match second {
        Some(second) => m.store(second, entry::NEWER, Some(new)),
        None => m.store(header, header::OLDEST, Some(new)),
    }
    m.store(header, header::NEWEST, Some(new));
}

/// Takes an entry out of the table and the list; gives the words of its value.
fn forget<'m>(m: &'m Mutator, header: Local<'m>, gone: Local<'m>) -> u32 {
    let (table, bucket) = bucket(m, header, m.word(gone, entry::KEY));
    let rest = m.load(gone, entry::CHAIN);
    let mut before = m.load(table, bucket).expect("the entry is in its bucket");
    if before == gone {
        m.store(table, bucket, rest);
    } else {
        loop {
            let next = m.load(before, entry::CHAIN).expect("the entry is in its bucket");
            if next == gone {
                break;
            }
            before = next;
        }
        m.store(before, entry::CHAIN, rest);
    }
    unlink(m, header, gone);
    m.load(gone, entry::VALUE).map_or(0, |value| m.data_words(value))
}

impl Hand for GcCache {
    fn clock(&mut self) -> &mut StepClock {
        self.hand.clock()
    }

    fn blocking<R>(&mut self, wait: impl FnOnce() -> R) -> R {
        self.hand.blocking(wait)
    }
}

impl Cache for GcCache {
    fn get(&mut self, key: u64) -> Option<u64> {
        self.hand.poll();
        let m = &*self.hand;
        let header = held(m, self.header);
        let found = find(m, header, key)?;
        unlink(m, header, found);
        push_newest(m, header, found);
        let words = m.words(m.load(found, entry::VALUE)?);
        Some(hash_value(words.len(), |at| words[at].load(Ordering::Relaxed)))
    }

    fn insert(&mut self, key: u64, words: u32) -> Result<(), Failure> {
        self.hand.alloc_into(self.value, 0, words)?;
        let m = &*self.hand;
        for (at, word) in (0..).zip(m.words(held(m, self.value))) {
            word.store(value_word(key, at), Ordering::Relaxed);
        }
        self.hand.alloc_into(self.entry, entry::REFS, entry::WORDS)?;
        let m = &*self.hand;
        let header = held(m, self.header);
        let new = held(m, self.entry);
        let (table, bucket) = bucket(m, header, key);
        m.set_word(new, entry::KEY, key);
        m.store(new, entry::VALUE, m.root(self.value));
        m.store(new, entry::CHAIN, m.load(table, bucket));
        m.store(table, bucket, Some(new));
        push_newest(m, header, new);
        m.set_root(self.entry, None);
        m.set_root(self.value, None);
        Ok(())
    }

    fn remove(&mut self, key: u64) -> Option<u32> {
        let m = &*self.hand;
        let header = held(m, self.header);
        Some(forget(m, header, find(m, header, key)?))
    }

    fn evict(&mut self) -> Option<u32> {
        let m = &*self.hand;
        let header = held(m, self.header);
        Some(forget(m, header, m.load(header, header::OLDEST)?))
    }

    fn into_clock(self) -> StepClock {
        self.hand.into_clock()
    }
}
