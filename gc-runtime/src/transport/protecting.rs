//! `mprotect`: the heap is closed, and opened page by page as pages are built behind it.
//!
//! Works without userfaultfd. Each opened run between closed ones is a mapping of its own, up to
//! `vm.max_map_count`; beyond that a page waits until the collector, which opens in address order,
//! has joined some of them.

use std::io;
use std::ops::Range;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::addr::PageIndex;
use crate::compact::page_state::SourceIndex;
use crate::forward::Plan;
use crate::options::Transport;
use crate::raw::fatal::fatal;
use crate::raw::futex;
use crate::raw::map::{Access, Reservation};
use crate::raw::words;
use crate::stats::Counters;
use crate::transport::file_spaces::FileSpaces;
use crate::transport::{PageTransport, SourceRun, Taker};

/// How long to wait for the collector to join mappings.
const JOIN_WAIT: Duration = Duration::from_micros(200);

/// The transport.
#[derive(Debug)]
pub(crate) struct Protecting {
    spaces: FileSpaces,
    page_bytes: usize,
}

impl Protecting {
    pub(crate) fn new(spaces: FileSpaces, page_bytes: usize) -> Self {
        Self { spaces, page_bytes }
    }

    fn open(&self, page: u32, count: u32, counters: &Counters) {
        let (offset, len) = (page as usize * self.page_bytes, count as usize * self.page_bytes);
        loop {
            counters.ioctls.add(1);
            match self.spaces.heap.protect(offset, len, Access::ReadWrite) {
                Ok(()) => return,
                Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => {
                    futex::nap(JOIN_WAIT);
                }
                Err(error) => {
                    fatal("a page of the heap cannot be opened", error.raw_os_error().unwrap_or(0))
                }
            }
        }
    }
}

impl PageTransport for Protecting {
    fn kind(&self) -> Transport {
        Transport::Mprotect
    }

    fn heap(&self) -> &Reservation {
        &self.spaces.heap
    }

    fn from_words(&self) -> &[AtomicU64] {
        self.spaces.from.words()
    }

    fn flip(&self, plan: Plan, _resident: u32) -> io::Result<()> {
        self.spaces.flip(plan, Access::None)
    }

    fn source_words(&self, source: SourceIndex) -> &[AtomicU64] {
        self.spaces.source_words(source)
    }

    fn slide_source(&self, _from: PageIndex) -> Option<SourceIndex> {
        None
    }

    fn stage(
        &self,
        _taker: Taker,
        _run: &mut SourceRun,
        page: PageIndex,
        _want: u32,
        _counters: &Counters,
    ) -> Option<SourceIndex> {
        Some(SourceIndex(page.0))
    }

    fn install(&self, page: PageIndex, _source: SourceIndex, count: u32, counters: &Counters) {
        counters.pages_allocated.add(count);
        self.open(page.0, count, counters);
    }

    fn install_zeros(&self, page: PageIndex, count: u32, counters: &Counters) {
        words::fill(self.spaces.words_of(page.0, count), 0);
        counters.pages_allocated.add(count);
        self.open(page.0, count, counters);
    }

    fn emptied(
        &self,
        pages: Range<u32>,
        _whole: &dyn Fn(u32) -> bool,
        _run: &mut SourceRun,
        counters: &Counters,
    ) {
        self.spaces.emptied(pages.end, counters);
    }

    fn close(&self) -> io::Result<()> {
        let heap = &self.spaces.heap;
        heap.protect(0, heap.len(), Access::ReadWrite)
    }

    fn release(&self, counters: &Counters) {
        self.spaces.release(counters);
    }
}
