//! How the index lies in the heap, and how a lookup finds its way.
//!
//! ```text
//! state -> terms -> group -> term -> term (same bucket)
//!                            |  |
//!                            |  +-> link -> link (older postings)
//!                            |       +-> chunk (leaf of postings, full)
//!                            +-> chunk (leaf of postings)
//!       -> documents -> page -> document -> leaves: title, text, hashes of its terms
//! ```
//! Data word 0 of everything but titles and texts is the batch that made the object. The writer changes
//! an object in place when it is of its own batch, and makes a copy of it otherwise.

use std::sync::atomic::Ordering;

use gc_runtime::{GlobalRoot, Heap, Local, Mutator};

use super::Index;
use super::gc_reader::GcReader;
use super::gc_writer::GcWriter;
use crate::error::Failure;
use crate::random::packed;

/// Data word 0 of every shared object.
pub(super) const MADE_IN: u32 = 0;

pub(super) mod state {
    pub(in super::super) const TERMS: u32 = 0;
    pub(in super::super) const DOCUMENTS: u32 = 1;
}

/// A term is also the first link of its own postings.
pub(super) mod term {
    /// The next term in the same bucket.
    pub(in super::super) const NEXT: u32 = 2;
    pub(in super::super) const REFS: u32 = 3;
    pub(in super::super) const HASH: u32 = 1;
    /// Documents in the index that have the term.
    pub(in super::super) const LIVE: u32 = 2;
    /// Postings in the chunks, those of removed documents too.
    pub(in super::super) const STORED: u32 = 3;
    /// The length of its text in bytes; the text follows.
    pub(in super::super) const LEN: u32 = 4;
}

pub(super) mod link {
    pub(in super::super) const OLDER: u32 = 0;
    pub(in super::super) const CHUNK: u32 = 1;
    pub(in super::super) const REFS: u32 = 2;
    pub(in super::super) const WORDS: u32 = 1;
}

pub(super) mod chunk {
    pub(in super::super) const LEN: u32 = 1;
    pub(in super::super) const FIRST: u32 = 2;
}

pub(super) mod page {
    /// Documents on the page.
    pub(in super::super) const LIVE: u32 = 1;
    pub(in super::super) const WORDS: u32 = 2;
    pub(in super::super) const SLOTS: u32 = 256;
}

pub(super) mod document {
    pub(in super::super) const TITLE: u32 = 0;
    pub(in super::super) const TEXT: u32 = 1;
    /// The hash of each term, after the batch.
    pub(in super::super) const HASHES: u32 = 2;
    pub(in super::super) const REFS: u32 = 3;
}

/// Groups of the term table, and buckets of a group.
pub(super) const GROUPS: u32 = 1024;
pub(super) const BUCKETS: u32 = 128;

/// Where a term belongs: its group and its bucket.
pub(super) fn place_of(hash: u64) -> (u32, u32) {
    let part = |value: u64, count: u32| {
        u32::try_from(value % u64::from(count)).expect("the remainder of a u32")
    };
    (part(hash >> 32, GROUPS), part(hash, BUCKETS))
}

/// The index in a heap. Odd and even batches are published in different roots.
#[derive(Clone)]
pub(super) struct GcIndex {
    heap: Heap,
    states: [GlobalRoot; 2],
}

impl GcIndex {
    pub(super) fn new(heap: &Heap) -> Self {
        Self { heap: heap.clone(), states: [heap.global_root(), heap.global_root()] }
    }

    /// The roots that keep the index alive.
    pub(super) fn kept(&self) -> Vec<GlobalRoot> {
        self.states.to_vec()
    }

    pub(super) fn heap(&self) -> &Heap {
        &self.heap
    }

    /// The root of a batch's state.
    pub(super) fn state_root(&self, batch: u64) -> &GlobalRoot {
        &self.states[usize::from(batch % 2 == 1)]
    }
}

impl Index for GcIndex {
    type Writer = GcWriter;
    type Reader = GcReader;

    fn writer(&self) -> Result<GcWriter, Failure> {
        GcWriter::new(self.clone())
    }

    fn reader(&self) -> Result<GcReader, Failure> {
        GcReader::new(self.clone())
    }
}

/// The term with this hash, and this text unless any will do, in a table of terms.
pub(super) fn find_term<'m>(
    m: &'m Mutator,
    terms: Local<'m>,
    hash: u64,
    text: Option<&str>,
) -> Option<Local<'m>> {
    let (group, bucket) = place_of(hash);
    let mut next = m.load(m.load(terms, group)?, bucket);
    while let Some(found) = next {
        if m.word(found, term::HASH) == hash && text.is_none_or(|text| has_text(m, found, text)) {
            return Some(found);
        }
        next = m.load(found, term::NEXT);
    }
    None
}

/// Whether a term has this text.
fn has_text(m: &Mutator, found: Local<'_>, text: &str) -> bool {
    let words = &m.words(found)[term::LEN as usize..];
    words[0].load(Ordering::Relaxed) == text.len() as u64
        && packed(text.as_bytes())
            .zip(&words[1..])
            .all(|(wanted, word)| word.load(Ordering::Relaxed) == wanted)
}

/// The document with this number, in a table of documents.
pub(super) fn find_document<'m>(
    m: &'m Mutator,
    documents: Local<'m>,
    number: u32,
) -> Option<Local<'m>> {
    let (at, slot) = (number / page::SLOTS, number % page::SLOTS);
    if at >= m.refs(documents) {
        return None;
    }
    m.load(m.load(documents, at)?, slot)
}

/// A posting as one data word.
pub(super) fn pack_posting(number: u32, count: u32) -> u64 {
    u64::from(number) << 32 | u64::from(count)
}

/// Number of the document and count.
pub(super) fn unpack_posting(posting: u64) -> (u32, u32) {
    let half = |value: u64| u32::try_from(value & 0xffff_ffff).expect("32 bits are left");
    (half(posting >> 32), half(posting))
}
