//! What is done with trees, whatever they are made of.

use super::{Done, Gaps};
use crate::error::BenchError;

/// Doubles that stay alive beside the long-lived tree of `gcbench`.
pub(super) const ARRAY: u32 = 500_000;

/// From this depth on `gcbench` makes more short-lived trees, so that there are cycles.
const GROWS_FROM: u32 = 21;

/// The programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    GcBench,
    Binary,
    Threads,
    /// The same, each thread kept on a processor of its own.
    Bound,
}

impl Program {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "gcbench" => Some(Self::GcBench),
            "binary" => Some(Self::Binary),
            "threads" => Some(Self::Threads),
            "bound" => Some(Self::Bound),
            _ => None,
        }
    }
}

/// Trees of one kind, on one thread. Trees are dropped in the opposite order of their making.
pub(super) trait Trees {
    /// Holds a tree alive.
    type Tree;

    /// A tree whose nodes are made before their children.
    fn top_down(&mut self, depth: u32) -> Result<Self::Tree, BenchError>;

    /// A tree whose nodes are made after their children.
    fn bottom_up(&mut self, depth: u32) -> Result<Self::Tree, BenchError>;

    /// The sum over all nodes.
    fn sum(&mut self, tree: &Self::Tree) -> u64;

    /// The number in the root alone.
    fn top(&self, tree: &Self::Tree) -> u64;

    /// Lets go of a tree.
    fn let_go(&mut self, tree: Self::Tree);

    /// An array of the numbers 1, 1/2, 1/3, … that stays alive.
    fn keep_array(&mut self, len: u32) -> Result<(), BenchError>;

    /// One of its numbers.
    fn array_item(&self, index: u32) -> f64;

    /// The intervals that this thread has seen.
    fn gaps(&mut self) -> &mut Gaps;

    /// Runs a program of one thread.
    fn run(mut self, program: Program, depth: u32) -> Result<Done, BenchError>
    where
        Self: Sized,
    {
        self.gaps().begin();
        let result = match program {
            Program::GcBench => gcbench(&mut self, depth)?,
            Program::Binary | Program::Threads | Program::Bound => binary(&mut self, depth)?,
        };
        self.gaps().finish();
        Ok(Done { result, gaps: std::mem::replace(self.gaps(), Gaps::new()) })
    }
}

fn gcbench<T: Trees>(trees: &mut T, depth: u32) -> Result<u64, BenchError> {
    let mut result = 0;
    trees.keep_array(ARRAY)?;
    let long_lived = trees.top_down(depth)?;
    let growth = depth.saturating_sub(GROWS_FROM);
    for depth in (4..=16).step_by(2) {
        let times = ((2 << 18) / ((2 << depth) - 1) * 2) << growth;
        for _ in 0..times {
            let tree = trees.top_down(depth)?;
            result += trees.top(&tree);
            trees.let_go(tree);
        }
        for _ in 0..times {
            let tree = trees.bottom_up(depth)?;
            result += trees.top(&tree);
            trees.let_go(tree);
        }
    }
    result += trees.sum(&long_lived) + u64::from(trees.array_item(1000) == 1.0 / 1001.0);
    trees.let_go(long_lived);
    Ok(result)
}

fn binary<T: Trees>(trees: &mut T, depth: u32) -> Result<u64, BenchError> {
    let mut result = 0;
    let long_lived = trees.bottom_up(depth)?;
    for small in (4..=depth).step_by(4) {
        for _ in 0..1 << (depth - small + 2) {
            let tree = trees.bottom_up(small)?;
            result += trees.sum(&tree);
            trees.let_go(tree);
        }
    }
    result += trees.sum(&long_lived);
    trees.let_go(long_lived);
    Ok(result)
}
