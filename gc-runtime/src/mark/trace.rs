//! The trace: from grey objects to everything they lead to.

use std::sync::Mutex;
use std::sync::atomic::Ordering;

use rayon::ThreadPool;

use crate::mark::barrier::LoggedReferences;
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
    logged: &LoggedReferences,
    pool: &ThreadPool,
) {
    let threads = pool.current_num_threads();
    let writers = if threads == 1 { Writers::One } else { Writers::Many };
    let (sharing, workers) = Sharing::new(threads);
    let workers = Mutex::new(workers);
    pool.broadcast(|_| {
        let worker = workers.lock().expect("no panic while taking a deque").pop();
        let worker = worker.expect("a deque for each thread");
        let mut tracer = Tracer {
            space,
            writers,
            black: space.black_word(),
            list: Worklist::new(&sharing, worker),
        };
        tracer.run(logged);
    });
}

struct Tracer<'a, M> {
    space: &'a MovingSpace<M>,
    writers: Writers,
    /// First word of the objects that need no tracing.
    black: u32,
    list: Worklist<'a>,
}

impl<M: ObjectModel> Tracer<'_, M> {
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
        let layout = space.layout(&words[word as usize]);
        space.live.fill(word, layout.words(), self.writers);
        space.straddles.note_object(space.geometry, word, layout);
        layout.slots_in(
            0..layout.words(),
            #[inline(always)]
            |slot| self.shade(words[(word + slot) as usize].load(Ordering::Relaxed)),
        );
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
