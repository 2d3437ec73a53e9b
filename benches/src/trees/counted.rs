//! Trees on `Rc`: freed when the last reference goes.

use std::cell::OnceCell;
use std::rc::Rc;

use super::Done;
use super::gaps::Gaps;
use super::program::{Program, Trees};
use crate::error::BenchError;

/// A node; children are set at most once.
#[derive(Debug)]
pub(super) struct Node {
    left: OnceCell<Rc<Node>>,
    right: OnceCell<Rc<Node>>,
    number: u32,
    _other: u32,
}

/// The trees of one thread.
#[derive(Debug)]
pub(super) struct Forest {
    array: Vec<f64>,
    gaps: Gaps,
}

impl Default for Forest {
    fn default() -> Self {
        Self { array: Vec::new(), gaps: Gaps::new() }
    }
}

impl Forest {
    pub(super) fn run(self, program: Program, depth: u32) -> Result<Done, BenchError> {
        Trees::run(self, program, depth)
    }

    fn node(&mut self) -> Rc<Node> {
        let node = Node { left: OnceCell::new(), right: OnceCell::new(), number: 1, _other: 0 };
        let node = Rc::new(node);
        self.gaps.tick();
        node
    }

    fn grow(&mut self, depth: u32, parent: &Node) {
        if depth == 0 {
            return;
        }
        let left = self.node();
        let right = self.node();
        self.grow(depth - 1, parent.left.get_or_init(|| left));
        self.grow(depth - 1, parent.right.get_or_init(|| right));
    }

    fn build(&mut self, depth: u32) -> Rc<Node> {
        if depth == 0 {
            return self.node();
        }
        let left = self.build(depth - 1);
        let right = self.build(depth - 1);
        let node = self.node();
        node.left.get_or_init(|| left);
        node.right.get_or_init(|| right);
        node
    }
}

fn sum_of(node: &Node, gaps: &mut Gaps) -> u64 {
    gaps.tick();
    let mut sum = u64::from(node.number);
    for child in [&node.left, &node.right] {
        sum += child.get().map_or(0, |child| sum_of(child, gaps));
    }
    sum
}

impl Trees for Forest {
    type Tree = Rc<Node>;

    fn top_down(&mut self, depth: u32) -> Result<Rc<Node>, BenchError> {
        let root = self.node();
        self.grow(depth, &root);
        Ok(root)
    }

    fn bottom_up(&mut self, depth: u32) -> Result<Rc<Node>, BenchError> {
        Ok(self.build(depth))
    }

    fn sum(&mut self, tree: &Rc<Node>) -> u64 {
        sum_of(tree, &mut self.gaps)
    }

    fn top(&self, tree: &Rc<Node>) -> u64 {
        u64::from(tree.number)
    }

    fn let_go(&mut self, tree: Rc<Node>) {
        drop(tree);
    }

    fn keep_array(&mut self, len: u32) -> Result<(), BenchError> {
        self.array = (0..len).map(|index| 1.0 / f64::from(index + 1)).collect();
        Ok(())
    }

    fn array_item(&self, index: u32) -> f64 {
        self.array[index as usize]
    }

    fn gaps(&mut self) -> &mut Gaps {
        &mut self.gaps
    }
}
