//! Pins: objects that stay where they are, and pages that are not even set aside for a moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::addr::ObjectRef;

#[derive(Debug, Default)]
struct State {
    next: u64,
    pinned: HashMap<u64, PinnedAt>,
    /// Pins that the summary of the cycle at hand does not know.
    unplanned: usize,
    /// Guards of pages that must stay mapped.
    lent: usize,
}

#[derive(Clone, Copy, Debug)]
struct PinnedAt {
    address: u64,
    planned: bool,
}

/// All pins of one heap.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    state: Mutex<State>,
}

impl Pins {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the pins are held")
    }

    /// What is pinned, which is kept alive.
    pub(crate) fn roots(&self) -> Vec<u64> {
        self.lock().pinned.values().map(|pin| pin.address).collect()
    }

    /// What is pinned, for the summary, which leaves it where it is.
    pub(crate) fn plan(&self) -> Vec<u64> {
        let mut state = self.lock();
        state.unplanned = 0;
        state.pinned.values_mut().for_each(|pin| pin.planned = true);
        state.pinned.values().map(|pin| pin.address).collect()
    }

    /// In the flip pause: whether something has been pinned since the summary, or is lent.
    pub(crate) fn forbid_flip(&self) -> bool {
        let state = self.lock();
        state.unplanned > 0 || state.lent > 0
    }
}

/// Keeps an object alive and at its address, across collections, as long as this lives.
///
/// Made by [`Mutator::pin`](crate::Mutator::pin); may be sent to other threads.
///
/// What it costs: the pages of the object stay whole, dead words and all, and what is free below
/// them is not used for new objects, because the heap keeps the order of objects: pin for a short
/// time, or early in the heap's life. If something is pinned that was born since the last cycle
/// began, the next cycle frees nothing.
#[derive(Debug)]
#[must_use = "the object is pinned only as long as this lives"]
pub struct Pin {
    pins: Arc<Pins>,
    number: u64,
    object: ObjectRef,
}

impl Pin {
    pub(crate) fn new(pins: &Arc<Pins>, object: ObjectRef) -> Self {
        let mut state = pins.lock();
        let number = state.next;
        state.next += 1;
        state.unplanned += 1;
        state.pinned.insert(number, PinnedAt { address: object.address(), planned: false });
        drop(state);
        Self { pins: Arc::clone(pins), number, object }
    }

    /// The object; this reference does not go stale while the pin lives.
    #[must_use]
    pub fn object(&self) -> ObjectRef {
        self.object
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if let Ok(mut state) = self.pins.state.lock()
            && let Some(pin) = state.pinned.remove(&self.number)
            && !pin.planned
        {
            state.unplanned -= 1;
        }
    }
}

/// The bytes of an object, lent to system calls: in place, at the same address, and mapped as long
/// as this lives.
///
/// Made by [`Mutator::lend`](crate::Mutator::lend). While one exists, nothing in the heap moves:
/// cycles mark, and free nothing. So keep it for one system call, and use a [`Pin`] or memory
/// outside the heap for those that may take long.
#[derive(Debug)]
#[must_use = "the pages stay in place only as long as this lives"]
pub struct LentBytes {
    pin: Pin,
    bytes: usize,
}

impl LentBytes {
    pub(crate) fn new(pins: &Arc<Pins>, object: ObjectRef, bytes: usize) -> Self {
        let pin = Pin::new(pins, object);
        pins.lock().lent += 1;
        Self { pin, bytes }
    }

    /// Address of the object's first byte.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "it was an address of this process before")]
    pub fn address(&self) -> usize {
        self.pin.object.address() as usize
    }

    /// How many bytes the object has.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for LentBytes {
    fn drop(&mut self) {
        if let Ok(mut state) = self.pin.pins.state.lock() {
            state.lent -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_summary_knows_lets_the_heap_flip() {
        let pins = Arc::new(Pins::default());
        let object = |address| ObjectRef::from_address(address).unwrap();
        let first = Pin::new(&pins, object(8));
        assert!(pins.forbid_flip());
        assert_eq!(pins.plan(), [8]);
        assert!(!pins.forbid_flip());
        let second = Pin::new(&pins, object(16));
        assert!(pins.forbid_flip());
        drop(second);
        assert!(!pins.forbid_flip());
        let lent = LentBytes::new(&pins, object(24), 16);
        assert_eq!(pins.plan().len(), 2);
        assert!(pins.forbid_flip(), "lent pages are not set aside");
        drop((lent, first));
        assert!(!pins.forbid_flip() && pins.roots().is_empty());
    }
}
