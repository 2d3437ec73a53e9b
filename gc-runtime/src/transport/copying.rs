//! `copy`: the kernel allocates each page and copies into it; the old page is freed with madvise.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::addr::PageIndex;
use crate::compact::page_state::SourceIndex;
use crate::counters::Counters;
use crate::forward::Plan;
use crate::options::Transport;
use crate::raw::map::{Reservation, SideTable};
use crate::transport::anon_spaces::AnonSpaces;
use crate::transport::zero_pages::ZeroPages;
use crate::transport::{FAULT_CLUSTER_PAGES, PageTransport, SourceRun, Taker};

/// Pages of one collector's staging block: the longest run of one request.
const BLOCK_PAGES: u32 = 64;
/// Staging blocks; one per collector thread is needed.
const BLOCKS: u32 = u64::BITS;
/// Staging clusters for mutators in faults; one each, for as long as the fault lasts.
const CLUSTERS: u32 = u64::BITS;
/// Where the clusters begin among the staging pages.
const FIRST_CLUSTER_PAGE: u32 = BLOCKS * BLOCK_PAGES;
/// From-space is given back in pieces of this many pages.
const RELEASE_PAGES: u32 = 512;

/// The transport.
#[derive(Debug)]
pub(crate) struct Copying {
    spaces: AnonSpaces,
    /// Staging pages; their source numbers follow those of from-space's pages.
    buffers: SideTable<AtomicU64>,
    free_blocks: AtomicU64,
    free_clusters: AtomicU64,
    zeros: ZeroPages,
    from_pages: u32,
    page_words: usize,
    released: AtomicU32,
}

impl Copying {
    pub(crate) fn new(spaces: AnonSpaces, page_bytes: usize) -> io::Result<Self> {
        let page_words = page_bytes / size_of::<u64>();
        let pages = (FIRST_CLUSTER_PAGE + CLUSTERS * FAULT_CLUSTER_PAGES) as usize;
        let from_pages =
            u32::try_from(spaces.from.len() / page_bytes).expect("limited by the builder");
        Ok(Self {
            spaces,
            buffers: SideTable::new(pages * page_words, c"gc staging")?,
            free_blocks: AtomicU64::new(u64::MAX),
            free_clusters: AtomicU64::new(u64::MAX),
            zeros: ZeroPages::new(page_words)?,
            from_pages,
            page_words,
            released: AtomicU32::new(0),
        })
    }

    fn discard(&self, first: u32, count: u32, counters: &Counters) {
        let page_bytes = self.page_words * size_of::<u64>();
        counters.madvise_calls.add(1);
        counters.pages_released.add(count);
        // Memory that stays is given back at the end of the cycle.
        let _ = self.spaces.from.discard(first as usize * page_bytes, count as usize * page_bytes);
    }
}

/// Takes the lowest set bit, waiting until there is one.
fn take_bit(bits: &AtomicU64) -> u32 {
    loop {
        let word = bits.load(Ordering::Acquire);
        if word == 0 {
            std::thread::yield_now();
            continue;
        }
        let bit = word.trailing_zeros();
        let cleared = word & (word - 1);
        if bits.compare_exchange_weak(word, cleared, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            return bit;
        }
    }
}

impl PageTransport for Copying {
    fn kind(&self) -> Transport {
        Transport::Copy
    }

    fn heap(&self) -> &Reservation {
        &self.spaces.heap
    }

    fn from_words(&self) -> &[AtomicU64] {
        self.spaces.from.words()
    }

    fn flip(&self, plan: Plan, _resident: u32) -> io::Result<()> {
        self.released.store(plan.dense, Ordering::Relaxed);
        self.spaces.flip()
    }

    fn source_words(&self, source: SourceIndex) -> &[AtomicU64] {
        let (words, page) = match source.0.checked_sub(self.from_pages) {
            Some(buffer) => (&self.buffers[..], buffer),
            None => (self.spaces.from.words(), source.0),
        };
        let first = page as usize * self.page_words;
        &words[first..first + self.page_words]
    }

    fn slide_source(&self, from: PageIndex) -> Option<SourceIndex> {
        Some(SourceIndex(from.0))
    }

    fn stage(
        &self,
        taker: Taker,
        run: &mut SourceRun,
        _page: PageIndex,
        _want: u32,
        _counters: &Counters,
    ) -> Option<SourceIndex> {
        if *run == SourceRun::EMPTY {
            let (buffer, count) = match taker {
                Taker::Collector | Taker::LastResort => {
                    (take_bit(&self.free_blocks) * BLOCK_PAGES, BLOCK_PAGES)
                }
                Taker::Mutator | Taker::Helper => {
                    let cluster = take_bit(&self.free_clusters);
                    (FIRST_CLUSTER_PAGE + cluster * FAULT_CLUSTER_PAGES, FAULT_CLUSTER_PAGES)
                }
            };
            *run = SourceRun::new(SourceIndex(self.from_pages + buffer), count);
        }
        run.pop()
    }

    fn flushed(&self, run: &mut SourceRun) {
        if *run != SourceRun::EMPTY {
            *run = SourceRun::new(run.begin, BLOCK_PAGES);
        }
    }

    fn unstage(&self, run: &mut SourceRun, place: SourceIndex) {
        run.unpop(place);
    }

    fn give_back(&self, taker: Taker, run: SourceRun) {
        if run == SourceRun::EMPTY {
            return;
        }
        let buffer = run.begin.0 - self.from_pages;
        let (free, bit) = match taker {
            Taker::Collector | Taker::LastResort => (&self.free_blocks, buffer / BLOCK_PAGES),
            Taker::Mutator | Taker::Helper => {
                (&self.free_clusters, (buffer - FIRST_CLUSTER_PAGE) / FAULT_CLUSTER_PAGES)
            }
        };
        free.fetch_or(1 << bit, Ordering::Release);
    }

    fn install(&self, page: PageIndex, source: SourceIndex, count: u32, counters: &Counters) {
        let slides = source.0 < self.from_pages;
        let (words, first) = if slides {
            (self.spaces.from.words(), source.0 as usize)
        } else {
            (&self.buffers[..], (source.0 - self.from_pages) as usize)
        };
        let run = &words[first * self.page_words..(first + count as usize) * self.page_words];
        self.spaces.copy_into_place(page.0, run, self.page_words, counters);
        // Short runs are given back together with their neighbours.
        if slides && count >= BLOCK_PAGES {
            self.discard(source.0, count, counters);
        }
    }

    fn install_zeros(&self, page: PageIndex, count: u32, counters: &Counters) {
        self.zeros.install(&self.spaces, page, count, counters);
    }

    fn emptied(
        &self,
        pages: Range<u32>,
        _whole: &dyn Fn(u32) -> bool,
        _run: &mut SourceRun,
        counters: &Counters,
    ) {
        let released = self.released.load(Ordering::Acquire);
        if pages.end >= released + RELEASE_PAGES
            && self
                .released
                .compare_exchange(released, pages.end, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        {
            self.discard(released, pages.end - released, counters);
        }
    }

    fn close(&self) -> io::Result<()> {
        self.spaces.close()
    }

    fn release(&self, counters: &Counters) {
        counters.madvise_calls.add(1);
        self.spaces.release();
    }
}
