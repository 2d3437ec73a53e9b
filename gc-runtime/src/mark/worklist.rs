//! Grey objects: found live, not yet scanned.
//!
//! Each marking thread works on a stack of its own. The older half of it is a *portion* for whoever
//! has nothing to do: another thread of the collector, or a mutator that would have to wait. The
//! older an entry, the more it is likely to lead to; how many there are says little (a tree's stack is
//! as long as the tree is deep).

use crate::gate::{Gate, Pass};
use crate::mark::batches::Batches;
use crate::sync::{AtomicBool, AtomicUsize, Ordering, yield_now};

/// Portions that lie ready while somebody may want one.
const READY: usize = 2;

/// Entries of a portion at most.
const PORTION: usize = 4096;

/// What the threads that mark have in common.
#[derive(Debug, Default)]
pub(crate) struct Sharing {
    portions: Batches<u32>,
    /// Threads of the collector in this round, and those of them that have nothing to do.
    threads: AtomicUsize,
    idle: AtomicUsize,
    /// Open while mutators may help.
    helpers: Gate,
    /// A mutator found it closed.
    asked: AtomicBool,
}

impl Sharing {
    /// Begins a round of `threads` threads.
    pub(crate) fn begin(&self, threads: usize) {
        self.threads.store(threads, Ordering::Relaxed);
        self.idle.store(0, Ordering::Relaxed);
        self.asked.store(false, Ordering::Relaxed);
    }

    /// Whether a mutator would help and may not yet.
    #[inline]
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Lets mutators in.
    #[cold]
    pub(crate) fn let_helpers_in(&self) {
        self.asked.store(false, Ordering::Relaxed);
        self.helpers.open();
    }

    /// By a mutator: may it help? If not, it may soon, if marking goes on. A single thread of the
    /// collector has one helper at a time, whose marks stand apart.
    pub(crate) fn enter(&self) -> Option<Pass<'_>> {
        let pass = self.helpers.enter_among(if self.is_alone() { 1 } else { u32::MAX });
        if pass.is_none() && !self.helpers.is_open() {
            self.asked.store(true, Ordering::Relaxed);
        }
        pass
    }

    /// Whether the collector has one thread.
    pub(crate) fn is_alone(&self) -> bool {
        self.threads.load(Ordering::Relaxed) == 1
    }

    fn wants_portion(&self) -> bool {
        (self.idle.load(Ordering::Relaxed) > 0 || self.helpers.is_open())
            && self.portions.len() < READY
    }
}

/// One thread's grey objects.
#[derive(Debug)]
pub(crate) struct Worklist<'a> {
    stack: Vec<u32>,
    sharing: &'a Sharing,
}

impl<'a> Worklist<'a> {
    pub(crate) fn new(sharing: &'a Sharing) -> Self {
        Self { stack: Vec::new(), sharing }
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, word: u32) {
        self.stack.push(word);
    }

    #[inline(always)]
    pub(crate) fn pop(&mut self) -> Option<u32> {
        self.stack.pop()
    }

    /// Puts portions ready if somebody may want them.
    pub(crate) fn share(&mut self) {
        while self.stack.len() > 1 && self.sharing.wants_portion() {
            let len = self.stack.len();
            let portion = match len / 2 {
                half @ ..=PORTION => self.stack.drain(..half).collect(),
                // The rest of a long stack would have to move.
                _ => self.stack.split_off(len - PORTION),
            };
            self.sharing.portions.push(portion);
        }
    }

    /// Takes a portion, of which there may be none.
    pub(crate) fn take(&mut self) -> bool {
        let Some(mut portion) = self.sharing.portions.take() else { return false };
        if self.stack.capacity() < portion.capacity() {
            std::mem::swap(&mut self.stack, &mut portion);
        }
        self.stack.append(&mut portion);
        true
    }

    /// Leaves everything to others, in two portions: one each for the collector and the next helper.
    pub(crate) fn leave(&mut self) {
        let newer = self.stack.split_off(self.stack.len() / 2);
        self.sharing.portions.push(std::mem::take(&mut self.stack));
        self.sharing.portions.push(newer);
    }

    /// Waits until there is `more` or a portion (true), or everybody is idle and no mutator helps
    /// (false).
    pub(crate) fn wait_for_work(&self, more: impl Fn() -> bool) -> bool {
        let sharing = self.sharing;
        let threads = sharing.threads.load(Ordering::Relaxed);
        sharing.idle.fetch_add(1, Ordering::SeqCst);
        loop {
            if more() || !sharing.portions.is_empty() {
                sharing.idle.fetch_sub(1, Ordering::SeqCst);
                return true;
            }
            if sharing.idle.load(Ordering::SeqCst) == threads && sharing.helpers.is_empty() {
                // Whoever came in since then is out again, and what they left is here.
                sharing.helpers.close();
                if sharing.portions.is_empty() {
                    return false;
                }
            }
            yield_now();
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn a_stack_is_shared_from_its_older_end_and_only_with_those_who_wait() {
        let sharing = Sharing::default();
        sharing.begin(1);
        let mut list = Worklist::new(&sharing);
        (0..8).for_each(|word| list.push(word));
        list.share();
        assert_eq!(list.stack.len(), 8, "nobody waits");
        assert!(sharing.enter().is_none() && sharing.is_asked());
        sharing.let_helpers_in();
        assert!(sharing.enter().is_some() && !sharing.is_asked());
        list.share();
        assert_eq!(list.stack, [6, 7]);
        assert_eq!(
            (sharing.portions.take(), sharing.portions.take()),
            (Some(vec![0, 1, 2, 3]), Some(vec![4, 5]))
        );
    }

    #[test]
    fn of_a_long_stack_the_newer_end_is_shared() {
        let sharing = Sharing::default();
        sharing.begin(1);
        sharing.let_helpers_in();
        let mut list = Worklist::new(&sharing);
        (0..40_000).for_each(|word| list.push(word));
        list.share();
        assert_eq!(list.stack.len(), 40_000 - 2 * PORTION);
        assert_eq!(sharing.portions.take().unwrap()[0], 40_000 - 4096);
    }

    /// Each entry above zero leads to two that are one less. Threads and helpers, which leave after a
    /// few, have to scan all of them.
    #[test]
    fn a_round_ends_when_everything_is_scanned_and_no_helper_is_inside() {
        const DEPTH: u32 = 12;
        for threads in 1..=2 {
            for _ in 0..50 {
                let sharing = Sharing::default();
                sharing.begin(threads);
                let scanned = AtomicU32::new(0);
                let (scan, over) = (
                    |list: &mut Worklist<'_>| {
                        let Some(entry) = list.pop() else { return false };
                        scanned.fetch_add(1, Ordering::Relaxed);
                        (0..2).filter(|_| entry > 0).for_each(|_| list.push(entry - 1));
                        true
                    },
                    AtomicBool::new(false),
                );
                std::thread::scope(|scope| {
                    for _ in 0..2 {
                        scope.spawn(|| {
                            while !over.load(Ordering::Relaxed) {
                                let Some(_pass) = sharing.enter() else { continue };
                                let mut list = Worklist::new(&sharing);
                                if list.take() {
                                    (0..50).all(|_| scan(&mut list));
                                    list.leave();
                                }
                            }
                        });
                    }
                    let round: Vec<_> = (0..threads)
                        .map(|thread| {
                            let (scan, sharing) = (&scan, &sharing);
                            scope.spawn(move || {
                                let mut list = Worklist::new(sharing);
                                if thread == 0 {
                                    list.push(DEPTH);
                                }
                                loop {
                                    while scan(&mut list) {
                                        if sharing.is_asked() {
                                            sharing.let_helpers_in();
                                        }
                                        list.share();
                                    }
                                    if !list.take() && !list.wait_for_work(|| false) {
                                        break;
                                    }
                                }
                            })
                        })
                        .collect();
                    round.into_iter().for_each(|thread| thread.join().unwrap());
                    let all = scanned.load(Ordering::Relaxed);
                    over.store(true, Ordering::Relaxed);
                    assert_eq!(all, (2 << DEPTH) - 1);
                });
                assert!(sharing.portions.take().is_none());
            }
        }
    }
}
