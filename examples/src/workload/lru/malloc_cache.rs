//! The cache as ordinary Rust data: a hash map, and entries in a vector that are linked by their index.

use std::collections::HashMap;

use super::{Cache, hash_value, value_word};
use crate::error::Failure;
use crate::malloc_memory::MallocHand;
use crate::measure::StepClock;
use crate::memory::Hand;

#[derive(Debug)]
struct Entry {
    key: u64,
    value: Box<[u64]>,
    newer: Option<usize>,
    older: Option<usize>,
}

pub(super) struct MallocCache {
    hand: MallocHand,
    places: HashMap<u64, usize>,
    entries: Vec<Entry>,
    free: Vec<usize>,
    newest: Option<usize>,
    oldest: Option<usize>,
}

impl MallocCache {
    pub(super) fn new() -> Self {
        Self {
            hand: MallocHand::new(),
            places: HashMap::new(),
            entries: Vec::new(),
            free: Vec::new(),
            newest: None,
            oldest: None,
        }
    }

    fn unlink(&mut self, at: usize) {
        let (newer, older) = (self.entries[at].newer, self.entries[at].older);
        match newer {
            Some(newer) => self.entries[newer].older = older,
            None => self.newest = older,
        }
        match older {
            Some(older) => self.entries[older].newer = newer,
            None => self.oldest = newer,
        }
    }

    fn push_newest(&mut self, at: usize) {
        let second = self.newest.replace(at);
        self.entries[at].newer = None;
        self.entries[at].older = second;
        match second {
            Some(second) => self.entries[second].newer = Some(at),
            None => self.oldest = Some(at),
        }
    }

    fn forget(&mut self, at: usize) -> u32 {
        self.unlink(at);
        self.places.remove(&self.entries[at].key);
        self.free.push(at);
        let value = std::mem::take(&mut self.entries[at].value);
        u32::try_from(value.len()).expect("values are small")
    }
}

impl Hand for MallocCache {
    fn clock(&mut self) -> &mut StepClock {
        self.hand.clock()
    }

    fn blocking<R>(&mut self, wait: impl FnOnce() -> R) -> R {
        wait()
    }
}

impl Cache for MallocCache {
    fn get(&mut self, key: u64) -> Option<u64> {
        self.hand.poll();
        let at = *self.places.get(&key)?;
        self.unlink(at);
        self.push_newest(at);
        let words = &self.entries[at].value;
        Some(hash_value(words.len(), |at| words[at]))
    }

    fn insert(&mut self, key: u64, words: u32) -> Result<(), Failure> {
        self.hand.count_allocation();
        let value = (0..u64::from(words)).map(|at| value_word(key, at)).collect();
        let entry = Entry { key, value, newer: None, older: None };
        let at = match self.free.pop() {
            Some(at) => {
                self.entries[at] = entry;
                at
            }
            None => {
                self.entries.push(entry);
                self.entries.len() - 1
            }
        };
        self.places.insert(key, at);
        self.push_newest(at);
        Ok(())
    }

    fn remove(&mut self, key: u64) -> Option<u32> {
        let at = *self.places.get(&key)?;
        Some(self.forget(at))
    }

    fn evict(&mut self) -> Option<u32> {
        let at = self.oldest?;
        Some(self.forget(at))
    }

    fn into_clock(self) -> StepClock {
        self.hand.into_clock()
    }
}
