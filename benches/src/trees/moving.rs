//! Trees on this project's heap: roots are used as a stack, the root of a tree on top.

use std::sync::atomic::Ordering;

use gc_runtime::{Heap, Local, Mutator, Record, RootIndex};

use super::Done;
use super::gaps::Gaps;
use super::program::{Program, Trees};
use crate::error::BenchError;

/// Two references and a word that holds two integers: 32 bytes with the header.
const NODE: Record = Record { refs: 2, data_words: 1 };

/// The trees of one mutator.
#[derive(Debug)]
pub(super) struct Forest {
    mutator: Mutator,
    array: Option<RootIndex>,
    gaps: Gaps,
}

/// A tree, and how many roots there were before it.
#[derive(Debug)]
pub(super) struct Tree {
    root: RootIndex,
    before: usize,
    depth: u32,
}

/// Trees of this depth are walked without coming to a safepoint: some microseconds.
const WALK_DEPTH: u32 = 9;

impl Forest {
    pub(super) fn new(heap: &Heap) -> Result<Self, BenchError> {
        Ok(Self { mutator: heap.attach()?, array: None, gaps: Gaps::new() })
    }

    pub(super) fn run(self, program: Program, depth: u32) -> Result<Done, BenchError> {
        Trees::run(self, program, depth)
    }

    /// A node in a new root.
    #[inline]
    fn node(&mut self) -> Result<RootIndex, BenchError> {
        let root = self.mutator.alloc(NODE)?;
        let node = self.mutator.root(root).expect("it was allocated just now");
        self.mutator.set_word(node, 0, 1);
        self.gaps.tick();
        Ok(root)
    }

    fn link(&self, parent: RootIndex, slot: u32, child: RootIndex) {
        let parent = self.mutator.root(parent).expect("roots below the top stay");
        self.mutator.store(parent, slot, self.mutator.root(child));
    }

    fn grow(&mut self, depth: u32, parent: RootIndex) -> Result<(), BenchError> {
        if depth == 0 {
            return Ok(());
        }
        let before = self.mutator.root_count();
        let left = self.node()?;
        self.link(parent, 0, left);
        let right = self.node()?;
        self.link(parent, 1, right);
        self.grow(depth - 1, left)?;
        self.grow(depth - 1, right)?;
        self.mutator.truncate_roots(before);
        Ok(())
    }

    /// A tree in a new root.
    fn build(&mut self, depth: u32) -> Result<RootIndex, BenchError> {
        if depth == 0 {
            return self.node();
        }
        let left = self.build(depth - 1)?;
        let right = self.build(depth - 1)?;
        let before = self.mutator.root_count() - 2;
        let node = self.node()?;
        self.link(node, 0, left);
        self.link(node, 1, right);
        self.mutator.set_root(left, self.mutator.root(node));
        self.mutator.truncate_roots(before + 1);
        Ok(left)
    }

    /// The sum over a tree, with safepoints: whoever walks for long has to let others stop.
    fn walk(&mut self, root: RootIndex, depth: u32) -> u64 {
        self.mutator.safepoint();
        let Some(node) = self.mutator.root(root) else { return 0 };
        if depth <= WALK_DEPTH {
            return sum_of(&self.mutator, &mut self.gaps, node);
        }
        let before = self.mutator.root_count();
        let number = self.mutator.word(node, 0);
        self.gaps.tick();
        let [left, right] =
            [0, 1].map(|slot| self.mutator.push_root(self.mutator.load(node, slot)));
        let sum = number + self.walk(left, depth - 1) + self.walk(right, depth - 1);
        self.mutator.truncate_roots(before);
        sum
    }
}

fn sum_of(mutator: &Mutator, gaps: &mut Gaps, node: Local<'_>) -> u64 {
    gaps.tick();
    let mut sum = mutator.word(node, 0);
    for slot in 0..2 {
        if let Some(child) = mutator.load(node, slot) {
            sum += sum_of(mutator, gaps, child);
        }
    }
    sum
}

impl Trees for Forest {
    type Tree = Tree;

    fn top_down(&mut self, depth: u32) -> Result<Tree, BenchError> {
        let before = self.mutator.root_count();
        let root = self.node()?;
        self.grow(depth, root)?;
        Ok(Tree { root, before, depth })
    }

    fn bottom_up(&mut self, depth: u32) -> Result<Tree, BenchError> {
        let before = self.mutator.root_count();
        Ok(Tree { root: self.build(depth)?, before, depth })
    }

    fn sum(&mut self, tree: &Tree) -> u64 {
        self.walk(tree.root, tree.depth)
    }

    fn top(&self, tree: &Tree) -> u64 {
        self.mutator.root(tree.root).map_or(0, |node| self.mutator.word(node, 0))
    }

    fn let_go(&mut self, tree: Tree) {
        self.mutator.truncate_roots(tree.before);
    }

    fn keep_array(&mut self, len: u32) -> Result<(), BenchError> {
        let root = self.mutator.alloc(Record { refs: 0, data_words: len })?;
        let array = self.mutator.root(root).expect("it was allocated just now");
        for (number, word) in (1..=len).zip(self.mutator.words(array)) {
            word.store((1.0 / f64::from(number)).to_bits(), Ordering::Relaxed);
        }
        self.array = Some(root);
        Ok(())
    }

    fn array_item(&self, index: u32) -> f64 {
        let array = self.array.and_then(|root| self.mutator.root(root));
        array.map_or(0.0, |array| f64::from_bits(self.mutator.word(array, index)))
    }

    fn gaps(&mut self) -> &mut Gaps {
        &mut self.gaps
    }
}
