//! Pages of zeros for new objects, copied into place.

use std::io;
use std::sync::atomic::AtomicU64;

use crate::addr::PageIndex;
use crate::counters::Counters;
use crate::raw::map::SideTable;
use crate::transport::anon_spaces::AnonSpaces;

/// Pages that one request copies.
const BATCH_PAGES: u32 = 16;

/// What is copied. Never written to, so that the system has one page of zeros for all of it.
#[derive(Debug)]
pub(crate) struct ZeroPages {
    words: SideTable<AtomicU64>,
    page_words: usize,
}

impl ZeroPages {
    pub(crate) fn new(page_words: usize) -> io::Result<Self> {
        let words = SideTable::new(BATCH_PAGES as usize * page_words, c"gc zeros")?;
        Ok(Self { words, page_words })
    }

    /// Has the kernel allocate `count` pages of zeros at `page`. No processor has to forget an address
    /// for it; when it returns they are there, whoever did it.
    pub(crate) fn install(
        &self,
        spaces: &AnonSpaces,
        page: PageIndex,
        count: u32,
        counters: &Counters,
    ) {
        let mut at = 0;
        while at < count {
            let pages = BATCH_PAGES.min(count - at);
            let zeros = &self.words[..pages as usize * self.page_words];
            spaces.copy_into_place(page.0 + at, zeros, self.page_words, counters);
            at += pages;
        }
    }
}
