//! Trees on the heap.

use gc_runtime::{GlobalRoot, Heap, Local, Mutator, RootIndex};
use std::sync::atomic::Ordering;

use super::{Forest, Grow, array_word, child_label, node_value};
use crate::error::Failure;
use crate::gc_memory::{GcHand, held};
use crate::measure::StepClock;
use crate::memory::Hand;

/// A node has two children and two data words: its label, and one that stays zero.
const CHILDREN: u32 = 2;
const NODE_WORDS: u32 = 2;

/// Trees up to this depth are read without a safepoint in between: some microseconds.
const SHALLOW: u32 = 7;

pub(super) struct GcForest {
    hand: GcHand,
    /// Holds the long-lived pair of tree and array also after this thread has gone.
    kept: GlobalRoot,
    long_lived_depth: u32,
}

impl GcForest {
    pub(super) fn new(heap: &Heap, kept: GlobalRoot) -> Result<Self, Failure> {
        Ok(Self { hand: GcHand::new(heap)?, kept, long_lived_depth: 0 })
    }

    fn node(&mut self, label: u64) -> Result<RootIndex, Failure> {
        let root = self.hand.alloc(CHILDREN, NODE_WORDS)?;
        self.hand.set_word(held(&self.hand, root), 0, label);
        Ok(root)
    }

    /// Gives the node in `root` children down to `depth`.
    fn populate(&mut self, root: RootIndex, depth: u32, label: u64) -> Result<(), Failure> {
        if depth == 0 {
            return Ok(());
        }
        let mark = self.hand.root_count();
        let mut children = [root; 2];
        for (side, child) in (0..CHILDREN).zip(&mut children) {
            *child = self.node(child_label(label, u64::from(side)))?;
            let m = &*self.hand;
            m.store(held(m, root), side, m.root(*child));
        }
        for (side, child) in (0..).zip(children) {
            self.populate(child, depth - 1, child_label(label, side))?;
        }
        self.hand.truncate_roots(mark);
        Ok(())
    }

    /// Builds the children first; the tree's root is on top of the root stack afterwards.
    fn build_up(&mut self, depth: u32, label: u64) -> Result<RootIndex, Failure> {
        if depth == 0 {
            return self.node(label);
        }
        let left = self.build_up(depth - 1, child_label(label, 0))?;
        let right = self.build_up(depth - 1, child_label(label, 1))?;
        let node = self.node(label)?;
        let m = &*self.hand;
        let here = held(m, node);
        m.store(here, 0, m.root(left));
        m.store(here, 1, m.root(right));
        m.set_root(left, Some(here));
        m.truncate_roots(m.root_count() - 2);
        Ok(left)
    }

    fn value(&mut self, root: RootIndex, depth: u32) -> u64 {
        if depth <= SHALLOW {
            let sum = shallow_value(&self.hand, held(&self.hand, root));
            self.hand.poll();
            return sum;
        }
        let m = &*self.hand;
        let here = held(m, root);
        let mut sum = node_value(m.word(here, 0));
        let mark = m.root_count();
        let children = [0, 1].map(|side| m.push_root(m.load(here, side)));
        for child in children {
            sum = sum.wrapping_add(self.value(child, depth - 1));
        }
        self.hand.truncate_roots(mark);
        sum
    }
}

fn shallow_value(m: &Mutator, node: Local<'_>) -> u64 {
    (0..CHILDREN)
        .filter_map(|side| m.load(node, side))
        .fold(node_value(m.word(node, 0)), |sum, child| sum.wrapping_add(shallow_value(m, child)))
}

impl Hand for GcForest {
    fn clock(&mut self) -> &mut StepClock {
        self.hand.clock()
    }

    fn blocking<R>(&mut self, wait: impl FnOnce() -> R) -> R {
        self.hand.blocking(wait)
    }
}

impl Forest for GcForest {
    fn passing(&mut self, grow: Grow, depth: u32, label: u64) -> Result<u64, Failure> {
        let mark = self.hand.root_count();
        let root = match grow {
            Grow::TopDown => {
                let root = self.node(label)?;
                self.populate(root, depth, label)?;
                root
            }
            Grow::BottomUp => self.build_up(depth, label)?,
        };
        let value = self.value(root, depth);
        self.hand.truncate_roots(mark);
        Ok(value)
    }

    fn plant(&mut self, depth: u32, array_words: u32, label: u64) -> Result<(), Failure> {
        self.long_lived_depth = depth;
        let pair = self.hand.alloc(2, 0)?;
        let array = self.hand.alloc(0, array_words)?;
        let m = &*self.hand;
        for (at, word) in (0..).zip(m.words(held(m, array))) {
            word.store(array_word(at), Ordering::Relaxed);
        }
        m.store(held(m, pair), 1, m.root(array));
        m.set_global(&self.kept, m.root(pair));
        let tree = self.node(label)?;
        let m = &*self.hand;
        m.store(held(m, pair), 0, m.root(tree));
        self.populate(tree, depth, label)?;
        self.hand.truncate_roots(0);
        Ok(())
    }

    fn planted(&mut self) -> Result<u64, Failure> {
        let lost = || Failure::Wrong("the long-lived tree is lost".into());
        let m = &*self.hand;
        let pair = m.global(&self.kept).ok_or_else(lost)?;
        let array = m.load(pair, 1).ok_or_else(lost)?;
        let sum = m.words(array).iter().step_by(512);
        let sum = sum.fold(0u64, |sum, word| sum.wrapping_add(word.load(Ordering::Relaxed)));
        let tree = m.push_root(m.load(pair, 0));
        let value = self.value(tree, self.long_lived_depth);
        self.hand.truncate_roots(0);
        Ok(value.wrapping_add(sum))
    }

    fn into_clock(self) -> StepClock {
        self.hand.into_clock()
    }
}
