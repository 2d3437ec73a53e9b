//! A query thread on the heap.

use std::sync::atomic::Ordering;

use gc_runtime::{Local, Mutator, RootIndex};

use super::gc_layout::{
    GcIndex, chunk, document, find_document, find_term, link, state, term, unpack_posting,
};
use super::{Part, Reader};
use crate::error::Failure;
use crate::gc_memory::{GcHand, held};
use crate::measure::StepClock;
use crate::memory::Hand;

pub(in crate::workload) struct GcReader {
    hand: GcHand,
    index: GcIndex,
    /// The state that is read.
    state: RootIndex,
    /// Where a walk over postings has got to, while the collector may stop this thread.
    link: RootIndex,
}

/// Links between two safepoints: some hundred postings, a few microseconds.
const LINKS_PER_STEP: usize = 8;

impl GcReader {
    pub(super) fn new(index: GcIndex) -> Result<Self, Failure> {
        let hand = GcHand::new(index.heap())?;
        let state = hand.push_root(None);
        let link = hand.push_root(None);
        Ok(Self { hand, index, state, link })
    }

    fn terms(&self) -> Local<'_> {
        let state = held(&self.hand, self.state);
        self.hand.load(state, state::TERMS).expect("a state has terms")
    }

    /// Visits the postings of one chunk whose documents are still there.
    fn visit(m: &Mutator, documents: Local<'_>, leaf: Local<'_>, visit: &mut impl FnMut(u32, u32)) {
        let words = m.words(leaf);
        let len = usize::try_from(m.word(leaf, chunk::LEN)).expect("a chunk is small");
        for posting in words[chunk::FIRST as usize..].iter().take(len) {
            let (number, count) = unpack_posting(posting.load(Ordering::Relaxed));
            if find_document(m, documents, number).is_some() {
                visit(number, count);
            }
        }
    }
}

impl Hand for GcReader {
    fn clock(&mut self) -> &mut StepClock {
        self.hand.clock()
    }

    fn blocking<R>(&mut self, wait: impl FnOnce() -> R) -> R {
        self.hand.blocking(wait)
    }
}

impl Reader for GcReader {
    fn open(&mut self, batch: u64) -> Result<(), Failure> {
        self.hand.poll();
        let m = &*self.hand;
        let published = m.global(self.index.state_root(batch));
        m.set_root(self.state, published);
        match published {
            Some(_) => Ok(()),
            None => Err(Failure::Wrong(format!("the state of batch {batch} is lost"))),
        }
    }

    fn frequency(&self, hash: u64, text: &str) -> u32 {
        let live = find_term(&self.hand, self.terms(), hash, Some(text))
            .map_or(0, |found| self.hand.word(found, term::LIVE));
        u32::try_from(live).expect("documents have 32-bit numbers")
    }

    fn postings(&mut self, hash: u64, text: &str, mut visit: impl FnMut(u32, u32)) {
        let m = &*self.hand;
        let first = find_term(m, self.terms(), hash, Some(text));
        m.set_root(self.link, first);
        loop {
            let m = &*self.hand;
            let documents =
                m.load(held(m, self.state), state::DOCUMENTS).expect("a state has documents");
            let mut next = m.root(self.link);
            for _ in 0..LINKS_PER_STEP {
                let Some(here) = next else { return };
                let leaf = m.load(here, link::CHUNK).expect("a link has a chunk");
                Self::visit(m, documents, leaf, &mut visit);
                next = m.load(here, link::OLDER);
            }
            m.set_root(self.link, next);
            self.hand.poll();
        }
    }

    fn excerpt(&mut self, number: u32, part: Part) -> Option<u64> {
        self.hand.poll();
        let m = &*self.hand;
        let documents = m.load(held(m, self.state), state::DOCUMENTS)?;
        let document = find_document(m, documents, number)?;
        let title = m.words(m.load(document, document::TITLE)?);
        let text = m.words(m.load(document, document::TEXT)?);
        let hashes = m.words(m.load(document, document::HASHES)?);
        Some(part.hash(
            title[1..].iter().map(|word| word.load(Ordering::Relaxed)),
            text.len() - 1,
            |at| text[1 + at].load(Ordering::Relaxed),
            hashes[1..].iter().map(|hash| hash.load(Ordering::Relaxed)),
        ))
    }

    fn into_clock(self) -> StepClock {
        self.hand.into_clock()
    }
}
