//! The same steps without a fault: collector threads take bands of pages in address order.

use std::ops::Range;
use std::sync::atomic::Ordering;

use crate::addr::PageIndex;
use crate::compact::fault::Patience;
use crate::compact::page_state::{PageState, SourceIndex};
use crate::compact::source_page::Built;
use crate::forward::{Neighbourhoods, Plan};
use crate::model::ObjectModel;
use crate::space::keeping_pace::{AfterStint, Stint};
use crate::space::moving_space::MovingSpace;
use crate::transport::{BAND_PAGES, SourceRun, Taker};

impl<M: ObjectModel> MovingSpace<M> {
    /// Resets the cursors of a new compaction.
    pub(crate) fn begin_bands(&self, plan: Plan) {
        self.next_band.store(0, Ordering::Relaxed);
        self.near_faults.forget();
        let end = plan.post().next_multiple_of(self.help_pages());
        self.help_from.store(end, Ordering::Relaxed);
        self.built.store(plan.dense, Ordering::Relaxed);
        self.emptied_below.store(plan.dense, Ordering::Relaxed);
    }

    /// One collector thread's part: bands until there are none left.
    pub(crate) fn compact_bands(&self, after_stint: AfterStint<'_>) {
        let plan = self.plan.get();
        let mut run = SourceRun::EMPTY;
        let mut stint = Stint::begin(after_stint);
        loop {
            let start = self.next_band.fetch_add(BAND_PAGES, Ordering::Relaxed);
            if start >= plan.post() {
                break;
            }
            self.compact_band(plan, start..plan.post().min(start + BAND_PAGES), &mut run);
            self.note_resident();
            self.advance(plan, &mut run);
            self.deposit_between_bands(plan);
            stint.look_up();
        }
        self.transport.give_back(Taker::Collector, run);
    }

    fn compact_band(&self, plan: Plan, band: Range<u32>, run: &mut SourceRun) {
        let mut own = band.start;
        let mut near = Neighbourhoods::default();
        for page in band.clone().map(PageIndex) {
            let Ok(claim) = self.states.claim(page) else {
                own = page.0 + 1;
                continue;
            };
            let stage = self
                .needs_stage(plan, page)
                .then(|| self.stage_in_band(plan, band.clone(), own..page.0, run));
            match self.build(plan, claim, stage, &mut near) {
                Built::Page(source) => self.states.publish(source),
                Built::Settled(claim) => self.states.settle(claim),
            }
        }
        self.install_staged(band);
        self.transport.flushed(run);
    }

    /// A place to build the page of a band in that comes after the pages `own`, which the caller has
    /// just built. These may have to be installed first, and waiting for a mutator that is at work
    /// on a page is better than allocating.
    fn stage_in_band(
        &self,
        plan: Plan,
        band: Range<u32>,
        own: Range<u32>,
        run: &mut SourceRun,
    ) -> SourceIndex {
        let page = PageIndex(own.end);
        let want = band.end - page.0;
        let mut taker = Taker::Collector;
        let mut patience = Patience::default();
        loop {
            if let Some(place) = self.transport.stage(taker, run, page, want, &self.counters) {
                return place;
            }
            self.install_staged(band.start..page.0);
            self.transport.flushed(run);
            self.advance(plan, run);
            // If a page before is in the works elsewhere, that was nothing.
            self.emptied_by(plan, own.clone());
            let lowest = PageIndex(self.built.load(Ordering::Acquire));
            let others = lowest < page && self.states.get(lowest) == PageState::Claimed;
            if others && !patience.is_out() {
                patience.wait();
            } else {
                taker = Taker::LastResort;
            }
        }
    }

    /// Tells the transport which old pages nobody needs any more.
    fn advance(&self, plan: Plan, run: &mut SourceRun) {
        let mut page = self.built.load(Ordering::Acquire);
        while page < plan.compact {
            match self.states.get(PageIndex(page)) {
                PageState::Installed => page += 1,
                // Its builder was put to sleep before it could.
                PageState::Staged(_) => self.install_staged(page..page + 1),
                PageState::Claimed | PageState::Unprocessed => break,
            }
        }
        self.built.fetch_max(page, Ordering::AcqRel);
        let bound = self.needed_from(plan, page);
        let before = self.emptied_below.fetch_max(bound, Ordering::AcqRel);
        if before < bound {
            let moved = |page| self.moved_whole(page);
            self.transport.emptied(before..bound, &moved, run, &self.counters);
        }
    }

    /// Tells the transport which old pages nobody needs any more once the caller has built all of
    /// `built`: those strictly between the first that these took from and the first that the next
    /// page takes from.
    pub(crate) fn emptied_by(&self, plan: Plan, built: Range<u32>) {
        let (start, end) = (built.start.max(plan.dense), built.end.min(plan.compact));
        if start >= end {
            return;
        }
        let first = self.needed_from(plan, start) + 1;
        let bound = self.needed_from(plan, end);
        let moved = |page| self.moved_whole(page);
        self.transport.emptied_early(first..bound.max(first), &moved, &self.counters);
    }

    /// The first old page that a page of the new heap, or one after it, takes from.
    fn needed_from(&self, plan: Plan, page: u32) -> u32 {
        if page < plan.compact {
            self.offsets.first_source(self.geometry, PageIndex(page)).0
        } else {
            plan.black
        }
    }

    /// Whether an old page moved as a whole, and so has left nothing behind.
    fn moved_whole(&self, page: u32) -> bool {
        self.offsets.moves_whole(self.geometry, PageIndex(page))
    }

    /// Waits until every page with content is in place.
    pub(crate) fn wait_for_all(&self) {
        let plan = self.plan.get();
        for page in 0..plan.post() {
            let mut patience = Patience::default();
            loop {
                match self.states.get(PageIndex(page)) {
                    PageState::Installed => break,
                    PageState::Staged(_) => self.install_staged(page..page + 1),
                    PageState::Claimed | PageState::Unprocessed => patience.wait(),
                }
            }
        }
        let mut run = SourceRun::EMPTY;
        self.advance(plan, &mut run);
        self.transport.give_back(Taker::Collector, run);
    }
}
