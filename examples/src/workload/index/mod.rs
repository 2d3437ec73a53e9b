//! An inverted index over text files: documents come and go, queries are answered all the while.
//!
//! The index is versioned. The writer builds state `k + 1` while the query threads answer the
//! queries of batch `k` on state `k`; what the two share is never written to, and what the writer
//! has made in this batch it changes in place. So the writer allocates and stores while others
//! read, and yet every answer depends on the seed and the input alone, not on the timing.

mod library;
mod plan;
mod query;
mod run;
mod script;
mod gc_layout;
mod gc_reader;
mod gc_writer;
mod gc_postings;
mod malloc_index;

pub(crate) use library::Library;
pub(crate) use plan::Plan;
pub(crate) use run::run;

use library::Draft;

use crate::error::Failure;
use crate::memory::Hand;

/// An index that one thread writes to and others read.
trait Index: Sync {
    type Writer: Writer;
    type Reader: Reader;

    /// The calling thread becomes the writer.
    fn writer(&self) -> Result<Self::Writer, Failure>;

    /// The calling thread becomes a reader.
    fn reader(&self) -> Result<Self::Reader, Failure>;
}

/// The one thread that changes the index.
trait Writer: Hand {
    /// Starts the next state from the last one.
    fn begin(&mut self) -> Result<(), Failure>;

    /// Adds a document under a number that was never used before.
    fn add(&mut self, number: u32, draft: &Draft<'_>) -> Result<(), Failure>;

    /// Removes a document and what the index knows of it.
    fn remove(&mut self, number: u32) -> Result<(), Failure>;

    /// Makes the state that was begun visible to readers.
    fn publish(&mut self) -> Result<(), Failure>;

    fn into_clock(self) -> crate::measure::StepClock;
}

/// A thread that answers queries.
trait Reader: Hand {
    /// Reads state `batch` from now on.
    fn open(&mut self, batch: u64) -> Result<(), Failure>;

    /// In how many documents a term occurs.
    fn frequency(&self, hash: u64, term: &str) -> u32;

    /// Visits the postings of a term: number of the document and count of the term in it.
    fn postings(&mut self, hash: u64, term: &str, visit: impl FnMut(u32, u32));

    /// A hash of a document's title and of a part of its text and terms.
    fn excerpt(&mut self, number: u32, part: Part) -> Option<u64>;

    fn into_clock(self) -> crate::measure::StepClock;
}

/// How much of a document [`Reader::excerpt`] reads.
#[derive(Debug, Clone, Copy)]
enum Part {
    /// Some words from a place that this number chooses, and the first terms.
    From(u64),
    All,
}

impl Part {
    /// What an excerpt hashes: the same words in the same order on both back ends.
    fn hash(
        self,
        title: impl Iterator<Item = u64>,
        text_words: usize,
        text: impl Fn(usize) -> u64,
        terms: impl Iterator<Item = u64>,
    ) -> u64 {
        let (first, words, terms_read) = match self {
            Self::From(at) => (at % text_words.max(1) as u64, 64, 16),
            Self::All => (0, usize::MAX, usize::MAX),
        };
        let first = usize::try_from(first).expect("an offset into a text is a usize");
        let excerpt = (first..text_words).take(words).map(text);
        title.chain(excerpt).chain(terms.take(terms_read)).fold(first as u64, crate::random::mix)
    }
}

#[cfg(test)]
mod tests;
