//! `move`: the rebuilt page itself changes its address.
//!
//! Staging pages are from-space pages that have been emptied ([`Recycler`]), so that nothing is
//! allocated, copied again or freed. A page that slides is moved from where it lies.

use std::io;
use std::ops::Range;
use std::sync::atomic::AtomicU64;

use uffd_move::{Holes, Stop};

use crate::addr::PageIndex;
use crate::compact::page_state::SourceIndex;
use crate::compact::recycle::Recycler;
use crate::counters::Counters;
use crate::forward::Plan;
use crate::options::Transport;
use crate::raw::map::Reservation;
use crate::raw::uffd::{done, is_transient};
use crate::raw::words;
use crate::transport::anon_spaces::AnonSpaces;
use crate::transport::zero_pages::ZeroPages;
use crate::transport::{PageTransport, SourceRun, Taker};

/// Pages that faults near each other build and move together. Each request makes the other processors
/// forget old translations, which costs as much as building twenty or thirty pages (on a virtual machine;
/// less on bare metal), whether it moves one page or many. So many share that, and take some 150 us.
const MOVE_TRACT_PAGES: u32 = 256;

/// How often the kernel may answer "again" without progress before the page is copied instead.
const MAX_STALLS: u32 = 64;

/// The transport.
#[derive(Debug)]
pub(crate) struct Moving {
    spaces: AnonSpaces,
    recycler: Recycler,
    zeros: ZeroPages,
    page_words: usize,
}

impl Moving {
    pub(crate) fn new(spaces: AnonSpaces, page_bytes: usize) -> io::Result<Self> {
        let from_pages =
            u32::try_from(spaces.from.len() / page_bytes).expect("limited by the builder");
        let page_words = page_bytes / size_of::<u64>();
        Ok(Self {
            spaces,
            recycler: Recycler::new(from_pages)?,
            zeros: ZeroPages::new(page_words)?,
            page_words,
        })
    }

    /// The page cannot change its address: copies it and drops the source.
    fn copy_instead(&self, page: u32, source: u32, counters: &Counters) {
        let words = self.source_words(SourceIndex(source));
        self.spaces.copy_into_place(page, words, self.page_words, counters);
        counters.pages_released.add(1);
        counters.madvise_calls.add(1);
        let page_bytes = self.page_words * size_of::<u64>();
        // A source that stays is given back with the rest of from-space.
        let _ = self.spaces.from.discard(source as usize * page_bytes, page_bytes);
    }
}

/// Calls `each` for the runs of `pages` that do not move as a whole: the others leave nothing behind.
fn each_stretch(pages: Range<u32>, whole: &dyn Fn(u32) -> bool, mut each: impl FnMut(Range<u32>)) {
    let mut at = pages.start;
    while at < pages.end {
        let end = (at..pages.end).find(|&page| whole(page)).unwrap_or(pages.end);
        if at < end {
            each(at..end);
        }
        at = (end..pages.end).find(|&page| !whole(page)).unwrap_or(pages.end);
    }
}

impl PageTransport for Moving {
    fn kind(&self) -> Transport {
        Transport::Move
    }

    fn fault_tract(&self) -> u32 {
        MOVE_TRACT_PAGES
    }

    fn fault_around(&self) -> u32 {
        self.fault_cluster()
    }

    fn heap(&self) -> &Reservation {
        &self.spaces.heap
    }

    fn from_words(&self) -> &[AtomicU64] {
        self.spaces.from.words()
    }

    fn warm(&self, pages: Range<u32>, counters: &Counters) -> bool {
        let page_bytes = self.page_words * size_of::<u64>();
        let count = pages.end - pages.start;
        let warmed = self
            .spaces
            .heap
            .populate(pages.start as usize * page_bytes, count as usize * page_bytes);
        if let Err(error) = warmed {
            tracing::debug!(%error, "the first faults will have to allocate");
            return false;
        }
        counters.madvise_calls.add(1);
        counters.pages_warmed.add(count);
        true
    }

    fn flip(&self, plan: Plan, resident: u32) -> io::Result<()> {
        self.recycler.begin(plan, resident);
        self.spaces.flip()
    }

    fn source_words(&self, source: SourceIndex) -> &[AtomicU64] {
        let first = source.0 as usize * self.page_words;
        &self.spaces.from.words()[first..first + self.page_words]
    }

    fn slide_source(&self, from: PageIndex) -> Option<SourceIndex> {
        Some(SourceIndex(from.0))
    }

    fn stage(
        &self,
        taker: Taker,
        run: &mut SourceRun,
        _page: PageIndex,
        want: u32,
        counters: &Counters,
    ) -> Option<SourceIndex> {
        if run.count == 0 {
            *run = self.recycler.take(taker, want, counters);
        }
        run.pop()
    }

    fn unstage(&self, run: &mut SourceRun, place: SourceIndex) {
        run.unpop(place);
    }

    fn give_back(&self, _taker: Taker, run: SourceRun) {
        self.recycler.add(run);
    }

    fn install(&self, page: PageIndex, source: SourceIndex, count: u32, counters: &Counters) {
        let AnonSpaces { heap, from, uffd, .. } = &self.spaces;
        let (mut at, mut stalls) = (0, 0);
        while at < count {
            counters.ioctls.add(1);
            let (page, source) = (page.0 + at, source.0 + at);
            let answer = uffd.move_pages(heap, page, from, source, count - at, Holes::Reject);
            let (moved, stop) = match answer {
                Ok(outcome) => (done(outcome), outcome.stop),
                Err(error) if is_transient(&error) => {
                    (u32::try_from(error.done.get()).unwrap_or(0), Stop::Again)
                }
                Err(_) => {
                    counters.refused_fallbacks.add(1);
                    self.copy_instead(page, source, counters);
                    at += 1;
                    continue;
                }
            };
            at += moved;
            counters.pages_moved.add(moved);
            let (page, source) = (page + moved, source + moved);
            match stop {
                Stop::Complete => {}
                Stop::Again if moved == 0 => {
                    stalls += 1;
                    if stalls > MAX_STALLS {
                        counters.stalled_fallbacks.add(1);
                        self.copy_instead(page, source, counters);
                        at += 1;
                        stalls = 0;
                    } else {
                        std::thread::yield_now();
                    }
                }
                Stop::Again => stalls = 0,
                // Somebody else installed it. Whoever sleeps for it may have come later.
                Stop::Present => {
                    uffd.wake(heap, page, 1);
                    at += 1;
                }
                // Either somebody else moved it, and then the page is present; or nobody ever
                // wrote to the source, and then zeros are its content.
                Stop::Hole => {
                    counters.ioctls.add(1);
                    if uffd
                        .zero_pages(heap, page, 1)
                        .is_ok_and(|outcome| outcome.stop != Stop::Again)
                    {
                        uffd.wake(heap, page, 1);
                        at += 1;
                    }
                }
                _ => {
                    counters.busy_fallbacks.add(1);
                    self.copy_instead(page, source, counters);
                    at += 1;
                }
            }
        }
    }

    fn install_zeros(&self, page: PageIndex, count: u32, counters: &Counters) {
        let mut at = 0;
        while at < count {
            let run = self.recycler.take(Taker::Helper, count - at, counters);
            if run.count == 0 {
                // A page that nobody has emptied would have to be allocated, written to and moved:
                // this is what a copy is better at.
                return self.zeros.install(&self.spaces, page.plus(at), count - at, counters);
            }
            let first = run.next.0 as usize * self.page_words;
            words::fill(
                &self.spaces.from.words()[first..first + run.count as usize * self.page_words],
                0,
            );
            self.install(page.plus(at), run.next, run.count, counters);
            at += run.count;
        }
    }

    fn emptied(
        &self,
        pages: Range<u32>,
        whole: &dyn Fn(u32) -> bool,
        run: &mut SourceRun,
        counters: &Counters,
    ) {
        each_stretch(pages, whole, |pages| self.recycler.emptied(pages, run, counters));
    }

    fn emptied_early(&self, pages: Range<u32>, whole: &dyn Fn(u32) -> bool, counters: &Counters) {
        each_stretch(pages, whole, |pages| self.recycler.emptied_early(pages, counters));
    }

    fn deposit(&self, page: PageIndex, want: u32, keep: u32, counters: &Counters) -> u32 {
        let run = self.recycler.take_spare(want, keep);
        let AnonSpaces { heap, from, uffd, .. } = &self.spaces;
        let mut at = 0;
        while at < run.count {
            counters.ioctls.add(1);
            let (page, source) = (page.0 + at, run.next.0 + at);
            match uffd.move_pages(heap, page, from, source, run.count - at, Holes::Skip) {
                Ok(outcome) => {
                    at += done(outcome);
                    counters.pages_moved.add(done(outcome));
                    if !matches!(outcome.stop, Stop::Complete | Stop::Again) {
                        // What cannot be moved is given back with the rest of from-space; the
                        // address stays empty and costs one page fault.
                        at += 1;
                        counters.pages_released.add(1);
                    }
                }
                Err(_) => return at,
            }
        }
        run.count
    }

    fn close(&self) -> io::Result<()> {
        self.spaces.close()
    }

    fn release(&self, _counters: &Counters) {
        self.recycler.clear();
        self.spaces.release();
    }
}
