//! Where the emulated compaction builds its next pages.

use std::collections::VecDeque;
use std::ops::Range;

/// Emptied pages to build in, the last ones first: they may still be in the cache.
#[derive(Debug)]
pub(crate) struct Places(VecDeque<Range<usize>>);

impl Places {
    /// Those of `run`.
    pub(crate) fn new(run: Range<usize>) -> Self {
        Self(VecDeque::from([run]))
    }

    /// `run` has been emptied.
    pub(crate) fn put(&mut self, run: Range<usize>) {
        self.0.push_front(run);
    }

    /// `count` places, neighbours if there are as many somewhere: so that they move together.
    pub(crate) fn take(&mut self, mut count: usize) -> Vec<usize> {
        let mut taken = Vec::with_capacity(count);
        while count > 0 {
            let fits = self.0.iter().position(|run| run.len() >= count);
            let run = &mut self.0[fits.unwrap_or(0)];
            let end = run.end.min(run.start + count);
            count -= end - run.start;
            taken.extend(run.start..end);
            run.start = end;
            self.0.retain(|run| !run.is_empty());
        }
        taken
    }

    /// Keeps the last `count`; what is beyond them.
    pub(crate) fn keep(&mut self, count: usize) -> Vec<Range<usize>> {
        let mut beyond = Vec::new();
        let mut kept = 0;
        for run in &mut self.0 {
            let end = run.end.min(run.start + (count - kept));
            kept += end - run.start;
            if end < run.end {
                beyond.push(end..run.end);
            }
            run.end = end;
        }
        self.0.retain(|run| !run.is_empty());
        beyond
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_taken_together_where_there_are_enough() {
        let mut places = Places::new(0..4);
        places.put(10..13);
        assert_eq!(places.take(4), [0, 1, 2, 3]);
        assert_eq!(places.take(2), [10, 11]);
        places.put(20..22);
        assert_eq!(places.take(3), [20, 21, 12], "too few: from several runs");
    }

    #[test]
    fn what_is_beyond_those_kept_is_given_up() {
        let mut places = Places::new(0..8);
        places.put(10..13);
        let beyond = places.keep(5);
        assert_eq!((beyond.len(), &beyond[0]), (1, &(2..8)));
        assert_eq!(places.keep(5), []);
        assert_eq!(places.take(5), [10, 11, 12, 0, 1]);
    }
}
