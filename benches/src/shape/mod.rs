//! Heaps that look like a program's: a table of items, some of which have died.
//!
//! The contents follow from a seed alone, so every side of a comparison gets the same objects in
//! the same order. Every item carries its index, so that a check afterwards notices a lost, a
//! doubled and a damaged one.

mod deaths;
mod items;
pub(crate) mod random;

use gc_runtime::{Local, Mutator, OutOfMemory, Record, RootIndex};

pub use deaths::{CLUMP_BYTES, Keep};
pub use items::Items;

use crate::error::BenchError;
use deaths::Deaths;
use items::Maker;
pub(crate) use random::Random;

/// Slots of a node of the table. Three levels of it hold 134 million items.
const NODE_SLOTS: usize = 512;

const NODE: Record = Record { refs: 512, data_words: 0 };

/// What a heap is filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// What is made.
    pub items: Items,
    /// What of it stays alive.
    pub keep: Keep,
}

impl Shape {
    /// [`Items::Mixed`], of which `keep` stay alive.
    #[must_use]
    pub fn mixed(keep: Keep) -> Self {
        Self { items: Items::Mixed, keep }
    }
}

/// A long-lived table of items, held by roots of one mutator.
#[derive(Debug)]
pub struct Table {
    directory: RootIndex,
    maker: Maker,
    /// Holds a node while it is made.
    node: RootIndex,
    /// Roots that the mutator had before.
    roots_before: usize,
    len: usize,
    random: Random,
}

impl Table {
    /// Fills the heap with `used_bytes` of items, of which some stay alive.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`OutOfMemory`] | what stays alive does not fit into the heap | build it with a higher limit |
    pub fn fill(
        mutator: &mut Mutator,
        used_bytes: u64,
        shape: Shape,
        seed: u64,
    ) -> Result<Self, OutOfMemory> {
        let roots_before = mutator.root_count();
        let directory = mutator.alloc(NODE)?;
        let maker = Maker::new(shape.items, mutator);
        let node = mutator.push_root(None);
        let mut table =
            Self { directory, maker, node, roots_before, len: 0, random: Random::new(seed) };
        let mut deaths = Deaths::new(shape.keep);
        let mut bytes = 0;
        while bytes < used_bytes {
            let stays = deaths.spare(bytes, &mut table.random);
            bytes += table.maker.make(mutator, table.len, &mut table.random)?;
            if stays {
                table.make_room(mutator)?;
                table.put(mutator, table.len);
                table.maker.keep(mutator);
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
    /// with long-lived data. Not for [`Items::Pointers`], which refer to what was there before. The amount of live data stays about the same.
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
        self.maker.make(mutator, index, &mut self.random)?;
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

    /// Sees to it that the nodes above the next item exist.
    fn make_room(&mut self, mutator: &mut Mutator) -> Result<(), OutOfMemory> {
        let [top, middle, _] = path(self.len);
        let no_middle = {
            let directory = mutator.root(self.directory).expect("it lives as long as the table");
            mutator.load(directory, top).is_none()
        };
        if no_middle {
            mutator.alloc_into(self.node, NODE)?;
            let directory = mutator.root(self.directory).expect("it lives as long as the table");
            mutator.store(directory, top, mutator.root(self.node));
        }
        if self.node(mutator, self.len).is_none() {
            mutator.alloc_into(self.node, NODE)?;
            let directory = mutator.root(self.directory).expect("it lives as long as the table");
            let node = mutator.load(directory, top).expect("it was made above");
            mutator.store(node, middle, mutator.root(self.node));
        }
        Ok(())
    }

    /// Stores the root `item` in the table.
    fn put(&self, mutator: &Mutator, index: usize) {
        let node = self.node(mutator, index).expect("nodes are made before items");
        mutator.store(node, path(index)[2], mutator.root(self.maker.item));
    }

    /// The node that holds an item.
    fn node<'m>(&self, mutator: &'m Mutator, index: usize) -> Option<Local<'m>> {
        let [top, middle, _] = path(index);
        let directory = mutator.root(self.directory)?;
        mutator.load(mutator.load(directory, top)?, middle)
    }

    fn is_right(&self, mutator: &Mutator, index: usize) -> bool {
        let item = self.node(mutator, index).and_then(|node| mutator.load(node, path(index)[2]));
        item.is_some_and(|item| self.maker.is_right(mutator, item, index))
    }
}

/// The slots that lead to an item: in the directory, in the middle node, in the last node.
fn path(index: usize) -> [u32; 3] {
    let slot = |n: usize| u32::try_from(n % NODE_SLOTS).expect("a slot is below 512");
    let top = index / (NODE_SLOTS * NODE_SLOTS);
    assert!(top < NODE_SLOTS, "the table is full");
    [slot(top), slot(index / NODE_SLOTS), slot(index)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use gc_runtime::Heap;

    #[test]
    fn paths_name_every_item_once() {
        assert_eq!(path(0), [0, 0, 0]);
        assert_eq!(path(511), [0, 0, 511]);
        assert_eq!(path(512), [0, 1, 0]);
        assert_eq!(path(512 * 512), [1, 0, 0]);
    }

    #[test]
    fn what_stays_alive_is_whole_after_a_cycle() {
        let heap = Heap::builder().limit_bytes(32 << 20).build().unwrap();
        let mut mutator = heap.attach().unwrap();
        for items in [Items::Mixed, Items::Pointers, Items::Leaves, Items::LargeLeaves] {
            for keep in [Keep::All, Keep::Percent(50), Keep::Clumps(50)] {
                let table = Table::fill(&mut mutator, 8 << 20, Shape { items, keep }, 3).unwrap();
                assert!(!table.is_empty());
                mutator.collect();
                table.check(&mut mutator).unwrap();
                table.clear(&mutator);
            }
        }
    }
}
