//! Lets mutators do the collector's work while there is some, and knows when the last one is out:
//! faults while pages can be missing, helpers while objects are marked.

use crate::sync::{AtomicU32, Ordering, yield_now};

/// Whether mutators may do work, and how many are doing it.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    open: AtomicU32,
    inside: AtomicU32,
}

/// Permission to work; the collector waits for it to be dropped before it finishes.
#[derive(Debug)]
pub(crate) struct Pass<'a>(&'a Gate);

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Gate {
    /// Lets threads in from now on.
    pub(crate) fn open(&self) {
        self.open.store(1, Ordering::SeqCst);
    }

    /// Goes in if the gate is open.
    #[inline]
    pub(crate) fn enter(&self) -> Option<Pass<'_>> {
        self.enter_among(u32::MAX)
    }

    /// Goes in if the gate is open and no more than `most` are inside then.
    #[inline]
    pub(crate) fn enter_among(&self, most: u32) -> Option<Pass<'_>> {
        // Sequentially consistent: either the closer sees this thread inside, or this thread sees
        // the gate closed.
        let inside = self.inside.fetch_add(1, Ordering::SeqCst);
        let pass = Pass(self);
        (inside < most && self.is_open()).then_some(pass)
    }

    /// Whether threads are let in.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::SeqCst) == 1
    }

    /// Whether nobody is inside at the moment.
    pub(crate) fn is_empty(&self) -> bool {
        self.inside.load(Ordering::SeqCst) == 0
    }

    /// Lets nobody in any more and waits until everybody is out.
    pub(crate) fn close(&self) {
        self.open.store(0, Ordering::SeqCst);
        while !self.is_empty() {
            yield_now();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn nobody_is_inside_after_closing() {
        let (gate, working) = (Gate::default(), AtomicBool::new(true));
        assert!(gate.enter().is_none());
        let inside = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                let (gate, working, inside) = (&gate, &working, &inside);
                scope.spawn(move || {
                    while working.load(Ordering::Relaxed) {
                        if let Some(pass) = gate.enter() {
                            inside.fetch_add(1, Ordering::SeqCst);
                            inside.fetch_sub(1, Ordering::SeqCst);
                            drop(pass);
                        }
                    }
                });
            }
            for _ in 0..200 {
                gate.open();
                std::thread::yield_now();
                gate.close();
                assert_eq!(inside.load(Ordering::SeqCst), 0);
            }
            working.store(false, Ordering::Relaxed);
        });
    }
}
