//! Which documents come and go in which batch: fixed by the seed.

use super::Library;
use super::plan::Plan;
use super::query::Query;
use crate::random::{Random, mix};

/// The age of a document that is asked for is the least of this many draws: one in eight of the
/// documents gets two thirds of the queries.
const NEWS_BIAS: usize = 8;

/// A document that is in the index.
#[derive(Debug, Clone, Copy)]
struct Entry {
    number: u32,
    passage: usize,
}

/// What the writer does next.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    Add { number: u32, passage: usize },
    Remove { number: u32 },
}

/// The state of the index as the script sees it.
#[derive(Debug)]
pub(super) struct Script<'l> {
    library: &'l Library,
    plan: &'l Plan,
    random: Random,
    /// In the order of arrival.
    live: Vec<Entry>,
    live_bytes: u64,
    next_number: u32,
    next_passage: usize,
}

impl<'l> Script<'l> {
    pub(super) fn new(library: &'l Library, plan: &'l Plan) -> Self {
        Self {
            library,
            plan,
            random: Random::new(mix(plan.seed, 1)),
            live: Vec::new(),
            live_bytes: 0,
            next_number: 0,
            next_passage: 0,
        }
    }

    /// The changes of the next batch.
    ///
    /// Deaths come first: two thirds of the text goes document by document, anywhere; one third
    /// goes in one clump of documents that came one after the other.
    pub(super) fn next_batch(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        let full = self.plan.live_text_bytes;
        let batch = self.plan.batch_text_bytes;
        let target = full.saturating_sub(batch);
        if self.live_bytes >= full {
            while self.live_bytes > target + batch / 3 && !self.live.is_empty() {
                let at = self.random.index(self.live.len());
                self.remove(at, &mut changes);
            }
            if !self.live.is_empty() {
                let at = self.random.index(self.live.len());
                while self.live_bytes > target && at < self.live.len() {
                    self.remove(at, &mut changes);
                }
            }
        }
        let goal = (self.live_bytes + batch).min(full.max(self.live_bytes + 1));
        while self.live_bytes < goal {
            self.add(&mut changes);
        }
        changes
    }

    /// The queries on the state that the last batch made. New documents are asked for more often
    /// than old ones.
    pub(super) fn queries(&self, batch: u64) -> Vec<Query> {
        let mut random = Random::new(mix(mix(self.plan.seed, 2), batch));
        (0..self.plan.queries_per_batch)
            .filter_map(|_| {
                let count = self.live.len();
                let age = (0..NEWS_BIAS).map(|_| random.index(count.max(1))).min()?;
                let entry = self.live.get(count.checked_sub(1 + age)?)?;
                Query::draw(&self.library.draft(entry.passage), &mut random)
            })
            .collect()
    }

    /// The numbers of all documents in the index.
    pub(super) fn live_numbers(&self) -> Vec<u32> {
        self.live.iter().map(|entry| entry.number).collect()
    }

    fn remove(&mut self, at: usize, changes: &mut Vec<Change>) {
        let entry = self.live.remove(at);
        self.live_bytes -= self.bytes(entry.passage);
        changes.push(Change::Remove { number: entry.number });
    }

    fn add(&mut self, changes: &mut Vec<Change>) {
        let entry = Entry { number: self.next_number, passage: self.next_passage };
        self.next_number += 1;
        self.next_passage = (self.next_passage + 1) % self.library.passage_count();
        self.live_bytes += self.bytes(entry.passage);
        self.live.push(entry);
        changes.push(Change::Add { number: entry.number, passage: entry.passage });
    }

    fn bytes(&self, passage: usize) -> u64 {
        self.library.draft(passage).text.len() as u64
    }
}
