//! The collector thread keeps off the processors of running mutators, where there are just enough for
//! all.
//!
//! Whoever wakes it may get it for company: among few processors the kernel's scheduler does not always
//! look for an idle one, and leaves two busy threads on one, in turns of a tick each, for tens of
//! milliseconds.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::cycle::Collector;
use crate::model::ObjectModel;
use crate::processor;

/// What the collector knows about choosing its processor.
#[derive(Debug, Default)]
pub(crate) struct Apart {
    /// The kernel does not let it; some sandboxes do not.
    refused: AtomicBool,
}

impl<M: ObjectModel> Collector<M> {
    /// By a collector thread, never in a pause: if it is the only one, and where a mutator was last seen
    /// that runs or will in a moment, it goes to a processor where none was.
    pub(crate) fn keep_apart(&self) {
        if self.apart.refused.load(Ordering::Relaxed) || rayon::current_num_threads() > 1 {
            return;
        }
        let Some(here) = processor::current() else { return };
        let mutators = self.core.safepoints.mutators();
        let there = mutators.iter().filter(|mutator| mutator.needs_processor());
        let taken: Vec<Option<usize>> = there.map(|mutator| mutator.last_seen.get()).collect();
        drop(mutators);
        if !taken.contains(&Some(here)) {
            return;
        }
        let moved = processor::allowed().and_then(|allowed| {
            let free = free_processor(processor::numbers(&allowed), &taken);
            free.map(|free| processor::move_to(free, &allowed)).transpose()
        });
        match moved {
            Ok(None) => {}
            Ok(Some(())) => self.core.space.counters.moved_apart.add(1),
            Err(error) => {
                tracing::debug!(target: "gc", %error, "the collector cannot choose its processor");
                self.apart.refused.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// The first of the processors `allowed` where no running mutator was last seen; `taken` is where each
/// was, if it was.
///
/// None if there are more than mutators and collector need: the scheduler finds an idle one among them
/// by itself, and the first may be somebody else's.
fn free_processor(
    mut allowed: impl Iterator<Item = usize> + Clone,
    taken: &[Option<usize>],
) -> Option<usize> {
    match allowed.clone().nth(taken.len() + 1) {
        Some(_) => None,
        None => allowed.find(|&processor| !taken.contains(&Some(processor))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_processor_without_a_mutator_is_free() {
        assert_eq!(free_processor([0, 1].into_iter(), &[Some(0)]), Some(1));
        assert_eq!(free_processor([0, 1].into_iter(), &[Some(1)]), Some(0));
        assert_eq!(free_processor([3, 5, 9].into_iter(), &[Some(5), Some(3)]), Some(9));
        assert_eq!(free_processor([3, 5, 9].into_iter(), &[Some(3), Some(3)]), Some(5));
    }

    #[test]
    fn no_processor_is_free_where_each_has_a_mutator() {
        assert_eq!(free_processor([0].into_iter(), &[Some(0)]), None);
        assert_eq!(free_processor([0, 1].into_iter(), &[Some(1), Some(0)]), None);
        assert_eq!(free_processor([0, 1].into_iter(), &[Some(0), Some(1), None]), None);
    }

    #[test]
    fn more_processors_than_threads_are_left_to_the_scheduler() {
        assert_eq!(free_processor([0, 1, 2].into_iter(), &[Some(0)]), None);
        assert_eq!(free_processor([0, 1, 2].into_iter(), &[Some(0), None]), Some(1));
    }
}
