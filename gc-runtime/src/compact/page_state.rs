//! Who owns a page of the new heap, and how far it is. Every transition lives here.
//!
//! | from | to | who | ordering | what it publishes |
//! |---|---|---|---|---|
//! | `Unprocessed` (0) | `Claimed` | any thread, one wins | acquire | nothing; the plan was published with the phase |
//! | `Claimed` | `Staged(source)` | the thread that claimed | release | the words of the source page |
//! | `Claimed` | `Installed` | the thread that claimed | release | that the page is in place, or has no content |
//! | `Staged(source)` | `Installed` | any thread that installed it, or saw that somebody did | release | that the kernel has the page in place |
//! | any | `Unprocessed` | the collector, when nobody can fault | relaxed | |
//!
//! Zero means unprocessed, so that a fresh table needs no writing. There is no state for being
//! inside the system call: any thread may install a staged page, the kernel lets one of them win
//! and tells the others so, and nobody waits for a thread that was put to sleep in between.

use crate::addr::PageIndex;
use crate::sync::{AtomicU32, Ordering};

const TAG_BITS: u32 = 2;
const TAG_MASK: u32 = (1 << TAG_BITS) - 1;
const UNPROCESSED: u32 = 0;
const CLAIMED: u32 = 1;
const STAGED: u32 = 2;
const INSTALLED: u32 = 3;

/// Where a finished page waits to be installed; what the number means is the transport's affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SourceIndex(pub(crate) u32);

impl SourceIndex {
    /// Numbers must stay below this to fit beside the state.
    pub(crate) const LIMIT: u32 = 1 << (u32::BITS - TAG_BITS);
}

/// The state of one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageState {
    /// Nobody has it.
    Unprocessed,
    /// Exactly one thread is filling it.
    Claimed,
    /// Its content is final and lies at the source; any thread may install it.
    Staged(SourceIndex),
    /// In place for mutators. Final.
    Installed,
}

impl PageState {
    fn decode(word: u32) -> Self {
        match word & TAG_MASK {
            UNPROCESSED => Self::Unprocessed,
            CLAIMED => Self::Claimed,
            STAGED => Self::Staged(SourceIndex(word >> TAG_BITS)),
            _ => Self::Installed,
        }
    }
}

/// The right and the duty to fill one page.
#[derive(Debug)]
#[must_use = "a claimed page must be published, or everyone waits for it"]
pub(crate) struct Claim {
    page: PageIndex,
}

impl Claim {
    pub(crate) fn page(&self) -> PageIndex {
        self.page
    }
}

/// A claimed page whose content is complete.
#[derive(Debug)]
#[must_use = "a source page must be published"]
pub(crate) struct SourcePage {
    claim: Claim,
    source: SourceIndex,
}

impl SourcePage {
    /// Says that the words at `source` are what the claimed page shall hold.
    pub(crate) fn complete(claim: Claim, source: SourceIndex) -> Self {
        Self { claim, source }
    }
}

/// The states of all pages, over some table of atomic words.
#[derive(Debug)]
pub(crate) struct PageStates<T> {
    table: T,
}

impl<T: std::ops::Deref<Target = [AtomicU32]>> PageStates<T> {
    pub(crate) fn new(table: T) -> Self {
        Self { table }
    }

    /// Looks at a page.
    #[inline]
    pub(crate) fn get(&self, page: PageIndex) -> PageState {
        PageState::decode(self.table[page.index()].load(Ordering::Acquire))
    }

    /// Takes an unprocessed page; the loser learns what the page is instead.
    #[inline]
    pub(crate) fn claim(&self, page: PageIndex) -> Result<Claim, PageState> {
        match self.table[page.index()].compare_exchange(
            UNPROCESSED,
            CLAIMED,
            Ordering::Acquire,
            Ordering::Acquire,
        ) {
            Ok(_) => Ok(Claim { page }),
            Err(other) => Err(PageState::decode(other)),
        }
    }

    /// Lets any thread install a finished page from now on.
    #[inline]
    pub(crate) fn publish(&self, page: SourcePage) {
        let SourcePage { claim, source } = page;
        debug_assert!(source.0 < SourceIndex::LIMIT, "a source number that does not fit");
        debug_assert_eq!(self.get(claim.page), PageState::Claimed);
        self.table[claim.page.index()].store(source.0 << TAG_BITS | STAGED, Ordering::Release);
    }

    /// Says that a claimed page needs no source: it has no content, or its claimer put it in place.
    pub(crate) fn settle(&self, claim: Claim) {
        debug_assert_eq!(self.get(claim.page), PageState::Claimed);
        self.table[claim.page.index()].store(INSTALLED, Ordering::Release);
    }

    /// Says that a staged page is in place, whoever put it there. True for the first to say so.
    #[inline]
    pub(crate) fn installed(&self, page: PageIndex) -> bool {
        let before = self.table[page.index()].swap(INSTALLED, Ordering::AcqRel);
        debug_assert!(before & TAG_MASK >= STAGED, "page {page:?} was never filled");
        before & TAG_MASK != INSTALLED
    }
}

#[cfg(not(loom))]
impl PageStates<crate::raw::map::SideTable<AtomicU32>> {
    /// Forgets the first `pages` pages. Nobody may fault or install meanwhile.
    pub(crate) fn reset(&self, pages: u32) {
        self.table.clear(0..pages as usize);
    }

    /// Gives back the memory of the states from page `pages` on: they are unprocessed.
    pub(crate) fn shed(&self, pages: u32) {
        self.table.shed(pages as usize);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn states(pages: usize) -> PageStates<Vec<AtomicU32>> {
        PageStates::new((0..pages).map(|_| AtomicU32::new(0)).collect())
    }

    #[test]
    fn a_page_goes_from_unprocessed_to_installed_in_order() {
        let states = states(2);
        let page = PageIndex(1);
        assert_eq!(states.get(page), PageState::Unprocessed);
        let claim = states.claim(page).unwrap();
        assert_eq!(states.claim(page).unwrap_err(), PageState::Claimed);
        states.publish(SourcePage::complete(claim, SourceIndex(77)));
        assert_eq!(states.get(page), PageState::Staged(SourceIndex(77)));
        assert!(states.installed(page));
        assert!(!states.installed(page));
        assert_eq!(states.claim(page).unwrap_err(), PageState::Installed);
        assert_eq!(states.get(PageIndex(0)), PageState::Unprocessed);
    }

    #[test]
    fn an_empty_page_needs_no_source() {
        let states = states(1);
        let claim = states.claim(PageIndex(0)).unwrap();
        states.settle(claim);
        assert_eq!(states.get(PageIndex(0)), PageState::Installed);
    }
}

#[cfg(all(test, loom))]
mod loom_tests;
