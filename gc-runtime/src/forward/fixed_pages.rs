//! Pages that must move as a whole, or not at all, whatever lives on them.

use std::ops::Range;

/// Why a page keeps its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fix {
    /// An object on it must keep its place within the page.
    Whole,
    /// An object on it must keep its address.
    Pinned,
}

/// Such pages of the old heap, in order. Neither kind is common.
#[derive(Debug, Default)]
pub(crate) struct FixedPages {
    runs: Vec<(Range<u32>, Fix)>,
}

impl FixedPages {
    /// Collects runs of pages, in any order and overlapping as they like.
    pub(crate) fn new(mut runs: Vec<(Range<u32>, Fix)>) -> Self {
        runs.sort_by_key(|(pages, _)| pages.start);
        Self { runs }
    }

    /// Walks over the pages in order.
    pub(crate) fn walk(&self) -> FixedWalk<'_> {
        FixedWalk { rest: &self.runs, current: Vec::new() }
    }
}

/// See [`FixedPages::walk`].
#[derive(Clone, Debug)]
pub(crate) struct FixedWalk<'a> {
    rest: &'a [(Range<u32>, Fix)],
    current: Vec<&'a (Range<u32>, Fix)>,
}

impl FixedWalk<'_> {
    /// What is said of `page`, which is not before the page last asked for.
    pub(crate) fn at(&mut self, page: u32) -> Option<Fix> {
        if self.rest.is_empty() && self.current.is_empty() {
            return None;
        }
        while let Some((run, rest)) = self.rest.split_first()
            && run.0.start <= page
        {
            self.current.push(run);
            self.rest = rest;
        }
        self.current.retain(|run| run.0.end > page);
        self.current.iter().map(|run| run.1).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_stronger_than_a_whole_page() {
        let fixed =
            FixedPages::new(vec![(5..9, Fix::Whole), (2..3, Fix::Whole), (7..8, Fix::Pinned)]);
        let mut walk = fixed.walk();
        let found: Vec<_> = (0..10).map(|page| walk.at(page)).collect();
        let (whole, pinned) = (Some(Fix::Whole), Some(Fix::Pinned));
        assert_eq!(found, [None, None, whole, None, None, whole, whole, pinned, whole, None]);
    }
}
