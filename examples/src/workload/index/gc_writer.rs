//! The writer's thread on the heap.

use std::sync::atomic::Ordering;

use gc_runtime::RootIndex;

use super::Writer;
use super::gc_layout::{
    BUCKETS, GROUPS, GcIndex, MADE_IN, document, find_term, pack_posting, page, place_of, state,
    term,
};
use super::library::Draft;
use crate::error::Failure;
use crate::gc_memory::{GcHand, held, narrow, text_words, write_text};
use crate::measure::StepClock;
use crate::memory::Hand;

pub(in crate::workload) struct GcWriter {
    pub(super) hand: GcHand,
    index: GcIndex,
    /// The batch that is being made.
    batch: u64,
    pub(super) root: Roots,
    /// Postings of one term while they are rewritten; no object reference among them.
    pub(super) scratch: Vec<u64>,
}

/// The writer's roots, each for one kind of object on the way down.
pub(super) struct Roots {
    state: RootIndex,
    terms: RootIndex,
    pub(super) documents: RootIndex,
    /// The group in which the present term lies.
    group: RootIndex,
    pub(super) term: RootIndex,
    /// The term before the present one in its bucket.
    before: RootIndex,
    pub(super) link: RootIndex,
    pub(super) chunk: RootIndex,
    page: RootIndex,
    document: RootIndex,
    /// The hashes of the present document's terms.
    hashes: RootIndex,
    new: RootIndex,
}

impl GcWriter {
    pub(super) fn new(index: GcIndex) -> Result<Self, Failure> {
        let hand = GcHand::new(index.heap())?;
        let new_root = || hand.push_root(None);
        let root = Roots {
            state: new_root(),
            terms: new_root(),
            documents: new_root(),
            group: new_root(),
            term: new_root(),
            before: new_root(),
            link: new_root(),
            chunk: new_root(),
            page: new_root(),
            document: new_root(),
            hashes: new_root(),
            new: new_root(),
        };
        Ok(Self { hand, index, batch: 0, root, scratch: Vec::new() })
    }

    /// Puts the object in `parent`'s slot into root `out`, so that it may be written to: itself when it was made in
    /// this batch, else a copy of it that takes its place.
    ///
    /// The parent must be of this batch, and the slot must not be empty.
    pub(super) fn own(
        &mut self,
        parent: RootIndex,
        slot: u32,
        out: RootIndex,
    ) -> Result<(), Failure> {
        let m = &*self.hand;
        let old = m.load(held(m, parent), slot).expect("the caller has seen an object here");
        if m.word(old, MADE_IN) == self.batch {
            m.set_root(out, Some(old));
            return Ok(());
        }
        let (refs, data_words) = (m.refs(old), m.data_words(old));
        self.hand.alloc_into(self.root.new, refs, data_words)?;
        let m = &*self.hand;
        let parent = held(m, parent);
        let old = m.load(parent, slot).expect("nobody else writes to this object");
        let new = held(m, self.root.new);
        for slot in 0..refs {
            m.store(new, slot, m.load(old, slot));
        }
        for (to, from) in m.words(new).iter().zip(m.words(old)) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        m.set_word(new, MADE_IN, self.batch);
        m.store(parent, slot, Some(new));
        m.set_root(out, Some(new));
        Ok(())
    }

    /// Makes an object of this batch in root `out`.
    pub(super) fn make(
        &mut self,
        out: RootIndex,
        refs: u32,
        data_words: u32,
    ) -> Result<(), Failure> {
        self.hand.alloc_into(out, refs, data_words)?;
        self.hand.set_word(held(&self.hand, out), MADE_IN, self.batch);
        Ok(())
    }

    /// Makes an object of this batch in an empty slot of `parent`, or owns the one that is there.
    fn own_or_make(
        &mut self,
        parent: RootIndex,
        slot: u32,
        out: RootIndex,
        refs: u32,
        data_words: u32,
    ) -> Result<(), Failure> {
        let m = &*self.hand;
        if m.load(held(m, parent), slot).is_some() {
            return self.own(parent, slot, out);
        }
        self.make(out, refs, data_words)?;
        self.link_in(parent, slot, out);
        Ok(())
    }

    /// Stores what lies in root `child` in a slot of what lies in root `parent`.
    pub(super) fn link_in(&self, parent: RootIndex, slot: u32, child: RootIndex) {
        let m = &*self.hand;
        m.store(held(m, parent), slot, m.root(child));
    }

    pub(super) fn add_to(&self, root: RootIndex, word: u32, change: i64) -> u64 {
        let m = &*self.hand;
        let object = held(m, root);
        let value = m.word(object, word).wrapping_add_signed(change);
        m.set_word(object, word, value);
        value
    }

    /// Owns the term with this hash (and text), in root `term`, and what leads to it; `before` is the term in front of it in its
    /// bucket, or null. Gives `false`, and owns nothing but the group, when there is no such term.
    fn own_term(&mut self, hash: u64, text: Option<&str>) -> Result<bool, Failure> {
        let (group, bucket) = place_of(hash);
        self.own_or_make(self.root.terms, group, self.root.group, BUCKETS, 1)?;
        let m = &*self.hand;
        if find_term(m, held(m, self.root.terms), hash, text).is_none() {
            return Ok(false);
        }
        m.set_root(self.root.before, None);
        self.own(self.root.group, bucket, self.root.term)?;
        // No two terms have the same hash: the library sees to that.
        loop {
            let m = &*self.hand;
            let here = held(m, self.root.term);
            if m.word(here, term::HASH) == hash {
                return Ok(true);
            }
            m.set_root(self.root.before, Some(here));
            self.own(self.root.before, term::NEXT, self.root.term)?;
        }
    }

    /// Owns or makes the term, in root `term`.
    fn own_or_make_term(&mut self, hash: u64, text: &str) -> Result<(), Failure> {
        if self.own_term(hash, Some(text))? {
            return Ok(());
        }
        let text = text.as_bytes();
        self.make(self.root.term, term::REFS, term::LEN + text_words(text))?;
        let m = &*self.hand;
        let new = held(m, self.root.term);
        let group = held(m, self.root.group);
        let (_, bucket) = place_of(hash);
        m.set_word(new, term::HASH, hash);
        write_text(&m.words(new)[term::LEN as usize..], text);
        m.store(new, term::NEXT, m.load(group, bucket));
        m.store(group, bucket, Some(new));
        Ok(())
    }

    /// One document less has the term with this hash.
    fn forget_term(&mut self, hash: u64) -> Result<(), Failure> {
        if !self.own_term(hash, None)? {
            return Err(Failure::Wrong(format!("the term with hash {hash:016x} is lost")));
        }
        let live = self.add_to(self.root.term, term::LIVE, -1);
        let m = &*self.hand;
        let here = held(m, self.root.term);
        if live == 0 {
            let (_, bucket) = place_of(hash);
            let next = m.load(here, term::NEXT);
            match m.root(self.root.before) {
                Some(before) => m.store(before, term::NEXT, next),
                None => m.store(held(m, self.root.group), bucket, next),
            }
        } else if m.word(here, term::STORED) > 2 * live + 8 {
            self.purge()?;
        }
        Ok(())
    }

    /// Owns the page of a document, in root `page`.
    fn own_page(&mut self, number: u32) -> Result<(), Failure> {
        let at = number / page::SLOTS;
        let m = &*self.hand;
        let pages = m.refs(held(m, self.root.documents));
        if at >= pages {
            self.make(self.root.new, 2 * pages, 1)?;
            let m = &*self.hand;
            let (old, new) = (held(m, self.root.documents), held(m, self.root.new));
            for slot in 0..pages {
                m.store(new, slot, m.load(old, slot));
            }
            m.set_root(self.root.documents, Some(new));
            self.link_in(self.root.state, state::DOCUMENTS, self.root.documents);
        }
        self.own_or_make(self.root.documents, at, self.root.page, page::SLOTS, page::WORDS)
    }
}

impl Hand for GcWriter {
    fn clock(&mut self) -> &mut StepClock {
        self.hand.clock()
    }

    fn blocking<R>(&mut self, wait: impl FnOnce() -> R) -> R {
        self.hand.blocking(wait)
    }
}

impl Writer for GcWriter {
    fn begin(&mut self) -> Result<(), Failure> {
        self.batch += 1;
        if self.batch == 1 {
            self.make(self.root.state, 2, 1)?;
            self.make(self.root.terms, GROUPS, 1)?;
            self.make(self.root.documents, 16, 1)?;
            self.link_in(self.root.state, state::TERMS, self.root.terms);
            self.link_in(self.root.state, state::DOCUMENTS, self.root.documents);
            return Ok(());
        }
        // The old state stays alive in its global root; root `document` is free at this moment.
        let old = self.root.document;
        self.hand.set_root(old, self.hand.root(self.root.state));
        self.make(self.root.state, 2, 1)?;
        let m = &*self.hand;
        for slot in [state::TERMS, state::DOCUMENTS] {
            m.store(held(m, self.root.state), slot, m.load(held(m, old), slot));
        }
        self.own(self.root.state, state::TERMS, self.root.terms)?;
        self.own(self.root.state, state::DOCUMENTS, self.root.documents)
    }

    fn add(&mut self, number: u32, draft: &Draft<'_>) -> Result<(), Failure> {
        self.make(self.root.document, document::REFS, 1)?;
        for (slot, text) in [(document::TITLE, draft.title), (document::TEXT, draft.text)] {
            let text = text.as_bytes();
            self.hand.alloc_into(self.root.new, 0, text_words(text))?;
            write_text(self.hand.words(held(&self.hand, self.root.new)), text);
            self.link_in(self.root.document, slot, self.root.new);
        }
        self.make(self.root.hashes, 0, 1 + narrow(draft.term_count()))?;
        self.link_in(self.root.document, document::HASHES, self.root.hashes);
        for (at, (hash, text, count)) in (1..).zip(draft.terms()) {
            self.hand.set_word(held(&self.hand, self.root.hashes), at, hash);
            self.own_or_make_term(hash, text)?;
            self.append(pack_posting(number, count))?;
            self.add_to(self.root.term, term::LIVE, 1);
        }
        self.own_page(number)?;
        self.link_in(self.root.page, number % page::SLOTS, self.root.document);
        self.add_to(self.root.page, page::LIVE, 1);
        self.hand.poll();
        Ok(())
    }

    fn remove(&mut self, number: u32) -> Result<(), Failure> {
        self.own_page(number)?;
        let slot = number % page::SLOTS;
        let m = &*self.hand;
        let here = held(m, self.root.page);
        let Some(gone) = m.load(here, slot) else {
            return Err(Failure::Wrong(format!("document {number} is lost")));
        };
        m.set_root(self.root.hashes, m.load(gone, document::HASHES));
        m.store(here, slot, None);
        if self.add_to(self.root.page, page::LIVE, -1) == 0 {
            m.store(held(m, self.root.documents), number / page::SLOTS, None);
        }
        for at in 1..m.data_words(held(m, self.root.hashes)) {
            let hash = self.hand.word(held(&self.hand, self.root.hashes), at);
            self.forget_term(hash)?;
        }
        self.hand.poll();
        Ok(())
    }

    fn publish(&mut self) -> Result<(), Failure> {
        let m = &*self.hand;
        m.set_global(self.index.state_root(self.batch), m.root(self.root.state));
        Ok(())
    }

    fn into_clock(self) -> StepClock {
        self.hand.into_clock()
    }
}
