//! The writer's postings: appended to chunks, and rewritten when too many of them are stale.

use std::sync::atomic::Ordering;

use gc_runtime::{Local, Mutator};

use super::gc_layout::{chunk, find_document, link, term, unpack_posting};
use super::gc_writer::GcWriter;
use crate::error::Failure;
use crate::gc_memory::held;

/// Postings in the largest chunk.
const LARGEST_CHUNK: u32 = 64;

/// Postings in the first chunk of a term.
const SMALLEST_CHUNK: u32 = 2;

impl GcWriter {
    /// Appends a posting to the term in root `term`.
    pub(super) fn append(&mut self, posting: u64) -> Result<(), Failure> {
        let (term, chunk) = (self.root.term, self.root.chunk);
        match self.newest_chunk() {
            Some((len, room)) if len < room => self.own(term, link::CHUNK, chunk)?,
            Some((len, room)) if room < LARGEST_CHUNK => self.grow_chunk(len, 2 * room)?,
            Some(_) => {
                self.set_chunk_aside()?;
                self.make(chunk, 0, chunk::FIRST + LARGEST_CHUNK / 4)?;
                self.link_in(term, link::CHUNK, chunk);
            }
            None => {
                self.make(chunk, 0, chunk::FIRST + SMALLEST_CHUNK)?;
                self.link_in(term, link::CHUNK, chunk);
            }
        }
        let m = &*self.hand;
        let leaf = held(m, chunk);
        let len = chunk_len(m, leaf);
        m.set_word(leaf, chunk::FIRST + len, posting);
        m.set_word(leaf, chunk::LEN, u64::from(len) + 1);
        self.add_to(term, term::STORED, 1);
        Ok(())
    }

    /// Postings in the newest chunk of the term in root `term`, and how many have room in it.
    fn newest_chunk(&self) -> Option<(u32, u32)> {
        let m = &*self.hand;
        let leaf = m.load(held(m, self.root.term), link::CHUNK)?;
        Some((chunk_len(m, leaf), m.data_words(leaf) - chunk::FIRST))
    }

    /// Puts a larger chunk in the place of the newest one. Chunks grow with the term: most terms are rare.
    fn grow_chunk(&mut self, len: u32, room: u32) -> Result<(), Failure> {
        self.make(self.root.chunk, 0, chunk::FIRST + room)?;
        let m = &*self.hand;
        let (here, new) = (held(m, self.root.term), held(m, self.root.chunk));
        let old = m.load(here, link::CHUNK).expect("the caller has seen a chunk");
        for at in chunk::LEN..chunk::FIRST + len {
            m.set_word(new, at, m.word(old, at));
        }
        m.store(here, link::CHUNK, Some(new));
        Ok(())
    }

    /// Moves the newest chunk of the term in root `term`, which is full, to its older ones.
    fn set_chunk_aside(&mut self) -> Result<(), Failure> {
        self.make(self.root.link, link::REFS, link::WORDS)?;
        let m = &*self.hand;
        let (here, new) = (held(m, self.root.term), held(m, self.root.link));
        m.store(new, link::CHUNK, m.load(here, link::CHUNK));
        m.store(new, link::OLDER, m.load(here, link::OLDER));
        m.store(here, link::OLDER, Some(new));
        m.store(here, link::CHUNK, None);
        Ok(())
    }

    /// Rewrites the postings of the term in root `term` without those of removed documents.
    pub(super) fn purge(&mut self) -> Result<(), Failure> {
        let mut kept = std::mem::take(&mut self.scratch);
        kept.clear();
        self.hand.set_root(self.root.link, self.hand.root(self.root.term));
        while let Some(link) = self.hand.root(self.root.link) {
            let m = &*self.hand;
            let documents = held(m, self.root.documents);
            let leaf = m.load(link, link::CHUNK).expect("a link has a chunk");
            kept.extend(postings(m, leaf).filter(|posting| {
                find_document(m, documents, unpack_posting(*posting).0).is_some()
            }));
            m.set_root(self.root.link, m.load(link, link::OLDER));
            self.hand.poll();
        }
        let m = &*self.hand;
        let here = held(m, self.root.term);
        m.store(here, link::CHUNK, None);
        m.store(here, link::OLDER, None);
        m.set_word(here, term::STORED, 0);
        for posting in kept.drain(..) {
            self.append(posting)?;
        }
        self.scratch = kept;
        Ok(())
    }
}

/// The postings in a chunk.
fn postings<'m>(m: &'m Mutator, leaf: Local<'m>) -> impl Iterator<Item = u64> + 'm {
    let len = chunk_len(m, leaf) as usize;
    m.words(leaf)[chunk::FIRST as usize..].iter().take(len).map(|word| word.load(Ordering::Relaxed))
}

fn chunk_len(m: &Mutator, leaf: Local<'_>) -> u32 {
    u32::try_from(m.word(leaf, chunk::LEN)).expect("a chunk is small")
}
