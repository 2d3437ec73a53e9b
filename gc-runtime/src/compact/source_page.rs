//! Step 3: what is in the page? Live words are copied together, references forwarded.
//!
//! A page is built from the old heap's words, the live bitmap, the offset table and the straddler
//! table; nothing else is read, and never the new heap: a builder cannot fault.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::addr::{FromWord, PageIndex};
use crate::compact::page_state::{Claim, SourceIndex, SourcePage};
use crate::forward::offset_table::PackedPage;
use crate::forward::{Forwarding, PageKind, Plan};
use crate::layout::ObjectLayout;
use crate::model::ObjectModel;
use crate::raw::cpu;
use crate::raw::words;
use crate::space::moving_space::MovingSpace;
use crate::transport::Compaction;

/// How far ahead the words of the next page are fetched.
const PREFETCH_WORDS: usize = 512;

/// What became of a claim.
#[derive(Debug)]
pub(crate) enum Built {
    /// The page is complete and can be published.
    Page(SourcePage),
    /// There is nothing to install: no objects, or the page was brought up to date where it lies.
    Settled(Claim),
}

impl<M: ObjectModel> MovingSpace<M> {
    /// Whether building `page` needs a place from the transport.
    pub(crate) fn needs_stage(&self, plan: Plan, page: PageIndex) -> bool {
        match self.kind(plan, page) {
            PageKind::Compacted(_) => true,
            PageKind::Fresh => false,
            PageKind::Slid { from } => {
                self.transport.slide_source(from).is_none()
                    && !self.is_empty(from, plan)
                    && !self.stays_in_pause(from, page)
            }
        }
    }

    /// Fills the claimed page, in `stage` if [`needs_stage`](Self::needs_stage) said so.
    pub(crate) fn build(&self, plan: Plan, claim: Claim, stage: Option<SourceIndex>) -> Built {
        let forwarding = Forwarding::new(self.geometry, &self.live, &self.offsets, plan);
        let page = claim.page();
        match (self.kind(plan, page), stage) {
            (PageKind::Compacted(packed), Some(stage)) => {
                let target = self.transport.source_words(stage);
                cpu::with_bit_counting(
                    #[inline(always)]
                    || self.compact_page(packed, plan, target, forwarding),
                );
                self.counters.bytes_copied.add_bytes(size_of_val(target));
                Built::Page(SourcePage::complete(claim, stage))
            }
            (PageKind::Slid { from }, None) => {
                let Some(source) = self.transport.slide_source(from) else {
                    if !self.is_empty(from, plan) {
                        self.update_slid(from, plan, self.from_page(from), forwarding);
                    }
                    return Built::Settled(claim);
                };
                if self.is_empty(from, plan) {
                    return Built::Settled(claim);
                }
                let words = self.transport.source_words(source);
                self.update_slid(from, plan, words, forwarding);
                self.counters.bytes_slid.add_bytes(size_of_val(words));
                Built::Page(SourcePage::complete(claim, source))
            }
            (PageKind::Slid { from }, Some(stage)) => {
                let target = self.transport.source_words(stage);
                words::copy(self.from_page(from), target);
                self.update_slid(from, plan, target, forwarding);
                self.counters.bytes_copied.add_bytes(size_of_val(target));
                Built::Page(SourcePage::complete(claim, stage))
            }
            (PageKind::Fresh, _) | (PageKind::Compacted(_), None) => {
                unreachable!("only pages with content are built, and with the place they need")
            }
        }
    }

    fn stays_in_pause(&self, from: PageIndex, page: PageIndex) -> bool {
        from == page && self.transport.compaction() == Compaction::InPause
    }

    #[expect(clippy::wrong_self_convention, reason = "a page of from-space, not a conversion")]
    fn from_page(&self, page: PageIndex) -> &[AtomicU64] {
        let first = self.geometry.page_start(page) as usize;
        &self.transport.from_words()[first..first + self.geometry.page_words()]
    }

    /// Whether no object has words on the old page `from`.
    fn is_empty(&self, from: PageIndex, plan: Plan) -> bool {
        from.0 >= plan.black
            && self.straddles.walk_end(from) == 0
            && self.straddles.straddler(from).is_none()
    }

    /// Packs live words into `target`, a page of the new heap.
    #[inline(always)]
    fn compact_page(
        &self,
        PackedPage { first: FromWord(first), packed, tail }: PackedPage,
        plan: Plan,
        target: &[AtomicU64],
        forwarding: Forwarding<'_>,
    ) {
        let (need, tail) = (packed as usize, tail as usize);
        let mut next = first;
        if need > 0 {
            next = self.copy_live(first, plan, &target[..need]);
        }
        words::fill(&target[need..target.len() - tail], 0);
        // The next page in order is most likely built next: fetch what it begins with while this
        // one's references are forwarded, two lines for each object so that the loads spread out.
        let from = self.transport.from_words();
        let end = (next as usize + PREFETCH_WORDS).min(from.len());
        let mut ahead = from[next as usize..end].chunks(words::LINE_WORDS);

        let mut at =
            if need > 0 { self.finish_first_object(first, &target[..need], forwarding) } else { 0 };
        while at < need {
            let layout =
                self.layout_or(&target[at..need], || self.object_at(next.saturating_sub(1)).1);
            self.forward_slots(layout, 0, &target[at..need], forwarding);
            at += layout.words() as usize;
            for line in ahead.by_ref().take(2) {
                words::prefetch(&line[0]);
            }
        }
        if tail > 0 {
            self.copy_tail(next, tail, plan, &target[target.len() - tail..], forwarding);
        }
    }

    /// Copies the start of an object that goes on in the island after this page: the `tail` words
    /// from the first live one at or after `next`.
    fn copy_tail(
        &self,
        next: u32,
        tail: usize,
        plan: Plan,
        target: &[AtomicU64],
        forwarding: Forwarding<'_>,
    ) {
        let limit = self.geometry.page_start(PageIndex(plan.black));
        let start = self.live.next_live(next, limit).expect("an object reaches into the island");
        let from = &self.transport.from_words()[start as usize..start as usize + tail];
        words::copy(from, target);
        let layout = self.layout_or(target, || self.layout_across(start));
        self.forward_slots(layout, 0, target, forwarding);
    }

    /// Copies live words from `first` on until `target` is full; the word after the last copied.
    #[inline(always)]
    fn copy_live(&self, first: u32, plan: Plan, target: &[AtomicU64]) -> u32 {
        let from = self.transport.from_words();
        let limit = self.geometry.page_start(PageIndex(plan.black));
        let (mut word, mut filled) = (first, 0);
        loop {
            let run = (self.live.run_end(word, limit) - word) as usize;
            let run = run.min(target.len() - filled);
            words::copy(&from[word as usize..word as usize + run], &target[filled..filled + run]);
            filled += run;
            #[expect(clippy::cast_possible_truncation, reason = "at most a page")]
            let end = word + run as u32;
            if filled == target.len() {
                return end;
            }
            let next = self.live.next_live(end, limit);
            word = next.expect("the summary counted the words that a page gets");
        }
    }

    /// Forwards the slots of the object that word `first` of the old heap belongs to, as far as
    /// they lie in `target`, whose first word that is. Returns where the next object starts.
    #[inline(always)]
    fn finish_first_object(
        &self,
        first: u32,
        target: &[AtomicU64],
        forwarding: Forwarding<'_>,
    ) -> usize {
        let (start, layout) = self.object_at(first);
        if start == first {
            return 0;
        }
        let done = first - start;
        self.forward_slots(layout, done, target, forwarding);
        (layout.words() - done) as usize
    }

    /// The live object that a live word of the old heap belongs to.
    fn object_at(&self, word: u32) -> (u32, ObjectLayout) {
        let page = self.geometry.page_of(word);
        let mut at = self.geometry.page_start(page);
        if let Some(straddler) = self.straddles.straddler(page) {
            if straddler.end() > word {
                return (straddler.start, straddler.layout);
            }
            at = straddler.end();
        }
        let from = self.transport.from_words();
        loop {
            at = self.live.next_live(at, word + 1).expect("the word itself is live");
            let page_end = self.geometry.page_start(page.plus(1));
            let rest = &from[at as usize..page_end as usize];
            let layout = self.layout_or(rest, || self.layout_across(at));
            if at + layout.words() > word {
                return (at, layout);
            }
            at += layout.words();
        }
    }

    /// Forwards the slots of `words`, the content of the old heap's page `from`.
    fn update_slid(
        &self,
        from: PageIndex,
        plan: Plan,
        words: &[AtomicU64],
        forwarding: Forwarding<'_>,
    ) {
        let start = self.geometry.page_start(from);
        let end = start + self.geometry.page_words_u32();
        let mut at = start;
        if let Some(straddler) = self.straddles.straddler(from) {
            self.forward_slots(straddler.layout, start - straddler.start, words, forwarding);
            at = straddler.end();
        }
        let black = from.0 >= plan.black;
        let walk_end = if black { self.straddles.walk_end(from) } else { end };
        while at < walk_end {
            if !black {
                // The dense prefix has dead words in between.
                match self.live.next_live(at, end) {
                    Some(live) => at = live,
                    None => return,
                }
            }
            let rest = &words[(at - start) as usize..];
            let layout = self.layout_or(rest, || self.layout_across(at));
            self.forward_slots(layout, 0, rest, forwarding);
            at += layout.words();
        }
    }

    /// Forwards the slots of one object whose word number `done` lies at `words[0]`.
    #[inline(always)]
    fn forward_slots(
        &self,
        layout: ObjectLayout,
        done: u32,
        words: &[AtomicU64],
        forwarding: Forwarding<'_>,
    ) {
        #[expect(clippy::cast_possible_truncation, reason = "at most a page")]
        let window = done..layout.words().min(done.saturating_add(words.len() as u32));
        layout.slots_in(
            &self.model,
            window,
            #[inline(always)]
            |slot| {
                let slot = &words[(slot - done) as usize];
                let value = forwarding.forward_value(slot.load(Ordering::Relaxed));
                slot.store(value, Ordering::Relaxed);
            },
        );
    }
}
