//! How rebuilt pages get to their place: five transports behind one trait.
//!
//! | transport | heap memory | page aside | page in place | emptied pages |
//! |---|---|---|---|---|
//! | [`move`](moving) | private anonymous | mremap | `UFFDIO_MOVE` | become the next staging pages |
//! | [`copy`](copying) | private anonymous | mremap | `UFFDIO_COPY` | `MADV_DONTNEED` |
//! | [`continue`](continuing) | memfd, mapped twice | second memfd | `UFFDIO_CONTINUE` | hole punched |
//! | [`mprotect`](protecting) | memfd, mapped twice | second memfd | `mprotect` | hole punched |
//! | [`stw`](in_pause) | private anonymous | stays | copied, in the pause | stay |

pub(crate) mod anon_spaces;
pub(crate) mod file_spaces;
pub(crate) mod file_backed;
pub(crate) mod moving;
pub(crate) mod copying;
pub(crate) mod continuing;
pub(crate) mod protecting;
pub(crate) mod zero_pages;
pub(crate) mod in_pause;
pub(crate) mod choose;

use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::sync::atomic::AtomicU64;

use crate::addr::PageIndex;
use crate::compact::page_state::SourceIndex;
use crate::counters::Counters;
use crate::forward::Plan;
use crate::options::Transport;
use crate::raw::give_back::Giving;
use crate::raw::map::Reservation;

/// Pages that a fault builds and installs together, unless the transport knows better.
pub(crate) const FAULT_CLUSTER_PAGES: u32 = 16;

/// Pages of a band: a collector thread builds them one after the other, then installs them in as few
/// system calls as possible.
///
/// Long enough that a request flushes all translations at once (on x86-64 from 34 pages on) instead
/// of one by one, and that telling the other processors costs little a page.
pub(crate) const BAND_PAGES: u32 = 512;

/// When a transport compacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compaction {
    /// Beside the mutators, which fault on pages that are not there yet.
    Concurrent,
    /// In the flip pause, page by page in order, by one thread.
    InPause,
}

/// Who asks for a place to build pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taker {
    /// A collector thread: wants long runs, and can wait.
    Collector,
    /// A collector thread that has waited in vain: memory may be allocated.
    LastResort,
    /// A mutator in a fault: cannot wait.
    Mutator,
    /// A mutator that can do without: in a fault, for neighbours of the page it needs, or for new
    /// objects.
    Helper,
}

/// Neighbouring places to build pages in, handed out from the low end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SourceRun {
    /// Where the run began.
    pub(crate) begin: SourceIndex,
    /// The next place.
    pub(crate) next: SourceIndex,
    /// Places left.
    pub(crate) count: u32,
}

impl SourceRun {
    pub(crate) const EMPTY: Self = Self::new(SourceIndex(0), 0);

    /// `count` places from `begin`.
    pub(crate) const fn new(begin: SourceIndex, count: u32) -> Self {
        Self { begin, next: begin, count }
    }

    /// This run, or if it is empty another.
    pub(crate) fn or_else(self, other: impl FnOnce() -> Self) -> Self {
        if self.count > 0 { self } else { other() }
    }

    /// Puts the place that was taken last back.
    pub(crate) fn unpop(&mut self, place: SourceIndex) {
        debug_assert_eq!(place.0 + 1, self.next.0, "not the place taken last");
        self.next = place;
        self.count += 1;
    }

    /// Takes the first place of the run.
    pub(crate) fn pop(&mut self) -> Option<SourceIndex> {
        self.count = self.count.checked_sub(1)?;
        let place = self.next;
        self.next = SourceIndex(place.0 + 1);
        Some(place)
    }
}

/// One way to put pages in place.
///
/// Between [`flip`](Self::flip) and [`close`](Self::close) any thread may call the methods that
/// take pages, also from a signal handler: they allocate nothing and take no lock.
pub(crate) trait PageTransport: Debug + Send + Sync {
    /// Which of the five.
    fn kind(&self) -> Transport;

    /// Beside the mutators or in the pause.
    fn compaction(&self) -> Compaction {
        Compaction::Concurrent
    }

    /// How many neighbouring pages, a power of two, a fault builds together that is far from others.
    fn fault_cluster(&self) -> u32 {
        FAULT_CLUSTER_PAGES
    }

    /// How many, a power of two and not fewer, belong together: the second fault among them builds what
    /// is left of them.
    fn fault_tract(&self) -> u32 {
        self.fault_cluster()
    }

    /// How many pages a fault installs at most, its own first, if the others are ready: as many as
    /// take little longer than one.
    fn fault_around(&self) -> u32 {
        8
    }

    /// The addresses that mutators use.
    fn heap(&self) -> &Reservation;

    /// The old heap's words, between flip and release.
    #[expect(clippy::wrong_self_convention, reason = "the words of from-space, not a conversion")]
    fn from_words(&self) -> &[AtomicU64];

    /// Before the pause: puts memory behind `pages`, which nobody uses, if staging pages can be made
    /// of it. False if there is none now.
    fn warm(&self, pages: Range<u32>, counters: &Counters) -> bool {
        let _ = (pages, counters);
        false
    }

    /// In the pause: sets the heap's pages aside and sees to it that touching one faults.
    ///
    /// `resident` is the end of the pages that have memory behind them.
    fn flip(&self, plan: Plan, resident: u32) -> io::Result<()>;

    /// The words of a place to build a page in.
    fn source_words(&self, source: SourceIndex) -> &[AtomicU64];

    /// If a page that slides can be installed right from where it lies: that place.
    fn slide_source(&self, from: PageIndex) -> Option<SourceIndex>;

    /// A place to build `page` in, from the caller's `run`, which is refilled for about `want` more
    /// pages when it is empty. `None`: install what has been built, say [`flushed`](Self::flushed)
    /// and ask again.
    fn stage(
        &self,
        taker: Taker,
        run: &mut SourceRun,
        page: PageIndex,
        want: u32,
        counters: &Counters,
    ) -> Option<SourceIndex>;

    /// Takes the place back that [`stage`](Self::stage) gave last, unused.
    fn unstage(&self, run: &mut SourceRun, place: SourceIndex) {
        let _ = (run, place);
    }

    /// Every page built in a place of `run` is installed.
    fn flushed(&self, run: &mut SourceRun) {
        let _ = run;
    }

    /// Takes a run back when its owner needs no more places.
    fn give_back(&self, taker: Taker, run: SourceRun) {
        let _ = (taker, run);
    }

    /// Puts `count` finished pages in place; when it returns they are, whoever did it.
    fn install(&self, page: PageIndex, source: SourceIndex, count: u32, counters: &Counters);

    /// Puts `count` pages of zeros in place, for new objects.
    fn install_zeros(&self, page: PageIndex, count: u32, counters: &Counters);

    /// The old heap's pages `pages` are not needed any more: everything from them is in place. Those
    /// for which `whole` is true were pages to be slid. The collector thread that got so far may
    /// keep some of them in its `run`.
    fn emptied(
        &self,
        pages: Range<u32>,
        whole: &dyn Fn(u32) -> bool,
        run: &mut SourceRun,
        counters: &Counters,
    );

    /// As [`emptied`](Self::emptied), by somebody who is ahead of the collector: pages in the middle
    /// of the old heap, which the collector will report again.
    fn emptied_early(&self, pages: Range<u32>, whole: &dyn Fn(u32) -> bool, counters: &Counters) {
        let _ = (pages, whole, counters);
    }

    /// Puts up to `want` emptied pages, with whatever they hold, at `page` and after for new
    /// objects, and says how many. `keep` pages of each supply stay for staging. Zero means there
    /// is none to spare.
    fn deposit(&self, page: PageIndex, want: u32, keep: u32, counters: &Counters) -> u32 {
        let _ = (page, want, keep, counters);
        0
    }

    /// Where memory ends after a cycle, given where allocation has got to and where it ended before.
    fn resident_after(&self, top: u32, deposited: u32, resident_before: u32) -> u32 {
        let _ = resident_before;
        top.max(deposited)
    }

    /// Gives the memory behind runs of the heap's pages back to the system, between flips: nothing is
    /// in them. The number of system calls.
    fn give_up(&self, parts: &[Range<u32>], giving: Giving) -> io::Result<u32> {
        let page_bytes = uffd_move::page_size();
        let bytes =
            |part: &Range<u32>| part.start as usize * page_bytes..part.end as usize * page_bytes;
        self.heap().give_back(&parts.iter().map(bytes).collect::<Vec<_>>(), giving)
    }

    /// No page is missing any more and no handler is at work: makes touching a page plain again.
    fn close(&self) -> io::Result<()>;

    /// Gives what is left of the old heap back.
    fn release(&self, counters: &Counters);
}
