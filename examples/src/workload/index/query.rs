//! A query, and how it is answered on any reader.

use super::library::{Draft, Library};
use super::{Part, Reader};
use crate::random::{Random, mix};

/// Documents that have all of these terms, the best ten of them.
#[derive(Debug, Clone)]
pub(super) struct Query {
    terms: Vec<u32>,
}

impl Query {
    /// Two or three terms of a document: so there is at least one answer.
    pub(super) fn draw(draft: &Draft<'_>, random: &mut Random) -> Option<Self> {
        if draft.term_count() == 0 {
            return None;
        }
        let mut terms: Vec<u32> = (0..2 + random.below(2))
            .map(|_| draft.term_number(random.index(draft.term_count())))
            .collect();
        terms.sort_unstable();
        terms.dedup();
        Some(Self { terms })
    }

    /// The answer as a hash: numbers, scores and excerpts of the best ten documents.
    pub(super) fn answer<R: Reader>(
        &self,
        library: &Library,
        reader: &mut R,
        tally: &mut Tally,
    ) -> u64 {
        let mut terms: Vec<(u32, u64, &str)> = self
            .terms
            .iter()
            .map(|&term| {
                let (hash, text) = library.term(term);
                (reader.frequency(hash, text), hash, text)
            })
            .collect();
        // The rarest term first: it leaves the fewest candidates.
        terms.sort_unstable();
        tally.clear();
        for (round, &(frequency, hash, text)) in (0..).zip(&terms) {
            // Rare terms say more.
            let weight = 1 + u64::from(frequency.max(1).leading_zeros());
            reader.postings(hash, text, |number, count| {
                tally.count(round, number, weight * u64::from(count));
            });
        }
        let rounds = u32::try_from(terms.len()).expect("a query has two or three terms");
        let mut hash = u64::from(rounds);
        for (score, number) in tally.best(rounds) {
            hash = mix(mix(hash, score), u64::from(number));
            hash = mix(hash, reader.excerpt(number, Part::From(score)).unwrap_or(0));
        }
        hash
    }
}

/// A query thread's scratch table: which documents have had all terms so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// By number of the document.
    rows: Vec<Row>,
    touched: Vec<u32>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Row {
    rounds: u32,
    score: u64,
}

impl Tally {
    fn clear(&mut self) {
        for number in self.touched.drain(..) {
            self.rows[number as usize] = Row::default();
        }
    }

    fn count(&mut self, round: u32, number: u32, score: u64) {
        let at = number as usize;
        if at >= self.rows.len() {
            self.rows.resize(at + 1, Row::default());
        }
        let row = &mut self.rows[at];
        if row.rounds == round {
            if round == 0 {
                self.touched.push(number);
            }
            *row = Row { rounds: round + 1, score: row.score + score };
        }
    }

    /// Score and number of the best ten documents with all terms.
    fn best(&mut self, rounds: u32) -> Vec<(u64, u32)> {
        let mut all: Vec<(u64, u32)> = self
            .touched
            .iter()
            .map(|&number| (self.rows[number as usize], number))
            .filter(|(row, _)| row.rounds == rounds)
            .map(|(row, number)| (row.score, number))
            .collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        all.truncate(10);
        all
    }
}
