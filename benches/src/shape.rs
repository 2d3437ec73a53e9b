//! Heaps that look like a program's: small records that point to others, beside leaf arrays.
//!
//! The contents follow from a seed alone, so every side of a comparison gets the same objects in
//! the same order. Every item carries its index, so that a check afterwards notices a lost, a
//! doubled and a damaged one.

use gc_runtime::{Local, Mutator, OutOfMemory, Record, RootIndex};

use crate::error::BenchError;

/// Slots of a node of the table. Three levels of it hold 134 million items.
const NODE_SLOTS: usize = 512;

const NODE: Record = Record { refs: 512, data_words: 0 };

/// A small record: one reference, to its part, and two words.
const SMALL: Record = Record { refs: 1, data_words: 2 };

/// The part of a small record: three words, no references.
const PART: Record = Record { refs: 0, data_words: 3 };

/// Words of the largest leaf array.
const LARGEST_ARRAY_WORDS: u64 = 256;

/// One item of so many is a leaf array. By bytes, arrays and records are then about equal.
const ITEMS_PER_ARRAY: u64 = 16;

/// How many of the items that were made stay alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// All of them.
    All,
    /// So many of a hundred, at random: the heap is left with holes of every size.
    Percent(u64),
}

impl Keep {
    fn keeps(self, random: &mut Random) -> bool {
        match self {
            Self::All => true,
            Self::Percent(percent) => random.below(100) < percent,
        }
    }
}

/// A long-lived table of items, held by roots of one mutator.
#[derive(Debug)]
pub struct Table {
    directory: RootIndex,
    item: RootIndex,
    part: RootIndex,
    /// Roots that the mutator had before.
    roots_before: usize,
    len: usize,
    random: Random,
}

impl Table {
    /// Fills the heap with `used_bytes` of items, of which `keep` stay alive.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`OutOfMemory`] | what stays alive does not fit into the heap | build it with a higher limit |
    pub fn fill(
        mutator: &mut Mutator,
        used_bytes: u64,
        keep: Keep,
        seed: u64,
    ) -> Result<Self, OutOfMemory> {
        let roots_before = mutator.root_count();
        let directory = mutator.alloc(NODE)?;
        let item = mutator.push_root(None);
        let part = mutator.push_root(None);
        let mut table =
            Self { directory, item, part, roots_before, len: 0, random: Random::new(seed) };
        let mut bytes = 0;
        while bytes < used_bytes {
            bytes += table.make_item(mutator, table.len)?;
            if keep.keeps(&mut table.random) {
                table.make_room(mutator)?;
                table.put(mutator, table.len);
                table.len += 1;
            }
        }
        Ok(table)
    }

    /// How many items are alive.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Replaces an item chosen at random by a new one, and reads a few others: a step of a program
    /// with long-lived data. The amount of live data stays about the same.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`OutOfMemory`] | the new item does not fit, not even after a cycle | build the heap with a higher limit |
    ///
    /// # Panics
    ///
    /// If an item that is read is not the one that was stored there.
    pub fn churn(&mut self, mutator: &mut Mutator) -> Result<(), OutOfMemory> {
        const READS: u64 = 4;
        let index = self.random.index(self.len);
        self.make_item(mutator, index)?;
        self.put(mutator, index);
        for _ in 0..READS {
            let index = self.random.index(self.len);
            assert!(self.is_right(mutator, index), "item {index} of {} is damaged", self.len);
        }
        Ok(())
    }

    /// Looks at every item.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`BenchError::Damaged`] | an item is missing, doubled or overwritten | the heap is broken: throw the figures away |
    pub fn check(&self, mutator: &mut Mutator) -> Result<(), BenchError> {
        /// Items between two safepoints: a long check must not hold up a pause.
        const STRIDE: usize = 1024;
        for item in 0..self.len {
            if item % STRIDE == 0 {
                mutator.safepoint();
            }
            if !self.is_right(mutator, item) {
                return Err(BenchError::Damaged { item, items: self.len });
            }
        }
        Ok(())
    }

    /// Lets go of everything.
    pub fn clear(self, mutator: &Mutator) {
        mutator.truncate_roots(self.roots_before);
    }

    /// Makes an item in the root `item`; answers with its bytes.
    fn make_item(&mut self, mutator: &mut Mutator, index: usize) -> Result<u64, OutOfMemory> {
        let tag = tag(index);
        if self.random.below(ITEMS_PER_ARRAY) == 0 {
            let words = 8 + self.random.below(LARGEST_ARRAY_WORDS - 7);
            let data_words = u32::try_from(words).expect("an array has at most 256 words");
            mutator.alloc_into(self.item, Record { refs: 0, data_words })?;
            let array = mutator.root(self.item).expect("it was allocated just now");
            mutator.set_word(array, 0, tag);
            mutator.set_word(array, data_words - 1, tag);
            return Ok(8 * (1 + words));
        }
        mutator.alloc_into(self.part, PART)?;
        mutator.alloc_into(self.item, SMALL)?;
        let item = mutator.root(self.item).expect("it was allocated just now");
        let part = mutator.root(self.part).expect("it was allocated just before");
        mutator.set_word(part, 2, tag);
        mutator.set_word(item, 0, tag);
        mutator.store(item, 0, Some(part));
        Ok(8 * (4 + 4))
    }

    /// Sees to it that the nodes above the next item exist.
    fn make_room(&mut self, mutator: &mut Mutator) -> Result<(), OutOfMemory> {
        let [top, middle, _] = path(self.len);
        let no_middle = {
            let directory = mutator.root(self.directory).expect("it lives as long as the table");
            mutator.load(directory, top).is_none()
        };
        if no_middle {
            mutator.alloc_into(self.part, NODE)?;
            let directory = mutator.root(self.directory).expect("it lives as long as the table");
            mutator.store(directory, top, mutator.root(self.part));
        }
        if self.node(mutator, self.len).is_none() {
            mutator.alloc_into(self.part, NODE)?;
            let directory = mutator.root(self.directory).expect("it lives as long as the table");
            let node = mutator.load(directory, top).expect("it was made above");
            mutator.store(node, middle, mutator.root(self.part));
        }
        Ok(())
    }

    /// Stores the root `item` in the table.
    fn put(&self, mutator: &Mutator, index: usize) {
        let node = self.node(mutator, index).expect("nodes are made before items");
        mutator.store(node, path(index)[2], mutator.root(self.item));
    }

    /// The node that holds an item.
    fn node<'m>(&self, mutator: &'m Mutator, index: usize) -> Option<Local<'m>> {
        let [top, middle, _] = path(index);
        let directory = mutator.root(self.directory)?;
        mutator.load(mutator.load(directory, top)?, middle)
    }

    fn is_right(&self, mutator: &Mutator, index: usize) -> bool {
        let tag = tag(index);
        let item = self.node(mutator, index).and_then(|node| mutator.load(node, path(index)[2]));
        let Some(item) = item else { return false };
        let other = if mutator.refs(item) == 0 {
            mutator.word(item, mutator.data_words(item) - 1)
        } else {
            let Some(part) = mutator.load(item, 0) else { return false };
            mutator.word(part, 2)
        };
        mutator.word(item, 0) == tag && other == tag
    }
}

/// What an item carries. Never zero: a page that went missing reads as zeros.
fn tag(index: usize) -> u64 {
    u64::try_from(index).expect("an index fits into 64 bits") + 1
}

/// The slots that lead to an item: in the directory, in the middle node, in the last node.
fn path(index: usize) -> [u32; 3] {
    let slot = |n: usize| u32::try_from(n % NODE_SLOTS).expect("a slot is below 512");
    let top = index / (NODE_SLOTS * NODE_SLOTS);
    assert!(top < NODE_SLOTS, "the table is full");
    [slot(top), slot(index / NODE_SLOTS), slot(index)]
}

/// A small generator (xorshift64*): the same objects on every side matter, good statistics do not.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // Zero would stay zero for ever.
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `limit`, from the upper half, which is the better one.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        ((self.next() >> 32) * limit) >> 32
    }

    pub(crate) fn shuffle<T>(&mut self, list: &mut [T]) {
        for end in (1..list.len()).rev() {
            list.swap(end, self.index(end + 1));
        }
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        let len = u64::try_from(len).expect("a length fits into 64 bits");
        usize::try_from(self.below(len)).expect("it is below a length")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_stay_below_their_limit_and_reach_it() {
        let mut random = Random::new(1);
        let seen: std::collections::BTreeSet<u64> = (0..1000).map(|_| random.below(10)).collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn paths_name_every_item_once() {
        assert_eq!(path(0), [0, 0, 0]);
        assert_eq!(path(511), [0, 0, 511]);
        assert_eq!(path(512), [0, 1, 0]);
        assert_eq!(path(512 * 512), [1, 0, 0]);
    }
}
