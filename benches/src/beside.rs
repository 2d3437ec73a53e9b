//! Threads that are busy while something else is measured.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Runs `measured` while `threads` threads are busy with memory of their own. They run when it
/// starts.
pub fn beside<R>(threads: usize, measured: impl FnOnce() -> R) -> R {
    let done = AtomicBool::new(false);
    let started = Barrier::new(threads + 1);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let words: Vec<AtomicU64> = (0..4096).map(AtomicU64::new).collect();
                started.wait();
                while !done.load(Ordering::Relaxed) {
                    words.iter().for_each(|word| word.store(1, Ordering::Relaxed));
                }
            });
        }
        started.wait();
        let result = measured();
        done.store(true, Ordering::Relaxed);
        result
    })
}
