//! Trees of boxes.

use super::{Forest, Grow, array_word, child_label, node_value};
use crate::error::Failure;
use crate::malloc_memory::MallocHand;
use crate::measure::StepClock;
use crate::memory::Hand;

#[derive(Debug)]
struct Node {
    label: u64,
    /// The classic node has two words of data.
    zero: u64,
    children: [Option<Box<Node>>; 2],
}

pub(super) struct MallocForest {
    hand: MallocHand,
    tree: Option<Box<Node>>,
    array: Vec<u64>,
    long_lived_depth: u32,
}

impl MallocForest {
    pub(super) fn new() -> Self {
        Self { hand: MallocHand::new(), tree: None, array: Vec::new(), long_lived_depth: 0 }
    }

    fn node(&mut self, label: u64, children: [Option<Box<Node>>; 2]) -> Box<Node> {
        self.hand.count_allocation();
        Box::new(Node { label, zero: 0, children })
    }

    fn populate(&mut self, node: &mut Node, depth: u32) {
        if depth == 0 {
            return;
        }
        for side in 0..2u64 {
            let child = self.node(child_label(node.label, side), [None, None]);
            node.children[usize::from(side == 1)] = Some(child);
        }
        for child in node.children.iter_mut().flatten() {
            self.populate(child, depth - 1);
        }
    }

    fn build_up(&mut self, depth: u32, label: u64) -> Box<Node> {
        if depth == 0 {
            return self.node(label, [None, None]);
        }
        let left = self.build_up(depth - 1, child_label(label, 0));
        let right = self.build_up(depth - 1, child_label(label, 1));
        self.node(label, [Some(left), Some(right)])
    }

    fn value(&mut self, node: &Node, depth: u32) -> u64 {
        if depth.is_multiple_of(8) {
            self.hand.poll();
        }
        node.children
            .iter()
            .flatten()
            .fold(node_value(node.label).wrapping_add(node.zero), |sum, child| {
                sum.wrapping_add(self.value(child, depth.saturating_sub(1)))
            })
    }
}

impl Hand for MallocForest {
    fn clock(&mut self) -> &mut StepClock {
        self.hand.clock()
    }

    fn blocking<R>(&mut self, wait: impl FnOnce() -> R) -> R {
        wait()
    }
}

impl Forest for MallocForest {
    fn passing(&mut self, grow: Grow, depth: u32, label: u64) -> Result<u64, Failure> {
        let tree = match grow {
            Grow::TopDown => {
                let mut root = self.node(label, [None, None]);
                self.populate(&mut root, depth);
                root
            }
            Grow::BottomUp => self.build_up(depth, label),
        };
        let value = self.value(&tree, depth);
        // Freeing is part of the work; a collector does it beside the program.
        drop(tree);
        self.hand.poll();
        Ok(value)
    }

    fn plant(&mut self, depth: u32, array_words: u32, label: u64) -> Result<(), Failure> {
        self.long_lived_depth = depth;
        self.array = (0..u64::from(array_words)).map(array_word).collect();
        let mut root = self.node(label, [None, None]);
        self.populate(&mut root, depth);
        self.tree = Some(root);
        Ok(())
    }

    fn planted(&mut self) -> Result<u64, Failure> {
        let tree = self.tree.take();
        let value = tree.as_ref().map_or(0, |tree| self.value(tree, self.long_lived_depth));
        self.tree = tree;
        let sum = self.array.iter().step_by(512);
        Ok(sum.fold(value, |sum, word| sum.wrapping_add(*word)))
    }

    fn into_clock(self) -> StepClock {
        self.hand.into_clock()
    }
}
