//! `stw`: no faults; everything is compacted in the pause, in place, in address order.
//!
//! A page is built in scratch memory and copied over the heap page with its number. That page's own
//! words have been taken by then: in a sliding compaction no word moves up, so that page `t` only
//! takes from page `t` or above. One thread does it, in order.

use std::io;
use std::ops::Range;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use crate::addr::PageIndex;
use crate::compact::page_state::SourceIndex;
use crate::counters::Counters;
use crate::forward::Plan;
use crate::options::Transport;
use crate::raw::map::{Reservation, SideTable};
use crate::raw::words;
use crate::transport::{Compaction, PageTransport, SourceRun, Taker};

/// Scratch pages: enough to batch, few enough to stay in the cache.
const SCRATCH_PAGES: u32 = 16;

/// Whether putting pages in place is part of the pause's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placing {
    /// It is.
    Counted,
    /// It is done, and its time left out: the floor under all transports.
    LeftOut,
}

/// The transport.
#[derive(Debug)]
pub(crate) struct InPause {
    heap: Reservation,
    scratch: SideTable<AtomicU64>,
    placing: Placing,
    page_words: usize,
}

impl InPause {
    pub(crate) fn new(heap: Reservation, placing: Placing, page_bytes: usize) -> io::Result<Self> {
        heap.back_with_memory()?;
        heap.name(c"gc heap");
        let page_words = page_bytes / size_of::<u64>();
        let scratch = SideTable::new(SCRATCH_PAGES as usize * page_words, c"gc scratch")?;
        Ok(Self { heap, scratch, placing, page_words })
    }
}

impl PageTransport for InPause {
    fn kind(&self) -> Transport {
        Transport::Stw
    }

    fn compaction(&self) -> Compaction {
        Compaction::InPause
    }

    fn heap(&self) -> &Reservation {
        &self.heap
    }

    fn from_words(&self) -> &[AtomicU64] {
        self.heap.words()
    }

    fn flip(&self, _plan: Plan, _resident: u32) -> io::Result<()> {
        Ok(())
    }

    fn source_words(&self, source: SourceIndex) -> &[AtomicU64] {
        let first = source.0 as usize * self.page_words;
        &self.scratch[first..first + self.page_words]
    }

    fn slide_source(&self, _from: PageIndex) -> Option<SourceIndex> {
        None
    }

    fn stage(
        &self,
        _taker: Taker,
        run: &mut SourceRun,
        _page: PageIndex,
        _want: u32,
        _counters: &Counters,
    ) -> Option<SourceIndex> {
        if *run == SourceRun::EMPTY {
            *run = SourceRun::new(SourceIndex(0), SCRATCH_PAGES);
        }
        run.pop()
    }

    fn flushed(&self, run: &mut SourceRun) {
        *run = SourceRun::new(SourceIndex(0), SCRATCH_PAGES);
    }

    fn install(&self, page: PageIndex, source: SourceIndex, count: u32, counters: &Counters) {
        let began = Instant::now();
        let words = |first: u32| {
            first as usize * self.page_words..(first + count) as usize * self.page_words
        };
        words::copy(&self.scratch[words(source.0)], &self.heap.words()[words(page.0)]);
        if self.placing == Placing::LeftOut {
            counters.left_out_ns.add(u32::try_from(began.elapsed().as_nanos()).unwrap_or(u32::MAX));
        }
    }

    fn install_zeros(&self, _page: PageIndex, _count: u32, _counters: &Counters) {}

    fn emptied(
        &self,
        _pages: Range<u32>,
        _whole: &dyn Fn(u32) -> bool,
        _run: &mut SourceRun,
        _counters: &Counters,
    ) {
    }

    fn resident_after(&self, top: u32, _deposited: u32, resident_before: u32) -> u32 {
        top.max(resident_before)
    }

    fn close(&self) -> io::Result<()> {
        Ok(())
    }

    fn release(&self, _counters: &Counters) {}
}
