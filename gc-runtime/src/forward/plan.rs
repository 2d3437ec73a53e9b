//! What becomes of each page in this cycle.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::addr::PageIndex;
use crate::forward::offset_table::PackedPage;

/// The outcome of the summary and the flip, in pages.
///
/// ```text
/// old heap   | dense | ......... live and dead ......... | born in this cycle | (free)
///            0     dense                               black                 used
/// new heap   | dense | compacted | born in this cycle | fresh
///            0     dense       compact              post
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Plan {
    /// Pages of the dense prefix: they keep their place, dead words included.
    pub(crate) dense: u32,
    /// End of the compacted pages in the new heap.
    pub(crate) compact: u32,
    /// First page of objects born while the cycle ran, in the old heap.
    pub(crate) black: u32,
    /// End of the pages in use at the flip, in the old heap.
    pub(crate) used: u32,
}

/// How the content of a page of the new heap comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageKind {
    /// The whole page `from`, with references updated.
    Slid {
        /// The page of the old heap.
        from: PageIndex,
    },
    /// Live words from one or more pages, packed.
    Compacted(PackedPage),
    /// Zeros: memory for new objects.
    Fresh,
}

impl Plan {
    /// End of the pages with content in the new heap; allocation goes on here after the flip.
    pub(crate) fn post(self) -> u32 {
        self.compact + (self.used - self.black)
    }

    /// By how many pages the objects born in this cycle move down.
    pub(crate) fn slide(self) -> u32 {
        self.black - self.compact
    }
}

/// The plan of the current cycle, readable from fault handlers.
///
/// Written while no handler can run (before the flip is published); published by the phase.
#[derive(Debug, Default)]
pub(crate) struct PlanCell {
    dense: AtomicU32,
    compact: AtomicU32,
    black: AtomicU32,
    used: AtomicU32,
}

impl PlanCell {
    pub(crate) fn set(&self, plan: Plan) {
        self.dense.store(plan.dense, Ordering::Relaxed);
        self.compact.store(plan.compact, Ordering::Relaxed);
        self.black.store(plan.black, Ordering::Relaxed);
        self.used.store(plan.used, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Plan {
        Plan {
            dense: self.dense.load(Ordering::Relaxed),
            compact: self.compact.load(Ordering::Relaxed),
            black: self.black.load(Ordering::Relaxed),
            used: self.used.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_objects_slide_by_what_was_compacted() {
        let plan = Plan { dense: 2, compact: 5, black: 9, used: 12 };
        assert_eq!((plan.post(), plan.slide()), (8, 4));
    }
}
