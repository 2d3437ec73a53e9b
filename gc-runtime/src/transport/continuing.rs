//! `continue`: pages are built through a second mapping and mapped by `UFFDIO_CONTINUE`.

use std::io;
use std::ops::Range;
use std::sync::atomic::AtomicU64;

use uffd_move::{RegisterMode, Stop};

use crate::addr::PageIndex;
use crate::compact::page_state::SourceIndex;
use crate::forward::Plan;
use crate::options::Transport;
use crate::raw::fatal::fatal;
use crate::raw::map::{Access, Reservation};
use crate::raw::uffd::{HeapUffd, done, is_transient};
use crate::raw::words;
use crate::stats::Counters;
use crate::transport::file_spaces::FileSpaces;
use crate::transport::{PageTransport, SourceRun, Taker};

/// The transport.
#[derive(Debug)]
pub(crate) struct Continuing {
    spaces: FileSpaces,
    uffd: HeapUffd,
}

impl Continuing {
    pub(crate) fn new(spaces: FileSpaces, uffd: HeapUffd) -> Self {
        Self { spaces, uffd }
    }

    fn continue_run(&self, page: u32, count: u32, counters: &Counters) {
        let (heap, uffd) = (&self.spaces.heap, &self.uffd);
        let mut at = 0;
        while at < count {
            counters.ioctls.add(1);
            match uffd.continue_pages(heap, page + at, count - at) {
                Ok(outcome) => {
                    at += done(outcome);
                    match outcome.stop {
                        Stop::Complete => {}
                        Stop::Present => {
                            uffd.wake(heap, page + at, 1);
                            at += 1;
                        }
                        _ => std::thread::yield_now(),
                    }
                }
                Err(error) if is_transient(&error) => {
                    at += u32::try_from(error.done.get()).unwrap_or(0);
                    std::thread::yield_now();
                }
                Err(error) => {
                    fatal("a page of the heap cannot be mapped into place", error.errno as i32)
                }
            }
        }
    }
}

impl PageTransport for Continuing {
    fn kind(&self) -> Transport {
        Transport::Continue
    }

    fn heap(&self) -> &Reservation {
        &self.spaces.heap
    }

    fn from_words(&self) -> &[AtomicU64] {
        self.spaces.from.words()
    }

    fn flip(&self, plan: Plan, _resident: u32) -> io::Result<()> {
        self.spaces.flip(plan, Access::ReadWrite)?;
        self.uffd.register(&self.spaces.heap, RegisterMode::MISSING | RegisterMode::MINOR)
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
        self.continue_run(page.0, count, counters);
    }

    fn install_zeros(&self, page: PageIndex, count: u32, counters: &Counters) {
        words::fill(self.spaces.words_of(page.0, count), 0);
        counters.pages_allocated.add(count);
        self.continue_run(page.0, count, counters);
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
        self.uffd.unregister(&self.spaces.heap)
    }

    fn release(&self, counters: &Counters) {
        self.spaces.release(counters);
    }
}
