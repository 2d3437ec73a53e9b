//! What threads that mark hand to each other, many at a time.

use crossbeam_deque::Steal;

use crate::sync::Injector;

/// Batches that nobody has taken yet.
#[derive(Debug, Default)]
pub(crate) struct Batches<T>(Injector<Vec<T>>);

impl<T> Batches<T> {
    /// Adds a batch; an empty one is not worth it.
    pub(crate) fn push(&self, batch: Vec<T>) {
        if !batch.is_empty() {
            self.0.push(batch);
        }
    }

    /// The oldest batch.
    pub(crate) fn take(&self) -> Option<Vec<T>> {
        loop {
            match self.0.steal() {
                Steal::Success(batch) => return Some(batch),
                Steal::Empty => return None,
                Steal::Retry => {}
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
