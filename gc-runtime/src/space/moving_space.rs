//! The moving space: heap memory, its side tables and the transport that brings pages in.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::addr::{Geometry, PageIndex};
use crate::compact::near_faults::NearFaults;
use crate::compact::page_state::PageStates;
use crate::counters::Counters;
use crate::forward::offset_table::{OffsetTable, PageSource};
use crate::forward::straddle::StraddleTable;
use crate::forward::{Forwarding, PageKind, Plan, PlanCell};
use crate::gate::Gate;
use crate::last_layout::LastLayout;
use crate::layout::ObjectLayout;
use crate::mark::live_bitmap::LiveBitmap;
use crate::mark::marks_apart::MarksApart;
use crate::mark::page_reach::{PageReach, Reach};
use crate::mark::worklist::Sharing;
use crate::model::{Header, ObjectModel};
use crate::raw::map::SideTable;
use crate::space::allocation::Allocation;
use crate::transport::PageTransport;

/// Service times of faults that fit between two cycles' ends; later ones are not recorded.
const FAULT_SAMPLES: usize = 1 << 16;

/// No objects are born black at the moment.
const NOT_BLACK: u32 = u32::MAX;

/// Which side tables are given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tables {
    /// Those of pages that are not in use.
    Unused,
    /// All: the next cycle faults in what it needs.
    All,
}

/// Everything that belongs to the pages of one heap.
#[derive(Debug)]
pub(crate) struct MovingSpace<M> {
    pub(crate) geometry: Geometry,
    pub(crate) model: M,
    pub(crate) transport: Box<dyn PageTransport>,
    pub(crate) allocation: Allocation,
    pub(crate) live: LiveBitmap,
    pub(crate) marks_apart: MarksApart,
    pub(crate) offsets: OffsetTable,
    pub(crate) straddles: StraddleTable,
    pub(crate) reach: PageReach,
    pub(crate) states: PageStates<SideTable<AtomicU32>>,
    pub(crate) plan: PlanCell,
    /// End of the compacted words in the new heap.
    pub(crate) compact_words: AtomicU32,
    pub(crate) gate: Gate,
    pub(crate) sharing: Sharing,
    pub(crate) counters: Counters,
    pub(crate) fault_samples: Samples,
    /// Next band of pages for a collector thread.
    pub(crate) next_band: AtomicU32,
    /// Mutators that help have taken the clusters of pages from here on.
    pub(crate) help_from: AtomicU32,
    /// Words that marking has found live so far.
    pub(crate) words_marked: AtomicU32,
    /// All compacted pages below have been built.
    pub(crate) built: AtomicU32,
    /// All pages of the old heap's compacted part below are emptied.
    pub(crate) emptied_below: AtomicU32,
    /// Pages with memory behind them at the flip, and the most since.
    pub(crate) resident_before: AtomicU64,
    pub(crate) peak_resident: AtomicU64,
    pub(crate) near_faults: NearFaults,
    /// How many pages' side tables a finished cycle has left behind.
    stale_pages: AtomicU32,
    /// The live bitmap has memory for so many pages.
    populated: AtomicU32,
    black: AtomicU32,
}

impl<M: ObjectModel> MovingSpace<M> {
    pub(crate) fn new(
        geometry: Geometry,
        model: M,
        transport: Box<dyn PageTransport>,
        allocation: Allocation,
    ) -> io::Result<Self> {
        Ok(Self {
            geometry,
            model,
            transport,
            allocation,
            live: LiveBitmap::new(geometry.words)?,
            marks_apart: MarksApart::new(geometry.words)?,
            offsets: OffsetTable::new(geometry)?,
            straddles: StraddleTable::new(geometry.pages)?,
            reach: PageReach::new(geometry.pages)?,
            states: PageStates::new(SideTable::sparse(geometry.pages as usize, c"gc page states")?),
            plan: PlanCell::default(),
            compact_words: AtomicU32::new(0),
            gate: Gate::default(),
            sharing: Sharing::default(),
            counters: Counters::default(),
            fault_samples: Samples::new()?,
            next_band: AtomicU32::new(0),
            help_from: AtomicU32::new(0),
            words_marked: AtomicU32::new(0),
            built: AtomicU32::new(0),
            emptied_below: AtomicU32::new(0),
            resident_before: AtomicU64::new(0),
            peak_resident: AtomicU64::new(0),
            near_faults: NearFaults::default(),
            stale_pages: AtomicU32::new(0),
            populated: AtomicU32::new(0),
            black: AtomicU32::new(NOT_BLACK),
        })
    }

    /// The heap's words as mutators see them.
    #[inline(always)]
    pub(crate) fn words(&self) -> &[AtomicU64] {
        &self.transport.heap().words()[..self.geometry.words as usize]
    }

    /// The words of one page of the heap.
    pub(crate) fn page_words(&self, page: PageIndex) -> &[AtomicU64] {
        let first = self.geometry.page_start(page) as usize;
        &self.words()[first..first + self.geometry.page_words()]
    }

    /// The header of the object that starts with `words`; its second word is only read if the
    /// model wants it.
    ///
    /// # Panics
    ///
    /// If the header does not lie in `words`.
    #[inline(always)]
    pub(crate) fn header(words: &[AtomicU64]) -> Header {
        let first = words[0].load(Ordering::Relaxed);
        if M::HEADER_WORDS == 1 {
            Header::one(first)
        } else {
            Header::two(first, words[1].load(Ordering::Relaxed))
        }
    }

    /// The layout of the object that starts with `words`, which hold its whole header.
    #[inline(always)]
    pub(crate) fn layout(&self, words: &[AtomicU64]) -> ObjectLayout {
        self.model.layout(Self::header(words))
    }

    /// The layout of the object that starts with `words`, the rest of a page. If its header goes
    /// on after that, `elsewhere` knows the layout. `last` is that of the object before.
    #[inline(always)]
    pub(crate) fn layout_or(
        &self,
        words: &[AtomicU64],
        last: &mut LastLayout,
        elsewhere: impl FnOnce() -> ObjectLayout,
    ) -> ObjectLayout {
        if M::HEADER_WORDS == 1 || words.len() > 1 {
            last.of(&self.model, Self::header(words))
        } else {
            elsewhere()
        }
    }

    /// The layout of the live object at `word` of the old heap, the last word of its page, whose
    /// header goes on in the next.
    #[cold]
    pub(crate) fn layout_across(&self, word: u32) -> ObjectLayout {
        let next = self.geometry.page_of(word).plus(1);
        let straddler = self.straddles.straddler(next).expect("it reaches into the next page");
        debug_assert_eq!(straddler.start, word, "at most one object crosses a page boundary");
        straddler.layout
    }

    /// How a page of the new heap comes about.
    #[inline]
    pub(crate) fn kind(&self, plan: Plan, page: PageIndex) -> PageKind {
        if page.0 < plan.compact {
            let end = self.compact_words.load(Ordering::Relaxed);
            match self.offsets.source(self.geometry, page, end) {
                PageSource::Whole(from) => PageKind::Slid { from },
                PageSource::Packed(packed) => PageKind::Compacted(packed),
            }
        } else if page.0 < plan.post() {
            PageKind::Slid { from: page.plus(plan.slide()) }
        } else {
            PageKind::Fresh
        }
    }

    /// Forwarding by the current plan.
    pub(crate) fn forwarding(&self) -> Forwarding<'_> {
        Forwarding::new(self.geometry, &self.live, &self.offsets, self.plan.get())
    }

    /// Objects on pages from `page` on are born live in this cycle.
    pub(crate) fn set_black(&self, page: PageIndex) {
        self.black.store(page.0, Ordering::Release);
    }

    /// Objects are born as usual again.
    pub(crate) fn clear_black(&self) {
        self.black.store(NOT_BLACK, Ordering::Release);
    }

    /// First page of the objects born live in this cycle; beyond all pages if there are none.
    #[inline(always)]
    pub(crate) fn black(&self) -> u32 {
        self.black.load(Ordering::Acquire)
    }

    /// First word of the objects born live in this cycle; beyond all words if there are none.
    pub(crate) fn black_word(&self) -> u32 {
        self.geometry.page_start(PageIndex(self.black().min(self.geometry.pages)))
    }

    /// Whether `address` lies in an object born live in this cycle.
    pub(crate) fn is_born(&self, address: u64) -> bool {
        self.geometry.word_of(address).is_some_and(|word| word >= self.black_word())
    }

    /// Whether a slot's value is no reference to a dead object. Between remark and flip.
    pub(crate) fn is_live(&self, value: u64) -> bool {
        match self.geometry.word_of(value) {
            Some(word) => word >= self.black_word() || self.live.is_live(word),
            None => true,
        }
    }

    /// Notes the objects in `start..end`, allocated in this cycle and complete, for whoever
    /// rebuilds their pages.
    pub(crate) fn note_born(&self, start: u32, end: u32) {
        if start == end || self.geometry.page_of(start).0 < self.black() {
            return;
        }
        let (geometry, words) = (self.geometry, self.words());
        let mut at = start;
        for page in geometry.page_of(start).0..=geometry.page_of(end - 1).0 {
            let page_end = end.min(geometry.page_start(PageIndex(page + 1)));
            self.straddles.note_walk_end(PageIndex(page), page_end);
            let mut has_slots = false;
            while at < page_end {
                let layout = self.layout(&words[at as usize..]);
                has_slots |= !layout.is_leaf();
                let next = at + layout.words();
                if next > page_end {
                    self.straddles.note_object(geometry, at, layout);
                    self.reach.note_object(geometry, at, layout, Reach::UNKNOWN);
                }
                at = next;
            }
            if has_slots {
                self.reach.note_page(PageIndex(page), Reach::UNKNOWN);
            }
        }
    }

    /// Notes how many pages have memory behind them at the moment, by count.
    pub(crate) fn note_resident(&self) {
        let counters = &self.counters;
        let now = (self.resident_before.load(Ordering::Relaxed) + counters.pages_allocated.get())
            .saturating_sub(counters.pages_released.get());
        self.peak_resident.fetch_max(now, Ordering::Relaxed);
    }

    /// Notes that the side tables of a finished cycle, up to `top` pages, are of no use any more.
    pub(crate) fn note_stale(&self, plan: Plan, top: u32) {
        self.stale_pages.store(top.max(plan.used), Ordering::Relaxed);
    }

    /// Gives back side tables between cycles: those of pages that are not in use, or all of them.
    pub(crate) fn shed_tables(&self, tables: Tables) {
        self.clear_tables();
        let top = match tables {
            Tables::Unused => self.allocation.lock().top.min(self.geometry.pages),
            Tables::All => 0,
        };
        let words = self.geometry.page_start(PageIndex(top));
        self.populated.fetch_min(top, Ordering::Relaxed);
        self.live.shed(words);
        self.marks_apart.shed();
        self.offsets.shed(words, top);
        self.straddles.shed(top);
        self.states.shed(top);
        self.reach.shed(top);
        self.fault_samples.values.shed(0);
    }

    /// Makes sure that marking finds memory for its bits: the kernel fills huge pages with zeros one by
    /// one, which can take milliseconds each, and mutators that keep pace with marking would wait.
    pub(crate) fn populate_tables(&self) {
        let top = self.allocation.lock().top.min(self.geometry.pages);
        if self.populated.fetch_max(top, Ordering::Relaxed) < top {
            self.live.populate(self.geometry.page_start(PageIndex(top)));
        }
    }

    /// Makes the side tables fit for the next cycle.
    pub(crate) fn clear_tables(&self) {
        let pages = self.stale_pages.swap(0, Ordering::Relaxed).min(self.geometry.pages);
        self.live.clear(self.geometry.page_start(PageIndex(pages)));
        self.straddles.clear(0..pages);
        self.reach.clear(pages);
        self.states.reset(pages);
    }
}

/// Words that a sample takes.
const SAMPLE_WORDS: usize = 2;

/// Whether a sample says which thread it is of: asking costs a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    Named,
    Nameless,
}

/// A fault that was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FaultSample {
    pub(crate) began: Instant,
    pub(crate) took: Duration,
    /// As gettid(2) names it; zero if nobody wants to know.
    pub(crate) thread: u32,
}

/// A buffer that fault handlers write their service times to.
#[derive(Debug)]
pub(crate) struct Samples {
    born: Instant,
    values: SideTable<AtomicU64>,
    len: AtomicU32,
    named: AtomicBool,
}

impl Samples {
    fn new() -> io::Result<Self> {
        Ok(Self {
            born: Instant::now(),
            values: SideTable::new(FAULT_SAMPLES * SAMPLE_WORDS, c"gc samples")?,
            len: AtomicU32::new(0),
            named: AtomicBool::new(false),
        })
    }

    /// Whether the next cycle's samples say which thread they are of.
    pub(crate) fn set_naming(&self, naming: Naming) {
        self.named.store(naming == Naming::Named, Ordering::Relaxed);
    }

    /// Records a fault that began at `began` and has been served now; drops it if the buffer is full.
    pub(crate) fn record(&self, began: Instant) {
        let took = began.elapsed();
        let slot = self.len.fetch_add(1, Ordering::Relaxed) as usize;
        if slot < FAULT_SAMPLES {
            let thread = match self.named.load(Ordering::Relaxed) {
                true => u64::from(nix::unistd::gettid().as_raw().unsigned_abs()),
                false => 0,
            };
            let took = u32::try_from(took.as_nanos()).unwrap_or(u32::MAX);
            let since = u64::try_from(began.saturating_duration_since(self.born).as_nanos());
            let at = slot * SAMPLE_WORDS;
            self.values[at].store(since.unwrap_or(u64::MAX), Ordering::Relaxed);
            self.values[at + 1].store(thread << 32 | u64::from(took), Ordering::Relaxed);
        }
    }

    /// Takes all samples out, and says how many found no room. Nobody may record meanwhile.
    pub(crate) fn drain(&self, mut take: impl FnMut(FaultSample)) -> u64 {
        let len = self.len.swap(0, Ordering::Relaxed) as usize;
        let kept = len.min(FAULT_SAMPLES);
        for sample in self.values[..kept * SAMPLE_WORDS].chunks_exact(SAMPLE_WORDS) {
            let (since, rest) =
                (sample[0].load(Ordering::Relaxed), sample[1].load(Ordering::Relaxed));
            let thread = u32::try_from(rest >> 32).expect("half a word");
            take(FaultSample {
                began: self.born + Duration::from_nanos(since),
                took: Duration::from_nanos(rest & u64::from(u32::MAX)),
                thread,
            });
        }
        (len - kept) as u64
    }
}
