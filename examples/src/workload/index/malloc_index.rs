//! The same index as ordinary Rust data: reference counts tell what is shared.
//!
//! `Arc::make_mut` does what the heap's writer does by hand: change in place what only this state has, copy what older
//! states share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::library::Draft;
use super::{Index, Part, Reader, Writer};
use crate::error::Failure;
use crate::malloc_memory::MallocHand;
use crate::measure::StepClock;
use crate::memory::Hand;
use crate::random::{packed, packed_word};

#[derive(Debug, Clone, Default)]
struct State {
    groups: Vec<Arc<Group>>,
    pages: Vec<Arc<Page>>,
}

/// Terms by their hash.
type Group = HashMap<u64, Term>;

#[derive(Debug, Clone)]
struct Term {
    word: Arc<str>,
    live: u32,
    stored: usize,
    newest: Arc<Vec<Posting>>,
    older: Option<Arc<Link>>,
}

/// Number of the document, and how often it has the term.
type Posting = (u32, u32);

/// A full chunk of postings, and those that came before.
#[derive(Debug)]
struct Link {
    postings: Arc<Vec<Posting>>,
    older: Option<Arc<Link>>,
}

#[derive(Debug, Clone)]
struct Page {
    documents: Vec<Option<Arc<Document>>>,
}

#[derive(Debug)]
struct Document {
    title: Box<str>,
    text: Box<str>,
    hashes: Box<[u64]>,
}

const SLOTS: usize = 256;

/// Hash maps in the term table: small ones, as the first change in a batch copies a whole map.
const GROUPS: usize = 4096;

fn group_of(hash: u64) -> usize {
    usize::try_from(hash % GROUPS as u64).expect("the remainder of a usize")
}

const LARGEST_CHUNK: usize = 64;

impl State {
    fn term(&self, hash: u64, text: &str) -> Option<&Term> {
        self.groups.get(group_of(hash))?.get(&hash).filter(|term| &*term.word == text)
    }

    fn document(&self, number: u32) -> Option<&Arc<Document>> {
        let number = number as usize;
        self.pages.get(number / SLOTS)?.documents[number % SLOTS].as_ref()
    }

    /// The place of a document, in a page that belongs to this state alone.
    fn place(&mut self, number: u32) -> &mut Option<Arc<Document>> {
        let number = number as usize;
        while self.pages.len() <= number / SLOTS {
            self.pages.push(Arc::new(Page { documents: vec![None; SLOTS] }));
        }
        &mut Arc::make_mut(&mut self.pages[number / SLOTS]).documents[number % SLOTS]
    }

    fn group(&mut self, hash: u64) -> &mut Group {
        Arc::make_mut(&mut self.groups[group_of(hash)])
    }
}

impl Term {
    fn new(word: Arc<str>) -> Self {
        Self { word, live: 0, stored: 0, newest: Arc::default(), older: None }
    }

    /// Appends a posting; says whether memory was allocated.
    fn append(&mut self, number: u32, count: u32) -> bool {
        if self.newest.len() == LARGEST_CHUNK {
            let postings = std::mem::take(&mut self.newest);
            self.older = Some(Arc::new(Link { postings, older: self.older.take() }));
        }
        let room = self.newest.capacity();
        let shared = Arc::get_mut(&mut self.newest).is_none();
        let newest = Arc::make_mut(&mut self.newest);
        newest.push((number, count));
        self.stored += 1;
        shared || newest.capacity() > room
    }

    /// All chunks, the newest first.
    fn chunks(&self) -> impl Iterator<Item = &[Posting]> {
        let links = std::iter::successors(self.older.as_deref(), |link| link.older.as_deref());
        std::iter::once(self.newest.as_slice()).chain(links.map(|link| link.postings.as_slice()))
    }
}

/// The index: odd and even batches are published in different places.
#[derive(Debug, Clone, Default)]
pub(super) struct MallocIndex {
    states: [Arc<Mutex<Arc<State>>>; 2],
}

impl MallocIndex {
    fn state(&self, batch: u64) -> &Mutex<Arc<State>> {
        &self.states[usize::from(batch % 2 == 1)]
    }
}

impl Index for MallocIndex {
    type Writer = MallocWriter;
    type Reader = MallocReader;

    fn writer(&self) -> Result<MallocWriter, Failure> {
        let groups = (0..GROUPS).map(|_| Arc::default()).collect();
        let state = State { groups, pages: Vec::new() };
        Ok(MallocWriter { hand: MallocHand::new(), index: self.clone(), batch: 0, state })
    }

    fn reader(&self) -> Result<MallocReader, Failure> {
        Ok(MallocReader { hand: MallocHand::new(), index: self.clone(), state: Arc::default() })
    }
}

pub(in crate::workload) struct MallocWriter {
    hand: MallocHand,
    index: MallocIndex,
    batch: u64,
    /// The state that is being made.
    state: State,
}

impl Hand for MallocWriter {
    fn clock(&mut self) -> &mut StepClock {
        self.hand.clock()
    }

    fn blocking<R>(&mut self, wait: impl FnOnce() -> R) -> R {
        wait()
    }
}

impl Writer for MallocWriter {
    fn begin(&mut self) -> Result<(), Failure> {
        self.batch += 1;
        Ok(())
    }

    fn add(&mut self, number: u32, draft: &Draft<'_>) -> Result<(), Failure> {
        let mut hashes = Vec::with_capacity(draft.term_count());
        for (hash, text, count) in draft.terms() {
            let hand = &mut self.hand;
            let term = self.state.group(hash).entry(hash).or_insert_with(|| {
                hand.count_allocation();
                Term::new(text.into())
            });
            if term.append(number, count) {
                hand.count_allocation();
            }
            term.live += 1;
            hashes.push(hash);
        }
        let document = Document {
            title: draft.title.into(),
            text: draft.text.into(),
            hashes: hashes.into_boxed_slice(),
        };
        *self.state.place(number) = Some(Arc::new(document));
        self.hand.poll();
        Ok(())
    }

    fn remove(&mut self, number: u32) -> Result<(), Failure> {
        let Some(gone) = self.state.place(number).take() else {
            return Err(Failure::Wrong(format!("document {number} is lost")));
        };
        for &hash in &gone.hashes {
            let lost = || Failure::Wrong(format!("the term with hash {hash:016x} is lost"));
            let term = self.state.group(hash).get_mut(&hash).ok_or_else(lost)?;
            term.live -= 1;
            if term.live == 0 {
                self.state.group(hash).remove(&hash);
            } else if term.stored > 2 * term.live as usize + 8 {
                let mut purged = Term { live: term.live, ..Term::new(Arc::clone(&term.word)) };
                let stale = std::mem::replace(term, purged.clone());
                for &(number, count) in stale.chunks().flatten() {
                    if self.state.document(number).is_some() && purged.append(number, count) {
                        self.hand.count_allocation();
                    }
                }
                self.state.group(hash).insert(hash, purged);
            }
        }
        self.hand.poll();
        Ok(())
    }

    fn publish(&mut self) -> Result<(), Failure> {
        let state = Arc::new(self.state.clone());
        let mut place = self.index.state(self.batch).lock().unwrap_or_else(PoisonError::into_inner);
        *place = state;
        Ok(())
    }

    fn into_clock(self) -> StepClock {
        self.hand.into_clock()
    }
}

pub(in crate::workload) struct MallocReader {
    hand: MallocHand,
    index: MallocIndex,
    state: Arc<State>,
}

impl Hand for MallocReader {
    fn clock(&mut self) -> &mut StepClock {
        self.hand.clock()
    }

    fn blocking<R>(&mut self, wait: impl FnOnce() -> R) -> R {
        wait()
    }
}

impl Reader for MallocReader {
    fn open(&mut self, batch: u64) -> Result<(), Failure> {
        let place = self.index.state(batch).lock().unwrap_or_else(PoisonError::into_inner);
        self.state = Arc::clone(&place);
        Ok(())
    }

    fn frequency(&self, hash: u64, text: &str) -> u32 {
        self.state.term(hash, text).map_or(0, |term| term.live)
    }

    fn postings(&mut self, hash: u64, text: &str, mut visit: impl FnMut(u32, u32)) {
        let Some(term) = self.state.term(hash, text) else { return };
        for (at, chunk) in term.chunks().enumerate() {
            for &(number, count) in chunk {
                if self.state.document(number).is_some() {
                    visit(number, count);
                }
            }
            if at % 8 == 7 {
                self.hand.poll();
            }
        }
    }

    fn excerpt(&mut self, number: u32, part: Part) -> Option<u64> {
        self.hand.poll();
        let document = self.state.document(number)?;
        let text = document.text.as_bytes();
        Some(part.hash(
            packed(document.title.as_bytes()),
            text.len().div_ceil(8),
            |at| packed_word(text, at),
            document.hashes.iter().copied(),
        ))
    }

    fn into_clock(self) -> StepClock {
        self.hand.into_clock()
    }
}
