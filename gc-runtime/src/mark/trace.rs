//! The trace: from grey objects to everything they lead to.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use crate::layout::{ObjectLayout, WeakSlots, for_each_bit};
use crate::mark::barrier::LoggedReferences;
use crate::mark::discovered::Discovered;
use crate::mark::large_leaves::{Layouts, is_large_leaf};
use crate::mark::live_bitmap::Writers;
use crate::mark::worklist::{Sharing, Worklist};
use crate::model::ObjectModel;
use crate::raw::words::prefetch;
use crate::space::moving_space::MovingSpace;

/// Objects between the prefetch of a header and its use.
const AHEAD: usize = 8;

/// Marks everything reachable from the logged references, on all threads of `pool`.
///
/// References that are logged meanwhile are followed too; when this returns there was a moment
/// when nothing was left.
pub(crate) fn trace<M: ObjectModel>(
    space: &MovingSpace<M>,
    discovered: &Discovered,
    logged: &LoggedReferences,
) {
    if discovered.ephemerons.is_empty() {
        trace_round::<M, false>(space, discovered, logged);
        if discovered.ephemerons.is_empty() {
            return;
        }
        // Nobody has looked out for keys so far.
        let words = space.words();
        let values = discovered.ephemerons.settle(&space.live).into_iter();
        logged.push(values.map(|slot| words[slot as usize].load(Ordering::Relaxed)).collect());
    }
    trace_round::<M, true>(space, discovered, logged);
}

/// One round on all threads; with `KEYS`, objects are looked up among the keys of ephemerons as
/// they become grey.
fn trace_round<M: ObjectModel, const KEYS: bool>(
    space: &MovingSpace<M>,
    discovered: &Discovered,
    logged: &LoggedReferences,
) {
    let threads = rayon::current_num_threads();
    let writers = if threads == 1 { Writers::One } else { Writers::Many };
    let (sharing, workers) = Sharing::new(threads);
    let workers = Mutex::new(workers);
    rayon::broadcast(|_| {
        let worker = workers.lock().expect("no panic while taking a deque").pop();
        let worker = worker.expect("a deque for each thread");
        let mut tracer = Tracer::<M, KEYS> {
            space,
            discovered,
            writers,
            black: space.black_word(),
            list: Worklist::new(&sharing, worker),
            with_weak_slots: Vec::new(),
            words: 0,
            known: discovered.large_leaves.known(),
            large_leaves: Vec::new(),
        };
        tracer.run(logged);
        discovered.add(&mut tracer.with_weak_slots);
        discovered.large_leaves.add(&mut tracer.large_leaves);
    });
}

struct Tracer<'a, M, const KEYS: bool> {
    space: &'a MovingSpace<M>,
    discovered: &'a Discovered,
    writers: Writers,
    /// First word of the objects that need no tracing.
    black: u32,
    list: Worklist<'a>,
    /// Objects met with weak slots.
    with_weak_slots: Vec<u32>,
    /// Words found live that nobody has been told of.
    words: u32,
    /// Large objects without slots whose layout need not be read, and those met.
    known: Arc<Layouts>,
    large_leaves: Vec<(u32, ObjectLayout)>,
}

/// Words found live, some hundred microseconds' work, after which mutators that wait are told.
const REPORT_WORDS: u32 = 1 << 14;

impl<M: ObjectModel, const KEYS: bool> Tracer<'_, M, KEYS> {
    fn run(&mut self, logged: &LoggedReferences) {
        loop {
            self.drain();
            if let Some(batch) = logged.pop() {
                for value in batch {
                    self.shade(value);
                }
            } else if let Some(word) = self.list.steal() {
                self.list.push(word);
            } else if !self.list.wait_for_work(|| !logged.is_empty()) {
                return;
            }
        }
    }

    /// Scans until the own stack is empty, a few headers behind the prefetch.
    fn drain(&mut self) {
        let words = self.space.words();
        let mut ahead = [0u32; AHEAD];
        let (mut first, mut count) = (0, 0);
        loop {
            while count < AHEAD {
                let Some(word) = self.list.pop() else { break };
                prefetch(&words[word as usize]);
                ahead[(first + count) % AHEAD] = word;
                count += 1;
            }
            if count == 0 {
                return;
            }
            let word = ahead[first];
            first = (first + 1) % AHEAD;
            count -= 1;
            self.scan(word);
            self.list.share();
        }
    }

    /// Scans one object: all its words are live, and so is what its slots refer to.
    #[inline(always)]
    fn scan(&mut self, word: u32) {
        let space = self.space;
        let words = space.words();
        if KEYS {
            for value_slot in self.discovered.ephemerons.woken_by(word, self.writers) {
                self.shade_slot(value_slot);
            }
        }
        let layout = self.layout(word);
        space.live.fill(word, layout.words(), self.writers);
        self.words += layout.words();
        if self.words >= REPORT_WORDS {
            space.words_marked.fetch_add(std::mem::take(&mut self.words), Ordering::Relaxed);
        }
        space.straddles.note_object(space.geometry, word, layout);
        space.slot_pages.note_object(space.geometry, word, layout);
        if layout.has_weak_slots() {
            return self.scan_weak(word, layout);
        }
        layout.slots_in(
            &space.model,
            0..layout.words(),
            #[inline(always)]
            |slot| self.shade(words[(word + slot) as usize].load(Ordering::Relaxed)),
        );
    }

    /// An object's layout, which for a large one without slots may be known without reading it.
    #[inline(always)]
    fn layout(&mut self, word: u32) -> ObjectLayout {
        let space = self.space;
        let page_words = space.geometry.page_words_u32();
        let starts_page = word.is_multiple_of(page_words);
        let known = if starts_page { self.known.get(&word).copied() } else { None };
        let layout = known.unwrap_or_else(|| space.layout(&space.words()[word as usize..]));
        if starts_page && is_large_leaf(word, layout, page_words) {
            self.large_leaves.push((word, layout));
        }
        layout
    }

    /// Follows what an object with weak slots refers to strongly.
    #[cold]
    #[inline(never)]
    fn scan_weak(&mut self, word: u32, layout: ObjectLayout) {
        self.with_weak_slots.push(word);
        match layout.weak_slots() {
            WeakSlots::Range(_) => {}
            WeakSlots::Mixed { first, strong, .. } => {
                for_each_bit(first, u64::from(strong), &(0..layout.words()), |slot| {
                    self.shade_slot(word + slot);
                });
            }
            WeakSlots::Ephemerons { first, pairs } => {
                for pair in 0..pairs {
                    self.scan_ephemeron(word + first + 2 * pair);
                }
            }
        }
    }

    /// One pair: the value counts if the key does.
    fn scan_ephemeron(&mut self, key_slot: u32) {
        let key = self.space.words()[key_slot as usize].load(Ordering::Relaxed);
        match self.space.geometry.word_of(key) {
            Some(key) if key < self.black && !self.space.live.is_live(key) => {
                let ephemerons = &self.discovered.ephemerons;
                for value_slot in ephemerons.wait_for(key, key_slot + 1, &self.space.live) {
                    self.shade_slot(value_slot);
                }
            }
            _ => self.shade_slot(key_slot + 1),
        }
    }

    fn shade_slot(&mut self, slot: u32) {
        let value = self.space.words()[slot as usize].load(Ordering::Relaxed);
        self.shade(value);
    }

    /// Makes the object that `value` refers to grey, if it is one and is white.
    #[inline(always)]
    fn shade(&mut self, value: u64) {
        if let Some(word) = self.space.geometry.word_of(value)
            && word < self.black
            && self.space.live.claim(word, self.writers)
        {
            self.list.push(word);
        }
    }
}
