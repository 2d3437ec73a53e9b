//! Step 3: what is in the page? Live words are copied together, references forwarded.
//!
//! A page is built from the old heap's words, the live bitmap, the offset table and the straddler
//! table; nothing else is read, and never the new heap: a builder cannot fault.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::addr::{FromWord, PageIndex};
use crate::compact::page_state::{Claim, SourceIndex, SourcePage};
use crate::forward::offset_table::PackedPage;
use crate::forward::{Forward, Forwarding, Neighbourhoods, PageKind, Plan};
use crate::last_layout::LastLayout;
use crate::layout::ObjectLayout;
use crate::mark::live_bitmap::BLOCK_WORDS;
use crate::model::ObjectModel;
use crate::raw::cpu;
use crate::raw::words;
use crate::space::moving_space::MovingSpace;
use crate::transport::Compaction;

/// How far ahead the words of the next page are fetched.
const PREFETCH_WORDS: usize = 512;

/// Lines of them that are fetched with each object, so that the loads spread out.
const LINES_AT_ONCE: usize = 2;

/// How far ahead of the copying the old heap is fetched, in blocks of the live bitmap.
const BLOCKS_AHEAD: u32 = 4;

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

    /// Fills the claimed page, in `stage` if [`needs_stage`](Self::needs_stage) said so. `near` is
    /// the same for all pages that a thread builds one after the other.
    pub(crate) fn build(
        &self,
        plan: Plan,
        claim: Claim,
        stage: Option<SourceIndex>,
        near: &mut Neighbourhoods,
    ) -> Built {
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
                        self.update_slid(from, plan, self.from_page(from), forwarding, near);
                    }
                    return Built::Settled(claim);
                };
                if self.is_empty(from, plan) {
                    return Built::Settled(claim);
                }
                let words = self.transport.source_words(source);
                self.update_slid(from, plan, words, forwarding, near);
                self.counters.bytes_slid.add_bytes(size_of_val(words));
                Built::Page(SourcePage::complete(claim, source))
            }
            (PageKind::Slid { from }, Some(stage)) => {
                let target = self.transport.source_words(stage);
                words::copy(self.from_page(from), target);
                self.update_slid(from, plan, target, forwarding, near);
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
            next = self.copy_live(first, &target[..need]);
        }
        words::fill(&target[need..target.len() - tail], 0);
        if need > 0 && self.have_references(first, next) {
            self.forward_packed(first, next, &target[..need], forwarding);
        }
        if tail > 0 {
            self.copy_tail(next, tail, plan, &target[target.len() - tail..], forwarding);
        }
    }

    /// Whether there are references on the pages of the old heap from word `first` to before `end`.
    #[inline(always)]
    fn have_references(&self, first: u32, end: u32) -> bool {
        self.reach.any(self.geometry.page_of(first).0..self.geometry.page_of(end - 1).0 + 1)
    }

    /// Forwards the slots of `target`, the live words from `first` on of the old heap; the one after
    /// the last is `next`.
    #[inline(always)]
    fn forward_packed(
        &self,
        first: u32,
        next: u32,
        target: &[AtomicU64],
        forwarding: Forwarding<'_>,
    ) {
        // The next page in order is most likely built next: fetch what it begins with while this
        // one's references are forwarded.
        let mut ahead = self.lines_from(next);
        let mut last = LastLayout::none();
        let mut at = self.finish_first_object(first, target, forwarding);
        while at < target.len() {
            let layout = self.layout_or(&target[at..], &mut last, || self.object_at(next - 1).1);
            self.forward_slots(layout, 0, &target[at..], forwarding);
            at += layout.words() as usize;
            for line in ahead.by_ref().take(LINES_AT_ONCE) {
                words::prefetch(&line[0]);
            }
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
        let layout = self.layout_or(target, &mut LastLayout::none(), || self.layout_across(start));
        self.forward_slots(layout, 0, target, forwarding);
    }

    /// Copies live words from `first` on until `target` is full; the word after the last copied.
    #[inline(always)]
    fn copy_live(&self, first: u32, target: &[AtomicU64]) -> u32 {
        let (from, blocks) = (self.transport.from_words(), self.live.blocks());
        let page_words = self.geometry.page_words_u32();
        let mut block = first / BLOCK_WORDS;
        let mut bits = load(&blocks[block as usize]) & u64::MAX << (first % BLOCK_WORDS);
        let mut filled = 0;
        loop {
            let base = block * BLOCK_WORDS;
            let page_end = (base - base % page_words + page_words) as usize;
            while bits != 0 {
                let start = bits.trailing_zeros();
                let run = ((!(bits >> start)).trailing_zeros() as usize).min(target.len() - filled);
                let at = (base + start) as usize;
                // The rest of the page is there as long as the run is.
                words::copy_over(&from[at..page_end], &target[filled..], run);
                filled += run;
                if filled == target.len() {
                    #[expect(clippy::cast_possible_truncation, reason = "at most a block")]
                    return base + start + run as u32;
                }
                // The carry takes the lowest run of ones away.
                bits &= bits.wrapping_add(1 << start);
            }
            block += 1;
            // The summary counted the words that a page gets: there are enough.
            bits = load(&blocks[block as usize]);
            let ahead = ((block + BLOCKS_AHEAD) * BLOCK_WORDS) as usize;
            words::prefetch_lines(from, ahead, BLOCK_WORDS as usize / words::LINE_WORDS);
        }
    }

    /// What will be read next, in lines: from word `next` of the old heap on.
    #[inline(always)]
    fn lines_from(&self, next: u32) -> std::slice::Chunks<'_, AtomicU64> {
        let from = self.transport.from_words();
        let next = (next as usize).min(from.len());
        from[next..(next + PREFETCH_WORDS).min(from.len())].chunks(words::LINE_WORDS)
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
        let mut last = LastLayout::none();
        loop {
            at = self.live.next_live(at, word + 1).expect("the word itself is live");
            let page_end = self.geometry.page_start(page.plus(1));
            let rest = &from[at as usize..page_end as usize];
            let layout = self.layout_or(rest, &mut last, || self.layout_across(at));
            if at + layout.words() > word {
                return (at, layout);
            }
            at += layout.words();
        }
    }

    /// Forwards the slots of `words`, the content of the old heap's page `from`, unless none would
    /// change.
    fn update_slid(
        &self,
        from: PageIndex,
        plan: Plan,
        words: &[AtomicU64],
        forwarding: Forwarding<'_>,
        near: &mut Neighbourhoods,
    ) {
        // On the dense prefix, references to the dense prefix stay as they are.
        let stay = if from.0 < plan.dense { plan.dense } else { 0 };
        if self.reach.ends_before(from, stay) {
            self.counters.pages_unread.add(1);
        } else {
            cpu::with_bit_counting(
                #[inline(always)]
                || self.update_slots(from, plan, words, forwarding, near),
            );
        }
    }

    /// As [`update_slid`](Self::update_slid), which has found that there are some.
    #[inline(always)]
    fn update_slots(
        &self,
        from: PageIndex,
        plan: Plan,
        words: &[AtomicU64],
        forwarding: Forwarding<'_>,
        near: &mut Neighbourhoods,
    ) {
        let near = near.of(forwarding, from);
        let start = self.geometry.page_start(from);
        let end = start + self.geometry.page_words_u32();
        let mut at = start;
        if let Some(straddler) = self.straddles.straddler(from) {
            self.forward_slots(straddler.layout, start - straddler.start, words, near);
            at = straddler.end();
        }
        let old = self.transport.from_words();
        let black = from.0 >= plan.black;
        let walk_end = if black { self.straddles.walk_end(from) } else { end };
        let all_live = black || self.live.all_live(start..end);
        let mut last = LastLayout::none();
        while at < walk_end {
            if !all_live {
                // The dense prefix and the ends of islands have dead words in between.
                match self.live.next_live(at, end) {
                    Some(live) => at = live,
                    None => return,
                }
            }
            let rest = &words[(at - start) as usize..];
            let layout = self.layout_or(rest, &mut last, || self.layout_across(at));
            self.forward_slots(layout, 0, rest, near);
            // The next page is most likely next.
            if let Some(word) = old.get(at as usize + PREFETCH_WORDS) {
                words::prefetch(word);
            }
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
        forwarding: impl Forward,
    ) {
        #[expect(clippy::cast_possible_truncation, reason = "at most a page")]
        let window = done..layout.words().min(done.saturating_add(words.len() as u32));
        if let Some(run) = layout.slot_run(&window) {
            if !run.is_empty() {
                forwarding
                    .forward_run(&words[(run.start - done) as usize..(run.end - done) as usize]);
            }
            return;
        }
        layout.slots_in(
            &self.model,
            window,
            #[inline(always)]
            move |slot| forwarding.forward_slot(&words[(slot - done) as usize]),
        );
    }
}

#[inline(always)]
fn load(block: &AtomicU64) -> u64 {
    block.load(Ordering::Relaxed)
}
