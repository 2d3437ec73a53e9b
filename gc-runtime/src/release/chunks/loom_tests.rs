//! All interleavings of one that scans and sleeps with those that free, first ahead of it and then
//! behind, and after that nothing any more.
//!
//! A hint that is lost shows as a deadlock: the scanner sleeps and nobody wakes it.

use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use super::*;

/// Chunks in three words, so that a scan can be between them.
const CHUNKS: u32 = 3 * WORD_CHUNKS;
const AHEAD: u32 = 0;
const BEHIND: u32 = CHUNKS - 1;

struct World {
    chunks: FreeChunks<Vec<AtomicU64>>,
    /// What the scanner sleeps on, as an eventfd: a wake before it sleeps counts.
    woken: Mutex<bool>,
    waker: Condvar,
}

impl World {
    fn new() -> Self {
        Self {
            chunks: FreeChunks::new((0..3).map(|_| AtomicU64::new(0)).collect()),
            woken: Mutex::new(false),
            waker: Condvar::new(),
        }
    }

    fn free(&self, chunk: u32) {
        if self.chunks.note(chunk..chunk + 1) == Ring::Wake {
            *self.woken.lock().unwrap() = true;
            self.waker.notify_one();
        }
    }

    fn sleep(&self) {
        let mut woken = self.woken.lock().unwrap();
        while !*woken {
            woken = self.waker.wait(woken).unwrap();
        }
        *woken = false;
    }

    /// Takes hints, one a batch, until it has had `all` of them.
    fn drain(&self, all: u32) {
        let mut taken = 0;
        while taken < all {
            if !self.chunks.answer() {
                self.sleep();
                continue;
            }
            // The position goes down batch by batch; what comes behind it must ring again.
            let mut position = CHUNKS;
            while let Some(run) = self.chunks.take(0..position, 1).pop() {
                taken += run.end - run.start;
                position = run.start;
            }
        }
    }
}

fn explore(frees: &'static [&'static [u32]]) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let world = Arc::new(World::new());
        let mut all = 0;
        let freers: Vec<_> = frees
            .iter()
            .map(|chunks| {
                all += u32::try_from(chunks.len()).expect("a few");
                let world = Arc::clone(&world);
                thread::spawn(move || chunks.iter().for_each(|chunk| world.free(*chunk)))
            })
            .collect();
        world.drain(all);
        freers.into_iter().for_each(|freer| freer.join().expect("a freer failed"));
        assert_eq!(world.chunks.count(), 0, "a hint was left");
    });
}

#[test]
fn loom_the_last_free_is_seen_although_the_scan_has_passed_it() {
    explore(&[&[AHEAD, BEHIND]]);
}

#[test]
fn loom_a_single_free_behind_the_scan_is_seen() {
    explore(&[&[AHEAD], &[BEHIND]]);
}

#[test]
fn loom_two_that_free_in_the_same_word_both_count() {
    explore(&[&[BEHIND], &[BEHIND - 1]]);
}
