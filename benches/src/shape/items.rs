//! What the items of a table are, how they are made, and how a damaged one is noticed.

use gc_runtime::{Local, Mutator, OutOfMemory, Record, RootIndex};

use super::random::Random;

/// A small record: one reference, to its part, and two words.
const SMALL: Record = Record { refs: 1, data_words: 2 };

/// The part of a small record: three words, no references.
const PART: Record = Record { refs: 0, data_words: 3 };

/// A record that refers to the items that were kept before it.
const LINKED: Record = Record { refs: LINKS, data_words: 2 };
const LINKS: u32 = 4;

/// Words of the largest leaf array among mixed items.
const LARGEST_ARRAY_WORDS: u64 = 256;

/// One mixed item of so many is a leaf array. By bytes, arrays and records are then about equal.
const ITEMS_PER_ARRAY: u64 = 16;

/// What a table is filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Items {
    /// Small records that point to others, beside leaf arrays; by bytes about equal.
    Mixed,
    /// Records of four references and two words.
    Pointers,
    /// Arrays of 4 to 64 words without references.
    Leaves,
    /// Arrays of 64 to 256 KiB without references.
    LargeLeaves,
}

/// The roots that items are made with.
#[derive(Debug)]
pub(super) struct Maker {
    items: Items,
    pub(super) item: RootIndex,
    part: RootIndex,
    /// The items kept last, the newest first.
    kept: Vec<RootIndex>,
}

impl Maker {
    pub(super) fn new(items: Items, mutator: &Mutator) -> Self {
        let (item, part) = (mutator.push_root(None), mutator.push_root(None));
        let links = if items == Items::Pointers { LINKS } else { 0 };
        let kept = (0..links).map(|_| mutator.push_root(None)).collect();
        Self { items, item, part, kept }
    }

    /// Makes the item with number `index` in the root `item`; answers with its bytes.
    pub(super) fn make(
        &self,
        mutator: &mut Mutator,
        index: usize,
        random: &mut Random,
    ) -> Result<u64, OutOfMemory> {
        match self.items {
            Items::Mixed if random.below(ITEMS_PER_ARRAY) != 0 => self.make_pair(mutator, index),
            Items::Mixed => {
                self.make_array(mutator, index, 8 + random.below(LARGEST_ARRAY_WORDS - 7))
            }
            Items::Pointers => self.make_linked(mutator, index),
            Items::Leaves => self.make_array(mutator, index, 4 + random.below(61)),
            Items::LargeLeaves => {
                self.make_array(mutator, index, (8 << 10) + random.below(24 << 10))
            }
        }
    }

    fn make_pair(&self, mutator: &mut Mutator, index: usize) -> Result<u64, OutOfMemory> {
        mutator.alloc_into(self.part, PART)?;
        mutator.alloc_into(self.item, SMALL)?;
        let item = mutator.root(self.item).expect("it was allocated just now");
        let part = mutator.root(self.part).expect("it was allocated just before");
        mutator.set_word(part, 2, tag(index));
        mutator.set_word(item, 0, tag(index));
        mutator.store(item, 0, Some(part));
        Ok(8 * (4 + 4))
    }

    fn make_array(
        &self,
        mutator: &mut Mutator,
        index: usize,
        words: u64,
    ) -> Result<u64, OutOfMemory> {
        let data_words = u32::try_from(words).expect("an array has at most 32768 words");
        mutator.alloc_into(self.item, Record { refs: 0, data_words })?;
        let array = mutator.root(self.item).expect("it was allocated just now");
        mutator.set_word(array, 0, tag(index));
        mutator.set_word(array, data_words - 1, tag(index));
        Ok(8 * (1 + words))
    }

    fn make_linked(&self, mutator: &mut Mutator, index: usize) -> Result<u64, OutOfMemory> {
        mutator.alloc_into(self.item, LINKED)?;
        let item = mutator.root(self.item).expect("it was allocated just now");
        mutator.set_word(item, 0, tag(index));
        mutator.set_word(item, 1, tag(index));
        for (slot, &root) in (0..).zip(&self.kept) {
            mutator.store(item, slot, mutator.root(root));
        }
        Ok(8 * (1 + 4 + 2))
    }

    /// The item made last stays alive: later ones may refer to it.
    pub(super) fn keep(&self, mutator: &Mutator) {
        for pair in self.kept.windows(2).rev() {
            mutator.set_root(pair[1], mutator.root(pair[0]));
        }
        if let Some(&newest) = self.kept.first() {
            mutator.set_root(newest, mutator.root(self.item));
        }
    }

    /// Whether `item` is the one with number `index`, and what it refers to is right.
    pub(super) fn is_right(&self, mutator: &Mutator, item: Local<'_>, index: usize) -> bool {
        let last = match mutator.refs(item) {
            0 => mutator.word(item, mutator.data_words(item) - 1),
            1 => match mutator.load(item, 0) {
                Some(part) => mutator.word(part, 2),
                None => return false,
            },
            links => {
                let is_linked = |slot: u32| match mutator.load(item, slot) {
                    None => index <= slot as usize,
                    Some(other) => {
                        index > slot as usize
                            && mutator.word(other, 0) == tag(index - 1 - slot as usize)
                    }
                };
                if !(0..links).all(is_linked) {
                    return false;
                }
                mutator.word(item, 1)
            }
        };
        mutator.word(item, 0) == tag(index) && last == tag(index)
    }
}

/// What an item carries. Never zero: a page that went missing reads as zeros.
fn tag(index: usize) -> u64 {
    u64::try_from(index).expect("an index fits into 64 bits") + 1
}
