//! Boehm's GCBench: a long-lived tree and array per thread, and many short-lived trees beside them.

mod gc_forest;
mod malloc_forest;

use hdrhistogram::Histogram;

use super::crew::{self, Place};
use crate::cli::JobArgs;
use crate::error::Failure;
use crate::measure::StepClock;
use crate::memory::{Hand, Memory, Outcome};
use crate::progress::Progress;
use crate::random::mix;

/// How deep, how often, how many.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    seed: u64,
    threads: usize,
    /// Depth of the long-lived tree, and of the one that stretches the heap before it.
    long_lived_depth: u32,
    array_words: u32,
    /// Rounds of short-lived trees of every depth.
    rounds: u64,
}

impl Plan {
    pub(crate) fn new(job: &JobArgs) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the factor is from 0.001 to 1000"
        )]
        let nodes = (LONG_LIVED_NODES * job.scale).max(16.0) as u64;
        Self {
            seed: job.seed,
            threads: job.threads as usize,
            long_lived_depth: nodes.ilog2(),
            array_words: u32::try_from(nodes / 2).unwrap_or(u32::MAX / 2),
            rounds: job.rounds.map_or(ROUNDS, u64::from),
        }
    }

    pub(crate) fn rounds(&self) -> u64 {
        self.rounds * self.threads as u64
    }

    pub(crate) fn default_heap_mib(&self) -> u32 {
        let tree_bytes = NODE_BYTES << (self.long_lived_depth + 1);
        let bytes = 2 * tree_bytes + 16 * u64::from(self.array_words);
        u32::try_from(((bytes * self.threads as u64) >> 20) + 16).unwrap_or(u32::MAX)
    }
}

const LONG_LIVED_NODES: f64 = 1_100_000.0;
const NODE_BYTES: u64 = 40;
const ROUNDS: u64 = 20;
/// Short-lived trees have even depths from this one on.
const SMALLEST_DEPTH: u32 = 4;

/// Which end of a tree is built first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grow {
    /// A parent before its children: stores references into old objects.
    TopDown,
    /// Children before their parent.
    BottomUp,
}

/// A thread's trees. The value of a tree is the mixed sum of its nodes' labels.
trait Forest: Hand {
    /// Builds a tree of this depth, reads it and lets it go.
    fn passing(&mut self, grow: Grow, depth: u32, label: u64) -> Result<u64, Failure>;

    /// Builds the long-lived tree and the long-lived array.
    fn plant(&mut self, depth: u32, array_words: u32, label: u64) -> Result<(), Failure>;

    /// Reads the long-lived tree and array.
    fn planted(&mut self) -> Result<u64, Failure>;

    fn into_clock(self) -> StepClock;
}

/// The label of a node's child.
fn child_label(label: u64, side: u64) -> u64 {
    label.wrapping_mul(2).wrapping_add(side)
}

/// What a node of this label adds to the value of its tree.
fn node_value(label: u64) -> u64 {
    mix(label, 0x7ee5)
}

/// What word `at` of the long-lived array holds.
fn array_word(at: u64) -> u64 {
    // The classic benchmark keeps 1 / i there.
    (1.0 / (at + 1) as f64).to_bits()
}

/// Runs the workload on a memory.
pub(crate) fn run(plan: &Plan, memory: &Memory, progress: &Progress) -> Result<Outcome, Failure> {
    crew::run(plan.threads, memory, |place| match (memory, place.kept) {
        (Memory::Heap(heap), Some(kept)) => {
            let forest = gc_forest::GcForest::new(heap, kept.clone())?;
            grow(plan, &place, forest, progress)
        }
        _ => grow(plan, &place, malloc_forest::MallocForest::new(), progress),
    })
}

/// One thread: stretch, plant, then rounds of short-lived trees.
fn grow<F: Forest>(
    plan: &Plan,
    place: &Place<'_>,
    mut forest: F,
    progress: &Progress,
) -> Result<(u64, Histogram<u64>), Failure> {
    let label = mix(plan.seed, place.thread);
    let depth = plan.long_lived_depth;
    let mut sum = forest.passing(Grow::TopDown, depth, label)?;
    forest.plant(depth, plan.array_words, label)?;
    for round in 0..plan.rounds {
        forest.blocking(|| place.gate.pass())?;
        forest.clock().resume();
        for tree_depth in (SMALLEST_DEPTH..depth).step_by(2) {
            // The same number of nodes for every depth, as in the original.
            let trees = 1u64 << (depth - tree_depth).saturating_sub(3);
            for tree in 0..trees {
                let grow = if tree % 2 == 0 { Grow::TopDown } else { Grow::BottomUp };
                sum = mix(sum, forest.passing(grow, tree_depth, mix(round, tree))?);
            }
        }
        sum = mix(sum, forest.planted()?);
        progress.advance();
    }
    Ok((sum, forest.into_clock().into_gaps()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Bars;

    fn plan() -> Plan {
        Plan { seed: 1, threads: 2, long_lived_depth: 12, array_words: 1000, rounds: 3 }
    }

    #[test]
    fn heap_and_malloc_grow_the_same_trees() {
        let progress = Progress::new(Bars::Hidden, "test", 1);
        let heap = gc_runtime::Heap::builder().limit_bytes(16 << 20).build().unwrap();
        let on_heap = run(&plan(), &Memory::Heap(heap.clone()), &progress).unwrap();
        let on_malloc = run(&plan(), &Memory::Malloc, &progress).unwrap();
        assert_eq!(on_heap.checksum, on_malloc.checksum);
        assert!(heap.verify().unwrap().objects > 4000, "the long-lived trees are still there");
    }
}
