//! The trace: from grey objects to everything they lead to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::addr::Geometry;
use crate::layout::{ObjectLayout, WeakSlots, for_each_bit};
use crate::mark::barrier::LoggedReferences;
use crate::mark::discovered::Discovered;
use crate::mark::large_leaves::{Layouts, is_large_leaf};
use crate::mark::page_reach::Reach;
use crate::mark::side::{Alone, BesideHelper, Helper, Many, Marks, Side};
use crate::mark::worklist::Worklist;
use crate::model::ObjectModel;
use crate::raw::cpu;
use crate::raw::words::prefetch;
use crate::space::keeping_pace::{AfterStint, Stint};
use crate::space::moving_space::MovingSpace;

/// Objects between the prefetch of a header and its use.
const AHEAD: usize = 16;

/// Marks everything reachable from the logged references, on all threads of the collector, and on
/// those of mutators that [`help`].
///
/// References that are logged meanwhile are followed too; when this returns there was a moment
/// when nothing was left.
pub(crate) fn trace<M: ObjectModel>(
    space: &MovingSpace<M>,
    discovered: &Discovered,
    logged: &LoggedReferences,
    after_stint: AfterStint<'_>,
) {
    if discovered.ephemerons.is_empty() {
        trace_round::<M, false>(space, discovered, logged, after_stint);
        if discovered.ephemerons.is_empty() {
            return;
        }
        // Nobody has looked out for keys so far.
        let words = space.words();
        let values = discovered.ephemerons.settle(&space.live).into_iter();
        logged.push(values.map(|slot| words[slot as usize].load(Ordering::Relaxed)).collect());
    }
    trace_round::<M, true>(space, discovered, logged, after_stint);
}

/// One round on all threads; with `KEYS`, objects are looked up among the keys of ephemerons as
/// they become grey.
fn trace_round<M: ObjectModel, const KEYS: bool>(
    space: &MovingSpace<M>,
    discovered: &Discovered,
    logged: &LoggedReferences,
    after_stint: AfterStint<'_>,
) {
    space.sharing.begin(rayon::current_num_threads());
    rayon::broadcast(|_| {
        let mut tracer = Tracer::<M, KEYS>::new(space, discovered);
        tracer.run(logged, Stint::begin(after_stint));
        tracer.finish();
        if tracer.side == Side::BesideHelper {
            space.marks_apart.move_to(&space.live);
        }
    });
}

/// Some of the collector's marking, by a mutator that would have to wait for it. Whether there was
/// any to do; if not, there may be soon.
pub(crate) fn help<M: ObjectModel>(space: &MovingSpace<M>, discovered: &Discovered) -> bool {
    let Some(_pass) = space.sharing.enter() else { return false };
    let mut tracer = Tracer::<M, false>::new(space, discovered);
    if tracer.side == Side::Alone {
        tracer.side = Side::Helper;
    }
    let helps = !tracer.has_to_stop() && tracer.list.take();
    if helps {
        while tracer.found < HELP_WORDS
            && !tracer.has_to_stop()
            && (!tracer.drain(&[]) || tracer.list.take())
        {}
        tracer.list.leave();
        space.counters.words_helped.add(tracer.found);
        tracer.finish();
    }
    helps
}

struct Tracer<'a, M, const KEYS: bool> {
    space: &'a MovingSpace<M>,
    /// The heap's words, which are somewhere else for each transport.
    words: &'a [AtomicU64],
    geometry: Geometry,
    discovered: &'a Discovered,
    side: Side,
    /// First word of the objects that need no tracing.
    black: u32,
    list: Worklist<'a>,
    /// Objects met with weak slots.
    with_weak_slots: Vec<u32>,
    /// Words found live that nobody has been told of.
    found: u32,
    /// Large objects without slots whose layout need not be read, and those met.
    known: Arc<Layouts>,
    large_leaves: Vec<(u32, ObjectLayout)>,
}

/// Words found live, some ten microseconds' work, after which a thread looks who waits for it.
const REPORT_WORDS: u32 = 1 << 12;

/// Words that a mutator finds live before it looks whether it may go on.
const HELP_WORDS: u32 = 1 << 14;

impl<'a, M: ObjectModel, const KEYS: bool> Tracer<'a, M, KEYS> {
    fn new(space: &'a MovingSpace<M>, discovered: &'a Discovered) -> Self {
        Self {
            space,
            words: space.words(),
            geometry: space.geometry,
            discovered,
            side: if space.sharing.is_alone() { Side::Alone } else { Side::Many },
            black: space.black_word(),
            list: Worklist::new(&space.sharing),
            with_weak_slots: Vec::new(),
            found: 0,
            known: discovered.large_leaves.known(),
            large_leaves: Vec::new(),
        }
    }

    fn run(&mut self, logged: &LoggedReferences, mut stint: Stint<'_>) {
        let mut batch = Vec::new();
        loop {
            if !self.drain(&std::mem::take(&mut batch)) {
                self.report();
                stint.look_up();
            } else if let Some(more) = logged.take() {
                self.put_aside_young(&more);
                batch = more;
            } else if !self.list.take() && !self.list.wait_for_work(|| !logged.is_empty()) {
                return;
            }
        }
    }

    /// Keeps what has been logged of objects that need no tracing yet.
    fn put_aside_young(&self, logged: &[u64]) {
        let young = logged.iter().copied().filter(|&value| self.space.is_born(value));
        self.discovered.young.add(young.collect());
    }

    /// Tells what has been found, and gives those something to do who wait.
    fn report(&mut self) {
        let space = self.space;
        space.words_marked.fetch_add(std::mem::take(&mut self.found), Ordering::Relaxed);
        // Helpers do not look up keys.
        if !KEYS && space.sharing.is_asked() {
            if self.side == Side::Alone {
                self.side = Side::BesideHelper;
                space.marks_apart.begin(self.black.min(self.geometry.words));
            }
            space.sharing.let_helpers_in();
        }
        self.list.share();
    }

    /// Whether a helper has no room for marks.
    fn has_to_stop(&self) -> bool {
        self.side == Side::Helper && self.space.marks_apart.is_full()
    }

    /// Hands over what was met on the way.
    fn finish(&mut self) {
        self.space.words_marked.fetch_add(std::mem::take(&mut self.found), Ordering::Relaxed);
        self.discovered.add(&mut self.with_weak_slots);
        self.discovered.large_leaves.add(&mut self.large_leaves);
    }

    /// Marks what `logged` refers to and scans, until the own stack is empty (true) or there is
    /// something to report.
    fn drain(&mut self, logged: &[u64]) -> bool {
        let MovingSpace { live, marks_apart, .. } = self.space;
        match self.side {
            Side::Alone => self.drain_as(Alone(live), logged),
            Side::BesideHelper => self.drain_as(BesideHelper(live, marks_apart), logged),
            Side::Helper => self.drain_as(Helper(live, marks_apart), logged),
            Side::Many => self.drain_as(Many(live), logged),
        }
    }

    /// As [`drain`](Self::drain), compiled for one side.
    fn drain_as(&mut self, marks: impl Marks, logged: &[u64]) -> bool {
        cpu::with_bit_counting(
            #[inline(always)]
            || {
                for &value in logged {
                    self.shade(marks, value);
                }
                self.scan_grey(marks)
            },
        )
    }

    /// Scans a few headers behind the prefetch.
    #[inline(always)]
    fn scan_grey(&mut self, marks: impl Marks) -> bool {
        let until = self.found + REPORT_WORDS;
        let words = self.words;
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
                return true;
            }
            if self.found >= until || marks.is_full() {
                (0..count).for_each(|at| self.list.push(ahead[(first + at) % AHEAD]));
                return false;
            }
            let word = ahead[first];
            first = (first + 1) % AHEAD;
            count -= 1;
            self.scan(marks, word);
        }
    }

    /// Scans one object: all its words are live, and so is what its slots refer to.
    #[inline(always)]
    fn scan<S: Marks>(&mut self, marks: S, word: u32) {
        let (space, words, geometry) = (self.space, self.words, self.geometry);
        if KEYS {
            for value_slot in self.discovered.ephemerons.woken_by(word, S::WRITERS) {
                self.shade_slot(marks, value_slot);
            }
        }
        let layout = self.layout(word);
        marks.fill(word, layout.words());
        self.found += layout.words();
        space.straddles.note_object(geometry, word, layout);
        if layout.has_weak_slots() {
            return self.scan_weak(marks, word, layout);
        }
        let (_, reach) = layout.fold_slots(
            &space.model,
            0..layout.words(),
            (self, Reach::NONE),
            #[inline(always)]
            |(tracer, reach), slot| {
                let value = words[(word + slot) as usize].load(Ordering::Relaxed);
                let further = tracer.shade(marks, value);
                (tracer, reach.max(further))
            },
        );
        space.reach.note_object(geometry, word, layout, reach);
    }

    /// An object's layout.
    #[inline(always)]
    fn layout(&mut self, word: u32) -> ObjectLayout {
        if word.is_multiple_of(self.geometry.page_words_u32()) {
            self.layout_at_page_start(word)
        } else {
            self.space.layout(&self.words[word as usize..])
        }
    }

    /// The same, of one that starts a page: for a large one without slots it may be known without
    /// reading it.
    #[inline(never)]
    fn layout_at_page_start(&mut self, word: u32) -> ObjectLayout {
        let known = self.known.get(&word).copied();
        let layout = known.unwrap_or_else(|| self.space.layout(&self.words[word as usize..]));
        if is_large_leaf(word, layout, self.geometry.page_words_u32()) {
            self.large_leaves.push((word, layout));
        }
        layout
    }

    /// Follows what an object with weak slots refers to strongly.
    #[cold]
    #[inline(never)]
    fn scan_weak(&mut self, marks: impl Marks, word: u32, layout: ObjectLayout) {
        self.with_weak_slots.push(word);
        self.space.reach.note_object(self.geometry, word, layout, Reach::UNKNOWN);
        match layout.weak_slots() {
            WeakSlots::Range(_) => {}
            WeakSlots::Mixed { first, strong, .. } => {
                for_each_bit(first, u64::from(strong), &(0..layout.words()), |slot| {
                    self.shade_slot(marks, word + slot);
                });
            }
            WeakSlots::Ephemerons { first, pairs } => {
                for pair in 0..pairs {
                    self.scan_ephemeron(marks, word + first + 2 * pair);
                }
            }
        }
    }

    /// One pair: the value counts if the key does.
    fn scan_ephemeron(&mut self, marks: impl Marks, key_slot: u32) {
        let key = self.words[key_slot as usize].load(Ordering::Relaxed);
        match self.geometry.word_of(key) {
            Some(key) if key < self.black && !self.space.live.is_live(key) => {
                let ephemerons = &self.discovered.ephemerons;
                for value_slot in ephemerons.wait_for(key, key_slot + 1, &self.space.live) {
                    self.shade_slot(marks, value_slot);
                }
            }
            _ => self.shade_slot(marks, key_slot + 1),
        }
    }

    fn shade_slot(&mut self, marks: impl Marks, slot: u32) {
        let value = self.words[slot as usize].load(Ordering::Relaxed);
        self.shade(marks, value);
    }

    /// Makes the object that `value` refers to grey, if it is one and is white; how far `value`
    /// reaches.
    #[inline(always)]
    fn shade(&mut self, marks: impl Marks, value: u64) -> Reach {
        let geometry = self.geometry;
        let Some(word) = geometry.word_of(value) else { return Reach::NONE };
        if word < self.black && marks.claim(word) {
            self.list.push(word);
        }
        Reach::of_word(geometry, word)
    }
}
