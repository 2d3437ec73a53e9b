//! Step 1: a mutator touched a page that is not there. Which page?
//!
//! Runs in a signal handler on the mutator (or on the heap's handler thread): it allocates nothing
//! and takes no lock. A page that is being built by somebody else is waited for; building one
//! takes microseconds.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::addr::PageIndex;
use crate::compact::page_state::PageState;
use crate::compact::source_page::Built;
use crate::forward::{Neighbourhoods, Plan};
use crate::model::ObjectModel;
use crate::raw::fault_entry::ServeFault;
use crate::raw::futex;
use crate::space::moving_space::MovingSpace;
use crate::transport::{SourceRun, Taker};

/// Pages that a mutator which helps builds at once, at most.
const HELP_PAGES: u32 = 64;

impl<M: ObjectModel> ServeFault for MovingSpace<M> {
    fn serve(&self, addr: usize) {
        let began = Instant::now();
        let offset = addr.saturating_sub(self.geometry.base) / self.geometry.page_bytes();
        let page = PageIndex(u32::try_from(offset).unwrap_or(u32::MAX));
        let Some(_pass) = self.gate.enter() else {
            // Every page with content is in place and the collector is about to make the others
            // plain memory: the mutator tries again.
            std::thread::yield_now();
            return;
        };
        self.serve_page(page);
        self.counters.faults.add(1);
        self.fault_samples.record(began);
    }
}

impl<M: ObjectModel> MovingSpace<M> {
    /// Sees to it that `page` is in place.
    fn serve_page(&self, page: PageIndex) {
        let plan = self.plan.get();
        let mut patience = Patience::default();
        loop {
            match self.states.get(page) {
                PageState::Installed => return,
                PageState::Staged(_) => {
                    self.install_staged(self.around(page));
                    return;
                }
                PageState::Claimed if self.build_behind(plan, page) => {}
                PageState::Claimed => patience.wait(),
                PageState::Unprocessed if page.0 >= plan.post() => {
                    if let Ok(claim) = self.states.claim(page) {
                        self.transport.install_zeros(page, 1, &self.counters);
                        self.states.settle(claim);
                    }
                }
                PageState::Unprocessed => {
                    let (cluster, tract) =
                        (self.transport.fault_cluster(), self.transport.fault_tract());
                    let pages = self.near_faults.pages_for(page.0, cluster, tract);
                    self.build_cluster(plan, pages, Some(page));
                }
            }
        }
    }

    /// What comes behind pages that are in the works, by a mutator that needs one of these: threads that
    /// allocate at the same time have each other's pages between theirs, and would build in turns.
    /// Whether there was anything.
    fn build_behind(&self, plan: Plan, page: PageIndex) -> bool {
        let (cluster, tract) = (self.transport.fault_cluster(), self.transport.fault_tract());
        let start = page.0 / cluster * cluster;
        let is_free = |start: &u32| self.states.get(PageIndex(*start)) == PageState::Unprocessed;
        let mut behind = start + cluster..plan.post().min(start + 2 * tract);
        let Some(start) = behind.by_ref().step_by(cluster as usize).find(is_free) else {
            return false;
        };
        let end = (start / tract + 1).saturating_mul(tract);
        self.build_cluster(plan, start..end, None) > 0
    }

    /// A few pages of the collector's work, by a mutator that would have to wait for it: from the end,
    /// where the collector comes last. What there is no staging page for is left to it. How many pages
    /// were built.
    pub(crate) fn help(&self) -> u32 {
        let Some(_pass) = self.gate.enter() else { return 0 };
        let plan = self.plan.get();
        let size = self.help_pages();
        let next = self.next_band.load(Ordering::Relaxed);
        let ahead = |end: u32| end.checked_sub(size).filter(|&start| start >= next);
        let Ok(end) = self.help_from.fetch_update(Ordering::Relaxed, Ordering::Relaxed, ahead)
        else {
            return 0;
        };
        let built = self.build_cluster(plan, end - size..end, None);
        self.counters.pages_helped.add(built);
        built
    }

    /// How many pages a mutator that helps builds at once, a power of two: not so many that the next
    /// pause has to wait for it.
    pub(crate) fn help_pages(&self) -> u32 {
        self.transport.fault_tract().min(HELP_PAGES)
    }

    /// Builds the unprocessed pages of `cluster`, and installs them together; how many.
    ///
    /// The system call, and making other processors forget the old translation, cost more than
    /// building a page: a mutator that is here anyway, for the page `wanted`, does some of the
    /// collector's work.
    fn build_cluster(&self, plan: Plan, cluster: Range<u32>, wanted: Option<PageIndex>) -> u32 {
        let cluster = cluster.start..plan.post().min(cluster.end);
        let mut run = SourceRun::EMPTY;
        let mut built = 0;
        let mut near = Neighbourhoods::default();
        // The pages from here on are built, all of them by this thread.
        let mut own = cluster.start;
        for other in cluster.clone().map(PageIndex) {
            let taker = if Some(other) == wanted { Taker::Mutator } else { Taker::Helper };
            let want = cluster.end - other.0;
            let mut stage = None;
            if self.needs_stage(plan, other) {
                if run.count == 0 {
                    // What has been emptied on the way can be built in next.
                    self.emptied_by(plan, own..other.0);
                }
                stage = self.transport.stage(taker, &mut run, other, want, &self.counters);
                if stage.is_none() {
                    own = other.0 + 1;
                    continue;
                }
            }
            let Ok(claim) = self.states.claim(other) else {
                if let Some(place) = stage {
                    self.transport.unstage(&mut run, place);
                }
                self.emptied_by(plan, own..other.0);
                own = other.0 + 1;
                continue;
            };
            built += 1;
            match self.build(plan, claim, stage, &mut near) {
                Built::Page(source) => self.states.publish(source),
                Built::Settled(claim) => {
                    if Some(other) == wanted {
                        // No object is here, but the mutator wants the page all the same.
                        self.transport.install_zeros(other, 1, &self.counters);
                    }
                    self.states.settle(claim);
                }
            }
        }
        self.emptied_by(plan, own..cluster.end);
        let end = wanted.map_or(0, |page| self.around(page).end);
        self.install_staged(cluster.start..cluster.end.max(end));
        self.transport.give_back(Taker::Mutator, run);
        built
    }

    /// The pages a fault on `page` may install: itself and a few more.
    fn around(&self, page: PageIndex) -> Range<u32> {
        page.0..page.0.saturating_add(self.transport.fault_around()).min(self.geometry.pages)
    }

    /// Brings zeroed pages in for a mutator's allocation buffer, so that it need not fault for
    /// each. Pages that are on their way already are left alone.
    pub(crate) fn prepare_fresh(&self, pages: Range<u32>) {
        let Some(_pass) = self.gate.enter() else { return };
        let mut at = pages.start;
        while at < pages.end {
            let mut claims = [const { None }; crate::space::allocation::BUFFER_PAGES as usize];
            let mut count = 0;
            for slot in &mut claims {
                if at + count == pages.end {
                    break;
                }
                let Ok(claim) = self.states.claim(PageIndex(at + count)) else { break };
                *slot = Some(claim);
                count += 1;
            }
            if count > 0 {
                self.transport.install_zeros(PageIndex(at), count, &self.counters);
                claims.into_iter().flatten().for_each(|claim| self.states.settle(claim));
            }
            at += count.max(1);
        }
    }
}

/// Waiting that gets slower: spin, give the processor away, sleep.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    rounds: u32,
}

impl Patience {
    /// Whether waiting has been going on for some ten milliseconds.
    pub(crate) fn is_out(&self) -> bool {
        self.rounds > 1024
    }

    pub(crate) fn wait(&mut self) {
        self.rounds += 1;
        match self.rounds {
            0..=64 => std::hint::spin_loop(),
            65..=256 => std::thread::yield_now(),
            _ => futex::nap(Duration::from_micros(20)),
        }
    }
}
