//! One pass over a heap: filled, collected, checked, emptied.

use gc_runtime::{Heap, Mutator};

use crate::contender::Cycle;
use crate::effort::Effort;
use crate::error::BenchError;
use crate::shape::{Shape, Table};

/// One pass over a heap: it is filled, collected, checked and emptied.
#[derive(Debug, Clone, Copy)]
pub struct Pass<T> {
    /// Filling it.
    pub filling: Effort,
    /// What was seen between filling and collecting.
    pub seen: T,
    /// The cycle, as the heap tells it.
    pub cycle: Cycle,
    /// The same cycle, seen from outside.
    pub collecting: Effort,
    /// Reading every item afterwards.
    pub checking: Effort,
}

impl<T> Pass<T> {
    /// Fills an empty heap with `used` bytes, has `look` look at it, collects, checks every item,
    /// and empties the heap again, so that every pass finds it alike.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`BenchError::Damaged`] | an item is missing or overwritten | the heap is broken: throw the figures away |
    /// | [`BenchError::NoCycle`] | nothing was collected | |
    /// | any other | the heap could not be filled, or `look` failed | see the reason |
    pub fn over(
        heap: &Heap,
        mutator: &mut Mutator,
        used: u64,
        shape: Shape,
        seed: u64,
        look: impl FnOnce() -> Result<T, BenchError>,
    ) -> Result<Self, BenchError> {
        let (table, filling) = Effort::of(|| Table::fill(mutator, used, shape, seed))?;
        let table = table?;
        let seen = look()?;
        let before = heap.stats();
        let ((), collecting) = Effort::of(|| mutator.collect())?;
        let after = heap.stats();
        let (checked, checking) = Effort::of(|| table.check(mutator))?;
        checked?;
        table.clear(mutator);
        mutator.collect();
        if after.cycles == before.cycles {
            return Err(BenchError::NoCycle);
        }
        let cycle = Cycle::between(&before, &after);
        Ok(Self { filling, seen, cycle, collecting, checking })
    }
}
