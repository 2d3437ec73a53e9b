//! Grey objects: found live, not yet scanned.
//!
//! Each marking thread works on a stack of its own and puts the older half into a deque when
//! another thread has nothing to do.

use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_deque::{Steal, Stealer, Worker};

/// A stack longer than this shares its older half if somebody is idle.
const SHARE_ABOVE: usize = 256;

/// What the threads of one marking round have in common.
#[derive(Debug)]
pub(crate) struct Sharing {
    stealers: Vec<Stealer<u32>>,
    idle: AtomicUsize,
}

/// One thread's grey objects.
#[derive(Debug)]
pub(crate) struct Worklist<'a> {
    stack: Vec<u32>,
    shared: Worker<u32>,
    sharing: &'a Sharing,
}

impl Sharing {
    /// Prepares a round of `threads` threads: what they share, and a deque for each.
    pub(crate) fn new(threads: usize) -> (Self, Vec<Worker<u32>>) {
        let workers: Vec<_> = (0..threads).map(|_| Worker::new_fifo()).collect();
        let stealers = workers.iter().map(Worker::stealer).collect();
        (Self { stealers, idle: AtomicUsize::new(0) }, workers)
    }

    fn threads(&self) -> usize {
        self.stealers.len()
    }
}

impl<'a> Worklist<'a> {
    pub(crate) fn new(sharing: &'a Sharing, shared: Worker<u32>) -> Self {
        Self { stack: Vec::with_capacity(4096), shared, sharing }
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, word: u32) {
        self.stack.push(word);
    }

    #[inline(always)]
    pub(crate) fn pop(&mut self) -> Option<u32> {
        self.stack.pop()
    }

    /// Gives idle threads something to do.
    #[inline]
    pub(crate) fn share(&mut self) {
        if self.stack.len() > SHARE_ABOVE
            && self.sharing.threads() > 1
            && self.sharing.idle.load(Ordering::Relaxed) > 0
            && self.shared.is_empty()
        {
            for word in self.stack.drain(..SHARE_ABOVE / 2) {
                self.shared.push(word);
            }
        }
    }

    /// Takes from the own deque or from others'.
    pub(crate) fn steal(&mut self) -> Option<u32> {
        if let Some(word) = self.shared.pop() {
            return Some(word);
        }
        for stealer in &self.sharing.stealers {
            loop {
                match stealer.steal_batch_and_pop(&self.shared) {
                    Steal::Success(word) => return Some(word),
                    Steal::Empty => break,
                    Steal::Retry => {}
                }
            }
        }
        None
    }

    /// Waits until there is something to steal (true) or everybody is idle (false).
    pub(crate) fn wait_for_work(&self, more: impl Fn() -> bool) -> bool {
        self.sharing.idle.fetch_add(1, Ordering::SeqCst);
        loop {
            if more() || self.sharing.stealers.iter().any(|stealer| !stealer.is_empty()) {
                self.sharing.idle.fetch_sub(1, Ordering::SeqCst);
                return true;
            }
            if self.sharing.idle.load(Ordering::SeqCst) == self.sharing.threads() {
                return false;
            }
            std::thread::yield_now();
        }
    }
}
